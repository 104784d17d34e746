"""Take the board's own tables in: mapping to contract, bad rows to quarantine, the board's ids to int64s.

Rewrites the dates of `seekers`, `jobs`, `events` and `hires` that the run restates, adds to `entity_ids`,
and writes the taxonomy where its content is new. Every input row of the run is accepted or quarantined, and
counted.

`jobs/ingest.py --check --mapping FILE [--end ISO]` reads the whole history and writes nothing: it prints
what each column is filled with, what would be quarantined, and what the board's data is enough for.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial, reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.errors import StageError
from jobs.inputs.check import check_report
from jobs.inputs.columns import CONTRACT
from jobs.inputs.contract import accepted, quarantined
from jobs.inputs.ids import new_ids
from jobs.inputs.judging import Tally, above_share, judge, placed_rows, tally
from jobs.inputs.mapping import Mapping, load_mapping
from jobs.inputs.parsing import check_sql
from jobs.inputs.rows import entity_rows, event_rows, hire_rows, taxonomy_content_version, taxonomy_rows, with_defaults
from jobs.inputs.versions import history_versions, snapshot_versions
from jobs.inputs.window import Window, window_of
from jobs.intervals import DAY, Dates, parse_instant
from jobs.lake import Lake
from jobs.runs import Run
from jobs.stage import one_clear_line, run_stage, say, start_spark
from jobs.terms.version import METRIC, NO_TAXONOMY
from jobs.threads import side_by_side
from schemas import ENTITY_IDS, EVENTS, HIRES, JOBS, QUARANTINE, RUNS, SEEKERS, TAXONOMY
from schemas.render import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ENTITIES = {"seekers": "seeker", "jobs": "job"}
DATED = {"hires": HIRES, "events": EVENTS}


def main(lake: Lake, run: Run) -> None:
    mapping = Mapping.from_dict(run.mapping)
    check_sql(lake.spark, mapping)
    published = [row.asDict() for row in lake.read_or_empty(RUNS).where("event = 'published'").collect()]
    window = window_of(run, run.restated(EVENTS), published)
    judged, tallies = judge_all(lake, mapping, window)
    record(run, tallies)
    write_quarantine(lake, run, {t: rows for t, rows in judged.items() if tallies[t].quarantined})
    refuse_too_many(mapping, tallies)
    refuse_nothing(mapping, window, tallies)
    good = {table: accepted(rows) for table, rows in judged.items()}
    ids = stored_ids(lake, good)
    side_by_side(
        lambda: write_taxonomy(lake, run, good.get("taxonomy")),
        *[partial(write_entities, lake, mapping, window, t, good.get(t), judged.get(t), ids) for t in ENTITIES],
        *[partial(write_dated, lake, mapping, window, t, good.get(t), ids) for t in DATED],
    )


def judge_all(lake: Lake, mapping: Mapping, window: Window) -> tuple[dict[str, DataFrame], dict[str, Tally]]:
    """The run's rows of every mapped table, judged and kept, and their counts.

    A local checkpoint keeps them: Spark would compute a cached table anew after each write to a table of the lake
    that it was made of, and a source that has changed meanwhile would then give other rows than were counted.
    """
    judged: dict[str, DataFrame] = {}
    tallies: dict[str, Tally] = {}

    def judge_one(table: str) -> tuple[DataFrame, Tally]:
        jobs = known_jobs(lake, mapping, window, judged.get("jobs")) if table in DATED else None
        stored = stored_hires(lake, window) if table == "hires" else None
        placed = placed_rows(lake.spark, mapping, table, window)
        rows = judge(placed, table, window, jobs, stored).localCheckpoint()
        return rows, tally(rows, placed, table)

    # hires and events are of known jobs, so the jobs come first
    for together in ((*ENTITIES, "taxonomy"), DATED):
        tables = [t for t in together if mapping.of(t) and not is_past_snapshot(mapping, window, t)]
        for table, (rows, counts) in zip(tables, side_by_side(*[partial(judge_one, t) for t in tables]), strict=True):
            judged[table], tallies[table] = rows, counts
            say(f"  {table}: {counts.rows_in:,} rows in, {counts.accepted:,} accepted")
    return judged, tallies


def is_past_snapshot(mapping: Mapping, window: Window, table: str) -> bool:
    """True where a newer run is published: what the table showed on an older day is not known any more."""
    past = mapping.kind_of(table) == "snapshot" and window.is_backfill
    if past:
        say(f"  {table}: a snapshot, and a newer run is published: the versions stay as they are")
    return past


def known_jobs(lake: Lake, mapping: Mapping, window: Window, jobs: DataFrame | None) -> DataFrame:
    """The board's ids of the jobs that the lake holds by the interval's end, those of this run included."""
    keeps_all = mapping.kind_of("jobs") == "snapshot"
    until = window.interval.dates.end if keeps_all else window.dates.first
    known = lake.read_or_empty(JOBS).where(F.col("date") < F.lit(until)).select(F.col("external_id").alias("job_id"))
    if jobs is not None:
        known = known.unionByName(accepted(jobs).select("job_id"))
    return known.distinct()


def stored_hires(lake: Lake, window: Window) -> DataFrame | None:
    """The board's ids of the hires of earlier dates, which this run does not write."""
    if window.is_history or not lake.exists(HIRES):
        return None
    hires = lake.read(HIRES, Dates(window.history_start, window.dates.first)).select("seeker_id", "job_id")
    ids = lake.read(ENTITY_IDS)
    for kind in ("seeker", "job"):
        own = ids.where(F.col("kind") == kind).select(F.col("entity_id").alias(f"{kind}_id"), "external_id")
        hires = hires.join(own, f"{kind}_id").drop(f"{kind}_id").withColumnRenamed("external_id", f"{kind}_id")
    return hires.distinct()


