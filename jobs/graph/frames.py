"""What the tables of the graph are made with: numbers for their rows, and a plan that does not grow."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F


def numbered(rows: DataFrame, name: str, order: Sequence[Column | str]) -> DataFrame:
    """`rows` with an int column `name`: 0, 1, 2, … in that order, which must leave no ties.

    One task sorts them all: for meta links, links and segments (10^4 to 10^6 rows), not for seekers or jobs.
    """
    return rows.withColumn(name, F.row_number().over(Window.partitionBy(F.lit(0)).orderBy(*order)) - 1)


def held(rows: DataFrame) -> DataFrame:
    """The same rows, computed now and once, in the executors' storage; freed when nothing refers to them.

    In place of persist(), whose plan lives on inside every plan that reads it: where tables are made of
    tables that are made of tables, Spark describes each as often as it is reached, and five levels took
    minutes and the heap.
    """
    return rows.localCheckpoint()
