"""Slices are replaced whole and alone; what does not fit is refused before it is written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pyspark.sql import Row

from jobs.errors import LakeError, RunError
from jobs.intervals import Dates
from jobs.lake import Lake, LakeReader, current_sql
from schemas import ENTITY_IDS, HIRES, RUN_METRICS
from schemas.render import create_statement, spark_schema
from schemas.table import checks

DAYS = Dates(date(2026, 1, 1), date(2026, 1, 3))


def hires(spark, *rows: tuple[int, int, str]):
    """(seeker, day of January, source)"""
    return spark.createDataFrame(
        [
            Row(
                seeker_id=seeker,
                job_id=1,
                hired_ts=datetime(2026, 1, day, 12, tzinfo=UTC),
                date=date(2026, 1, day),
                arrived_ts=datetime(2026, 1, day, 12, tzinfo=UTC),
                source=source,
                weight=1.0,
            )
            for seeker, day, source in rows
        ],
        spark_schema(HIRES),
    )


def kept(lake) -> set[tuple[int, int, str]]:
    return {(row.seeker_id, row.date.day, row.source) for row in lake.read(HIRES).collect()}


def test_slices_are_replaced_alone_and_rows_outside_them_refused(spark, lake):
    lake.replace(HIRES, {"date": DAYS}, hires(spark, (1, 1, "old"), (2, 2, "old")))
    lake.replace(HIRES, {"date": date(2026, 1, 5)}, hires(spark, (3, 5, "other day")))
    lake.replace(HIRES, {"date": DAYS}, hires(spark, (1, 1, "new")))
    assert kept(lake) == {(1, 1, "new"), (3, 5, "other day")}
    version = lake.version(HIRES)
    with pytest.raises(Exception, match="REPLACE_WHERE_MISMATCH"):
        lake.replace(HIRES, {"date": DAYS}, hires(spark, (9, 4, "outside")))
    lake.replace(HIRES, {"date": DAYS}, hires(spark))  # an empty day is an empty slice
    assert kept(lake) == {(3, 5, "other day")} and lake.version(HIRES) == version + 1
    # read by another engine
    assert LakeReader(lake.root).rows("SELECT seeker_id, source FROM hires") == [
        {"seeker_id": 3, "source": "other day"}
    ]


def test_what_does_not_fit_is_refused_with_every_difference(spark, lake):
    wrong = (
        hires(spark, (1, 1, "x"))
        .withColumnRenamed("weight", "wieght")
        .selectExpr("* except (seeker_id)", "cast(seeker_id as string) as seeker_id")
    )
    with pytest.raises(LakeError) as refused:
        lake.replace(HIRES, {"date": DAYS}, wrong)
    for part in ("unknown column wieght", "missing column weight", "column seeker_id: expected bigint, got string"):
        assert part in str(refused.value)
    with pytest.raises(LakeError, match=r"hires is not sliced by \['source'\]"):
        lake.replace(HIRES, {"source": "x"}, hires(spark))
    with pytest.raises(LakeError, match="must name the slice"):
        lake.replace(HIRES, {}, hires(spark))
    with pytest.raises(LakeError, match="has no table hires yet"):
        lake.read(HIRES)
    assert lake.read_or_empty(HIRES).count() == 0


def test_a_table_made_before_its_constraints_gets_them(spark, lake):
    path = lake.path(HIRES)
    for earlier in (checks(), checks(weight_positive="weight > 1 AND weight IN (2, 3)")):
        spark.sql(create_statement(replace(HIRES, checks=earlier), path))
        Lake(spark, lake.root).create(HIRES)
        properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").collect()}
        assert properties["delta.constraints.weight_positive"] == "coalesce ( weight > 0 , true )"
        version = lake.newest_version(HIRES)
        Lake(spark, lake.root).create(HIRES)
        assert lake.newest_version(HIRES) == version, "those of today are left alone"
        spark.sql(f"DROP TABLE delta.`{path}`")
        shutil.rmtree(path, ignore_errors=True)


def test_constraints_hold_and_a_null_passes_them(spark, lake):
    lake.replace(HIRES, {"date": DAYS}, hires(spark, (1, 1, "x")))
    broken = hires(spark, (2, 1, "x")).selectExpr("* except (weight)", "cast(-1 as double) as weight")
    with pytest.raises(Exception, match=r"(?s)weight_positive.*-1\.0"):
        lake.replace(HIRES, {"date": DAYS}, broken)
    assert kept(lake) == {(1, 1, "x")}
    figures = spark.createDataFrame([("r", "s", "m", "", None)], spark_schema(RUN_METRICS))
    lake.replace(RUN_METRICS, {"run_id": "r", "stage": "s"}, figures)
    assert lake.read(RUN_METRICS).first().value is None


def test_new_rows_are_merged_once(spark, lake):
    def ids(*names):
        return spark.createDataFrame([("job", name, i) for i, name in enumerate(names)], spark_schema(ENTITY_IDS))

    lake.merge_new(ENTITY_IDS, ids("a", "b"))
    lake.merge_new(ENTITY_IDS, ids("c", "b"))  # b is there already and keeps its id; c is new
    assert {(row.external_id, row.entity_id) for row in lake.read(ENTITY_IDS).collect()} == {
        ("a", 0), ("b", 1), ("c", 0),
    }  # fmt: skip


def test_a_guard_stops_every_write(spark, lake):
    def refuse():
        raise RunError("this attempt is closed")

    guarded = Lake(spark, lake.root, guard=refuse)
    for write in (
        lambda: guarded.replace(HIRES, {"date": DAYS}, hires(spark, (1, 1, "x"))),
        lambda: guarded.append(HIRES, hires(spark, (1, 1, "x"))),
        lambda: guarded.merge_new(HIRES, hires(spark, (1, 1, "x"))),
    ):
        with pytest.raises(RunError, match="closed"):
            write()
    assert guarded.read(HIRES).count() == 0


def test_current_rows_are_asked_only_of_tables_that_are_published():
    with pytest.raises(LakeError, match="hires is not keyed by run"):
        current_sql(HIRES)