def record(run: Run, tallies: dict[str, Tally]) -> None:
    for table, counts in tallies.items():
        run.record("rows_in", counts.rows_in, table)
        run.record("rows_accepted", counts.accepted, table)
        run.record("rows_quarantined", sum(counts.quarantined.values()), table)
        for reason, rows in sorted(counts.quarantined.items()):
            run.record("rows_quarantined_for", rows, f"{table}: {reason}")
        for scope, rows in sorted(counts.out_of_range.items()):
            run.record("rows_out_of_range", rows, f"{table}: {scope}")
        for column in CONTRACT[table].columns:
            run.record("coverage", counts.coverage(column), f"{table}.{column}")


def write_quarantine(lake: Lake, run: Run, judged: dict[str, DataFrame]) -> None:
    """The refused rows of the tables that have some, in the place of an earlier try's."""
    refused = [quarantined(rows, CONTRACT[table], run.run_id) for table, rows in judged.items()]
    none = lake.spark.createDataFrame([], spark_schema(QUARANTINE))
    lake.replace(QUARANTINE, {"run_id": run.run_id}, reduce(lambda a, b: a.unionByName(b), refused, none))


def refuse_too_many(mapping: Mapping, tallies: dict[str, Tally]) -> None:
    refusal = above_share(tallies, mapping.board.max_quarantined_share)
    if refusal is not None:
        raise StageError(f"{refusal}; the rows are in the table quarantine")


def refuse_nothing(mapping: Mapping, window: Window, tallies: dict[str, Tally]) -> None:
    """StageError for a history without jobs, and for an empty snapshot: it would close every job."""
    if window.is_history and "jobs" in tallies and not tallies["jobs"].accepted:
        raise StageError("jobs: no row is accepted: expected the board's jobs, there is nothing to retrieve")
    for table in ENTITIES:
        if table in tallies and mapping.kind_of(table) == "snapshot" and not tallies[table].accepted:
            raise StageError(f"{table}: the snapshot is empty: expected the board's whole table")


