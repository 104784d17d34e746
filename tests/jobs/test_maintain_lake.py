"""What maintenance drops, and above all what it leaves alone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from jobs.errors import StageError
from jobs.maintain_lake import compacted, drop_expired, expired, spent_dates
from schemas import CHANNEL_CANDIDATES, JOB_VECTORS, RUN_METRICS, RUNS
from schemas.render import spark_schema

DAILY, TRAINING = "candidates_daily", "training_weekly"


def run(day, attempt, *events, dag=DAILY, models=None):
    """The rows in `runs` of an attempt for one day of January."""
    return [
        {
            "dag": dag, "run_id": f"{dag}-{day}-{attempt}", "attempt": attempt,
            "event": event, "models": models,
            "interval_start": datetime(2026, 1, day), "interval_end": datetime(2026, 1, day + 1),
        }
        for event in ("opened", *events)
    ]  # fmt: skip


def model(version, *events):
    return [{"model_name": "job_embeddings", "model_version": version, "event": e} for e in ("trained", *events)]


RUNS_OF_A_WEEK = [
    *run(1, 1, "published"),  # older than the last two
    *run(2, 1, "failed"),  # failed, and superseded by the next
    *run(2, 2, "published", models={"job_embeddings": "training_weekly-2-1", "segment_graph": "none"}),
    *run(3, 1, "published"),  # the current one
    *run(4, 1),  # superseded while open: nothing more is written to it
    *run(4, 2, models={"job_embeddings": "training_weekly-3-1"}),  # open
    *run(1, 1, "published", dag=TRAINING),  # promoted
    *run(2, 1, "published", dag=TRAINING),  # withdrawn, but a run that stays was opened with it
    *run(3, 1, "published", dag=TRAINING),  # withdrawn, but the open attempt was opened with it
    *run(4, 1, "published", dag=TRAINING),  # withdrawn
    *run(5, 1, "failed", dag=TRAINING),  # trained, never published
    *run(6, 1, "published", dag=TRAINING),  # the last two of its DAG
    *run(7, 1, "published", dag=TRAINING),
]
MODELS = [
    *model("training_weekly-1-1", "promoted"),
    *[row for day in (2, 3, 4) for row in model(f"training_weekly-{day}-1", "promoted", "withdrawn")],
    *model("training_weekly-5-1"),
    *model("training_weekly-6-1"),
    *model("training_weekly-7-1", "promoted"),
]


def test_what_expires():
    spent, unused = expired(RUNS_OF_A_WEEK, MODELS, keep_runs=2)
    of_daily = {f"{DAILY}-{name}" for name in ("1-1", "2-1", "4-1")}
    assert spent == of_daily | {f"{TRAINING}-{day}-1" for day in (1, 2, 3, 4, 5)}
    assert unused == of_daily | {f"{TRAINING}-{day}-1" for day in (4, 5)}


def test_the_newest_of_an_interval_with_two_published_attempts_is_kept():
    spent, _ = expired([*run(1, 1, "published"), *run(1, 2, "published")], [], keep_runs=1)
    assert spent == {f"{DAILY}-1-1"}


def test_nothing_to_drop():
    assert expired([], [], keep_runs=1) == (set(), set())
    assert expired(run(1, 1), [], keep_runs=1) == (set(), set())


def test_dates_of_runs_that_stay_are_not_spent():
    runs = [*run(1, 1, "published"), *run(2, 1, "failed"), *run(2, 2, "published"), *run(3, 1, "published")]
    assert spent_dates(runs, {f"{DAILY}-1-1", f"{DAILY}-2-1"}) == {date(2026, 1, 1)}


def test_expired_runs_are_dropped(lake, capsys):
    end = datetime(2026, 1, 8, tzinfo=UTC)
    with pytest.raises(StageError, match="there is no lake at"):
        drop_expired(lake, end, keep_runs=1, dry_run=True)
    # day 1 has expired; day 2 is current; day 8 ends after --end, though its first attempt is superseded
    fill(lake, [*run(1, 1, "published"), *run(2, 1, "published"), *run(8, 1), *run(8, 2)])
    names = {f"{DAILY}-{name}" for name in ("1-1", "2-1", "8-1")}
    folders = {name: Path(lake.root) / "_artifacts" / name for name in (*names, "of-somebody-else")}
    for folder in folders.values():
        (folder / "index").mkdir(parents=True)
        (folder / "index" / "ids.npy").write_bytes(b"1")

    drop_expired(lake, end, keep_runs=1, dry_run=True)
    assert f"would drop {DAILY}-1-1" in capsys.readouterr().out
    assert runs_in(lake) == names
    assert dates_in(lake) == {1, 2, 8}
    assert all(folder.exists() for folder in folders.values())

    drop_expired(lake, end, keep_runs=1, dry_run=False)
    assert runs_in(lake) == names - {f"{DAILY}-1-1"}
    assert dates_in(lake) == {2, 8}
    assert {name for name, folder in folders.items() if not folder.exists()} == {f"{DAILY}-1-1"}


def test_a_table_is_compacted_and_its_replaced_files_go_when_their_time_has_come(lake):
    rows = [("run", "ingest", "rows_in", str(n), 1.0) for n in range(4)]
    metrics = lake.spark.createDataFrame(rows, spark_schema(RUN_METRICS)).repartition(4, "label")
    lake.replace(RUN_METRICS, {"run_id": "run"}, metrics)
    n_files = lake.size(RUN_METRICS)[0]
    assert n_files > 1
    assert "0 replaced files removed" in compacted(lake, RUN_METRICS, keep_days=8)
    assert lake.size(RUN_METRICS)[0] == 1
    assert lake.vacuum(RUN_METRICS, keep_days=0) == n_files
    assert lake.read(RUN_METRICS).count() == 4


def fill(lake, events):
    """`runs` with those events, and a row of channel candidates and a job's vector for each first attempt."""
    missing = {"takes_history": False, "event_ts": datetime(2026, 1, 9)}
    rows = [{name: (event | missing).get(name) for name in RUNS.column_names} for event in events]
    lake.append(RUNS, lake.spark.createDataFrame(rows, spark_schema(RUNS)))
    firsts = [event for event in events if event["event"] == "opened" and event["attempt"] == 1]
    found = [(event["run_id"], "graph", "organic", 1, 5, 5, 0, []) for event in firsts]
    lake.append(CHANNEL_CANDIDATES, lake.spark.createDataFrame(found, spark_schema(CHANNEL_CANDIDATES)))
    vectors = [("model", event["interval_start"].date(), 1, [1.0], False) for event in firsts]
    lake.append(JOB_VECTORS, lake.spark.createDataFrame(vectors, spark_schema(JOB_VECTORS)))


def runs_in(lake):
    return {row.run_id for row in lake.read(CHANNEL_CANDIDATES).select("run_id").distinct().collect()}


def dates_in(lake):
    return {row.date.day for row in lake.read(JOB_VECTORS).select("date").distinct().collect()}
