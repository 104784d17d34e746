"""Rows that a reader must refuse, added to the clean ones and counted.

A dirty row is one more row, never a clean one spoilt: taking the dirt out leaves exactly the clean log.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.draws import Draws, board_id
from jobs.marketplace.population import DAY

# Shares of the clean activity that give a dirty row of each kind.
ACTIVITY_SHARES = {
    "duplicate": 0.002,  # the same row once more, arrived with the first
    "null_seeker": 0.0004,
    "unknown_action": 0.0004,
    "end_before_start": 0.004,  # of the views
    "unknown_job": 0.0004,
    "future_date": 0.0003,
}
POSTING_SHARES = {"bad_salary": 0.004, "bad_time": 0.004}

FUTURE_DAYS = 400


def dirty_activity(clean: DataFrame, config: MarketConfig) -> DataFrame:
    """The dirty rows of the activity, `dirt` naming the kind: clean rows spoilt, under ids of their own."""
    draws, row = Draws(config.seed), F.xxhash64("activity_id")
    suits = {"end_before_start": F.col("kind") == "opened"}
    picks = [
        F.when(draws.chance(share * config.dirt, f"dirt {kind}", row) & suits.get(kind, F.lit(True)), kind)
        for kind, share in ACTIVITY_SHARES.items()
    ]
    rows = clean.withColumn("dirt", F.explode(F.array_compact(F.array(*picks))))
    return rows.withColumns(
        {name: _spoilt(kind, name, spoilt) for name, (kind, spoilt) in _spoils(row, config).items()}
    )


def _spoils(row: Column, config: MarketConfig) -> dict[str, tuple[str, Column]]:
    """Column -> the kind of dirt that spoils it ("" is every kind but a duplicate), and what it then is."""
    return {
        "user_uuid": ("null_seeker", F.lit(None).cast("string")),
        "kind": ("unknown_action", F.lit("aplied")),
        "until_s": ("end_before_start", F.col("at_s") - 30),
        "posting_ref": ("unknown_job", board_id("no posting", config.seed, row)),
        "at_s": ("future_date", F.col("at_s") + FUTURE_DAYS * DAY),
        "activity_id": ("", F.md5(F.concat_ws("/", "dirt", "activity_id"))),
    }


def _spoilt(kind: str, name: str, spoilt: Column) -> Column:
    is_spoilt = F.col("dirt") == kind if kind else F.col("dirt") != "duplicate"
    value = F.when(is_spoilt, spoilt).otherwise(F.col(name))
    # A view that ends before its future start would be dirty twice.
    return F.when(F.col("dirt") != "future_date", value) if name == "until_s" else value


def dirty_postings(postings: DataFrame, config: MarketConfig) -> DataFrame:
    """More rows of the postings file, of jobs that nobody acts on, with a pay or a time that cannot be read."""
    job = F.xxhash64("posting_ref")
    frames = [
        postings.where(Draws(config.seed).chance(share * config.dirt, f"dirt {kind}", job))
        .withColumn("posting_ref", board_id(f"posting {kind}", config.seed, job))
        .withColumn("dirt", F.lit(kind))
        for kind, share in POSTING_SHARES.items()
    ]
    salary, time = frames
    return salary.withColumn("pay_from", F.lit("competitive")).unionByName(
        time.withColumn("opened_at", F.lit("as soon as possible"))
    )


def named(table: str, dirty: DataFrame) -> DataFrame:
    """table_name, dirt, key and day of arrival of the table's dirty rows."""
    key, day = {
        "activity": ("activity_id", F.to_date(F.timestamp_seconds(F.col("received_s")))),
        "postings": ("posting_ref", F.to_date(F.col("entered_at"))),
    }[table]
    return dirty.select(F.lit(table).alias("table_name"), "dirt", F.col(key).alias("key"), day.alias("day"))
