"""The one kind of task: a job of `jobs/`, run by spark-submit, and the arguments that its DAG shares.

Everything that depends on the machine or on the run is a template, rendered by the worker when the task
starts: parsing a DAG file reads no file, no clock, no database and no environment variable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, BaseHook, Context, CronDataIntervalTimetable, Param

from shortlist_dags.interval import RunRefused, describe, iso, run_interval

# An Airflow connection of type `spark`; bin/env sets it from SHORTLIST_SPARK_MASTER.
CONNECTION = "spark_shortlist"

# One slot over all DAGs that write the lake. Backfills pay no heed to a DAG's max_active_runs, and two DAGs
# write the same tables (`events`, `entity_ids`): without it, tasks that replace the same slice run side by
# side, and of two concurrent replacements one fails. It holds one task, not one run: two runs may take turns,
# which the lake allows.
POOL = "shortlist_lake"

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)

# A backfill goes no further back: before any board's first event. Catchup is off, so nothing older runs by
# itself.
FIRST_INTERVAL = datetime(2000, 1, 1)

# Where the lake and the two files of a run are: the run's parameter, else the worker's environment variable.
PLACES = {"lake": "SHORTLIST_LAKE", "settings": "SHORTLIST_SETTINGS", "mapping": "SHORTLIST_MAPPING"}

# What a job needs to find its Spark and its Python, and not Airflow's.
JOB_ENVIRONMENT = {
    "SPARK_HOME": "{{ environment('SPARK_HOME') }}",
    "SPARK_CONF_DIR": "{{ environment('SPARK_CONF_DIR') }}",
    "PYSPARK_PYTHON": "{{ environment('PYSPARK_PYTHON') }}",
    "PYTHONPATH": "{{ environment('SHORTLIST_HOME') }}",
    "PYTHONSAFEPATH": "1",
    "TZ": "UTC",
}
# The operator hands a job the worker's whole environment: Airflow's keys and connections are blanked in it.
AIRFLOW_PREFIXES = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")


def environment(name: str) -> str:
    """Return the worker's environment variable `name`; a missing one raises and says how it is set."""
    value = os.environ.get(name)
    if not value:
        raise RunRefused(f"environment variable {name} is not set for the Airflow worker: start it after `. bin/env`")
    return value


def place(params: Mapping[str, Any], name: str) -> str:
    """Return where the run finds its `name`: lake, settings or mapping."""
    value = params.get(name) or os.environ.get(PLACES[name])
    if not value:
        raise RunRefused(f"parameter `{name}` is not set, nor is {PLACES[name]} in the worker's environment")
    return str(value)


class SparkJob(SparkSubmitOperator):
    """spark-submit of one job.

    An argument whose template renders to several lines is several arguments, and one that renders to nothing
    is none.
    """

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        super().render_template_fields(context, jinja_env)
        rendered = "\n".join(self.application_args or [])
        self.application_args = [line for line in rendered.split("\n") if line]

    def execute(self, context: Context) -> None:
        # The hook takes a connection that it cannot find for `--master yarn`, and says so at INFO only.
        BaseHook.get_connection(self._conn_id)
        secrets = {name: "" for name in sorted(os.environ) if name.startswith(AIRFLOW_PREFIXES)}
        self.env_vars = {**secrets, **(self.env_vars or {})}
        super().execute(context)


def spark_job(
    job: str,
    arguments: Sequence[str],
    timeout: timedelta,
    outlets: Sequence[Any] = (),
    task_id: str | None = None,
) -> SparkJob:
    """Return the task that submits `jobs/<job>.py` with `arguments` (templates); its id is the job's, or `task_id`."""
    return SparkJob(
        task_id=task_id or job,
        application="{{ environment('SHORTLIST_HOME') }}/jobs/" + job + ".py",
        application_args=list(arguments),
        conn_id=CONNECTION,
        # Two runs of one DAG must be told apart in the cluster's list of applications.
        name="{{ dag.dag_id }}." + (task_id or job),
        env_vars=JOB_ENVIRONMENT,
        execution_timeout=timeout,
        outlets=list(outlets),
    )


