"""Ids that queries are not to be shown, in every way in which the compiled loops meet rows, beside the plain scan."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_retrieval import AllIn, AllOf, AnyOf, Between, NoneOf, Ragged, TermKnnIndex
from gpu_retrieval.loops import compiled
from gpu_retrieval.plans import shared
from gpu_retrieval.stored.id_order import IdOrder
from tests.gpu_retrieval.oracle import Ask, assert_hits

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="Numba is not installed: there are no loops to test")

N, N_QUERIES, D = 20_000, 50, 64


def jobs(rng: np.random.Generator, ids: np.ndarray):
    n = len(ids)
    terms = {
        "region": Ragged.from_lists(rng.integers(0, 4, (n, 1))),
        "tag": Ragged.from_lists(rng.integers(0, 300, (n, 1))),
        "skill": Ragged.from_lists([rng.integers(0, 40, rng.integers(0, 4)) for _ in range(n)]),
    }
    return ids, rng.standard_normal((n, D), np.float32), terms, {"pay": rng.random(n)}


def index_of(rng: np.random.Generator, *, changed: bool) -> TermKnnIndex:
    """Where `changed`, with jobs closed, and some of them opened once more."""
    index = TermKnnIndex.build(*jobs(rng, rng.permutation(N)), device="cpu")
    if changed:
        index.remove(np.arange(0, N, 3))
        index.add(*jobs(rng, np.concatenate([np.arange(0, N, 9), np.arange(N, N + 500)])))
    return index


def filters(rng: np.random.Generator):
    """By name: what many queries share, what each has alone, few rows, and checks beside the products and by a mask."""
    regions = AnyOf("region", Ragged.from_lists([[i % 4] for i in range(N_QUERIES)]))
    pay = Between("pay", rng.random(N_QUERIES) / 2, None)
    tags = [rng.integers(0, 300, n) for n in rng.integers(1, 60, N_QUERIES)]
    return {
        "everything": None,
        "a range": pay,
        "groups": regions,
        "groups and a range": AllOf(regions, pay),
        "each its own": AnyOf("tag", Ragged.from_lists(tags)),
        "each its own and a range": AllOf(AnyOf("tag", Ragged.from_lists(tags)), pay),
        "few rows": AllOf(regions, AnyOf("tag", Ragged.from_lists([[i // 5] for i in range(N_QUERIES)])), pay),
        "none of skills": AllOf(regions, NoneOf("skill", Ragged.from_lists(rng.integers(0, 40, (N_QUERIES, 3)))), pay),
        "a mask": AllOf(
            regions, AllIn("skill", Ragged.from_lists(rng.integers(0, 9, (N_QUERIES, 1))), missing_passes=True), pay
        ),
        "skills": AnyOf("skill", Ragged.from_lists([rng.integers(0, 40, 5) for _ in range(N_QUERIES)])),
    }


def lists(rng: np.random.Generator, index: TermKnnIndex, ask: Ask) -> list[list[int]]:
    """Of the best, of any, of none: some twice, some that the index lacks, most of them for one query."""
    best = index.search(ask.queries, 40, ask.where, plan="scan").ids
    excluded = [[*row[::2], *row[:9], *rng.integers(0, N + 900, 20), 10**12, 2**63 - 1] for row in best.tolist()]
    excluded[3], excluded[4], excluded[7] = [], rng.integers(0, N, 3_000).tolist(), best[7].tolist()
    return [[id for id in row if id >= 0] for row in excluded]


@pytest.mark.parametrize("name", list(filters(np.random.default_rng(0))))
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(("k", "memory_budget"), [(8, 1 << 30), (100, 2 << 20), (900, 1 << 30)])
def test_equals_the_scan(monkeypatch, name, changed, k, memory_budget):
    rng = np.random.default_rng(k + len(name))
    index, where = index_of(rng, changed=changed), filters(rng)[name]
    ask = Ask(rng.standard_normal((N_QUERIES, D), np.float32), k, where, None, None)
    ask = Ask(ask.queries, k, where, lists(rng, index, ask), None)
    monkeypatch.setattr(shared, "WORTH_LOADING", 0)
    found = {plan: ask.search(index, plan=plan, memory_budget=memory_budget) for plan in ("scan", "shared", "terms")}
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    for hits in found.values():
        assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("step", [1, 3, 1_000])
@pytest.mark.parametrize("twice", [False, True])
def test_rows_of_ids(step, twice):
    """Ids close to one another and far apart, on one row or two; those that are nowhere, on either side too."""
    rng = np.random.default_rng(step)
    ids = rng.permutation(200)[:150] * step
    ids = np.concatenate([ids, ids[::4]]) if twice else ids
    asked = np.concatenate([rng.integers(0, 200 * step, 400), ids[:9], [-1, -(2**63), 200 * step, 2**63 - 1]])
    places, rows = IdOrder.of(ids).find(asked)
    found = sorted((place, row) for place, row in zip(places.tolist(), rows.tolist(), strict=True))
    assert found == [(i, row) for i, id in enumerate(asked) for row in np.flatnonzero(ids == id).tolist()]
    assert IdOrder.of(np.empty(0, dtype=np.int64)).find(asked)[0].tolist() == []
