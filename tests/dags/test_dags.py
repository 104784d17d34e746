"""The DAG files: they parse without looking around, and say what the schedule needs."""

from __future__ import annotations

import ast
import json
import runpy
import sys
from datetime import timedelta

import pytest

GRAINS = {
    "candidates_daily": timedelta(days=1),
    "training_weekly": timedelta(weeks=1),
    "maintenance_weekly": timedelta(weeks=1),
}
AFTER = {
    "candidates_daily": {
        "open_run": [],
        "take_in": ["open_run"],
        "retrieve_and_publish": ["take_in"],
        "render_report": ["retrieve_and_publish"],
    },
    "training_weekly": {
        "open_run": [],
        "take_in": ["open_run"],
        "train": ["take_in"],
        "evaluate_and_publish": ["train"],
        "render_report": ["evaluate_and_publish"],
    },
    "maintenance_weekly": {"maintain_lake": []},
}


def test_all_dags_parse_without_errors_or_warnings(bag):
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert set(bag.dags) == set(GRAINS)


@pytest.mark.parametrize("dag_id", AFTER)
def test_tasks_run_in_this_order(bag, dag_id):
    tasks = bag.dags[dag_id].task_dict
    assert {name: sorted(task.upstream_task_ids) for name, task in tasks.items()} == AFTER[dag_id]


@pytest.mark.parametrize("dag_id", AFTER)
def test_every_task_is_retried_bounded_and_pooled(bag, dag_id):
    for task in bag.dags[dag_id].tasks:
        assert task.retries == 2
        assert task.retry_delay == timedelta(minutes=1)
        assert task.retry_exponential_backoff
        assert task.execution_timeout is not None
        assert task.execution_timeout <= timedelta(hours=12)
        assert task.pool == "shortlist_lake"
        assert task._conn_id == "spark_shortlist"


@pytest.mark.parametrize("dag_id", AFTER)
def test_one_run_at_a_time_and_none_for_the_past(bag, dag_id):
    dag = bag.dags[dag_id]
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.doc_md


@pytest.mark.parametrize(("dag_id", "grain"), GRAINS.items())
def test_the_schedule_gives_intervals_that_the_tasks_accept(bag, dag_id, grain):
    from airflow.sdk import timezone
    from airflow.serialization.encoders import coerce_to_core_timetable

    from shortlist_dags.interval import checked

    timetable = coerce_to_core_timetable(bag.dags[dag_id].timetable)
    # A Wednesday noon: neither a day's edge nor a week's.
    interval = timetable.infer_manual_data_interval(run_after=timezone.datetime(2026, 1, 7, 12))
    assert checked(interval.start, interval.end, grain) == (interval.start, interval.end)


def test_publishing_candidates_tells_downstream_dags(bag):
    dag = bag.dags["candidates_daily"]
    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"retrieve_and_publish": ["shortlist_candidates"]}


@pytest.mark.parametrize("dag_id", AFTER)
def test_a_dag_survives_the_scheduler_database(bag, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    stored = json.loads(json.dumps(DagSerialization.serialize_dag(bag.dags[dag_id])))
    loaded = DagSerialization.deserialize_dag(stored)
    upstream = {task.task_id: sorted(task.upstream_task_ids) for task in loaded.tasks}
    assert upstream == AFTER[dag_id]
    assert {task.pool for task in loaded.tasks} == {"shortlist_lake"}


def test_parsing_reads_no_environment(parse, monkeypatch):
    from airflow.serialization.serialized_objects import DagSerialization

    def stored() -> dict:
        dags = parse().dags
        return {dag_id: DagSerialization.serialize_dag(dag) for dag_id, dag in dags.items()}

    before = stored()
    for name in ("SHORTLIST_HOME", "SHORTLIST_LAKE", "SHORTLIST_SETTINGS", "SPARK_HOME", "PYSPARK_PYTHON"):
        monkeypatch.setenv(name, "/elsewhere")
    assert stored() == before


# Set while a DAG file runs: an audit hook, once installed, stays for the life of the process.
_seen: list[str] | None = None


def _audit(event: str, arguments: tuple) -> None:
    if _seen is None:
        return
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        _seen.append(f"open {arguments[0]}")
    elif event.startswith(("socket.", "subprocess.", "sqlite3.", "os.system", "urllib.")):
        _seen.append(event)


@pytest.mark.parametrize("dag_id", AFTER)
def test_parsing_touches_no_file_network_or_database(bag, root, dag_id):
    global _seen
    sys.addaudithook(_audit)
    _seen = []
    try:
        runpy.run_path(str(root / "dags" / f"{dag_id}.py"))
        seen = _seen
    finally:
        _seen = None
    assert seen == []


def test_the_audit_sees_what_a_dag_file_must_not_do(tmp_path):
    global _seen
    sys.addaudithook(_audit)
    _seen = []
    try:
        (tmp_path / "settings.toml").write_text("")
        seen = _seen
    finally:
        _seen = None
    assert seen


def test_dag_files_name_no_clock_and_no_variable(root):
    banned = {"now", "utcnow", "today", "time", "monotonic", "Variable", "getenv"}
    for path in sorted((root / "dags").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "attr", getattr(node, "id", None))
            assert name not in banned, f"{path}:{node.lineno} names {name}"
