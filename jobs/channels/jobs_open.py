"""Which jobs are searched, and how much each is in demand."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from jobs.channels.inventory import CLOSED, NODE_FIELD, POSTED, PROMOTED_FIELD, UNMET

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def latest_versions(versions: DataFrame, entity: str, before: datetime) -> DataFrame:
    """Each entity's newest version whose valid_from is strictly before the instant."""
    newest = Window.partitionBy(entity).orderBy(F.desc("valid_from"))
    return (
        versions.where(F.col("valid_from") < F.lit(before))
        .withColumn("version_rank", F.row_number().over(newest))
        .where("version_rank = 1")
        .drop("version_rank")
    )


def is_open(first: datetime, last: datetime) -> Column:
    """The job is open at some instant of [first, last]; without a time it always was, or still is.

    One that closes when it is posted never is.
    """
    posted = F.coalesce(F.col("posted_ts") <= F.lit(last), F.lit(True))
    is_ever = F.coalesce(F.col("closed_ts") > F.col("posted_ts"), F.lit(True))
    return posted & is_ever & F.coalesce(F.col("closed_ts") > F.lit(first), F.lit(True))


def popularity(actions: DataFrame, as_of: datetime, half_life_days: float) -> DataFrame:
    """(job_id, popularity): demand before `as_of`, from 0 to 1, on a log scale, old actions counting less."""
    age_days = (F.lit(as_of.timestamp()) - F.col("event_ts").cast("double")) / 86_400
    # in whole billionths: a sum of floats changes with the order of the rows
    weight = F.floor(F.pow(F.lit(0.5), age_days / half_life_days) * 1e9)
    demand = (
        actions.where(F.col("event_ts") < F.lit(as_of))
        .groupBy("job_id")
        .agg(F.log1p(F.sum(weight) / 1e9).alias("demand"))
    )
    most = demand.agg(F.max("demand").alias("most"))
    return demand.crossJoin(F.broadcast(most)).select("job_id", (F.col("demand") / F.col("most")).alias("popularity"))


def inventory_rows(
    jobs: DataFrame,
    *,
    terms: DataFrame,
    nodes: DataFrame,
    vectors: DataFrame,
    demand: DataFrame,
    is_open: Column,
    salt: str,
) -> DataFrame:
    """One row a job, with the columns of `inventory.ROW`.

    Where nobody asked for a job yet, a thousandth of a hash of its id and `salt` decides: the order changes
    from day to day, and no job comes first for its id.
    """
    promoted = F.when(F.col("is_promoted"), F.array(F.lit(1))).otherwise(F.array().cast("array<int>"))
    lot = F.pmod(F.xxhash64("job_id", F.lit(salt)), F.lit(1_000_003)) / 1_000_003
    own = F.coalesce("terms", F.create_map().cast("map<string,array<int>>"))
    node_ids = F.coalesce("nodes", F.array().cast("array<int>"))
    added = F.create_map(F.lit(NODE_FIELD), node_ids, F.lit(PROMOTED_FIELD), promoted)
    return (
        jobs.withColumn("is_open", is_open)
        .join(terms.select("job_id", "terms"), "job_id", "left")
        .join(nodes.select("job_id", "nodes"), "job_id", "left")
        .join(vectors.select("job_id", "vector"), "job_id", "left")
        .join(demand, "job_id", "left")
        .select(
            "job_id",
            "external_id",
            "is_open",
            F.map_concat(own, added).alias("terms"),
            F.col("posted_ts").cast("double").alias(POSTED),
            F.col("closed_ts").cast("double").alias(CLOSED),
            (F.coalesce("popularity", F.lit(0.0)) + UNMET * lot).cast("float").alias("popularity"),
            "vector",
        )
    )
