"""Airflow DAG `maintenance_weekly`: compaction, vacuum and retention of the lake."""

from __future__ import annotations

from datetime import timedelta

from shortlist_dags.tasks import WEEK, shortlist_dag, spark_job

DOC = """
### The lake's upkeep, once a week

Compacts small files, drops runs and files past their retention, and changes nothing that a reader of a
current table sees. What is past retention is counted from the end of the interval, not from the clock, so a
run repeated does the same.

**Interval**: a week of seven days, midnight to midnight UTC. Manual runs say theirs:
`{"start": "2026-01-06", "end": "2026-01-13"}`.

**Order**: Tuesdays, a day after the training, whose tables it compacts.
"""

with shortlist_dag("maintenance_weekly", "0 0 * * 2", WEEK, priority=1, doc=DOC) as dag:
    arguments = ["--lake", "{{ place(params, 'lake') }}", "--settings", "{{ place(params, 'settings') }}"]
    arguments += ["--end", "{{ interval_end(dag_run, params) }}"]
    spark_job("maintain_lake", arguments, timedelta(hours=6))
