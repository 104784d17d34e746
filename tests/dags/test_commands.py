"""The rendered spark-submit commands of the tasks, against tests/golden. REWRITE_GOLDENS=1 rewrites those."""

from __future__ import annotations

import copy
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

LOCAL = '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}'
MACHINE = {
    "SHORTLIST_HOME": "/srv/shortlist",
    "SHORTLIST_LAKE": "s3a://bucket/lake",
    "SHORTLIST_SETTINGS": "/etc/shortlist/settings.toml",
    "SHORTLIST_MAPPING": "/etc/shortlist/mapping.toml",
    "SPARK_HOME": "/opt/spark",
    "SPARK_CONF_DIR": "/etc/spark",
    "PYSPARK_PYTHON": "/opt/venv/bin/python",
    "AIRFLOW_CONN_SPARK_SHORTLIST": LOCAL,
}
INTERVALS = {
    "candidates_daily": (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)),
    "training_weekly": (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)),
    "maintenance_weekly": (datetime(2026, 1, 6, tzinfo=UTC), datetime(2026, 1, 13, tzinfo=UTC)),
}


@pytest.fixture
def machine(monkeypatch):
    for name, value in MACHINE.items():
        monkeypatch.setenv(name, value)


def rendered(dag, task_id: str, run_type: str = "scheduled", **params):
    """The task as the worker has it when it starts."""
    task = copy.deepcopy(dag.task_dict[task_id])
    start, end = INTERVALS[dag.dag_id]
    dag_run = SimpleNamespace(run_type=run_type, data_interval_start=start, data_interval_end=end)
    values = {**dag.params.dump(), **params}
    task.render_template_fields({"dag": dag, "dag_run": dag_run, "params": values})
    return task


def command(task) -> str:
    return shlex.join(task._get_hook()._build_spark_submit_command(task.application))


@pytest.mark.parametrize("dag_id", INTERVALS)
def test_rendered_commands_are_the_golden_ones(bag, root, machine, dag_id):
    tasks = [rendered(bag.dags[dag_id], task.task_id) for task in bag.dags[dag_id].topological_sort()]
    environments = {tuple(sorted(task.env_vars.items())) for task in tasks}
    assert len(environments) == 1, "the tasks differ in their environment"
    lines = [f"{name}={value}" for name, value in environments.pop()]
    text = "\n".join([*lines, *(command(task) for task in tasks), ""])
    check_golden(root / "tests/golden" / f"{dag_id}.txt", text)


def check_golden(path: Path, text: str) -> None:
    if os.environ.get("REWRITE_GOLDENS"):
        path.write_text(text)
        pytest.skip(f"{path.name} was rewritten")
    assert text == path.read_text(), f"REWRITE_GOLDENS=1 rewrites {path.name}"


def test_a_manual_run_takes_its_parameters(bag, machine):
    given = {"start": "2026-01-07", "end": "2026-01-08", "lake": "/data/lake"}
    line = command(rendered(bag.dags["candidates_daily"], "take_in", "manual", **given))
    assert "--lake /data/lake --dag candidates_daily --start 2026-01-07T00:00:00Z --end 2026-01-08T00:00:00Z" in line


def test_models_asked_for_by_name_become_arguments(bag, machine):
    task = rendered(bag.dags["candidates_daily"], "open_run", models=["segment_graph=none", "job_embeddings=v1"])
    assert task.application_args[-4:] == ["--model", "segment_graph=none", "--model", "job_embeddings=v1"]


def test_an_argument_keeps_its_spaces(bag, machine):
    task = rendered(bag.dags["candidates_daily"], "open_run", lake="/my data/lake")
    assert task.application_args[:2] == ["--lake", "/my data/lake"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("SHORTLIST_LAKE", "parameter `lake` is not set, nor is SHORTLIST_LAKE"),
        ("SPARK_HOME", r"SPARK_HOME is not set for the Airflow worker: start it after `\. bin/env`"),
    ],
)
def test_what_the_worker_lacks_is_said_before_spark_starts(bag, machine, monkeypatch, missing, message):
    monkeypatch.delenv(missing)
    with pytest.raises(Exception, match=message):
        rendered(bag.dags["candidates_daily"], "take_in")


@pytest.fixture
def submitted(monkeypatch) -> list:
    """The hooks that would have run spark-submit."""
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    hooks: list[SparkSubmitHook] = []
    monkeypatch.setattr(SparkSubmitHook, "submit", lambda hook, application: hooks.append(hook))
    return hooks


def test_a_job_does_not_see_airflows_secrets(bag, machine, monkeypatch, submitted):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a key")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://user:password@host/db")
    rendered(bag.dags["candidates_daily"], "take_in").execute({})
    environment = {**os.environ, **submitted[0]._env_vars}
    seen = {name for name, value in environment.items() if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_")) and value}
    assert seen == set()
    assert environment["SPARK_HOME"] == "/opt/spark"


def test_a_missing_connection_is_an_error_and_not_yarn(bag, machine, monkeypatch, submitted):
    from airflow.sdk.exceptions import AirflowNotFoundException

    monkeypatch.delenv("AIRFLOW_CONN_SPARK_SHORTLIST")
    with pytest.raises(AirflowNotFoundException, match="spark_shortlist"):
        rendered(bag.dags["candidates_daily"], "take_in").execute({})
    assert submitted == []
