"""Point-in-time joins and the three kinds of no-hires, on a literal world."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.graph.evidence import evidence
from jobs.graph.hires import NoHires, labelled_pairs, terms_at


def day(n: int, hour: int = 0) -> datetime:
    return datetime(2026, 1, n, hour, tzinfo=UTC)


TERMS = "valid_from timestamp, terms map<string, array<int>>"
HIRES = "seeker_id bigint, job_id bigint, hired_ts timestamp, weight double, source string"
EVENTS = "seeker_id bigint, job_id bigint, action string, event_ts timestamp"

SEEKER_VERSIONS = [
    (1, day(1), {"occupation": [10]}),  # what seeker 1 was before the hire of the 10th
    (1, day(10), {"occupation": [20]}),  # changed on the very instant of the hire: the answer, not to be seen
    (2, day(10, 1), {"occupation": [30]}),  # the first profile comes after the hire: nothing is known before
    (3, day(1), {}),  # a profile without attributes
    (4, day(1), {"occupation": [40]}),
    (4, day(10, 1), {"occupation": [41]}),  # an hour after the hire: not yet
    (5, day(1), {"occupation": [50]}),  # never hired, applies and looks
    (6, day(1), {"occupation": [60]}),  # never hired, only looks
]
JOB_VERSIONS = [
    (101, day(1), {"occupation": [20], "region": [7]}),
    (101, day(10), {"occupation": [21], "region": [7]}),  # at the instant of the hire: holds already
    (102, day(20), {"occupation": [22]}),  # recorded only after its hire: its first version is read
    (103, day(1), {"occupation": [23], "region": [7]}),
    (104, day(1), {"occupation": [24], "region": [7]}),
]


def rows(spark: SparkSession, entity: str, versions: list[tuple[object, ...]]) -> DataFrame:
    return spark.createDataFrame(versions, f"{entity}_id bigint, {TERMS}")


def test_a_moment_is_joined_to_what_held_then(spark: SparkSession) -> None:
    moments = spark.createDataFrame(
        [
            (1, 101, day(10)),  # both change at this instant
            (1, 101, day(11)),  # and a day later
            (1, 102, day(10)),  # a job without a version yet
            (2, 103, day(10)),  # a seeker without a profile yet
            (3, 104, day(10)),  # an empty profile
            (4, 101, day(9)),  # before every change
            (9, 109, day(9)),  # neither is known
        ],
        "seeker_id bigint, job_id bigint, at_ts timestamp",
    )
    before = terms_at(moments, rows(spark, "seeker", SEEKER_VERSIONS), "seeker", strictly_before=True)
    assert {(r.seeker_id, r.at_ts.day): (r.seeker_terms, r.is_later) for r in before.collect()} == {
        (1, 10): ({"occupation": [10]}, False),
        (1, 11): ({"occupation": [20]}, False),
        (3, 10): ({}, False),
        (4, 9): ({"occupation": [40]}, False),
    }
    assert before.count() == 5, "one row a moment: seeker 1 has two moments on the 10th"
    at = terms_at(moments, rows(spark, "job", JOB_VERSIONS), "job", strictly_before=False)
    assert {(r.job_id, r.at_ts.day): (r.job_terms["occupation"], r.is_later) for r in at.collect()} == {
        (101, 10): ([21], False),
        (101, 11): ([21], False),
        (102, 10): ([22], True),
        (103, 10): ([23], False),
        (104, 10): ([24], False),
        (101, 9): ([20], False),
    }


@pytest.fixture(scope="module")
def board(spark: SparkSession) -> dict[str, DataFrame]:
    hires = [
        (1, 101, day(10), 0.5, "interview"),
        (2, 103, day(10), 0.5, "interview"),  # left out: no profile before
        (3, 104, day(10), 0.5, "interview"),  # stays, though it can match nothing
        (4, 102, day(10), 2.0, "interview"),  # its job has no region
    ]
    events = [
        (1, 101, "apply", day(9)),  # became a hire: not a no-hire
        (5, 101, "view", day(2)),
        (5, 101, "apply", day(3)),  # in vain, decided by the 30th: applied, as of the 3rd
        (5, 102, "apply", day(28)),  # undecided: three days of ten have passed
        (5, 103, "impression", day(4)),  # seen by someone who applies: seen, as of the 4th
        (5, 103, "view", day(5)),
        (5, 104, "view", day(6)),  # a call is contact
        (5, 104, "call", day(6)),
        (6, 103, "view", day(4)),  # by someone who never applied to anything: nothing
        (4, 103, "reject", day(12)),  # an employer's answer to nothing we saw: nothing
    ]
    return {
        "hires": spark.createDataFrame(hires, HIRES),
        "events": spark.createDataFrame(events, EVENTS),
        "seeker_terms": rows(spark, "seeker", SEEKER_VERSIONS),
        "job_terms": rows(spark, "job", JOB_VERSIONS),
    }


def pairs_of(board: dict[str, DataFrame], **options: float) -> DataFrame:
    given = {
        "applied_per_hire": 9.0,
        "seen_per_hire": 9.0,
        "random_per_hire": 0.0,
        "within_days": 10,
        "min_market": 2,
    }
    return labelled_pairs(**board, until=day(31), options=NoHires(**(given | options)))  # type: ignore[arg-type]


def test_the_hires_behind_a_link(board: dict[str, DataFrame]) -> None:
    def behind(seeker: list[tuple[str, int]], job: list[tuple[str, int]]) -> list[tuple[int, int]]:
        tables = board["hires"], board["seeker_terms"], board["job_terms"]
        return sorted((r.seeker_id, r.job_id) for r in evidence(*tables, seeker, job).collect())

    assert behind([("occupation", 10)], [("occupation", 21), ("region", 7)]) == [(1, 101)]
    assert behind([("occupation", 20)], [("occupation", 21)]) == [], "seeker 1 became that on the day of the hire"
    assert behind([("occupation", 40)], [("occupation", 22)]) == [(4, 102)]
    assert behind([("occupation", 40)], [("occupation", 22), ("region", 7)]) == [], "102 has no region"


def test_hires_and_no_hires_of_a_board(board: dict[str, DataFrame]) -> None:
    found = {(r.seeker_id, r.job_id): r for r in pairs_of(board, random_per_hire=1.0).collect()}
    assert {pair: r.kind for pair, r in found.items()} == {
        (1, 101): "hire",
        (3, 104): "hire",
        (4, 102): "hire",
        (5, 101): "applied",
        (5, 103): "seen",
        # Region 7 has two hires: each draws the other's job. The one without a region has none to draw.
        (1, 104): "random",
        (3, 101): "random",
    }
    assert found[1, 101].seeker_terms == {"occupation": [10]}
    assert found[4, 102].seeker_terms == {"occupation": [40]}
    assert [p for p, r in found.items() if r.is_job_later] == [(4, 102)]
    assert [found[5, job].at_ts.day for job in (101, 103)] == [3, 4]
    weights = {r.kind: r.weight for r in found.values() if r.kind != "hire"}
    assert weights == {"applied": 1.0, "seen": 1.0, "random": 1.0}, "the mean of 0.5, 0.5 and 2"


def test_shares_and_small_markets(spark: SparkSession, board: dict[str, DataFrame]) -> None:
    applications = spark.range(2000).selectExpr("5 AS seeker_id", "1000 + id AS job_id", "'apply' AS action")
    jobs = spark.range(2000).selectExpr("1000 + id AS job_id", "map('occupation', array(1)) AS terms")
    world = board | {
        "events": applications.selectExpr("*", "timestamp'2026-01-02' AS event_ts"),
        "job_terms": jobs.selectExpr("*", "timestamp'2026-01-01' AS valid_from").unionByName(board["job_terms"]),
    }
    options = {"applied_per_hire": 100, "random_per_hire": 9.0, "min_market": 3}
    found = pairs_of(world, **options).collect()
    drawn = {(r.seeker_id, r.job_id) for r in found if r.kind == "applied"}
    assert 240 < len(drawn) < 360, "100 a hire, of 3 hires"
    random = [(r.seeker_id, r.job_id) for r in found if r.kind == "random"]
    assert len(random) == len(set(random)), "nine draws each of two jobs, each pair once"
    assert {job for _, job in random} == {101, 102, 104}, "a market of fewer than 3 hires takes in the others"
    assert not set(random) & {(1, 101), (3, 104), (4, 102)}, "no hire among them"
    again = pairs_of(world | {"events": world["events"].repartition(3, "job_id")}, **options).collect()
    assert {(r.seeker_id, r.job_id, r.kind) for r in again} == {(r.seeker_id, r.job_id, r.kind) for r in found}


def test_of_too_many_hires_a_share_is_drawn(spark: SparkSession) -> None:
    every = spark.range(2000).selectExpr("id AS seeker_id", "id + 5000 AS job_id")
    at, terms = "timestamp'2026-01-02' AS valid_from", "map('occupation', array(1), 'region', array(7)) AS terms"
    board = {
        "hires": every.selectExpr("*", "timestamp'2026-01-10' AS hired_ts", "1.0D AS weight", "'move' AS source"),
        "events": spark.createDataFrame([], EVENTS),
        "seeker_terms": every.selectExpr("seeker_id", at, terms),
        "job_terms": every.selectExpr("job_id", at, terms),
    }
    options = {"applied_per_hire": 0.0, "seen_per_hire": 0.0, "random_per_hire": 1.0}
    whole = pairs_of(board, **options, max_pairs=4000)
    assert whole.where("kind = 'hire'").count() == 2000
    some = pairs_of(board, **options, max_pairs=1000).collect()
    hires = {(r.seeker_id, r.job_id) for r in some if r.kind == "hire"}
    assert 430 < len(hires) < 570, "a quarter of 2,000 hires, with as many re-paired"
    repaired = {(r.seeker_id, r.job_id) for r in some if r.kind == "random"}
    assert 430 < len(repaired) < 570
    assert {seeker for seeker, _ in repaired} <= {seeker for seeker, _ in hires}, "of the hires drawn"
    mixed = board | {"hires": board["hires"].repartition(5, "job_id")}
    again = pairs_of(mixed, **options, max_pairs=1000).where("kind = 'hire'").collect()
    assert {(r.seeker_id, r.job_id) for r in again} == hires, "the same ones in any order"
