"""Baselines against brute force: open at the case's instant, not excluded, best first."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from jobs.evaluation import oracle, popular_global, random_order
from jobs.evaluation.baselines import _first, _Held

NOON = datetime(2026, 1, 10, 12)
HOUR = timedelta(hours=1)
SEED_THAT_DIFFERS = 1

CASES = [
    (1, NOON, []),
    # both may be left out, and an id that no job has
    (2, NOON, [11, 12, 777]),
    # before job 14 opens
    (3, NOON - 2 * HOUR, None),
]
INVENTORY = [
    (11, None, None),
    (12, None, None),
    (13, None, None),
    # opens at exactly noon: open at noon, not an hour before
    (14, NOON, None),
    # closes at exactly noon: no longer open at noon
    (15, None, NOON),
]
EVENTS = [
    # job 12 most, then 11, then 15; impressions and employers' answers are no interest
    *[(12, "seeker", "view")] * 3,
    *[(11, "seeker", "apply")] * 2,
    (15, "seeker", "save"),
    *[(13, "seeker", "impression")] * 9,
    *[(14, "employer", "reply")] * 9,
]


@pytest.fixture(scope="module")
def market(spark):
    cases = spark.createDataFrame(CASES, "query_id bigint, as_of_ts timestamp, exclude array<bigint>")
    columns = "job_id bigint, posted_ts timestamp, closed_ts timestamp"
    inventory = spark.createDataFrame(INVENTORY, columns).repartition(2, "job_id").cache()
    events = spark.createDataFrame(EVENTS, "job_id bigint, actor string, action string")
    return cases, inventory, events


def _jobs(ranked):
    return {row.query_id: [c.job_id for c in row.candidates] for row in ranked.collect()}


def test_popular_is_by_actions_over_the_open_inventory(market):
    cases, inventory, events = market
    ranked = _jobs(popular_global(cases, inventory, events, k=10, seed=7))
    assert ranked[1][:2] == [12, 11]
    assert set(ranked[1][2:]) == {13, 14}
    assert set(ranked[2]) == {13, 14}
    assert ranked[3][:3] == [12, 11, 15]
    assert ranked[3][3:] == [13]
    # jobs without an action: one order for all cases, and another by another seed
    assert ranked[1][2:] == ranked[2]
    other = _jobs(popular_global(cases, inventory, events, k=10, seed=SEED_THAT_DIFFERS))
    assert other[2] == ranked[2][::-1]


def test_random_is_seeded_and_ranks_all_that_may_be(market):
    cases, inventory, _ = market
    first, again = (_jobs(random_order(cases, inventory, k=10, seed=5)) for _ in range(2))
    assert first == again
    assert {query: set(jobs) for query, jobs in first.items()} == {
        1: {11, 12, 13, 14},
        2: {13, 14},
        3: {11, 12, 13, 15},
    }
    assert _jobs(random_order(cases, inventory, k=10, seed=SEED_THAT_DIFFERS)) != first


def test_oracle_is_the_brute_force_inner_product(spark):
    generator = np.random.default_rng(11)
    seekers, jobs = generator.normal(size=(7, 5)), generator.normal(size=(200, 5))
    jobs[150] = jobs[3]  # a tie, which the lower id wins
    cases = spark.createDataFrame(
        [(q, NOON, vector.tolist()) for q, vector in enumerate(seekers)],
        "query_id bigint, as_of_ts timestamp, vector array<double>",
    )
    inventory = spark.createDataFrame(
        [(job, vector.tolist()) for job, vector in enumerate(jobs)], "job_id bigint, vector array<double>"
    ).repartition(4)
    expected = {q: np.lexsort((np.arange(200), -(jobs @ v)))[:12].tolist() for q, v in enumerate(seekers)}
    assert _jobs(oracle(cases, inventory, k=12)) == expected


def test_the_cut_does_not_depend_on_the_order_of_batches():
    # scores in four classes, so that most cuts fall among equals
    generator = np.random.default_rng(2)
    scores, ids = generator.integers(0, 4, size=(3, 40)).astype(float), generator.permutation(40)
    for order in (np.arange(40), np.arange(40)[::-1], generator.permutation(40)):
        held = _Held(3, 6)
        for part in np.array_split(order, 5):
            held.offer(slice(0, 3), scores[:, part], ids[part])
        for case in range(3):
            expected = ids[np.lexsort((ids, -scores[case]))[:6]]
            assert sorted(held.jobs[case]) == sorted(expected)


def test_fewer_than_k_are_no_more():
    scores, ids = np.array([[1.0, -np.inf, -np.inf]]), np.array([[5, 6, 7]])
    assert _first(scores, ids, 1).tolist() == [[0]]
