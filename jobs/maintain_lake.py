"""Keep the lake small: drop what no reader needs any more, compact small files, remove replaced ones.

Needs no attempt of its own. Of each DAG the last `keep_runs` published runs keep their candidates, channel
candidates and artifacts, and so does every open attempt; so do the artifacts of model versions that are
promoted and not withdrawn, or that a run which stays was opened with. Vectors, nodes and neighbours stay for the
dates of the runs that stay. Runs whose interval ends after `--end` are left alone, and metrics, models and links
always stay. Replaced files go `keep_days` days after they were replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jobs.artifacts import opened_store
from jobs.errors import StageError
from jobs.intervals import Interval, parse_instant
from jobs.lake import ARTIFACTS, Lake
from jobs.runs import NO_MODEL
from jobs.settings import MaintainLake, Settings
from jobs.stage import one_clear_line, say, start_spark
from schemas import AUDIENCES, CANDIDATES, CHANNEL_CANDIDATES, MODELS, RUNS, TABLES, Table
from schemas.render import spark_schema

if TYPE_CHECKING:
    from datetime import date, datetime

    from pyspark.sql import DataFrame

Rows = Iterable[Mapping[str, Any]]

RETAINED = (CHANNEL_CANDIDATES, CANDIDATES, AUDIENCES)
# What a run made of a model for its date, for itself alone.
OF_A_DATE = tuple(table for table in TABLES if table.partition == ("model_version", "date"))


def main(lake: Lake, end: datetime, options: MaintainLake, *, dry_run: bool) -> None:
    drop_expired(lake, end, options.keep_runs, dry_run=dry_run)
    for table in TABLES:
        if lake.exists(table):
            what = size_of(lake, table) if dry_run else compacted(lake, table, options.keep_days)
            say(f"  {table.name}: {what}")


def drop_expired(lake: Lake, end: datetime, keep_runs: int, *, dry_run: bool) -> None:
    """Delete the rows and files of runs that have expired; see the module's head."""
    if not lake.exists(RUNS):
        raise StageError(f"there is no lake at {lake.root}, or no run was ever opened in it")
    runs = collected(runs_until(lake, end))
    spent, unused = expired(runs, collected(model_events(lake)), keep_runs)
    for table in RETAINED:
        if lake.exists(table):
            drop_slices(lake, table, ("run_id",), spent, dry_run)
    dates = spent_dates(runs, spent)
    for table in OF_A_DATE:
        if lake.exists(table):
            drop_slices(lake, table, table.partition, dates, dry_run)
    drop_artifacts(lake, unused, dry_run)


def compacted(lake: Lake, table: Table, keep_days: int) -> str:
    """Compact the table, remove its replaced files, and say what that did."""
    before = size_of(lake, table)
    lake.optimize(table)
    removed = lake.vacuum(table, keep_days)
    return f"{before} -> {size_of(lake, table)}; {removed:,} replaced files removed"


def size_of(lake: Lake, table: Table) -> str:
    files, size = lake.size(table)
    return f"{files:,} files, {size:,} bytes"


def runs_until(lake: Lake, end: datetime) -> DataFrame:
    runs = lake.read(RUNS).select("dag", "run_id", "interval_start", "interval_end", "attempt", "event", "models")
    return runs.where(runs.interval_end <= end)


def model_events(lake: Lake) -> DataFrame:
    return lake.read_or_empty(MODELS).select("model_name", "model_version", "event")


def collected(events: DataFrame) -> list[dict[str, Any]]:
    """Rows of the two small tables, one an event of a run or a model version."""
    return [row.asDict() for row in events.collect()]


def expired(runs: Rows, models: Rows, keep_runs: int) -> tuple[set[str], set[str]]:
    """(run ids whose candidates may go, those whose artifacts may go); the second are among the first."""
    runs = list(runs)
    events: dict[str, set[str]] = {}
    newest: dict[Any, int] = {}
    for run in runs:
        events.setdefault(run["run_id"], set()).add(run["event"])
        interval = (run["dag"], run["interval_start"], run["interval_end"])
        newest[interval] = max(newest.get(interval, 0), run["attempt"])
    is_newest = {r["run_id"]: newest[r["dag"], r["interval_start"], r["interval_end"]] == r["attempt"] for r in runs}
    stays = {run_id for run_id, seen in events.items() if seen == {"opened"} and is_newest[run_id]}
    for dag in {run["dag"] for run in runs}:
        published = [r for r in runs if r["dag"] == dag and r["event"] == "published"]
        published.sort(key=lambda r: (r["interval_end"], r["attempt"]), reverse=True)
        stays |= {r["run_id"] for r in published[:keep_runs]}
    spent = set(events) - stays
    return spent, spent - in_use(models) - opened_with(r for r in runs if r["run_id"] in stays)


def spent_dates(runs: Rows, spent: set[str]) -> set[date]:
    """The last dates of the runs that have expired, without those of runs that stay."""
    dates: dict[bool, set[date]] = {True: set(), False: set()}
    for run in runs:
        dates[run["run_id"] in spent].add(Interval(run["interval_start"], run["interval_end"]).dates.last)
    return dates[True] - dates[False]


def in_use(models: Rows) -> set[str]:
    """Versions that some later run may be opened with: promoted and not withdrawn."""
    named: dict[str, set[tuple[str, str]]] = {"trained": set(), "promoted": set(), "withdrawn": set()}
    for event in models:
        named[event["event"]].add((event["model_name"], event["model_version"]))
    return {version for _, version in named["promoted"] - named["withdrawn"]}


def opened_with(runs: Rows) -> set[str]:
    return {version for run in runs for version in (run["models"] or {}).values()} - {NO_MODEL}


def drop_slices(lake: Lake, table: Table, by: tuple[str, ...], spent: Collection[Any], dry_run: bool) -> None:
    """Delete the slices by those columns of which the last is among `spent`, one commit each."""
    present = {tuple(row) for row in lake.read(table).select(*by).distinct().collect()}
    for values in sorted(values for values in present if values[-1] in spent):
        say(f"  {table.name}: {'would drop' if dry_run else 'drops'} {' '.join(map(str, values))}")
        if not dry_run:
            empty = lake.spark.createDataFrame([], spark_schema(table))
            lake.replace(table, dict(zip(by, values, strict=True)), empty)


def drop_artifacts(lake: Lake, unused: set[str], dry_run: bool) -> None:
    """Delete the runs' folders of files; folders of unknown names are nobody's to delete."""
    from pyarrow import fs

    store, root = opened_store(lake.root)
    folders = store.get_file_info(fs.FileSelector(f"{root}/{ARTIFACTS}", allow_not_found=True))
    for folder in sorted(folders, key=lambda info: info.base_name):
        if folder.type == fs.FileType.Directory and folder.base_name in unused:
            say(f"  {ARTIFACTS}: {'would remove' if dry_run else 'removes'} {folder.base_name}")
            if not dry_run:
                store.delete_dir(folder.path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--end", required=True, help="instant, UTC: runs whose interval ends later are left alone")
    parser.add_argument("--settings", help="TOML file of settings; its [maintain_lake] counts")
    parser.add_argument("--dry-run", action="store_true", help="say what would be dropped and change nothing")
    return parser.parse_args()


if __name__ == "__main__":
    given = parse_arguments()
    with one_clear_line("maintain_lake"):
        end = parse_instant(given.end)
        settings = Settings.load(given.settings) if given.settings else Settings()
        spark = start_spark("maintain_lake")
        main(Lake(spark, given.lake), end, settings.maintain_lake, dry_run=given.dry_run)
        spark.stop()
