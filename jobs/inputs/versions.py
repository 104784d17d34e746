"""Profile and job versions: a history as it is, or one day's snapshot compared with the versions before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window as Over
from pyspark.sql import functions as F

from jobs.inputs.contract import LONG_AGO

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.inputs.window import Window

# What is not content: who, when, and what we added.
_FRAME = ("seeker_id", "job_id", "external_id", "valid_from", "date", "is_backdated")


def history_versions(rows: DataFrame) -> DataFrame:
    """The rows as versions: those without `valid_from` hold since long ago, and are flagged."""
    backdated = F.col("valid_from").isNull()
    return rows.withColumn("is_backdated", backdated).withColumn(
        "valid_from", F.coalesce("valid_from", F.lit(LONG_AGO).cast("timestamp"))
    )


def snapshot_versions(
    rows: DataFrame, seen: DataFrame, before: DataFrame, is_first: bool, entity: str, window: Window
) -> DataFrame:
    """The versions that begin on the interval's last date: of entities new or changed in the snapshot.

    `before` are all versions of earlier dates; where there are none, the snapshot is the first one, and all
    of it is back-dated to the history's start and flagged. A job that is open and not in the snapshot (not
    even among its refused rows: `seen` has every id) is closed. A seeker who is gone keeps the last
    version.
    """
    key = f"{entity}_id"
    latest = _latest(before, key)
    if is_first:
        start = F.lit(window.history_start.isoformat()).cast("timestamp")
        return _versions(rows, start, F.lit(True)).withColumn("date", F.lit(window.history_start))
    content = [c for c in rows.columns if c not in _FRAME and not c.startswith("_")]
    old = latest.select(F.col(key).alias("_old_key"), F.struct(*content).alias("_old"))
    compared = rows.join(old, F.col(key) == F.col("_old_key"), "left")
    changed = compared.where(F.col("_old_key").isNull() | ~F.struct(*content).eqNullSafe(F.col("_old")))
    changed = changed.drop("_old_key", "_old")
    start = F.lit(window.interval.dates.last.isoformat()).cast("timestamp")
    if entity == "job":
        changed = changed.unionByName(_gone(latest, seen, start), allowMissingColumns=True)
    return _versions(changed, start, F.lit(False)).withColumn("date", F.lit(window.interval.dates.last))


def _gone(latest: DataFrame, seen: DataFrame, start: object) -> DataFrame:
    """Open jobs that are no longer there, closed: when the version begins, or when they would have opened."""
    closing = F.greatest(start, F.col("posted_ts"))  # type: ignore[arg-type]
    is_open = F.col("closed_ts").isNull() | (F.col("closed_ts") > closing)
    return latest.join(seen, "job_id", "left_anti").where(is_open).withColumn("closed_ts", closing)


def _latest(versions: DataFrame, key: str) -> DataFrame:
    over = Over.partitionBy(key).orderBy(F.col("valid_from").desc())
    return versions.withColumn("_place", F.row_number().over(over)).where("_place = 1").drop("_place")


def _versions(rows: DataFrame, valid_from: object, is_backdated: object) -> DataFrame:
    return rows.withColumn("valid_from", valid_from).withColumn("is_backdated", is_backdated)  # type: ignore[arg-type]
