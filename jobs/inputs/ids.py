"""Int64s for the board's own ids.

An id is the xxhash64 of kind and external id, without its sign. Where two external ids of one kind meet
(expected once in some thousand lakes of 80 million ids), the one stored first keeps it, of two new ones the
lesser text; the other is hashed again with a salt, until it is alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark.sql import Window as Over
from pyspark.sql import functions as F

from jobs.errors import StageError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Hash = Callable[["Column", "Column", int], "Column"]

MAX_SALT = 16


def id_hash(kind: Column, external_id: Column, salt: int) -> Column:
    """The id at the first try (salt 0) or a later one: not negative."""
    parts = [kind, external_id] + ([F.lit(salt)] if salt else [])
    return F.xxhash64(*parts).bitwiseAND(F.lit(0x7FFF_FFFF_FFFF_FFFF))


def new_ids(externals: DataFrame, stored: DataFrame, hash_of: Hash = id_hash) -> DataFrame:
    """Rows of `entity_ids` for the (kind, external_id) that are not stored; ids are unique within a kind.

    `externals` may repeat itself. The answer does not depend on the order or the partitions of either table.
    """
    pending = externals.select("kind", "external_id").distinct().join(stored, ["kind", "external_id"], "left_anti")
    taken = stored.select("kind", "entity_id")
    found: DataFrame | None = None
    for salt in range(MAX_SALT):
        # asked twice: whether any is lost, and which are won
        tried = _tried(pending, taken, hash_of, salt).localCheckpoint()
        won = tried.where("_won").drop("_won")
        found = won if found is None else found.union(won)
        pending = tried.where("NOT _won").select("kind", "external_id")
        if pending.isEmpty():
            return found
        taken = taken.union(won.select("kind", "entity_id"))
    raise StageError(f"entity_ids: ids still collide after {MAX_SALT} salts: the hash does not tell them apart")


def _tried(pending: DataFrame, taken: DataFrame, hash_of: Hash, salt: int) -> DataFrame:
    kind, external_id = F.col("kind"), F.col("external_id")
    hashed = pending.select(kind, external_id, hash_of(kind, external_id, salt).alias("entity_id"))
    first = F.row_number().over(Over.partitionBy("kind", "entity_id").orderBy("external_id")) == 1
    claimed = hashed.join(taken.withColumn("_taken", F.lit(True)), ["kind", "entity_id"], "left")
    won = first & F.col("_taken").isNull()
    return claimed.select("kind", "external_id", "entity_id", won.alias("_won"))


def with_entity_id(rows: DataFrame, ids: DataFrame, kind: str) -> DataFrame:
    """The rows with our id in `KIND_id`, in the place of the board's; every one of them must have an id."""
    name = f"{kind}_id"
    known = ids.where(F.col("kind") == kind).select(F.col("external_id").alias("_external_id"), "entity_id")
    joined = rows.join(known, F.col(name) == F.col("_external_id"), "inner")
    return joined.withColumn(name, F.col("entity_id")).drop("entity_id", "_external_id")
