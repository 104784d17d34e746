"""Learn from hires which seeker segments are hired into which job segments.

Reads `hires`, `events`, `seeker_terms` and `job_terms` of before the run's `trained_until`; writes the model
version's slice of `segment_links` and its `models` row. A board with few hires gets a version without links.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.graph.engine import graph_engine
from jobs.graph.hires import NoHires, labelled_pairs
from jobs.graph.learn import SegmentGraph, learn_graph
from jobs.graph.links import Limits
from jobs.graph.quality import Penalty
from jobs.graph.segments import fingerprint
from jobs.intervals import DAY, Dates
from jobs.lake import Lake
from jobs.runs import Run, record_trained
from jobs.serving import known
from jobs.settings import BuildSegmentGraph
from jobs.stage import run_stage, say
from jobs.terms.version import taxonomy_version
from schemas import EVENTS, HIRES, JOB_TERMS, SEEKER_TERMS, SEGMENT_LINKS, Table
from schemas.render import spark_schema

MODEL = "segment_graph"


def main(lake: Lake, run: Run) -> None:
    options, engine = run.settings.build_segment_graph, graph_engine(lake.spark)
    say(f"graph engine: {engine.name}")
    hires = looked_back(lake, run, HIRES, "hired_ts").persist()
    n_hires = hires.count()
    run.record("hires", n_hires)
    graph = SegmentGraph(None)
    if n_hires >= options.min_hires:
        events = looked_back(lake, run, EVENTS, "event_ts")
        seekers, jobs = (known_terms(lake, run, table) for table in (SEEKER_TERMS, JOB_TERMS))
        pairs = labelled_pairs(hires, events, seekers, jobs, run.trained_until, no_hires(options))
        graph = learn_graph(pairs, options.templates, limits(options), penalty(options), engine)
    for metric, label, value in graph.figures:
        run.record(metric, value, label)
    if graph.links is None:
        few = f"they are fewer than min_hires ({options.min_hires})"
        say(f"  the version has no links, from {n_hires} hires: {'none explains them' if graph.figures else few}")
    lake.replace(SEGMENT_LINKS, {"model_version": run.run_id}, version_links(lake, run, graph.links, hires))
    links, read = lake.read(SEGMENT_LINKS, model_version=run.run_id), (HIRES, EVENTS, SEEKER_TERMS, JOB_TERMS)
    record_trained(lake, run, MODEL, path=None, fingerprint=fingerprint(links), read=read)


def looked_back(lake: Lake, run: Run, table: Table, instant: str) -> DataFrame:
    """The rows of before `trained_until`, of the dates that training looks back on."""
    end = run.trained_until.date() + DAY
    first = max(run.history_start, end - run.settings.training.lookback_days * DAY)
    # A history that starts after trained_until has no dates to read.
    rows = known(lake.read_or_empty(table, Dates(min(first, end - DAY), end)), run)
    return rows.where(F.col(instant) < F.lit(run.trained_until))


def known_terms(lake: Lake, run: Run, table: Table) -> DataFrame:
    """The versions of before `trained_until`, however old: one may still hold."""
    rows = lake.read(table, taxonomy_version=taxonomy_version(lake, run))
    return rows.where(F.col("valid_from") < F.lit(run.trained_until))


def no_hires(options: BuildSegmentGraph) -> NoHires:
    return NoHires(
        applied_per_hire=options.applied_per_hire,
        seen_per_hire=options.seen_per_hire,
        random_per_hire=options.random_per_hire,
        within_days=options.no_hire_days,
        market_field=options.market_field,
        min_market=options.min_market,
        seed=options.seed,
    )


def limits(options: BuildSegmentGraph) -> Limits:
    return Limits(
        min_support=options.min_support,
        max_arity=options.max_arity,
        max_terms=options.max_terms,
        max_meta_links=options.max_meta_links,
    )


def penalty(options: BuildSegmentGraph) -> Penalty:
    return Penalty(strength=options.l1_strength, min_quality=options.min_quality)


def version_links(lake: Lake, run: Run, links: DataFrame | None, hires: DataFrame) -> DataFrame:
    """`links` with the version and what its hires are: confirmed, or the proxies in use."""
    if links is None:
        return lake.spark.createDataFrame([], spark_schema(SEGMENT_LINKS))
    sources = sorted(row["source"] for row in hires.select("source").distinct().collect())
    version = F.lit(run.run_id).alias("model_version")
    return links.select(version, "*", F.lit(", ".join(sources)).alias("hire_source"))


if __name__ == "__main__":
    run_stage("build_segment_graph", main)
