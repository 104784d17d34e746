"""Blend the channels' lists into one candidate set a seeker and flow, and turn the graph round for promoted jobs.

Reads `channel_candidates`, the run's queries and its index; writes `candidates` and `audiences`. A job that two
channels bring is there once, with both as its reasons; what the seeker already applied to never came back from the
index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.channels.audiences import audiences
from jobs.channels.blend import blend
from jobs.figures import Figure
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import audience_plan, blend_plan
from jobs.stage import run_stage
from jobs.threads import side_by_side
from schemas import AUDIENCES, CANDIDATES, CHANNEL_CANDIDATES, ENTITY_IDS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main(lake: Lake, run: Run) -> None:
    queries = lake.spark.read.parquet(run.artifact("queries"))
    names = lake.read(ENTITY_IDS, kind="seeker").select(
        F.col("entity_id").alias("seeker_id"), F.col("external_id").alias("external_seeker_id")
    )
    written = side_by_side(
        lambda: write_candidates(lake, run, queries, names),
        lambda: write_audiences(lake, run, queries, names),
    )
    for figures in written:
        run.record_all(figures)


def write_candidates(lake: Lake, run: Run, queries: DataFrame, names: DataFrame) -> list[Figure]:
    """Figures a flow: seekers, candidates, how many of those asked for are not there, how many each channel brought."""
    found = lake.read(CHANNEL_CANDIDATES, run_id=run.run_id).withColumnRenamed("seeker_id", "query_id")
    blended = blend(queries, found, blend_plan(run)).join(names, "seeker_id", "inner")
    lake.replace(CANDIDATES, {"run_id": run.run_id}, blended.withColumn("run_id", F.lit(run.run_id)))
    rows = lake.read(CANDIDATES, run_id=run.run_id)
    by_flow = rows.groupBy("flow").agg(
        F.count("*").alias("seekers"),
        F.sum("returned").alias("candidates"),
        F.sum(F.col("asked") - F.col("returned")).alias("shortfall"),
    )
    sums = by_flow.orderBy("flow").collect()
    why = rows.select("flow", F.explode("candidates.why").alias("why")).select("flow", F.explode("why").alias("why"))
    kept = why.groupBy("flow", "why.channel").count().orderBy("flow", "channel").collect()
    return [
        *[Figure(name, row[name], row["flow"]) for row in sums for name in ("seekers", "candidates", "shortfall")],
        *[Figure("kept", row["count"], f"{row['flow']}/{row['channel']}") for row in kept],
    ]


def write_audiences(lake: Lake, run: Run, queries: DataFrame, names: DataFrame) -> list[Figure]:
    """promoted_jobs, those that nobody can be shown, and sums of what their audiences could hold and do."""
    if not run.settings.blend_candidates.audience:
        return []
    found = audiences(queries, names, audience_plan(run)).withColumn("run_id", F.lit(run.run_id))
    lake.replace(AUDIENCES, {"run_id": run.run_id}, found)
    sums = {
        "promoted_jobs": F.count("*"),
        "jobs_without_audience": F.count_if(F.col("returned") == 0),
        "audience_eligible": F.coalesce(F.sum("eligible"), F.lit(0)),
        "audience_returned": F.coalesce(F.sum("returned"), F.lit(0)),
    }
    rows = lake.read(AUDIENCES, run_id=run.run_id)
    row = rows.agg(*[column.alias(name) for name, column in sums.items()]).collect()[0]
    return [Figure(name, row[name]) for name in sums]


if __name__ == "__main__":
    run_stage("blend_candidates", main)