# What every stage takes: the run's lake, DAG and interval.
STAGE_ARGUMENTS = (
    "--lake",
    "{{ place(params, 'lake') }}",
    "--dag",
    "{{ dag.dag_id }}",
    "--start",
    "{{ interval_start(dag_run, params) }}",
    "--end",
    "{{ interval_end(dag_run, params) }}",
)


def stage(job: str, timeout: timedelta, more: Sequence[str] = (), outlets: Sequence[Any] = ()) -> SparkJob:
    """Return the task of one stage."""
    return spark_job(job, [*STAGE_ARGUMENTS, *more], timeout, outlets)


def stages(task_id: str, jobs: Sequence[str], timeout: timedelta, outlets: Sequence[Any] = ()) -> SparkJob:
    """Return one task for several stages in a row, in one Spark session.

    Starting Spark takes a small board longer than the stages do. Where each takes hours, give each a task of its
    own, `stage(job, timeout)`: they are the same stages, and an attempt may change from one to the other.
    """
    return spark_job("run_stages", [*STAGE_ARGUMENTS, "--stages", ",".join(jobs)], timeout, outlets, task_id)


def open_run() -> SparkJob:
    """Return the first task of a run: it opens an attempt, freezing settings, mapping and model versions."""
    places = ["--settings", "{{ place(params, 'settings') }}", "--mapping", "{{ place(params, 'mapping') }}"]
    models = "{% for model in params.models %}--model\n{{ model }}\n{% endfor %}"
    return stage("open_run", timedelta(minutes=30), [*places, models])


def shortlist_dag(dag_id: str, schedule: str, grain: timedelta, priority: int, doc: str) -> DAG:
    """Return the DAG `dag_id` without tasks: a run covers one `grain`; cron `schedule` is in UTC."""

    def interval_start(dag_run: Any, params: Mapping[str, Any]) -> str:
        return iso(run_interval(dag_run, params, grain)[0])

    def interval_end(dag_run: Any, params: Mapping[str, Any]) -> str:
        return iso(run_interval(dag_run, params, grain)[1])

    return DAG(
        dag_id,
        # A bare cron string makes runs without a data interval.
        schedule=CronDataIntervalTimetable(schedule, timezone="UTC"),
        start_date=FIRST_INTERVAL,
        catchup=False,
        max_active_runs=1,
        doc_md=doc,
        params=run_params(grain),
        user_defined_macros={
            "interval_start": interval_start,
            "interval_end": interval_end,
            "place": place,
            "environment": environment,
        },
        default_args={
            "owner": "shortlist",
            "pool": POOL,
            "priority_weight": priority,
            "weight_rule": "absolute",
            # A stage replaces exactly its slices, so a retry starts clean; what fails thrice is not a passing
            # fault.
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=15),
        },
        tags=["shortlist"],
    )


def run_params(grain: timedelta) -> dict[str, Param]:
    """Return the parameters of a run. All may be left out of a scheduled one."""
    text = ["null", "string"]
    edges = f"Manual runs only: {describe(grain)}, midnight to midnight UTC."
    return {
        "start": Param(None, type=text, description=f"Start of the interval, inclusive, as 2026-01-05. {edges}"),
        "end": Param(None, type=text, description=f"End of the interval, exclusive. {edges}"),
        "lake": Param(None, type=text, description="Folder or object-store prefix of the tables (SHORTLIST_LAKE)."),
        "settings": Param(None, type=text, description="Settings file, TOML (SHORTLIST_SETTINGS)."),
        "mapping": Param(None, type=text, description="Mapping file, TOML (SHORTLIST_MAPPING)."),
        "models": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[^=\\s]+=\\S+$"},
            description="Models asked for by name, as segment_graph=none; else the newest promoted.",
        ),
    }
