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
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import audience_plan, blend_plan
from jobs.stage import run_stage
from schemas import AUDIENCES, CANDIDATES, CHANNEL_CANDIDATES, ENTITY_IDS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main(lake: Lake, run: Run) -> None:
    queries = lake.spark.read.parquet(run.artifact("queries"))
    found = lake.read(CHANNEL_CANDIDATES, run_id=run.run_id).withColumnRenamed("seeker_id", "query_id")
    blended = blend(queries, found, blend_plan(run))
    names = lake.read(ENTITY_IDS, kind="seeker").select(
        F.col("entity_id").alias("seeker_id"), F.col("external_id").alias("external_seeker_id")
    )
    rows = blended.join(names, "seeker_id", "inner").withColumn("run_id", F.lit(run.run_id))
    lake.replace(CANDIDATES, {"run_id": run.run_id}, rows)
    record_kept(run, lake.read(CANDIDATES, run_id=run.run_id))
    if run.settings.blend_candidates.audience:
        found = audiences(queries, names, audience_plan(run)).withColumn("run_id", F.lit(run.run_id))
        lake.replace(AUDIENCES, {"run_id": run.run_id}, found)
        record_audiences(run, lake.read(AUDIENCES, run_id=run.run_id))


def record_audiences(run: Run, rows: DataFrame) -> None:
    """promoted_jobs, those that nobody can be shown, and sums of what their audiences could hold and do."""
    sums = {
        "promoted_jobs": F.count("*"),
        "jobs_without_audience": F.count_if(F.col("returned") == 0),
        "audience_eligible": F.coalesce(F.sum("eligible"), F.lit(0)),
        "audience_returned": F.coalesce(F.sum("returned"), F.lit(0)),
    }
    row = rows.agg(*[column.alias(name) for name, column in sums.items()]).first()
    assert row is not None
    for name in sums:
        run.record(name, row[name])


def record_kept(run: Run, rows: DataFrame) -> None:
    by_flow = rows.groupBy("flow").agg(
        F.count("*").alias("seekers"),
        F.sum("returned").alias("candidates"),
        F.sum(F.col("asked") - F.col("returned")).alias("shortfall"),
    )
    for row in by_flow.orderBy("flow").collect():
        for name in ("seekers", "candidates", "shortfall"):
            run.record(name, row[name], row["flow"])
    why = rows.select("flow", F.explode("candidates.why").alias("why")).select("flow", F.explode("why").alias("why"))
    for row in why.groupBy("flow", "why.channel").count().orderBy("flow", "channel").collect():
        run.record("kept", row["count"], f"{row['flow']}/{row['channel']}")


if __name__ == "__main__":
    run_stage("blend_candidates", main)
