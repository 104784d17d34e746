"""What a query knows of its seeker: each rule on rows that hang on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.channels.queries import COLUMNS, Memory, build_queries, quality_bands

DAY = timedelta(days=1)
NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
MEMORY = Memory(max_actions=3, half_life_actions=1.0, dormant_days=7, dormant_weight=0.25)

ACTIONS = [
    # 1: the newest first, each job once at its newest; the third back counts a quarter, the fourth not at all
    (1, 14, "view", NOON - 4 * DAY),
    (1, 13, "view", NOON - 3 * DAY),
    (1, 12, "save", NOON - 2 * DAY),
    (1, 11, "view", NOON - 1 * DAY),
    (1, 11, "view", NOON - 5 * DAY),
    # 2: two pauses of more than seven days, and one of exactly seven, which is none
    (2, 24, "apply", NOON - 40 * DAY),
    (2, 23, "view", NOON - 30 * DAY),
    (2, 22, "view", NOON - 15 * DAY),
    (2, 21, "view", NOON - 8 * DAY),
    # 3: long gone, but without a pause between its actions; what happens at the case's instant is not before it
    (3, 32, "view", NOON - 30 * DAY),
    (3, 31, "message", NOON - 29 * DAY),
    (3, 39, "view", NOON),
    # 4: a dismissal bridges a pause, and takes its job away; it is in no chain
    (4, 42, "view", NOON - 12 * DAY),
    (4, 43, "dismiss", NOON - 6 * DAY),
    (4, 41, "view", NOON - 1 * DAY),
]


@pytest.fixture(scope="module")
def queries(spark):
    seekers = [1, 2, 3, 4, 5]
    terms = "valid_from timestamp, terms map<string,array<int>>"
    rows = build_queries(
        spark.createDataFrame([(s, s, NOON) for s in seekers], "query_id bigint, seeker_id bigint, as_of_ts timestamp"),
        actions=spark.createDataFrame(ACTIONS, "seeker_id bigint, job_id bigint, action string, event_ts timestamp"),
        seeker_terms=spark.createDataFrame([], f"seeker_id bigint, {terms}"),
        job_terms=spark.createDataFrame(
            [(11, {"title": [5]}), (14, {"title": [9]})], "job_id bigint, terms map<string,array<int>>"
        ),
        seeker_nodes=spark.createDataFrame([(1, [7])], "seeker_id bigint, nodes array<int>"),
        node_bands=spark.createDataFrame([(7, 1)], "node_id int, band int"),
        n_bands=2,
        excluded_actions=["apply", "message", "dismiss"],
        memory=MEMORY,
        max_terms=5,
    )
    assert rows.schema.simpleString() == spark.createDataFrame([], COLUMNS).schema.simpleString()
    return {row.seeker_id: row for row in rows.collect()}


def test_chains_fade_by_action_and_by_pause(queries):
    chains = {s: (q.clicked, q.clicked_weights, q.applied, q.applied_weights) for s, q in queries.items()}
    assert chains == {
        1: ([11, 12, 13], [1.0, 0.5, 0.25], [], []),
        2: ([21, 22, 23], [1.0, 0.5, 0.25 * 0.25], [24], [0.25 * 0.25]),
        3: ([32], [1.0], [31], [1.0]),
        4: ([41, 42], [1.0, 0.5], [], []),
        5: ([], [], [], []),
    }


def test_who_came_back(queries):
    assert {s for s, q in queries.items() if q.is_returning} == {2}


def test_what_else_is_known(queries):
    assert {s: q.excluded for s, q in queries.items()} == {1: [], 2: [24], 3: [31], 4: [43], 5: []}
    # of the jobs in the chain, the field that carries over; the fourth job back is in none
    assert queries[1].terms == {"title": [5]}
    assert queries[1].bands == [[], [7]] and queries[2].bands == []


def test_bands_of_quality(spark):
    """A hundred links of one quality take one place among the others, not a hundred."""
    qualities = [3.0, *[2.5] * 100, 2.0, 1.5, 1.0]
    links = spark.createDataFrame(list(enumerate(qualities)), "node_id int, quality double")
    bands = {qualities[row.node_id]: row.band for row in quality_bands(links, 4).collect()}
    assert bands == {3.0: 0, 2.5: 1, 2.0: 2, 1.5: 3, 1.0: 3}
    assert quality_bands(links, 4).count() == len(qualities)
    assert [row.band for row in quality_bands(links.limit(1), 4).collect()] == [0]
