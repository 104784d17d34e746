"""Accepted rows as the lake's tables hold them: our ids, defaults, and what other columns tell."""

from __future__ import annotations

from collections.abc import Mapping as Names
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.inputs.ids import with_entity_id
from schemas import EMPLOYER_ACTIONS, EVENTS, HIRES, JOBS, SEEKERS, TAXONOMY, Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CONFIRMED = "confirmed"


def entity_rows(versions: DataFrame, ids: DataFrame, entity: str) -> DataFrame:
    """Rows of `seekers` or `jobs`: the board's id kept as `external_id`."""
    rows = versions.withColumn("external_id", F.col(f"{entity}_id"))
    return _columns(with_entity_id(rows, ids, entity), JOBS if entity == "job" else SEEKERS)


def with_defaults(rows: DataFrame) -> DataFrame:
    """Rows of `jobs` with what a null stands for; of others as they are. Before versions are compared."""
    promoted = F.coalesce("is_promoted", F.lit(False))
    return rows.withColumn("is_promoted", promoted) if "is_promoted" in rows.columns else rows


def event_rows(events: DataFrame, ids: DataFrame) -> DataFrame:
    """Rows of `events`: an employer's action has the employer as actor, an end gives the seconds."""
    actor = F.when(F.col("action").isin(*EMPLOYER_ACTIONS), "employer").otherwise("seeker")
    seconds = (F.unix_micros("ended_ts") - F.unix_micros("event_ts")) / F.lit(1e6)
    rows = events.withColumn("actor", F.coalesce("actor", actor))
    rows = rows.withColumn("dwell_seconds", F.coalesce("dwell_seconds", seconds))
    rows = rows.withColumn("arrived_ts", F.coalesce("_arrived", "event_ts"))
    return _columns(with_entity_id(with_entity_id(rows, ids, "seeker"), ids, "job"), EVENTS)


def hire_rows(hires: DataFrame, ids: DataFrame, stands_for: Names[str, str]) -> DataFrame:
    """Rows of `hires`. `stands_for` maps a source to the proxy that it declares; others are confirmed."""
    source = F.lit(CONFIRMED)
    for name, proxy in stands_for.items():
        source = F.when(F.col("_source") == name, proxy).otherwise(source)
    rows = hires.withColumn("source", source).withColumn("weight", F.coalesce("weight", F.lit(1.0)))
    rows = rows.withColumn("arrived_ts", F.coalesce("_arrived", "hired_ts"))
    return _columns(with_entity_id(with_entity_id(rows, ids, "seeker"), ids, "job"), HIRES)


def taxonomy_content_version(rows: DataFrame) -> str:
    """A name for the content of a taxonomy: the same for the same rows, in whatever order."""
    content = F.xxhash64("field", "surface", "entity", "label").cast("decimal(38,0)")
    row = rows.agg(F.count(F.lit(1)).alias("n"), F.sum(content).alias("sum")).collect()[0]
    return f"{row['n']}-{int(row['sum'] or 0) % 2**64:016x}"


def taxonomy_rows(rows: DataFrame, version: str) -> DataFrame:
    return _columns(rows.withColumn("taxonomy_version", F.lit(version)), TAXONOMY)


def _columns(rows: DataFrame, table: Table) -> DataFrame:
    return rows.select(*table.column_names)