def stored_ids(lake: Lake, good: dict[str, DataFrame]) -> DataFrame:
    """The table of ids, after those that are new were added to it."""
    named = [(t, kind) for t in good for kind in ("seeker", "job") if f"{kind}_id" in CONTRACT[t].columns]
    # events and hires are of known jobs: those have ids
    named = [(t, kind) for t, kind in named if kind == "seeker" or t == "jobs"]
    externals = [good[t].select(F.lit(k).alias("kind"), F.col(f"{k}_id").alias("external_id")) for t, k in named]
    if externals:
        stored = lake.read_or_empty(ENTITY_IDS)
        new = new_ids(reduce(lambda a, b: a.unionByName(b), externals), stored)
        lake.create(ENTITY_IDS)
        if not new.isEmpty():
            lake.merge_new(ENTITY_IDS, new)
    return lake.read_or_empty(ENTITY_IDS)


def write_taxonomy(lake: Lake, run: Run, rows: DataFrame | None) -> None:
    """Write the taxonomy where the lake does not hold that content yet; record which version is the run's."""
    lake.create(TAXONOMY)
    if rows is None:
        run.record(METRIC, 0, NO_TAXONOMY)
        return
    version = taxonomy_content_version(rows)
    run.record(METRIC, float(version.partition("-")[0]), version)
    if lake.read(TAXONOMY, taxonomy_version=version).isEmpty():
        lake.replace(TAXONOMY, {"taxonomy_version": version}, taxonomy_rows(rows, version))


def write_entities(
    lake: Lake,
    mapping: Mapping,
    window: Window,
    table: str,
    good: DataFrame | None,
    judged: DataFrame | None,
    ids: DataFrame,
) -> None:
    """The versions of the run's dates; of a snapshot, those of its last date."""
    schema, entity = SEEKERS if table == "seekers" else JOBS, ENTITIES[table]
    lake.create(schema)
    if good is None or judged is None:
        return
    good = with_defaults(good)
    if mapping.kind_of(table) == "history":
        lake.replace(schema, {"date": window.dates}, entity_rows(history_versions(good), ids, entity))
        return
    last = window.interval.dates.last
    before = lake.read(schema).where(F.col("date") < F.lit(last))
    is_first = before.isEmpty()
    before = before.withColumn(f"{entity}_id", F.col("external_id"))
    seen = judged.select(f"{entity}_id").where(F.col(f"{entity}_id").isNotNull()).distinct()
    versions = snapshot_versions(good, seen, before, is_first, entity, window)
    dates = Dates(window.history_start if is_first else last, last + DAY)
    lake.replace(schema, {"date": dates}, entity_rows(versions, ids, entity))


def write_dated(
    lake: Lake, mapping: Mapping, window: Window, table: str, good: DataFrame | None, ids: DataFrame
) -> None:
    """Hires or events of the run's dates; an empty day is one without rows."""
    lake.create(DATED[table])
    if good is None:
        return
    stands_for = {source.source: source.stands_for for source in mapping.of("hires") if source.stands_for}
    rows = event_rows(good, ids) if table == "events" else hire_rows(good, ids, stands_for)
    lake.replace(DATED[table], {"date": window.dates}, rows)


def check(arguments: list[str]) -> None:
    """Print what an ingest of the whole history would find."""
    parser = argparse.ArgumentParser(description="Check a mapping against its inputs; write nothing.")
    parser.add_argument("--check", action="store_true", required=True)
    parser.add_argument("--mapping", required=True, help="TOML file that maps the board's tables to the contract")
    parser.add_argument("--end", default="9999-01-01", help="exclusive end of the history, UTC; default: none")
    given = parser.parse_args(arguments)
    with one_clear_line("ingest --check"):
        mapping = load_mapping(given.mapping, os.environ)
        say(check_report(start_spark("ingest --check"), mapping, parse_instant(given.end), given.mapping))


if __name__ == "__main__":
    if "--check" in sys.argv:
        check(sys.argv[1:])
    else:
        run_stage("ingest", main)
