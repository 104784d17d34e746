"""What an index says of itself: plans in words, and why a job is not there."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gpu_retrieval import AllOf, AnyOf, Between, NoneOf, OneOf, Ragged, TermKnnIndex
from tests.gpu_retrieval.oracle import answer, make_ask, make_world, passes


@pytest.fixture(scope="module")
def index(device) -> TermKnnIndex:
    """Scores 1, 2, 3, 4 for the query [1]; job 40 has no region."""
    return TermKnnIndex.build(
        np.array([10, 20, 30, 40]),
        np.array([[1], [2], [3], [4]], dtype=np.float32),
        {
            "region": Ragged.from_lists([[1], [1], [2], []]),
            "skill": Ragged.from_lists([[5], [6], [5, 6], []]),
        },
        {"pay": np.array([1.0, 2.0, 3.0, np.nan])},
        device=device,
    )


ONE = np.ones(1, dtype=np.float32)


def row(*terms: int) -> Ragged:
    return Ragged.from_lists([terms])


def test_unknown_and_excluded(index):
    assert str(index.why_not(ONE, None, 11)) == "job 11 is not in the index"
    exclude = Ragged.from_lists([[30, 77]], "int64")
    assert str(index.why_not(ONE, None, 30, exclude=exclude)) == "job 30 is in `exclude`"
    assert index.why_not(ONE, None, 20, exclude=exclude).rank == 2


@pytest.mark.parametrize(
    ("where", "id", "clause"),
    [
        (AnyOf("region", row(1)), 30, "AnyOf('region')"),
        (NoneOf("skill", row(5)), 10, "NoneOf('skill')"),
        (Between("pay", np.array([2.5]), None), 40, "Between('pay')"),
        (
            AllOf(AnyOf("region", row(1, 2)), AllOf(NoneOf("skill", row(6)))),
            20,
            "AllOf > AllOf > NoneOf('skill')",
        ),
        (
            AllOf(OneOf(AnyOf("region", row(2)), AnyOf("skill", row(6)))),
            10,
            "AllOf > OneOf (no part holds: AnyOf('region'), AnyOf('skill'))",
        ),
    ],
)
def test_the_clause_that_drops_a_job(index, where, id, clause):
    why = index.why_not(ONE, where, id)
    assert (why.reason, why.clause) == ("clause", clause)
    assert str(why) == f"job {id} is dropped by {clause}"
    assert id not in index.search(ONE[None], 4, where).ids


def test_rank(index):
    why = index.why_not(ONE, AnyOf("region", row(1, 2)), 10)
    assert (why.reason, why.rank, why.n_matches, why.score) == ("ranked", 3, 3, 1.0)
    assert str(why) == "job 10 is ranked 3 of 3 eligible, score 1"
    assert index.why_not(ONE, None, 10, prior=np.array([9, 0, 0, 0], np.float32)).rank == 1


def test_agrees_with_search_on_every_job(device):
    """Random filters, exclusions and priors: rank, score or reason of each job as the oracle has it."""
    seen = set()
    for seed in range(12):
        rng = random.Random(seed)
        world = make_world(rng, 15, 2)
        ask = make_ask(rng, world, 1, 15)
        index = world.build(device=device)
        ids, scores, n_matches = answer(world, ask)
        exclude = None if ask.exclude is None else Ragged.from_lists(ask.exclude, "int64")
        for job, job_id in enumerate(world.ids.tolist()):
            why = index.why_not(ask.queries, ask.where, job_id, exclude=exclude, prior=ask.prior)
            seen.add(why.reason)
            if job_id in ids[0]:
                rank = ids[0].tolist().index(job_id) + 1
                assert (why.rank, why.score, why.n_matches) == (rank, scores[0, rank - 1], n_matches[0])
            elif exclude is not None and job_id in exclude.values:
                assert why.reason == "excluded"
            else:
                assert why.reason == "clause"
                assert not passes(ask.where, 0, world, job)
    assert seen == {"ranked", "clause", "excluded"}


def test_explain_counts_what_a_filter_touches(index):
    regions = Ragged.from_lists([[1], [1], [2, 9]])
    where = AllOf(
        AnyOf("region", regions, applies=np.array([True, True, False])),
        Between("pay", np.array([2.0, np.nan, 4.0]), None),
    )
    plan, *lines = index.explain(where).splitlines()
    assert plan.startswith("plan kernels: " if "kernels" in index.plans else "plan scan: ")
    assert lines == [
        "4 jobs in 1 segment(s), 1 components, scan of float32",
        "filters of 3 queries:",
        "  AllOf: 2 parts",
        "    AnyOf('region'): 2 distinct rows, 4 terms of which 1 nobody has, "
        "1.7 postings a query of 4 jobs; applies to 2 queries",
        # Two in [2, inf), all four without a bound, none from 4 up.
        "    Between('pay'): 2.0 jobs in range a query",
    ]
    assert "no filter: every job is eligible" in index.explain()
    with pytest.raises(ValueError, match="unknown field 'regio'"):
        index.explain(AnyOf("regio", regions))


def test_plans_and_names(index):
    # The kernels are a GPU's, and only where they have shown that they answer rightly.
    # Going term at a time is for the compiled loops.
    assert index.plans in (("scan", "shared"), ("scan", "shared", "terms"), ("scan", "shared", "kernels"))
    assert "kernels" not in index.plans or index.device.startswith("cuda")
    assert (index.fields, index.numbers, index.d, len(index)) == (("region", "skill"), ("pay",), 1, 4)
    assert "4 jobs" in repr(index)
    forced, free = (index.search(ONE[None], 2, plan=plan) for plan in ("scan", "auto"))
    assert forced.ids.tolist() == free.ids.tolist() == [[40, 30]]
