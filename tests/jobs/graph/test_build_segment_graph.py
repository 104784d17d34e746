"""The stage on a lake: what it may see, what it writes, and a board without hires."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from jobs.build_segment_graph import main
from jobs.graph.nodes import assign_nodes
from jobs.intervals import Dates, Interval
from jobs.lake import Lake
from jobs.runs import Run
from jobs.settings import Settings
from schemas import HIRES, JOB_TERMS, MODELS, RUN_METRICS, SEEKER_TERMS, SEGMENT_LINKS
from schemas.render import spark_schema
from schemas.table import Table

START = datetime(2026, 1, 1, tzinfo=UTC)
# Models see up to two days before the interval's end: up to the 19th.
INTERVAL = Interval(datetime(2026, 1, 14, tzinfo=UTC), datetime(2026, 1, 21, tzinfo=UTC))
TAXONOMY = "t1"


def run_of(lake: Lake, attempt: int, **options: object) -> Run:
    settings = Settings.parse({"build_segment_graph": options})
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
    return lake


def test_the_stage(board: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    few = run_of(board, 1, min_hires=91)
    main(board, few)
    assert recorded(few) == {("hires", ""): 90}, "those from the 19th on are the future"
    assert board.read(SEGMENT_LINKS).isEmpty()
    assert "from 90 hires: they are fewer than min_hires (91)" in capsys.readouterr().out

    run = run_of(board, 2)
    main(board, run)
    links = {(r.seeker_segment, r.job_segment): r for r in board.read(SEGMENT_LINKS).collect()}
    assert set(links) == {(f"occupation={o}", f"occupation={o + 10}") for o in range(3)}
    assert {(r.model_version, r.hire_source) for r in links.values()} == {(run.run_id, "move")}
    assert {r.n_hires for r in links.values()} == {15.0}, "30 hires each, of weight 0.5"
    assert sorted(r.node_id for r in links.values()) == [0, 1, 2]
    assert len({r.component for r in links.values()}) == 3 == len({r.community for r in links.values()})

    figures = recorded(run)
    assert [figures["pairs", kind] for kind in ("hire", "applied", "seen")] == [90, 0, 0]
    assert 40 <= (figures["pairs", "random"] or 0) <= 90
    assert (figures["links", ""], figures["recall", ""]) == (3, 1)
    assert (figures["segments", ""], figures["components", ""], figures["alike_pairs", ""]) == (6, 3, 0)
    assert figures["meta_links", "skill→skill"] == figures["hires_outside_templates", ""] == 0

    models = {m.model_version: m for m in board.read(MODELS).collect()}
    assert {(m.model_name, m.event, m.trained_until) for m in models.values()} == {
        ("segment_graph", "trained", datetime(2026, 1, 19))
    }
    model = models[run.run_id]
    assert set(model.data_read) == {"hires", "seeker_terms", "job_terms"}, "there is no table events"
    assert (model.metrics["recall"], model.metrics["links"]) == (1.0, 3.0)
    assert model.fingerprint != models[few.run_id].fingerprint

    terms = board.read(SEEKER_TERMS).where("valid_from = '2026-01-01' AND seeker_id < 3")
    nodes = {r.seeker_id: r.nodes for r in assign_nodes(terms, board.read(SEGMENT_LINKS), "seeker").collect()}
    assert nodes == {o: [links[f"occupation={o}", f"occupation={o + 10}"].node_id] for o in range(3)}
