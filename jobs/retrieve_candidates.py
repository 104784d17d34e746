"""Ask every channel for candidates for every active seeker.

Reads the run's index, `behavior_chains`, `seeker_terms` and `segment_links`; writes `seeker_nodes` of the
run's date, the queries (a file of the run) and `channel_candidates`. A sample of the seekers is searched again
by brute force, and the recall measured so is recorded.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.build_index import chain_actions
from jobs.channels.check import checked_recall
from jobs.channels.jobs_open import latest_versions
from jobs.channels.queries import active_cases, build_queries, quality_bands
from jobs.channels.search import ORGANIC, PROMOTED, RESULT_DDL, SearchPlan, search_batches
from jobs.graph.nodes import assign_nodes
from jobs.intervals import DAY, Dates
from jobs.lake import Lake
from jobs.runs import TRAINING, Run
from jobs.stage import run_stage, say
from jobs.terms.version import taxonomy_version
from schemas import CHANNEL_CANDIDATES, EVENTS, JOB_TERMS, SEEKER_NODES, SEEKER_TERMS, SEGMENT_LINKS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main(lake: Lake, run: Run) -> None:
    actions = chain_actions(lake, run)
    cases = active_cases(actions, F.lit(run.interval.end).alias("as_of_ts"))
    queries = run_queries(lake, run, cases, actions)
    path = run.artifact("queries")
    queries.repartition(run.settings.retrieve_candidates.partitions, *SHARED_FILTERS).write.mode("overwrite").parquet(
        path
    )
    queries = lake.spark.read.parquet(path)
    plan = search_plan(run)
    found = search(queries, plan).withColumnRenamed("query_id", "seeker_id")
    lake.replace(CHANNEL_CANDIDATES, {"run_id": run.run_id}, found.withColumn("run_id", F.lit(run.run_id)))
    record_funnel(run, lake.read(CHANNEL_CANDIDATES, run_id=run.run_id))
    n_seekers = queries.count()
    run.record("seekers", n_seekers)
    if not n_seekers:
        say(f"  no seeker was active in the {run.settings.serving.lookback_days} days before {run.interval.end}")
    run.record("checked_recall", checked_recall(queries, plan, run.settings.retrieve_candidates.checked_seekers))


# Seekers who share filters meet in a partition, so that the index evaluates a filter once for many of them.
SHARED_FILTERS = ("terms.region", "terms.occupation")


def run_queries(
    lake: Lake, run: Run, cases: DataFrame, actions: DataFrame, excluded_actions: list[str] | None = None
) -> DataFrame:
    """The queries of these cases under the run's models; see `build_queries`."""
    options = run.settings.retrieve_candidates
    taxonomy = taxonomy_version(lake, run)
    seeker_terms = lake.read_or_empty(SEEKER_TERMS, taxonomy_version=taxonomy)
    nodes, bands = seeker_nodes(lake, run, latest_versions(seeker_terms, "seeker_id", first_case(run)))
    return build_queries(
        cases,
        actions=actions.unionByName(dismissals(lake, run)),
        seeker_terms=seeker_terms,
        job_terms=latest_versions(lake.read(JOB_TERMS, taxonomy_version=taxonomy), "job_id", run.interval.end),
        seeker_nodes=nodes,
        node_bands=bands,
        n_bands=options.quality_bands,
        excluded_actions=excluded_actions or options.excluded_actions,
        max_actions=options.max_actions,
        max_terms=options.max_terms,
    )


def first_case(run: Run) -> datetime:
    """Profiles behind node ids are as of this instant: a training run's are those of before its held-out days."""
    return run.trained_until if run.dag == TRAINING else run.interval.end


def dismissals(lake: Lake, run: Run) -> DataFrame:
    """Actions that chains leave out but that take a job from a seeker's candidates."""
    first = run.interval.dates.first - run.settings.serving.lookback_days * DAY
    events = lake.read(EVENTS, Dates(first, run.interval.dates.end))
    return events.where("action = 'dismiss'").select("seeker_id", "job_id", "action", "event_ts")


def seeker_nodes(lake: Lake, run: Run, terms: DataFrame) -> tuple[DataFrame, DataFrame]:
    """(seeker_id, nodes), kept in `seeker_nodes`, and the links' quality bands; both empty without a graph."""
    version = run.run_id if run.dag == TRAINING else run.model("segment_graph")
    if version is None:
        spark = lake.spark
        return (
            spark.createDataFrame([], "seeker_id bigint, nodes array<int>"),
            spark.createDataFrame([], "node_id int, band int"),
        )
    links = lake.read(SEGMENT_LINKS, model_version=version)
    nodes = assign_nodes(terms, links, "seeker").select(
        F.lit(version).alias("model_version"), F.lit(run.date).alias("date"), "seeker_id", "nodes"
    )
    lake.replace(SEEKER_NODES, {"model_version": version, "date": run.date}, nodes)
    written = lake.read(SEEKER_NODES, Dates(run.date, run.date + DAY), model_version=version)
    return written, quality_bands(links, run.settings.retrieve_candidates.quality_bands)


def search_plan(
    run: Run, *, at_its_time: bool = False, k: int | None = None, flows: tuple[str, ...] = (ORGANIC, PROMOTED)
) -> SearchPlan:
    """`at_its_time`: queries are of different instants, each over the jobs open at its own."""
    options = run.settings.retrieve_candidates
    return SearchPlan(
        inventory=run.artifact("index"),
        k=k or options.k,
        half_life_actions=options.half_life_actions,
        memory_budget=options.memory_mb << 20,
        device=options.device,
        at_its_time=at_its_time,
        flows=flows,
    )


def search(queries: DataFrame, plan: SearchPlan) -> DataFrame:
    """One row a query, flow and channel that had something to ask; searched in the queries' own partitions."""
    return queries.mapInArrow(lambda batches: search_batches(batches, plan), RESULT_DDL)


def record_funnel(run: Run, found: DataFrame) -> None:
    sums = found.groupBy("flow", "channel").agg(
        F.count("*").alias("seekers"), F.sum("asked"), F.sum("eligible"), F.sum("returned")
    )
    for row in sums.orderBy("flow", "channel").collect():
        for name in ("asked", "eligible", "returned"):
            run.record(name, row[f"sum({name})"], f"{row['flow']}/{row['channel']}")


if __name__ == "__main__":
    run_stage("retrieve_candidates", main)
