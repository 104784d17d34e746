"""Ask every channel for candidates for every active seeker.

Reads the run's index, `events`, `seeker_terms` and `segment_links`; writes `seeker_nodes` of the
run's date, the queries (a file of the run) and `channel_candidates`. A sample of the seekers is searched again
by brute force, and the recall measured so is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.channels.check import checked_recall
from jobs.channels.neighbors import APPLY, CLICK
from jobs.channels.queries import active_cases
from jobs.channels.search import search
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import known_actions, of_interest, run_queries, search_plan
from jobs.stage import run_stage, say
from schemas import CHANNEL_CANDIDATES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


# Seekers who share filters meet in a partition, so that the index evaluates a filter once for many of them.
SHARED_FILTERS = ("terms.region", "terms.occupation")


def main(lake: Lake, run: Run) -> None:
    actions = known_actions(lake, run)
    cases = active_cases(of_interest(actions), F.lit(run.interval.end).alias("as_of_ts"))
    queries = run_queries(lake, run, cases, actions)
    path = run.artifact("queries")
    queries.repartition(run.settings.retrieve_candidates.partitions, *SHARED_FILTERS).write.mode("overwrite").parquet(
        path
    )
    queries = lake.spark.read.parquet(path)
    plan = search_plan(run)
    found = search(queries, plan).withColumnRenamed("query_id", "seeker_id")
    lake.replace(CHANNEL_CANDIDATES, {"run_id": run.run_id}, found.withColumn("run_id", F.lit(run.run_id)))
    written = lake.read(CHANNEL_CANDIDATES, run_id=run.run_id)
    record_funnel(run, written)
    if plan.attribute_weight:
        record_attributes_alone(run, written, queries)
    n_seekers = queries.count()
    run.record("seekers", n_seekers)
    if not n_seekers:
        say(f"  no seeker was active in the {run.settings.serving.lookback_days} days before {run.interval.end}")
    run.record("checked_recall", checked_recall(queries, plan, run.settings.retrieve_candidates.checked_seekers))


def record_funnel(run: Run, found: DataFrame) -> None:
    sums = found.groupBy("flow", "channel").agg(
        F.count("*").alias("seekers"), F.sum("asked"), F.sum("eligible"), F.sum("returned")
    )
    for row in sums.orderBy("flow", "channel").collect():
        for name in ("asked", "eligible", "returned"):
            run.record(name, row[f"sum({name})"], f"{row['flow']}/{row['channel']}")


def record_attributes_alone(run: Run, found: DataFrame, queries: DataFrame) -> None:
    """How many seekers a chain channel brought candidates to who have no such chain: by their attributes alone."""
    chains = F.create_map(F.lit(CLICK), F.size("clicked"), F.lit(APPLY), F.size("applied"))
    of_seekers = queries.select("seeker_id", chains.alias("chains"))
    chainless = found.where("returned > 0").join(of_seekers, "seeker_id", "inner")
    counts = chainless.where(F.col("chains")[F.col("channel")] == 0).groupBy("flow", "channel").count()
    for row in counts.orderBy("flow", "channel").collect():
        run.record("by_attributes_alone", row["count"], f"{row['flow']}/{row['channel']}")


if __name__ == "__main__":
    run_stage("retrieve_candidates", main)
