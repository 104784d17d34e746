from __future__ import annotations

from pyspark.sql import functions as F

from jobs.inputs.ids import new_ids, with_entity_id

# What the hash gives: a lake's ids rest on it, so that it never changes.
SEEKER, JOB = 4310148548557993929, 889296155631514041
SCHEMA = "kind string, external_id string, entity_id bigint"


def by_length(kind, external_id, salt):
    """A hash that collides on purpose: texts of one length meet, whatever their kind, until salt parts them."""
    return F.length(external_id).cast("bigint") + F.lit(10 * salt)


def found(rows):
    return {(r["kind"], r["external_id"]): r["entity_id"] for r in rows.collect()}


def test_ids_that_collide_move_on(spark):
    stored = spark.createDataFrame([("job", "x", 1), ("job", "gone", 12)], SCHEMA)
    rows = [
        ("job", "b"),     # meets the stored x at 1, then a at 11 and yields to the lesser text; 21 is free
        ("job", "a"),     # meets the stored x at 1; 11 is free
        ("job", "aa"),    # 2 is free
        ("job", "bb"),    # meets aa at 2, then the stored gone at 12; 22 is free
        ("job", "x"),     # is stored already
        ("seeker", "a"),  # another kind: 1 is free there
        ("seeker", "a"),  # said twice
    ]  # fmt: skip
    externals = spark.createDataFrame(rows, "kind string, external_id string")
    expected = {
        ("job", "a"): 11, ("job", "b"): 21, ("job", "aa"): 2, ("job", "bb"): 22, ("seeker", "a"): 1,
    }  # fmt: skip
    assert found(new_ids(externals, stored, by_length)) == expected
    shuffled = externals.repartition(5, "external_id").orderBy(F.col("external_id").desc())
    assert found(new_ids(shuffled, stored.repartition(3), by_length)) == expected


def test_ids_are_the_hash_where_nothing_collides_and_take_the_place_of_the_boards(spark):
    externals = spark.createDataFrame([("seeker", "4e7"), ("job", "4e7")], "kind string, external_id string")
    ids = new_ids(externals, spark.createDataFrame([], SCHEMA))
    assert found(ids) == {("seeker", "4e7"): SEEKER, ("job", "4e7"): JOB}
    hires = spark.createDataFrame([("4e7", "4e7", 1.0)], "seeker_id string, job_id string, weight double")
    row = with_entity_id(with_entity_id(hires, ids, "seeker"), ids, "job").first()
    assert (row["seeker_id"], row["job_id"], row["weight"]) == (SEEKER, JOB, 1.0)
