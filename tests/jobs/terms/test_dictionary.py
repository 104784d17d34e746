from __future__ import annotations

from datetime import date, datetime

from pyspark.sql import functions as F

from jobs.terms.dictionary import entity_terms, new_terms
from jobs.terms.fields import LOOKED_UP, PHRASE, TOKENS, VALUE, job_fields, long_texts, salary_bands, seeker_fields
from schemas import JOBS, SEEKERS
from schemas.render import spark_schema

STORED = "field string, term string, term_id int, label string"


def rows_of(spark, table, *rows):
    base = dict.fromkeys(table.column_names) | {
        "external_id": "x", "valid_from": datetime(2026, 1, 1), "date": date(2026, 1, 1), "is_backdated": False,
        "is_promoted": False,
    }  # fmt: skip
    return spark.createDataFrame([tuple((base | r)[n] for n in table.column_names) for r in rows], spark_schema(table))


def test_terms_are_numbered_on_from_the_fields_last(spark):
    terms = spark.createDataFrame(
        [
            ("skill", "b"),
            ("skill", "a"),
            ("skill", "old"),
            ("skill", "a"),
            ("region", "z"),
            ("occupation", "11-1"),
        ],
        "dictionary string, term string",
    )
    stored = spark.createDataFrame([("skill", "old", 4, "Old")], STORED)
    taxonomy = spark.createDataFrame([("occupation", "11-1", "Chiefs")], "field string, entity string, label string")
    expected = {
        ("skill", "a", 5, "a"),
        ("skill", "b", 6, "b"),
        ("region", "z", 0, "z"),
        ("occupation", "11-1", 0, "Chiefs"),
    }
    assert {tuple(r) for r in new_terms(terms, stored, taxonomy).collect()} == expected
    assert {tuple(r) for r in new_terms(terms.repartition(7), stored, taxonomy).collect()} == expected


def test_what_is_made_of_a_job_and_of_a_seeker(spark):
    job = rows_of(
        spark, JOBS,
        {"job_id": 1, "title": "Cook", "skills": ["knives", None], "company": "Inn", "is_remote": False,
         "salary_min": 16.0, "salary_max": None, "salary_period": "hour"},
        {"job_id": 2, "is_remote": None},
    )  # fmt: skip
    made = {
        (r["job_id"], r["field"], r["how"], r["text"]) for r in long_texts(job, ("job_id",), job_fields()).collect()
    }
    assert made == {
        (1, "occupation", PHRASE, "Cook"), (1, "title", TOKENS, "Cook"), (1, "skill", VALUE, "knives"),
        (1, "company", VALUE, "Inn"), (1, "remote", "term", "on site"), (1, "salary_band", "term", "band 60"),
        (2, None, None, None),
    }  # fmt: skip
    seeker = rows_of(
        spark, SEEKERS, {"seeker_id": 3, "titles": ["Chef", "Cook"], "interests": ["Baker"], "region": "CA"}
    )
    made = {
        (r["field"], r["dictionary"], r["text"]) for r in long_texts(seeker, ("seeker_id",), seeker_fields()).collect()
    }
    assert made == {
        ("occupation", "occupation", "Chef"), ("past_occupation", "occupation", "Cook"),
        ("wanted_occupation", "occupation", "Baker"), ("title", "title", "Chef"), ("title", "title", "Cook"),
        ("region", "region", "CA"),
    }  # fmt: skip


def test_a_taxonomy_may_have_every_field_that_is_looked_up(spark):
    made = [m for m in (*job_fields(), *seeker_fields()) if m.how in (PHRASE, VALUE)]
    assert {m.dictionary or m.field for m in made} == LOOKED_UP


def test_salary_bands(spark):
    cases = [
        (32768.0, 32768.0, "year", ["band 60"]),        # 2^15: the lower end belongs to the band
        (32768.0, 40000.0, None, ["band 60", "band 61"]),
        (None, 15.75, "hour", ["band 59"]),             # 32,760 a year
        (1.0, 1e9, "year", [f"band {n}" for n in range(12)]),
        (0.0, None, "year", None),
        (10.0, 20.0, "fortnight", None),
    ]  # fmt: skip
    rows = spark.createDataFrame([c[:3] for c in cases], "low double, high double, period string")
    found = [r[0] for r in rows.select(salary_bands(F.col("low"), F.col("high"), F.col("period"))).collect()]
    assert found == [c[3] for c in cases]


def test_terms_of_an_entity_are_sorted_distinct_ids_by_field(spark):
    long = spark.createDataFrame(
        [(1, "occupation", "o", PHRASE, "Chef"), (1, "past_occupation", "o", PHRASE, "Cook"),
         (1, "past_occupation", "o", PHRASE, "Chef"), (1, "skill", "skill", VALUE, "none such"),
         (2, None, None, None, None)],
        "job_id int, field string, dictionary string, how string, text string",
    )  # fmt: skip
    terms = spark.createDataFrame(
        [("o", PHRASE, "Chef", "c"), ("o", PHRASE, "Chef", "b"), ("o", PHRASE, "Cook", "c")],
        "dictionary string, how string, text string, term string",
    )
    dictionary = spark.createDataFrame([("o", "c", 9, ""), ("o", "b", 10, "")], STORED)
    found = {r["job_id"]: r["terms"] for r in entity_terms(long, terms, dictionary, ("job_id",)).collect()}
    assert found == {1: {"occupation": [9, 10], "past_occupation": [9, 10]}, 2: {}}
