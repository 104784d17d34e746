"""The jobs that can be shown on a day, so that a place of a list is filled by one equality join.

Jobs lie in buckets of (occupation, region) and, under region ANYWHERE, of the occupation alone; within a
bucket and day they are numbered from 0. Choosing one is choosing a bucket and a number: no pair of seeker and
job is ever looked at that is not shown.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.draws import Draws
from jobs.marketplace.population import DAY

ANYWHERE = -1

# The low numbers of a bucket are shown more: u^1.6 puts a third of the choices on its first sixth. Promoted
# jobs go there.
SKEW = 1.6
PROMOTED_ADVANTAGE = 3.0

# A job is not shown in its last hour, so that all that follows a list happens while it is open.
LAST_SHOWN_S = 3600


def open_jobs(jobs: DataFrame, config: MarketConfig) -> DataFrame:
    """One row a bucket, day and job open in some part of it, numbered by `number` from 0."""
    draws = Draws(config.seed)
    key = draws.uniform("bucket order", F.col("job")) ** F.when(F.col("is_promoted"), PROMOTED_ADVANTAGE).otherwise(1.0)
    first = F.greatest(F.lit(0), F.floor((F.col("posted_s") - config.start_s) / DAY)).cast("int")
    # One day more than the period: a session of its last evening may cross midnight.
    last = F.least(F.lit(config.days), F.floor((F.col("closed_s") - config.start_s) / DAY)).cast("int")
    rows = jobs.withColumns({"key": key, "first": first, "last": last})
    rows = rows.where("first <= last").withColumn("day", F.explode(F.expr("sequence(first, last)")))
    rows = rows.withColumn("bucket", F.explode(F.array(F.col("region"), F.lit(ANYWHERE))))
    order = Window.partitionBy("occupation", "bucket", "day").orderBy("key", "job")
    return rows.withColumn("number", F.row_number().over(order) - 1).select(
        "occupation", "bucket", "day", "number", "job", "posting_ref", "work", "seniority", "region", "is_remote",
        "is_promoted", "appeal", "posted_s", "closed_s",
    )  # fmt: skip


def fill(slots: DataFrame, inventory: DataFrame, config: MarketConfig) -> DataFrame:
    """Each slot (slot, slot_occupation, slot_region, day, list_s) with the job it shows.

    A bucket that is empty that day gives way to the occupation's everywhere. A slot whose bucket is empty
    there too, or whose job is not open at the list's time, is gone.
    """
    counts = F.broadcast(inventory.groupBy("occupation", "bucket", "day").agg(F.count("*").cast("int").alias("n_open")))
    near = counts.select(
        F.col("occupation").alias("slot_occupation"),
        F.col("bucket").alias("slot_region"),
        "day",
        F.col("n_open").alias("n_near"),
    )
    anywhere = counts.where(F.col("bucket") == ANYWHERE).select(
        F.col("occupation").alias("slot_occupation"), "day", F.col("n_open").alias("n_anywhere")
    )
    n_open = F.coalesce(F.col("n_near"), F.col("n_anywhere"))
    number = F.floor(Draws(config.seed).uniform("choice", F.col("slot")) ** SKEW * n_open).cast("int")
    chosen = (
        slots.join(near, ["slot_occupation", "slot_region", "day"], "left")
        .join(anywhere, ["slot_occupation", "day"], "left")
        .withColumns(
            {
                "bucket": F.when(F.col("n_near").isNotNull(), F.col("slot_region")).otherwise(ANYWHERE),
                "number": number,
            }
        )
        .drop("n_near", "n_anywhere", "slot_region")
    )
    shown = inventory.withColumnsRenamed(
        {
            "occupation": "slot_occupation",
            "seniority": "job_seniority",
            "region": "job_region",
            "work": "job_work",
        }
    )
    filled = chosen.join(shown, ["slot_occupation", "bucket", "day", "number"], "inner")
    open_then = (F.col("posted_s") <= F.col("list_s")) & (F.col("closed_s") > F.col("list_s") + LAST_SHOWN_S)
    return filled.where(open_then).withColumnRenamed("slot_occupation", "job_occupation").drop("bucket", "number")
