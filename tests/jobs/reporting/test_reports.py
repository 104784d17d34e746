"""The report of a small board: what it shows, says where there is nothing, and that it stands alone."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jobs import render_report
from jobs.errors import LakeError, RunError
from jobs.intervals import Interval
from jobs.lake import LakeReader
from jobs.reporting import plots, sections
from jobs.reporting.neighbors import across_occupations
from jobs.reporting.sections import Metrics
from schemas import RUNS
from tests.jobs.reporting.world import DAY, FROZEN, SECOND, SUNDAY, TRAINING_RUN, attempt, write

MONDAY = Interval(SUNDAY + DAY, SUNDAY + 2 * DAY)
WEEK = Interval(SUNDAY - 7 * DAY, SUNDAY)


class Page(HTMLParser):
    """Text, tags and what each tag names, of a page whose tags must close."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, path: str) -> None:
        super().__init__()
        self.text, self.tags, self.open, self.links = "", [], [], []
        self.feed(Path(path).read_text(encoding="utf-8"))
        assert self.open == []
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += " " + data


@pytest.fixture(scope="module")
def daily(board):
    return Page(render_report.main(board, "candidates_daily", MONDAY))


@pytest.fixture(scope="module")
def training(board):
    return Page(render_report.main(board, "training_weekly", WEEK))


def test_the_newest_attempt_that_did_not_fail_is_shown(board, daily):
    assert f"{SECOND}.html" in {path.name for path in Path(board.root, "_reports").iterdir()}
    assert f"{SECOND} published" in daily.text
    assert "attempt 2" in daily.text


def test_a_page_needs_nothing_but_itself(daily, training):
    for page in (daily, training):
        assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"} == set()
        assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in page.links)
        images = [attributes for tag, attributes in page.tags if tag == "img"]
        assert images
        assert all(attributes["alt"] for attributes in images)


def test_the_funnel_and_the_settings(daily):
    assert "organic graph 900 5,400 610 400 67 %" in daily.text
    assert "600 candidates for 3 seekers, 300 fewer than their quotas" in daily.text
    told = "Audiences: 80 promoted jobs, 5 of them with nobody to reach; 9,000 seekers eligible, 4,000 within the cap."
    assert told in daily.text
    assert "organic/apply_chain: 2 seekers without such a chain, by their attributes alone." in daily.text
    assert "before 40 300 2,500 700 after 40 210 260 190" in daily.text
    assert "retrieve_candidates.k = 77 (default 200)" in daily.text
    assert "lateness_days" not in daily.text  # at its default


def test_a_daily_run_shows_the_figures_of_its_models(daily):
    assert f"Measured by the training run {TRAINING_RUN}" in daily.text
    assert "blend 0.120 0.108–0.132 0.310 0.279–0.341 0.550 0.495–0.605 0.060 0.660 – 0.275 –" in daily.text
    assert "Recall@100 0.310; popularity 0.060; chance 0.010; the best possible 0.520." in daily.text
    assert "click chain 812 7.50 6.40 5.90 4.42 3.10 -25.00 %" in daily.text


def test_links_and_candidates_are_in_words_and_escaped(daily):
    assert "Registered Nurses, mid Registered Nurses, mid 214 31 1.84" in daily.text
    assert "In the place of confirmed hires: move." in daily.text
    assert "past occupation → the same occupation, quality 2.50 (2 links)." in daily.text
    assert "31 1.84 Registered Nurses" in daily.text, "and none of them is in the table"
    reasons = (
        "graph, rank 2: hired before: Registered Nurses, mid → Registered Nurses, mid, 214 hires, quality",
        "click_chain, rank 1: near “Line cook, Dallas”, which they viewed",
        "apply_chain, rank 4: near “Registered nurse, Dallas”, which they applied to",
        "terms, rank 1: shares occupation Registered Nurses",
        "popular, rank 9: popular in Dallas",
        "popular, rank 1: popular everywhere",
    )
    assert [reason for reason in reasons if reason not in daily.text] == []
    assert "<script>alert(1)</script> & sons" in daily.text  # as text: no such tag is open
    assert daily.text.index("seeker-101") < daily.text.index("seeker-102")
    assert "seeker-103" not in daily.text  # has no candidates


def test_the_path_of_the_links(daily):
    assert (
        "8 9 0.310 0.110 700 0.100 2.828 120 0.620 0.140 4,100 0.150 in use 0.5 400 0.900 0.350 9,000 0.330"
        in daily.text
    )
    told = "9 links at recall 0.31, 120 links at recall 0.62, 400 links at recall 0.90."
    assert any(attributes.get("alt", "").endswith(told) for tag, attributes in daily.tags if tag == "img")


