"""How every stage starts and ends: command line, session, attempt, metrics, and errors as one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from jobs.errors import ShortlistError
from jobs.intervals import Interval
from jobs.lake import Lake
from jobs.runs import STAGES, Run, open_run, require_open
from schemas import RUN_METRICS, RUNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


Main = Callable[[Lake, Run], Callable[[], None] | None]


def stage_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all stages share."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--dag", required=True, choices=sorted(STAGES), help="the DAG whose attempt this is")
    parser.add_argument("--start", required=True, help="start of the interval, UTC, inclusive: 2026-01-04")
    parser.add_argument("--end", required=True, help="end of the interval, UTC, exclusive: 2026-01-05")
    return parser


def run_stage(name: str, main: Main, arguments: Sequence[str] | None = None) -> None:
    """Run `main` on the open attempt that the command line names, and write what it recorded.

    Exits 1 with one clear line where the stage refuses; other errors keep their traceback.
    """
    given = stage_parser(main.__globals__.get("__doc__")).parse_args(arguments)
    with one_clear_line(name):
        interval = Interval.parse(given.start, given.end)
        spark = start_spark(name)
        lake = Lake(spark, given.lake)
        run = open_run(lake, given.dag, interval)
        run_open_stage(name, main, lake, run)
        spark.stop()


def run_open_stage(name: str, main: Main, lake: Lake, run: Run) -> None:
    """The part of `run_stage` that needs no command line; tests drive stages through it.

    What `main` returns, if anything, is called last: an attempt that it closes takes no figures any more.
    """
    say(f"{name} {run.run_id}")
    started = time.monotonic()
    run.metrics.clear()
    lake.versions.clear()
    guarded = Lake(lake.spark, lake.root, guard=_still_open(lake, run))
    at_last = main(guarded, run)
    write_metrics(name, guarded, run, time.monotonic() - started)
    if at_last is not None:
        at_last()


def _still_open(lake: Lake, run: Run) -> Callable[[], None]:
    """`require_open`, asked again only where `runs` has changed since."""
    checked: list[int] = []

    def guard() -> None:
        version = lake.newest_version(RUNS)
        if checked != [version]:
            require_open(lake, run)
            checked[:] = [version]

    return guard


def write_metrics(stage: str, lake: Lake, run: Run, seconds: float) -> None:
    """Put the stage's figures, its seconds and the table versions it met into `run_metrics`."""
    figures = [*run.metrics, ("seconds", "", seconds)]
    figures += [("table_version", name, float(version)) for name, version in sorted(lake.versions.items())]
    rows = [(run.run_id, stage, metric, label, value) for metric, label, value in figures]
    columns = "run_id string, stage string, metric string, label string, value double"
    frame = lake.spark.createDataFrame(rows, columns)
    lake.replace(RUN_METRICS, {"run_id": run.run_id, "stage": stage}, frame)
    for metric, label, value in run.metrics:
        say(f"  {metric}{f' [{label}]' if label else ''}: {'none' if value is None else f'{value:,.6g}'}")


def start_spark(name: str) -> SparkSession:
    """The session, with what the code relies on set, whatever the cluster's defaults are."""
    os.environ["TZ"] = "UTC"
    time.tzset()  # collect() gives naive datetimes in the process's zone
    from pyspark.sql import SparkSession

    # Spark 4.2 logs every query error once more, as kilobytes of JSON.
    logging.getLogger("SQLQueryContextLogger").disabled = True
    builder = SparkSession.builder.appName(f"shortlist {name}")
    for key, value in SESSION.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


SESSION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # dates are cut from instants all over: the zone must be the design's
    "spark.sql.session.timeZone": "UTC",
    # the driver sees rows through Arrow, never as pickles
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


class one_clear_line:
    """Within the block, our own errors end the process with one line and exit code 1."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ShortlistError):
            fail(f"{self.stage}: {error}")


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def say(text: str) -> None:
    """A progress line."""
    print(text, flush=True)
