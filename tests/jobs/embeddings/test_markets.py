"""Where jobs get a local market from that their terms do not give."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.corpus import encode_jobs
from jobs.embeddings.markets import community_markets
from jobs.errors import StageError
from jobs.graph.igraph_engine import IgraphEngine

VIEW, APPLY, CALL = (CHAIN_ACTIONS.index(action) for action in ("view", "apply", "call"))

# Three blocks of chains that apply for the same jobs, a bridge, and what must make no edge.
CHAINS = [
    (1, [10, 11, 12, 13], [APPLY] * 4),
    (2, [13, 12, 11, 10, 13], [APPLY, CALL, APPLY, APPLY, APPLY]),  # 13 twice is one edge
    (3, [10, 11, 12, 13], [APPLY] * 4),
    (4, [20, 21, 22], [APPLY] * 3),
    (5, [22, 21, 20], [APPLY] * 3),
    (6, [20, 21, 22], [APPLY] * 3),
    (7, [13, 20], [APPLY] * 2),  # one chain between two blocks does not make them one
    (8, [30, 10, 11], [VIEW, APPLY, CALL]),  # 30 was looked at, and nothing else
    (9, [31, 31], [APPLY] * 2),  # no other job
    (0, [40, 41, 42], [APPLY] * 3),  # ends that only 0 and the largest id could mistake for no market
    (2**63 - 1, [40, 41, 42], [APPLY] * 3),
]
# 10 and 11 are alike, 12 is elsewhere, 13 lacks a region; of 20 to 22 none has terms; 40 and 41 disagree about 42.
TERMS = [
    (10, {"region": [1], "occupation": [5, 6]}),
    (11, {"region": [1], "occupation": [5]}),
    (12, {"region": [2], "occupation": [5]}),
    (13, {"occupation": [7]}),
    (40, {"region": [3], "occupation": [5]}),
    (41, {"region": [4], "occupation": [5]}),
    (90, {"region": [1]}),  # in no chain
]
FIELDS = ["region", "occupation"]


class Silent(IgraphEngine):
    """Fails where it is asked."""

    def _components(self, edges):
        raise AssertionError("the engine was asked")


class Merging(IgraphEngine):
    """Gives one community, though the graph is in parts."""

    def _communities(self, edges, max_rounds):
        return super()._communities(edges, max_rounds).withColumn("label", F.lit(1))


def tables(spark, chains, terms):
    encoded = spark.createDataFrame(chains, "chain_id bigint, jobs array<bigint>, actions array<int>")
    return encoded, spark.createDataFrame(terms, "job_id bigint, terms map<string, array<int>>")


def markets_of(encoded, job_terms, engine=None):
    """Each job's market as training reads it, and the figures by metric and label."""
    markets, figures = community_markets(encoded, job_terms, FIELDS, engine or IgraphEngine())
    jobs = encode_jobs(job_terms, FIELDS, encoded, FIELDS, markets).collect()
    assert [row.job_id for row in jobs] == sorted({row.job_id for row in jobs})
    return {row.job_id: row.market for row in jobs}, {(f.metric, f.label): f.value for f in figures}


def test_a_job_takes_its_communitys_market_or_the_community_itself(spark):
    encoded, job_terms = tables(spark, CHAINS, TERMS)
    markets, figures = markets_of(encoded, job_terms)
    by_terms = {row.job_id: row.market for row in encode_jobs(job_terms, FIELDS, encoded, FIELDS).collect()}
    assert {job: markets[job] for job, market in by_terms.items() if market != -1} == {
        job: market for job, market in by_terms.items() if market != -1
    }, "terms come first"
    assert by_terms[13] == -1
    assert markets[13] == by_terms[10] == by_terms[11] != by_terms[12]
    assert markets[42] == min(by_terms[40], by_terms[41])
    assert (markets[20], markets[21], markets[22]) == (-22, -22, -22)
    assert (markets[30], markets[31], markets[90]) == (-1, -1, -1)
    assert figures == {
        ("graph_engine", "igraph"): 1,
        ("co_action_edges", "applications"): 3 * 4 + 3 * 3 + 2 + 2 + 2 * 3,
        ("communities", ""): 3,
        ("jobs_by_market", "terms"): 5,
        ("jobs_by_market", "community's market"): 2,
        ("jobs_by_market", "community"): 3,
        ("jobs_by_market", "none"): 2,
    }
    shuffled, shuffled_terms = tables(spark, CHAINS[::-1], TERMS[::-1])
    assert markets_of(shuffled.repartition(3), shuffled_terms.repartition(2)) == (markets, figures)


def test_without_applications_all_actions_join_jobs(spark):
    viewed = [(chain, jobs, [VIEW] * len(jobs)) for chain, jobs, _ in CHAINS]
    encoded, job_terms = tables(spark, [*viewed, (10, [20, 21], [APPLY, VIEW])], TERMS)
    markets, figures = markets_of(encoded, job_terms)
    assert figures[("co_action_edges", "all actions")] == 12 + 9 + 2 + 3 + 6 + 2
    assert markets[30] == markets[13] == markets[10]  # 30 was looked at by who looked at 10
    assert markets[21] == -22


def test_the_engine_is_asked_only_where_a_job_has_no_market_and_chains_have_two(spark):
    known, job_terms = tables(spark, [(1, [10, 11, 12], [APPLY] * 3)], TERMS)
    markets, figures = markets_of(known, job_terms, Silent())
    assert len({markets[10], markets[12], markets[13]}) == 3
    assert figures == {
        ("jobs_by_market", "terms"): 3,
        ("jobs_by_market", "community's market"): 0,
        ("jobs_by_market", "community"): 0,
        ("jobs_by_market", "none"): 0,
    }
    alone, job_terms = tables(spark, [(9, [31, 31], [APPLY] * 2)], TERMS)
    markets, figures = markets_of(alone, job_terms, Silent())
    assert (markets[31], figures[("communities", "")], figures[("jobs_by_market", "none")]) == (-1, 0, 1)


def test_a_community_beyond_its_component_is_not_used(spark):
    encoded, job_terms = tables(spark, CHAINS, TERMS)
    with pytest.raises(StageError, match="communities by igraph are wrong"):
        community_markets(encoded, job_terms, FIELDS, Merging())
