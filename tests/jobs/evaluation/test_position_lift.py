"""Positions in shown lists whose right answer can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.evaluation import list_positions, position_lift_figures
from jobs.evaluation.position_lift import chain_cosines, tied_position

CASES = [
    # the target is third as shown; features put it second of two alike, vectors first
    (1, 23),
    # all jobs alike in everything: ties share the middle
    (2, 25),
    # the chain's only job is in the list itself: no case
    (3, 21),
    # the target is not in the list that was shown: no case
    (4, 99),
]
LISTS = [(1, [21, 22, 23]), (2, [24, 25, 26]), (3, [21, 22]), (4, [21, 22])]
CHAINS = [(1, [10, 21]), (2, [11]), (3, [21]), (4, [10])]
VECTORS = [
    (10, [1.0, 0.0]),
    (21, [0.0, 1.0]),
    # opposite to the chain; 23 is alike; 24 to 26 have no vector or an all zero one
    (22, [-1.0, 0.0]),
    (23, [1.0, 0.0]),
    (11, [0.0, 1.0]),
    (24, [0.0, 0.0]),
]
TERMS = [
    # 22 and 23 share the chain's title, and nothing else; 21 has the same number in another field
    (10, {"title": [1], "skill": [5]}),
    (21, {"title": [5], "skill": [1]}),
    (22, {"title": [1], "skill": [6]}),
    (23, {"title": [1], "skill": [7]}),
]


# The truth knows the first case's seeker alone: 23 suits best, then 22.
WANTS = [(1, [1.0, 0.0])]
JOBS = [(21, [0.1, 0.0]), (22, [0.2, 0.0]), (23, [0.3, 0.0])]


@pytest.fixture(scope="module")
def positions(spark):
    truth = (
        spark.createDataFrame(WANTS, "query_id bigint, vector array<float>"),
        spark.createDataFrame(JOBS, "job_id bigint, vector array<float>"),
    )
    return list_positions(
        spark.createDataFrame(CASES, "query_id bigint, target_job_id bigint"),
        spark.createDataFrame(LISTS, "query_id bigint, job_ids array<bigint>"),
        spark.createDataFrame(CHAINS, "query_id bigint, job_ids array<bigint>"),
        spark.createDataFrame(VECTORS, "job_id bigint, vector array<float>"),
        spark.createDataFrame(TERMS, "job_id bigint, terms map<string,array<int>>"),
        truth,
    ).cache()


def test_positions_under_each_order(positions):
    rows = {
        row.query_id: (row.random, row.shown, row.features, row.embedding, row.oracle) for row in positions.collect()
    }
    assert rows == {1: (2.0, 3.0, 1.5, 1.0, 1.0), 2: (2.0, 2.0, 2.0, 2.0, None)}


def test_lift_is_after_less_before_over_before(positions):
    figures = {(f.metric, f.label): f.value for f in position_lift_figures(positions, "click_chain")}
    assert figures == {
        ("position.cases", "click_chain"): 2,
        ("position.random", "click_chain"): 2.0,
        ("position.shown", "click_chain"): 2.5,
        ("position.features", "click_chain"): 1.75,
        ("position.embedding", "click_chain"): 1.5,
        ("position.oracle", "click_chain"): 1.0,
        ("position_lift_percent", "click_chain"): pytest.approx((1.5 - 1.75) / 1.75 * 100),
    }


def test_no_case_has_no_lift(positions):
    figures = {f.metric: f.value for f in position_lift_figures(positions.where("false"), "apply_chain")}
    assert figures.pop("position.cases") == 0
    assert set(figures.values()) == {None}


def test_cosine_of_nothing_is_zero():
    vectors, chain = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([False, True])
    assert chain_cosines(vectors, chain).tolist() == [0.0]
    assert chain_cosines(vectors[::-1], chain).tolist() == [0.0]


def test_positions_of_ties():
    assert tied_position(np.array([1.0, 1.0, 1.0, 1.0]), 2) == 2.5
    assert tied_position(np.array([3.0, 2.0, 2.0, 1.0]), 1) == 2.5
    assert tied_position(np.array([3.0, 2.0, 2.0, 1.0]), 3) == 4.0
    assert tied_position(np.array([0.3, 0.1 + 0.2]), 0) == 1.5  # equal but for the last bit
