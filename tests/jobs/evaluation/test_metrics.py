"""Figures of literal worlds, against literal answers."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.errors import StageError
from jobs.evaluation import retrieval_figures, target_ranks
from jobs.evaluation.metrics import bootstrap_bounds, seeker_means

CASES = [
    # seeker 1 has two targets, seeker 2 one: the mean over seekers is not the mean over cases
    (100, 1, 11, False),
    (101, 1, 12, True),
    (102, 2, 13, False),
]
RANKED = [
    # found first, found third, found second
    (100, "blend", [11, 12, 13]),
    (101, "blend", [11, 13, 12]),
    (102, "blend", [14, 13]),
    # absent, empty, and no ranking at all for query 102
    (100, "graph", [12, 13]),
    (101, "graph", []),
    # a query that is no case
    (999, "blend", [11]),
]
RANKED_COLUMNS = "query_id bigint, row string, candidates array<struct<job_id:bigint,score:float>>"


@pytest.fixture(scope="module")
def world(spark):
    cases = spark.createDataFrame(
        CASES, "query_id bigint, seeker_id bigint, target_job_id bigint, is_returning boolean"
    )
    rows = [(q, row, [(job, 0.0) for job in jobs]) for q, row, jobs in RANKED]
    ranks = target_ranks(cases, spark.createDataFrame(rows, RANKED_COLUMNS))
    # 11 is warm, 12 cold, 13 unknown to the model and so cold
    cold_jobs = spark.createDataFrame([(11, False), (12, True), (99, False)], "job_id bigint, is_cold boolean")
    return cases, ranks.cache(), cold_jobs


def test_ranks_of_targets(world):
    assert {(r.query_id, r.row): r["rank"] for r in world[1].collect()} == {
        (100, "blend"): 1,
        (101, "blend"): 3,
        (102, "blend"): 2,
        (100, "graph"): None,
        (101, "graph"): None,
    }


def test_figures_of_a_literal_world(world):
    found = retrieval_figures(*world, k=[1, 2, 3], bootstrap=0, seed=7, rows=["terms"])
    figures = {(f.metric, f.label): f.value for f in found}
    assert len(figures) == len(found)
    expected = {
        ("cases", ""): 3, ("seekers", ""): 2,
        ("cases", "cold"): 2, ("seekers", "cold"): 2, ("cases", "warm"): 1,
        ("recall@1", "blend"): (1 / 2 + 0) / 2, ("recall@2", "blend"): (1 / 2 + 1) / 2,
        ("recall@3", "blend"): 1,
        ("hit_rate@1", "blend"): 1 / 2, ("hit_rate@2", "blend"): 1,
        ("mrr", "blend"): ((1 + 1 / 3) / 2 + 1 / 2) / 2,
        ("recall@1", "blend|warm"): 1, ("mrr", "blend|warm"): 1,
        ("recall@2", "blend|cold"): 1 / 2, ("mrr", "blend|cold"): (1 / 3 + 1 / 2) / 2,
        ("cases", "returning"): 1, ("seekers", "returning"): 1,
        ("recall@2", "blend|returning"): 0, ("mrr", "blend|returning"): 1 / 3,
        # nothing found, and a row that ranked nothing
        ("recall@3", "graph"): 0, ("mrr", "graph"): 0, ("recall@3", "terms"): 0, ("mrr", "terms"): 0,
    }  # fmt: skip
    assert {key: figures[key] for key in expected} == pytest.approx(expected)


def test_no_case_gives_no_figure_but_the_counts(world, spark):
    cases, ranks, cold_jobs = world
    figures = retrieval_figures(
        cases.where("false"), ranks.where("false"), cold_jobs, k=[1], bootstrap=10, seed=7, rows=["blend"]
    )
    assert {f.value for f in figures if f.metric in ("cases", "seekers")} == {0.0}
    assert {(f.metric, f.value) for f in figures if f.label == "blend"} == {
        ("recall@1", None), ("hit_rate@1", None), ("mrr", None)
    }  # fmt: skip


def test_a_ranking_given_twice_is_refused(world):
    cases, ranks, cold_jobs = world
    with pytest.raises(StageError, match="one ranking a query, got 2 of blend, first query_id 100"):
        retrieval_figures(cases, ranks.union(ranks), cold_jobs, k=[1], bootstrap=0, seed=7)


def test_intervals_are_seeded_and_hold_the_mean(world):
    figures = [retrieval_figures(*world, k=[1], bootstrap=200, seed=seed) for seed in (0, 0, 1)]
    assert figures[0] == figures[1]
    by_name = {(f.metric, f.label): f.value for f in figures[0]}
    for metric in ("recall@1", "hit_rate@1", "mrr"):
        low, mean, high = (by_name[metric + end, "blend"] for end in (".low", "", ".high"))
        assert low <= mean <= high
    # of two seekers, a resample has both, or one of them twice
    assert by_name["recall@1.low", "blend"] == 0
    assert by_name["recall@1.high", "blend"] == pytest.approx(1 / 2)


def test_bounds_of_many_seekers_are_those_of_the_normal_law():
    # 400 seekers, half of them found: the standard error is 0.025, so the interval is 0.5 -+ 0.049
    values = np.repeat([[0.0, 1.0], [1.0, 1.0]], 200, axis=0)
    low, high = bootstrap_bounds(values, resamples=2000, seed=3)
    assert (low[0], high[0]) == pytest.approx((0.451, 0.549), abs=0.005)
    assert (low[1], high[1]) == (1.0, 1.0)
    other = bootstrap_bounds(values, resamples=2000, seed=4)
    assert (low[0], high[0]) != (other[0][0], other[1][0]) or not np.array_equal(low, other[0])


def test_ties_in_seekers_order_do_not_matter():
    ranks, seekers = np.array([1.0, np.inf, 4.0]), np.array([7, 7, 8])
    backwards = seeker_means(seekers[::-1], ranks[::-1], [2, 4])
    for metric, values in seeker_means(seekers, ranks, [2, 4]).items():
        assert backwards[metric].tolist() == values.tolist()
