"""Airflow DAG `candidates_daily`: the candidates of one day, from the board's tables to the published run."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, chain

from shortlist_dags.tasks import DAY, open_run, shortlist_dag, stage, stages

DOC = """
### Candidates of one day

Takes in the day's events, retrieves and blends each seeker's candidates with the newest models promoted
before the end of the day, and publishes them in one commit: readers see the whole day or, until then, the day
before.

**Interval**: midnight to midnight UTC. Manual runs say theirs: `{"start": "2026-01-05", "end":
"2026-01-06"}`.

**When a task fails**: clear it. Any task of an attempt may run again, any number of times. Once published, an
attempt is never written again: clear from `open_run`, which opens the next attempt.

**Backfill**: `airflow backfill create --dag-id candidates_daily --from-date 2026-01-05 --to-date 2026-01-07`
(three days: the dates are those of the interval starts). A day uses no model that was trained on data after
it.
"""

# Downstream DAGs are scheduled on it; it says that there are new candidates, not where.
CANDIDATES = Asset("shortlist_candidates")

with shortlist_dag("candidates_daily", "0 0 * * *", DAY, priority=10, doc=DOC) as dag:
    chain(
        open_run(),
        stages("take_in", ["ingest", "standardize_entities", "sessionize_chains"], timedelta(hours=6)),
        stages(
            "retrieve_and_publish",
            ["build_index", "retrieve_candidates", "blend_candidates", "publish"],
            timedelta(hours=9),
            outlets=[CANDIDATES],
        ),
        stage("render_report", timedelta(minutes=30)),
    )
