"""Run the smallest job that touches what every job touches: the proof that Spark and Delta work.

`make setup` ends with it. Java records the classes that it loads into the archive from which all later jobs
start (spark-defaults.conf), so it calls each kind of thing once: Delta's create, CHECK, replaceWhere, delete
and history; CSV, JSON and Parquet; joins, windows, arrays; rows to Python and back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

N_ROWS = 1000


def main(folder: Path) -> None:
    spark = SparkSession.builder.appName("first_job").getOrCreate()
    rows = spark.range(N_ROWS).selectExpr(
        "id",
        "id % 10 AS key",
        "CAST(id AS string) AS name",
        "array(id, id + 1) AS pair",
        "DATE'2026-01-01' AS day",
    )
    for source in ("csv", "json", "parquet"):
        write_and_read(rows.drop("pair"), source, folder / source)
    summary = through_python(summarise(rows, rows))
    table = str(folder / "table")
    write_slice(spark, summary, table)
    n_keys = spark.read.format("delta").load(table).groupBy("day").count().collect()[0]["count"]
    if n_keys != 10:
        raise SystemExit(f"first_job: expected 10 keys in {table}, found {n_keys}")
    spark.stop()


def write_and_read(rows: DataFrame, source: str, path: Path) -> None:
    rows.write.format(source).mode("overwrite").save(str(path))
    rows.sparkSession.read.schema(rows.schema).format(source).load(str(path)).agg(F.max("id")).collect()


def summarise(left: DataFrame, right: DataFrame) -> DataFrame:
    """Return one row a key, through a shuffled and a broadcast join, a window and the array functions."""
    newest = Window.partitionBy("key").orderBy(F.desc("id")).rowsBetween(Window.unboundedPreceding, 0)
    ranked = left.withColumn("place", F.row_number().over(newest)).where("place <= 5")
    joined = ranked.hint("merge").join(right.select("id", "name").distinct(), ["id", "name"], "inner")
    joined = joined.join(F.broadcast(right.groupBy("key").agg(F.count("*").alias("n"))), "key", "left")
    exploded = joined.select("*", F.explode(F.transform("pair", lambda x: x * 2)).alias("twice"))
    ids = F.array_sort(F.collect_set(F.struct("id", "twice"))).alias("ids")
    return exploded.groupBy("key", "day").agg(ids, F.sum("n").alias("n"), F.max_by("name", "id").alias("name"))


def through_python(rows: DataFrame) -> DataFrame:
    def unchanged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    return rows.mapInArrow(unchanged, rows.schema)


def write_slice(spark: SparkSession, rows: DataFrame, table: str) -> None:
    """Create the Delta table `table`, write its one slice twice, delete from it and read its history."""
    columns = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in rows.schema)
    spark.sql(f"CREATE TABLE delta.`{table}` ({columns}) USING delta PARTITIONED BY (day)")
    spark.sql(f"ALTER TABLE delta.`{table}` ADD CONSTRAINT counted CHECK (n > 0)")
    for _ in range(2):
        slice_of_day = rows.write.format("delta").mode("overwrite").option("replaceWhere", "day = DATE'2026-01-01'")
        slice_of_day.save(table)
    DeltaTable.forPath(spark, table).delete("key < 0")
    DeltaTable.forPath(spark, table).history(1).collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
