"""Runs done again: a day after a newer one, a training. Each gives what it gave and changes nothing newer, or is refused."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from jobs.errors import RunError, StageError
from jobs.runs import STAGES
from schemas import BEHAVIOR_CHAINS, CANDIDATES, EVENTS, JOB_TERMS, JOBS, MODELS, RUN_METRICS, SEEKERS
from tests.e2e.conftest import DAILY, FIRST, RUN_1, RUN_2, SECOND, TRAINED, TRAINING, TRAINING_RUN, content

pytestmark = pytest.mark.timeout(2400)


def test_a_day_run_again_after_a_newer_one_gives_the_same_and_changes_nothing(pipeline):
    """The newer run has taken in late events of days that the older one looks back on: it had not seen them."""
    lake = pipeline.lake
    late = lake.read(EVENTS).where(f"event_ts < '{FIRST[1]}' AND arrived_ts >= '{FIRST[1]}'")
    assert not late.isEmpty()
    tables = (EVENTS, SEEKERS, JOBS, JOB_TERMS, BEHAVIOR_CHAINS)
    before = {table.name: content(lake.read(table)) for table in tables}
    current, own = content(lake.current(CANDIDATES)), content(lake.read(CANDIDATES, run_id=RUN_1), "run_id")
    again = pipeline.run(DAILY, FIRST)
    assert again.attempt == 2
    assert content(lake.read(CANDIDATES, run_id=again.run_id), "run_id") == own
    assert content(lake.read(CANDIDATES, run_id=RUN_1), "run_id") == own  # the published attempt was not touched
    assert content(lake.current(CANDIDATES)) == current
    assert {table.name: content(lake.read(table)) for table in tables} == before


def test_an_attempt_is_not_published_before_its_stages_nor_with_one_ineligible_candidate(pipeline):
    """The day's candidates, and one more that closed long ago: the attempt fails, readers see nothing of it."""
    lake = pipeline.lake
    current = content(lake.current(CANDIDATES))
    run = pipeline.open(DAILY, SECOND)
    for stage in STAGES[DAILY][:-2]:
        copy(lake, RUN_METRICS, run, stage=stage)
    with pytest.raises(StageError, match="expected all its stages, blend_candidates did not finish"):
        pipeline.stage("publish", DAILY, SECOND)

    copy(lake, RUN_METRICS, run, stage="blend_candidates")
    closed = lake.read(JOBS).where(f"closed_ts < '{SECOND[0]}'").select("job_id", "external_id").first()
    bad = F.struct(
        F.lit(closed.job_id).alias("job_id"),
        F.lit(closed.external_id).alias("external_job_id"),
        F.lit(0.1).cast("double").alias("score"),
        F.expr("cast(array() as array<struct<channel:string,rank:int,evidence_id:bigint>>)").alias("why"),
    )
    with_bad = {
        "candidates": F.array_append("candidates", bad),
        "asked": F.lit(1_000),
        "returned": F.expr("returned + 1"),
    }
    copy(lake, CANDIDATES, run, with_bad)
    with pytest.raises(StageError, match=r"is not published, its candidates break their rules: .*[\d,]+ not open"):
        pipeline.stage("publish", DAILY, SECOND)
    assert content(lake.current(CANDIDATES)) == current
    with pytest.raises(RunError, match="is failed and never written again"):
        pipeline.stage("publish", DAILY, SECOND)


def copy(lake, table, run, changed=None, **slices):
    """Rows of the second day's first attempt, as `run`'s."""
    rows = lake.read(table, run_id=RUN_2, **slices).withColumns({**(changed or {}), "run_id": F.lit(run.run_id)})
    lake.replace(table, {"run_id": run.run_id, **slices}, rows)


def test_training_again_leaves_the_same_model(pipeline):
    again = pipeline.open(TRAINING, TRAINED)
    for name in ("ingest", "build_segment_graph", "train_job_embeddings"):
        pipeline.stage(name, TRAINING, TRAINED)
    rows = [row.asDict() for row in pipeline.lake.read(MODELS).where("event = 'trained'").collect()]
    prints = {(row["model_name"], row["model_version"]): row["fingerprint"] for row in rows}
    for name in ("segment_graph", "job_embeddings"):
        assert prints[name, again.run_id] == prints[name, TRAINING_RUN]
