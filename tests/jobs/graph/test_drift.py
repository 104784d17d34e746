"""What changed since the last version, and what the hires cover, on literal tables."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import SparkSession

from jobs.channels.jobs_open import is_open
from jobs.graph.drift import hire_quality, link_drift


def day(n: int) -> datetime:
    return datetime(2026, 1, n, tzinfo=UTC)


def test_links_since_the_last_version(spark: SparkSession) -> None:
    columns, same = "seeker_segment string, job_segment string", ("f=1", "f=1", "same")
    before = [*((own, "x", "learnt") for own in "abc"), same]
    before = spark.createDataFrame(before, f"{columns}, origin string")
    now = spark.createDataFrame([("a", "x", "learnt"), ("a", "y", "forced"), same], f"{columns}, origin string")
    against = spark.createDataFrame([("b", "x"), ("d", "x")], columns)  # d was no link before
    assert link_drift(before, now, against, "v1") == [
        ("links_in", 1, "v1"),
        ("links_out", 2, "v1"),
        ("links_stayed", 1, "v1"),
        ("links_changed_sign", 1, "v1"),
    ]
    assert [n for _, n, _ in link_drift(before.limit(0), now.limit(0), against, "v1")] == [0, 0, 0, 0]


def test_what_hires_cover(spark: SparkSession) -> None:
    hires = [
        (1, 101, day(10)),
        (1, 102, day(10)),  # 102 says no time: neither impossible nor ever closed
        (2, 103, day(10)),  # before 103 was posted
        (9, 101, day(10)),  # nobody knows seeker 9
        (2, 109, day(10)),  # nor job 109
    ]
    terms = [
        (1, {"skill": [1, 2]}),
        (2, {"skill": [2], "level": [2]}),  # level 2 is another term than skill 2
        (3, {}),  # no attributes: a seeker all the same
        (4, {"skill": [3]}),
    ]
    jobs = [
        (101, day(1), day(20)),
        (102, None, None),
        (103, day(11), None),
        (104, day(1), day(4)),  # closed by the first day of the hires
        (105, day(9), day(9)),  # open at no instant, though both its times lie in the period
        (106, day(1), None),
    ]
    tables = (
        spark.createDataFrame(hires, "seeker_id bigint, job_id bigint, hired_ts timestamp"),
        spark.createDataFrame(terms, "seeker_id bigint, terms map<string, array<int>>"),
        spark.createDataFrame(jobs, "job_id bigint, posted_ts timestamp, closed_ts timestamp"),
    )
    hired_terms = spark.createDataFrame([("skill", 1), ("skill", 2)], "field string, term int")
    open_jobs = tables[2].where(is_open(day(5), day(15)))
    found = {(metric, label): value for metric, value, label in hire_quality(*tables, open_jobs, hired_terms)}
    assert found == {
        ("hired_share", "seekers"): 2 / 4,
        ("hired_share", "open jobs"): 3 / 4,
        ("hired_share", "segments"): 2 / 4,
        ("impossible_hires", "before the job was posted"): 1,
        ("impossible_hires", "of an unknown job"): 1,
        ("impossible_hires", "of an unknown seeker"): 1,
    }
    nobody = hire_quality(tables[0], tables[1].limit(0), tables[2], open_jobs.limit(0), hired_terms)
    assert [value for metric, value, _ in nobody if metric == "hired_share"] == [None, None, None]
