"""Runs done again: a day, an older day after newer ones, a training. Each gives what it gave, and changes nothing newer."""

from __future__ import annotations

import pytest

from schemas import BEHAVIOR_CHAINS, CANDIDATES, EVENTS, JOB_TERMS, JOBS, MODELS, SEEKERS
from tests.e2e.conftest import DAILY, FIRST, RUN_1, RUN_2, SECOND, TRAINED, TRAINING, TRAINING_RUN, content

pytestmark = pytest.mark.timeout(2400)


def test_a_day_run_again_gives_the_same(pipeline):
    """The whole DAG again: a new attempt, the same tables and candidates."""
    lake = pipeline.lake
    tables = (EVENTS, SEEKERS, JOBS, JOB_TERMS, BEHAVIOR_CHAINS)
    before = {table.name: content(lake.read(table)) for table in tables}
    first = content(lake.read(CANDIDATES, run_id=RUN_2), "run_id")
    again = pipeline.run(DAILY, SECOND)
    assert again.attempt == 2
    assert content(lake.read(CANDIDATES, run_id=again.run_id), "run_id") == first
    assert {table.name: content(lake.read(table)) for table in tables} == before
    assert content(lake.read(CANDIDATES, run_id=RUN_2), "run_id") == first  # the published attempt was not touched


def test_an_older_day_after_a_newer_one_gives_its_own_and_changes_nothing_newer(pipeline):
    """The newer runs have taken in late events of days that the older one looks back on: it had not seen them."""
    lake = pipeline.lake
    before, seen = content(lake.current(CANDIDATES)), content(lake.read(EVENTS))
    late = lake.read(EVENTS).where(f"event_ts < '{FIRST[1]}' AND arrived_ts >= '{FIRST[1]}'")
    assert not late.isEmpty()
    older = pipeline.run(DAILY, FIRST)
    assert older.attempt == 2
    assert content(lake.current(CANDIDATES)) == before
    assert content(lake.read(EVENTS)) == seen
    own = content(lake.read(CANDIDATES, run_id=RUN_1), "run_id")
    assert content(lake.read(CANDIDATES, run_id=older.run_id), "run_id") == own


def test_training_again_leaves_the_same_model(pipeline):
    again = pipeline.open(TRAINING, TRAINED)
    for name in ("ingest", "build_segment_graph", "train_job_embeddings"):
        pipeline.stage(name, TRAINING, TRAINED)
    rows = [row.asDict() for row in pipeline.lake.read(MODELS).where("event = 'trained'").collect()]
    prints = {(row["model_name"], row["model_version"]): row["fingerprint"] for row in rows}
    for name in ("segment_graph", "job_embeddings"):
        assert prints[name, again.run_id] == prints[name, TRAINING_RUN]
