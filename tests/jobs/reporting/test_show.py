"""What the two commands print about a small board, and their exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs import show_candidates, show_run
from jobs.errors import RunError, StageError
from jobs.intervals import Interval
from jobs.lake import LakeReader
from jobs.reporting.words import Words
from schemas import RUNS
from tests.jobs.reporting.world import DAY, SECOND, SUNDAY, attempt, write

LINK = "hired before: Registered Nurses, mid → Registered Nurses, mid, 214 hires, quality 1.8"


def test_the_seeker_with_the_most_channels_of_the_current_run(board):
    assert show_candidates.main(board, None, "organic", top=2) == [
        f"seeker seeker-101: 3 of 5 organic candidates, run {SECOND}",
        "  1. Registered nurse, Dallas  (job-11)",
        "       terms, rank 1: shares occupation Registered Nurses",
        f"       graph, rank 2: {LINK}",
        "  2. <script>alert(1)</script> & sons, Dallas  (job-12)",
        "       click_chain, rank 1: near “Line cook, Dallas”, which they viewed",
    ]


def test_a_seeker_by_the_boards_own_id(board):
    lines = show_candidates.main(board, "seeker-102", "organic", top=10)
    assert lines[1:] == ["  1. Line cook, Dallas  (job-10)", "       popular, rank 1: popular everywhere"]


@pytest.mark.parametrize("seeker", ["nobody", "x' OR '1' = '1"])
def test_a_seeker_without_candidates_is_one_clear_error(board, seeker):
    with pytest.raises(StageError, match=r"has no seeker .* with candidates in the flow organic"):
        show_candidates.main(board, seeker, "organic", top=10)
    with pytest.raises(StageError, match="has nobody with candidates in the flow promoted"):
        show_candidates.main(board, None, "promoted", top=10)


def test_nothing_published_is_one_clear_error(tmp_path):
    write(tmp_path, RUNS, attempt("candidates_daily", SUNDAY, SUNDAY + DAY, 1))
    with pytest.raises(RunError, match="has no published run of candidates_daily yet"):
        show_candidates.main(LakeReader(str(tmp_path)), None, "organic", top=10)


def test_attempts_of_an_interval(board, capsys):
    assert show_run.main(board, "candidates_daily", Interval(SUNDAY + DAY, SUNDAY + 2 * DAY), quiet=False)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [
        "candidates_daily-20260105-20260106-1: opened 2026-01-06 00:00:00, failed 2026-01-06 01:00:00",
        "  because a <b> left",
        f"{SECOND}: opened 2026-01-06 00:00:00, published 2026-01-06 01:00:00",
    ]
    assert [line.split() for line in printed[3:]] == [
        ["blend_candidates", "7.5", "s"],
        ["ingest", "41.2", "s"],
        ["retrieve_candidates", "18.0", "s"],
    ]


@pytest.mark.parametrize(
    ("day", "says"),
    [
        (2, "candidates_daily-20260106-20260107-1: opened 2026-01-07 00:00:00, open"),
        (3, "failed 2026-01-08 01:00:00"),
        (9, "no attempt of candidates_daily for 20260113-20260114 was opened"),
    ],
)
def test_an_interval_without_a_published_attempt(board, capsys, day, says):
    interval = Interval(SUNDAY + day * DAY, SUNDAY + (day + 1) * DAY)
    assert not show_run.main(board, "candidates_daily", interval, quiet=False)
    assert says in capsys.readouterr().out
    assert not show_run.main(board, "candidates_daily", interval, quiet=True)
    assert capsys.readouterr().out == ""


def test_exit_codes(board, tmp_path):
    def run(lake, *more):
        command = [sys.executable, "-m", "jobs.show_run", "--lake", str(lake), "--dag", "candidates_daily"]
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    published = run(board.root, "--start", "2026-01-05", "--end", "2026-01-06", "--quiet")
    assert (published.returncode, published.stdout, published.stderr) == (0, "", "")
    missing = run(tmp_path, "--start", "2026-01-05", "--end", "2026-01-06")
    assert missing.returncode == 1
    assert missing.stderr == f"error: show_run: the lake at {tmp_path} has no table runs yet\n"


def test_a_job_that_they_acted_on_themselves_is_called_so():
    why = [{"channel": "click_chain", "rank": 3, "evidence_id": 5}]
    assert Words({}, {}, {}).reasons({"job_id": 5, "why": why}) == ["click_chain, rank 3: they viewed this very job"]


def test_what_the_seekers_terms_alone_brought_names_no_job():
    why = [{"channel": "apply_chain", "rank": 3, "evidence_id": -1}]
    said = Words({}, {}, {}).reasons({"job_id": 5, "why": why})
    assert said == ["apply_chain, rank 3: near what their profile and actions name"]


def test_links_in_words():
    meta = {"seeker_field": "past_occupation", "seeker_term": 1, "job_field": "occupation", "job_term": 1}
    link = {"meta_links": [meta], "n_hires": 3.0, "quality": 2.25, "hire_source": "confirmed", "origin": "learnt"}
    words = Words(labels={("past_occupation", 1): "Cook", ("occupation", 1): "Cook"})
    said = {
        "learnt": "hired before: Cook → Cook, 3 hires, quality 2.2",
        "forced": "hired before, forced by people: Cook → Cook, 3 hires, quality 2.2",
        "inferred": "inferred, both are hired from the same segments: Cook → Cook, quality 2.2",
        "same": "as of any occupation: Cook → Cook, 3 hires of its own, quality 2.2",
    }
    assert {origin: words.link({**link, "origin": origin}) for origin in said} == said
    assert words.link({**link, "origin": "same", "hire_source": "move"}).endswith(
        "3 hires of its own (move), quality 2.2"
    )