def test_drift_and_the_hires(daily):
    since = "Since training_weekly-20251221-20251228-1 : 30 links in, 12 out (3 of them now speak against a hire), 90"
    assert f"{since} stayed; hires explained 0.620, before 0.580." in daily.text
    shares = "457 hires. With hires: 25.0 % of open jobs, 3.4 % of seekers, 50.0 % of segments."
    assert f"{shares} 7 hires cannot be: before the job was posted." in daily.text


def test_similar_jobs_are_in_words_the_newest_of_the_runs_model(daily, training):
    nurse = "Registered nurse Registered Nurses Dallas Nurse at $20 an hour, $30 on Sundays Dallas 0.875"
    others = "Line cook Dallas 0.250 Line cook Dallas Registered nurse Registered Nurses Dallas 0.500"
    # those of a known occupation first; a job without neighbours is left out
    for page in (daily, training):
        assert f"title occupation region cosine {nurse} {others} " in page.text


def test_ten_jobs_are_picked_an_occupation_each_before_any_second():
    pool = [{"job_id": job} for job in range(40)]
    occupations = {job: job % 7 for job in range(35)}
    picked = [row["job_id"] for row in across_occupations(pool, occupations)]
    assert picked == [*range(7), 35, 7, 8]  # of one each, those without an occupation last; then the second ones


def test_data_quality(daily):
    assert "events 12,370 12,360 10" in daily.text
    assert "events: duplicate event_id quarantined 7" in daily.text
    assert "events: later than the lateness left out 4" in daily.text
    assert "jobs : title 100 %, industry 8 %" in daily.text


def test_a_training_run_has_no_candidates_and_says_why(training):
    assert training.text.count("A training run makes models; candidates are made by daily runs.") == 2
    assert "trained by this run" in training.text
    assert "Measured by the training run" not in training.text
    assert "blend 0.120" in training.text


def test_an_attempt_that_has_done_nothing_yet(tmp_path):
    write(
        tmp_path,
        RUNS,
        attempt("candidates_daily", SUNDAY, SUNDAY + DAY, 1, models=dict.fromkeys(FROZEN, "none")),
    )
    page = Page(render_report.main(LakeReader(str(tmp_path)), "candidates_daily", Interval(SUNDAY, SUNDAY + DAY)))
    assert "open · candidates_daily" in page.text
    assert "No stage of this run has ended yet." in page.text
    assert "The run was opened without models, so there is no evaluation of them." in page.text
    assert [tag for tag, _ in page.tags if tag == "img"] == []


def test_no_attempt_is_one_clear_error(board, tmp_path):
    failed = Interval(SUNDAY + 3 * DAY, SUNDAY + 4 * DAY)
    with pytest.raises(
        RunError, match="no attempt of candidates_daily for 20260107-20260108 is published or open: 1 failed"
    ):
        render_report.main(board, "candidates_daily", failed)
    with pytest.raises(RunError, match="0 was opened"):
        render_report.main(board, "candidates_daily", Interval(SUNDAY, SUNDAY + timedelta(hours=1)))
    with pytest.raises(LakeError, match="no table runs"):
        render_report.main(LakeReader(str(tmp_path)), "candidates_daily", MONDAY)


def test_a_report_is_written_again_the_same(board, daily):
    path = Path(board.root, "_reports", f"{SECOND}.html")
    before = path.read_bytes()
    render_report.main(board, "candidates_daily", MONDAY)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_plots_take_any_row_and_any_label():
    image = plots.recall_curves(
        {"blend": [(10, 0.5, None, None)], "a_new_row": [(10, 0.4, 0.3, 0.5), (20, 0.4, 0.3, 0.5)]}
    )
    assert image.startswith(b"<?xml")
    assert plots.histogram({"$1 & $2": 0.0}, "<x>", "y").startswith(b"<?xml")


def test_chain_lengths_are_in_order_and_none_without_chains():
    def chains(counts):
        rows = [
            {"stage": "sessionize_chains", "metric": "chain_length", "label": k, "value": v} for k, v in counts.items()
        ]
        return sections.chain_lengths(Metrics(rows))

    assert list(chains({"11+": 1.0, "2": 0.0, "1": 3.0, "3-5": 2.0})) == ["1", "2", "3-5", "11+"]
    assert chains({"1": 0.0, "2": 0.0}) == {}
