"""Lists re-ranked by vectors whose right order can be worked out by hand."""

from __future__ import annotations

import numpy as np

from jobs.evaluation.reranking import ListCase, case_positions, drawn_cases, shown_cases

JOB_IDS = np.array([10, 21, 22, 23])
VECTORS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]], np.float32)


def case(listed, place, chain):
    return ListCase(np.array(listed), place, np.array(chain))


def test_position_and_auc_of_each_case():
    # 23 is alike the chain; 22 is opposite; 99 is unknown and shares cosine 0 with 21
    cases = [case([21, 22, 23], 2, [10]), case([21, 22, 23], 1, [10]), case([21, 99], 0, [10])]
    assert case_positions(cases, JOB_IDS, VECTORS).tolist() == [[1.0, 1.0], [3.0, 0.0], [1.5, 0.5]]


def test_a_chain_of_unknown_jobs_ties_everything():
    assert case_positions([case([21, 22, 23], 0, [99])], JOB_IDS, VECTORS).tolist() == [[2.0, 0.5]]


def test_cases_are_those_with_a_list_and_a_chain_outside_of_it(spark):
    cases = spark.createDataFrame([(1, 23), (2, 21), (3, 99)], "query_id bigint, target_job_id bigint")
    lists = spark.createDataFrame([(q, [21, 22, 23]) for q in (1, 2, 3)], "query_id bigint, job_ids array<bigint>")
    chains = spark.createDataFrame([(1, [22, 10]), (2, [21]), (3, [10])], "query_id bigint, job_ids array<bigint>")
    (found,) = shown_cases(cases, lists, chains)
    assert (found.listed.tolist(), found.place, found.chain.tolist()) == ([21, 22, 23], 2, [10])
    drawn = drawn_cases(cases, chains, JOB_IDS, 50, 7)
    # none drawn was acted on before; the target of the second case is its whole chain
    assert [(d.listed[d.place], d.chain.tolist()) for d in drawn] == [(23, [22, 10]), (99, [10])]
    assert sorted(drawn[0].listed.tolist()) == [21, 23]
    assert [d.listed.tolist() for d in drawn_cases(cases, chains, JOB_IDS, 50, 7)] == [d.listed.tolist() for d in drawn]
