"""The stage on a lake: what it may see, what it writes, and a board without hires."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.artifacts import local_folder
from jobs.build_segment_graph import check_templates, main
from jobs.errors import SettingsError
from jobs.graph.nodes import assign_nodes
from jobs.intervals import Dates, Interval
from jobs.lake import Lake
from jobs.runs import Run
from jobs.settings import Settings, Template
from schemas import HIRES, JOB_TERMS, MODELS, RUN_METRICS, SEEKER_TERMS, SEGMENT_LINKS, TERM_DICTIONARY
from schemas.render import spark_schema
from schemas.table import Table

START = datetime(2026, 1, 1, tzinfo=UTC)
# Models see up to two days before the interval's end: up to the 19th.
INTERVAL = Interval(datetime(2026, 1, 14, tzinfo=UTC), datetime(2026, 1, 21, tzinfo=UTC))
TAXONOMY = "t1"


def run_of(lake: Lake, attempt: int, holdout_days: int = 2, **options: object) -> Run:
    settings = Settings.parse({"build_segment_graph": options, "training": {"holdout_days": holdout_days}}).frozen()
    mapping = {"board": {"history_start": "2026-01-01"}}
    return Run("training_weekly", INTERVAL, attempt, settings, mapping, {}, lake.root, True)


def put(lake: Lake, table: Table, rows: list[tuple[object, ...]], **slices: object) -> None:
    where = slices or {"date": Dates(date(2026, 1, 1), date(2026, 2, 1))}
    lake.replace(table, where, lake.spark.createDataFrame(rows, spark_schema(table)))


def put_profiles(lake: Lake, n: int, first_occupation: dict[str, int]) -> None:
    """Seekers and jobs 0 to n - 1: occupation i % 3, from the first given on; seniority i % 2; one region."""
    dates = {"taxonomy_version": TAXONOMY, "date": Dates(date(2026, 1, 1), date(2026, 2, 1))}
    for entity, table in (("seeker", SEEKER_TERMS), ("job", JOB_TERMS)):
        first = first_occupation[entity]
        rows = [
            (
                i,
                START,
                START.date(),
                TAXONOMY,
                {"occupation": [first + i % 3], "seniority": [1 + i % 2], "region": [5]},
            )
            for i in range(n)
        ]
        later = START + timedelta(days=18)
        # What everybody became the moment the models stop seeing: to be seen by none.
        rows += [(i, later, later.date(), TAXONOMY, {"occupation": [99]}) for i in range(n)]
        put(lake, table, rows, **dates)


def recorded(run: Run) -> dict[tuple[str, str], float | None]:
    return {(metric, label): value for metric, label, value in run.metrics}


@pytest.mark.parametrize(("side", "others"), [("seeker", "job"), ("job", "seeker")])
def test_a_template_of_an_unknown_attribute_is_refused(spark: SparkSession, side: str, others: str) -> None:
    check_templates([Template(seeker="past_occupation", job="contact")])  # attributes of one side each
    with pytest.raises(SettingsError, match=rf"templates\[1\].{side}: unknown attribute 'ocupation'; did you mean"):
        check_templates([Template(seeker="skill", job="skill"), Template(**{side: "ocupation", others: "occupation"})])


def test_a_template_of_the_same_term_asks_for_one_dictionary() -> None:
    check_templates([Template(seeker="past_occupation", job="occupation", same=True)])
    with pytest.raises(
        SettingsError, match=r"templates\[0\].same: a seeker's occupation \(occupation\) and a job's title"
    ):
        check_templates([Template(seeker="occupation", job="title", same=True)])


@pytest.fixture
def board(lake: Lake) -> Lake:
    """90 hires from occupation o into o + 10, seniorities by chance, and ten after the models' end."""
    runs = [run_of(lake, attempt).run_id for attempt in (1, 2)]
    metrics = [(run_id, "ingest", "taxonomy_version", TAXONOMY, 1.0) for run_id in runs]
    lake.append(RUN_METRICS, lake.spark.createDataFrame(metrics, spark_schema(RUN_METRICS)))
    put_profiles(lake, 100, {"seeker": 0, "job": 10})
    hires = []
    for i in range(100):
        at = START + timedelta(days=1 + i // 6) if i < 90 else datetime(2026, 1, 19, tzinfo=UTC)
        # Into the same occupation, half of them into the same seniority; the last ten into the next one.
        job = (i + 3 + 3 * (i // 6 % 2)) % 90 if i < 90 else (i + 1) % 90
        hires.append((i, job, at, at.date(), at, "move", 0.5))
    put(lake, HIRES, hires)
    terms = [("occupation", "cook", 0, "Cook"), ("occupation", "chef", 12, "Chef")]
    put(lake, TERM_DICTIONARY, terms, field="occupation")
    return lake


def test_the_stage(board: Lake, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overrides = tmp_path / "overrides.toml"
    overrides.write_text('[[force]]\nseeker = { occupation = "cook" }\njob = { occupation = "Chef" }\nquality = 1.25\n')
    few = run_of(board, 1, 3, min_hires=91, overrides=str(overrides))
    asked = overrides.read_text()
    overrides.write_text("[[ban]]  # by someone who edits it after the run was opened")
    main(board, few)
    figures = recorded(few)
    assert figures["hires", ""] == 90, "those from the 19th on are the future"
    assert ("candidate_links", "") not in figures
    assert "from 90 hires: they are fewer than min_hires (91)" in capsys.readouterr().out
    (forced,) = board.read(SEGMENT_LINKS).collect()
    assert (forced.seeker_segment, forced.job_segment) == ("occupation=0", "occupation=12"), "what people ask for holds"
    assert (forced.origin, forced.quality, forced.n_hires) == ("forced", 1.25, 0.0)
    kept = local_folder(few.artifact("segment_graph")) / "overrides.toml"
    assert kept.read_text() == asked, "the file goes with the version, as it was when the run was opened"
    assert figures["overrides", hashlib.sha256(kept.read_bytes()).hexdigest()[:12]] == 1

    run = run_of(board, 2)
    main(board, run)
    found = board.read(SEGMENT_LINKS, model_version=run.run_id)
    links = {(r.seeker_segment, r.job_segment): r for r in found.collect()}
    assert set(links) == {(f"occupation={o}", f"occupation={o + 10}") for o in range(3)}
    assert {(r.model_version, r.hire_source) for r in links.values()} == {(run.run_id, "move")}
    assert {r.n_hires for r in links.values()} == {15.0}, "30 hires each, of weight 0.5"
    assert sorted(r.node_id for r in links.values()) == [0, 1, 2]
    assert len({r.component for r in links.values()}) == 3 == len({r.community for r in links.values()})

    figures = recorded(run)
    assert [figures["pairs", kind] for kind in ("hire", "applied", "seen")] == [90, 0, 0]
    assert 40 <= (figures["pairs", "random"] or 0) <= 90
    assert (figures["links", ""], figures["recall", ""]) == (3, 1)
    losses = {label: value for (metric, label), value in figures.items() if metric == "path_held_out_loss"}
    chosen = f"{figures['chosen_strength', '']:g}"
    assert losses[chosen] == pytest.approx(min(losses.values()), rel=1e-4), "later hires choose"
    assert (figures["path_links", chosen], figures["path_recall", chosen]) == (3, 1)
    assert figures["links_by_origin", "learnt"] == 3
    since = [figures[f"links_{what}", few.run_id] for what in ("in", "out", "stayed", "changed_sign")]
    assert since == [3, 1, 0, 0], "the version that saw less had the forced link alone"
    assert figures["hired_share", "seekers"] == 0.9
    assert figures["impossible_hires", "of an unknown job"] == 90, "the lake has no table jobs"
    assert (figures["segments", ""], figures["components", ""], figures["alike_pairs", ""]) == (6, 3, 0)
    assert figures["meta_links", "skill→skill"] == figures["hires_outside_templates", ""] == 0

    models = {m.model_version: m for m in board.read(MODELS).collect()}
    assert {(m.model_name, m.event, m.trained_until) for m in models.values()} == {
        ("segment_graph", "trained", datetime(2026, 1, day)) for day in (18, 19)
    }
    model = models[run.run_id]
    assert set(model.data_read) == {"hires", "seeker_terms", "job_terms"}, "there is no table events"
    assert (model.metrics["recall"], model.metrics["links"]) == (1.0, 3.0)
    assert model.fingerprint != models[few.run_id].fingerprint

    terms = board.read(SEEKER_TERMS).where("valid_from = '2026-01-01' AND seeker_id < 3")
    nodes = {r.seeker_id: r.nodes for r in assign_nodes(terms, found, "seeker").collect()}
    assert nodes == {o: [links[f"occupation={o}", f"occupation={o + 10}"].node_id] for o in range(3)}
