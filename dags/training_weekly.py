"""Airflow DAG `training_weekly`: segment graph and job embeddings, trained, evaluated, promoted."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import chain

from shortlist_dags.tasks import WEEK, open_run, shortlist_dag, stage, stages

DOC = """
### Models, once a week

Learns the segment graph from hires and the job embeddings from behaviour chains, up to the end of the
interval, evaluates them against popularity on a global time split, and publishes: from then on runs whose
interval ends later take these models.

**Interval**: a week of seven days, midnight to midnight UTC. Manual runs say theirs:
`{"start": "2026-01-05", "end": "2026-01-12"}`. How far back the training reads is in the settings, not here.

**Order**: on Mondays this DAG and `candidates_daily` become due together. This one's tasks go first where
both wait for the slot of the pool; nothing depends on it: a day that opens earlier uses last week's models,
and says so.

**When a task fails**: clear it. Once published, clear from `open_run`, which opens the next attempt.
"""

with shortlist_dag("training_weekly", "0 0 * * 1", WEEK, priority=100, doc=DOC) as dag:
    chain(
        open_run(),
        stages("take_in", ["ingest", "standardize_entities", "sessionize_chains"], timedelta(hours=6)),
        stages("train", ["build_segment_graph", "train_job_embeddings"], timedelta(hours=12)),
        stages("evaluate_and_publish", ["build_index", "evaluate_retrieval", "publish"], timedelta(hours=6)),
        stage("render_report", timedelta(minutes=30)),
    )
