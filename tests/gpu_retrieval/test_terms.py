"""The plan "terms" beside the plain scan: terms that queries share while their filters differ."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_retrieval import (
    AllIn,
    AllOf,
    AnyOf,
    Between,
    NoneOf,
    OneOf,
    Ragged,
    TermKnnIndex,
)
from gpu_retrieval.loops import compiled
from gpu_retrieval.plans import terms as terms_plan
from gpu_retrieval.sharing import term_draws
from tests.gpu_retrieval.oracle import Ask, assert_hits

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="Numba is not installed: the plan is of compiled loops")

N, N_QUERIES = 6_000, 90


def jobs(rng: np.random.Generator, n: int, d: int, first_id: int = 0):
    """One tag a job, of which the first has several blocks; some skills, with repeats; one country; a salary or none."""
    terms = {
        "tag": Ragged.from_lists(np.where(rng.random((n, 1)) < 0.2, 0, rng.integers(1, 60, (n, 1)))),
        "skill": Ragged.from_lists([rng.integers(0, 40, rng.integers(0, 5)) for _ in range(n)]),
        "country": Ragged.from_lists(rng.integers(0, 3, (n, 1))),
    }
    pay = np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 9, n).astype(np.float64))
    return first_id + rng.permutation(n), rng.standard_normal((n, d), np.float32), terms, {"pay": pay}


def index_of(rng: np.random.Generator, d: int, *, changed: bool) -> TermKnnIndex:
    """With jobs closed and others added, where `changed`."""
    index = TermKnnIndex.build(*jobs(rng, N, d), device="cpu")
    if changed:
        index.remove(rng.choice(index.ids, N // 3, replace=False))
        index.add(*jobs(rng, N // 4, d, first_id=N))
        index.remove(np.arange(N, N + 40))
    return index


def filters(rng: np.random.Generator, n: int):
    """By name: terms that nobody has, rows without any, and what is beside the terms that all draw by."""

    def lists(field: str, most: int):
        return AnyOf(field, Ragged.from_lists([rng.integers(0, most, rng.integers(0, 7)) for _ in range(n)]))

    country = AnyOf("country", Ragged.from_lists(rng.integers(0, 4, (n, 1))))
    pay, some = Between("pay", rng.uniform(0, 6, n), rng.uniform(4, 9, n)), rng.random(n) < 0.6
    return {
        "one tag a job": lists("tag", 65),
        "skills with repeats": lists("skill", 45),
        "ranges and a country": AllOf(lists("tag", 65), country, pay),
        "for some only": AllOf(
            lists("skill", 45), AnyOf("country", country.rows, applies=some), Between("pay", None, pay.hi)
        ),
        "by a mask": AllOf(lists("skill", 45), NoneOf("tag", country.rows), OneOf(country, AllIn("tag", country.rows))),
        "mask and ranges": AllOf(lists("tag", 65), AllIn("skill", country.rows, missing_passes=True), pay),
        "all of few": AllOf(
            lists("tag", 65),
            AllIn(
                "skill", Ragged.from_lists([rng.integers(0, 42, rng.integers(0, 5)) for _ in range(n)]), applies=some
            ),
        ),
        "terms beside": AllOf(
            lists("skill", 45), NoneOf("skill", lists("skill", 45).rows, applies=some), lists("tag", 90), pay
        ),
        "alternatives": AllOf(
            lists("tag", 65),
            OneOf(lists("skill", 45), AnyOf("country", country.rows, applies=some), applies=rng.random(n) < 0.8),
            AnyOf("skill", lists("skill", 9).rows, missing_passes=True),
        ),
    }


@pytest.mark.parametrize("name", list(filters(np.random.default_rng(0), 2)))
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(("d", "k", "memory_budget"), [(20, 3, 4 << 20), (64, 40, 1 << 30), (13, 9_000, 256 << 20)])
def test_equals_the_scan(monkeypatch, name, changed, d, k, memory_budget):
    rng = np.random.default_rng(len(name) + d)
    index = index_of(rng, d, changed=changed)
    queries = rng.standard_normal((N_QUERIES, d), np.float32)
    queries[7] = 0
    exclude = [rng.choice(index.ids, 60).tolist() for _ in range(N_QUERIES)] if k == 40 else None
    prior = rng.standard_normal(len(index), np.float32) if k == 3 else None
    ask = Ask(queries, k, filters(rng, N_QUERIES)[name], exclude, prior)
    # No other plan stands in.
    monkeypatch.setattr(terms_plan, "shared", None)
    # Batches of some queries, and pieces and keys of some of those.
    monkeypatch.setattr(term_draws, "MOST_BYTES", 1 << 18)
    hits = ask.search(index, plan="terms", memory_budget=memory_budget)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))
    assert hits.n_matches.max() > 0


@pytest.mark.parametrize("case", ["one score", "lengths apart", "beyond float32", "a large prior"])
def test_bounds_that_tell_little(monkeypatch, case):
    """All rows in reach, most of them rounded to one int16, or no bound to be had."""
    rng = np.random.default_rng(len(case))
    ids, vectors, terms, numbers = jobs(rng, N, 16)
    prior = None
    if case == "one score":
        vectors[:] = 1
    elif case == "lengths apart":
        vectors *= 10.0 ** rng.integers(-4, 5, (N, 1)).astype(np.float32)
    elif case == "beyond float32":
        vectors *= np.float32(3e18)
    else:
        prior = rng.standard_normal(N, np.float32) * np.float32(1e5)
    index = TermKnnIndex.build(ids, vectors, terms, numbers, device="cpu")
    queries = rng.standard_normal((50, 16), np.float32) * np.float32(3e18 if case == "beyond float32" else 1)
    ask = Ask(queries, 25, filters(rng, 50)["skills with repeats"], None, prior)
    monkeypatch.setattr(terms_plan, "shared", None)
    hits = ask.search(index, plan="terms")
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    with np.errstate(over="ignore"):
        plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


def test_the_plan_for_filters_that_differ():
    """Ten thousand lists of six of sixty tags: no two alike, and a thousand ask for each. Forty lists go in groups."""
    rng = np.random.default_rng(1)
    index = TermKnnIndex.build(*jobs(rng, N, 64), device="cpu")
    different = [rng.choice(np.arange(1, 60), 6, replace=False) for _ in range(10_000)]
    plan = index.explain(AnyOf("tag", Ragged.from_lists(different))).splitlines()[0]
    assert plan.startswith("plan terms: 10,000 queries in 10,000 groups draw ")
    assert "queries a job; estimated µs a query: " in plan
    alike = AnyOf("tag", Ragged.from_lists([different[i % 40] for i in range(10_000)]))
    assert index.explain(alike).startswith("plan shared: 10,000 queries in 40 groups ")
    # For a query that nobody shares a term with there is nothing to be had.
    assert not index.explain(AnyOf("tag", Ragged.from_lists(different[:1]))).startswith("plan terms: ")


def test_another_plan_where_not_all_draw_by_one_clause_or_there_is_no_room(monkeypatch):
    rng = np.random.default_rng(2)
    index = TermKnnIndex.build(*jobs(rng, N, 8), device="cpu")
    taken = []
    real = terms_plan.shared
    monkeypatch.setattr(terms_plan, "shared", lambda task: taken.append(task) or real(task))
    tags = filters(rng, 30)["one tag a job"]
    some = AnyOf("tag", tags.rows, applies=rng.random(30) < 0.9)
    for where, k, budget in [(some, 5, 1 << 30), (NoneOf("tag", tags.rows), 5, 1 << 30), (tags, 5_000, 1 << 20)]:
        ask = Ask(rng.standard_normal((30, 8), np.float32), k, where)
        hits = ask.search(index, plan="terms", memory_budget=budget)
        scan = ask.search(index, plan="scan")
        assert_hits(hits, (scan.ids, scan.scores, scan.n_matches))
    assert len(taken) == 3


def test_scratch_stays_within_the_budget():
    """What NumPy allocates in a search of 6,000 jobs × 3,000 queries under 8 MiB; outputs and the index aside."""
    rng = np.random.default_rng(3)
    index, n_queries, k, memory_budget = TermKnnIndex.build(*jobs(rng, N, 16), device="cpu"), 3_000, 20, 8 << 20
    where = filters(rng, n_queries)["mask and ranges"]
    ask = Ask(rng.standard_normal((n_queries, 16), np.float32), k, where)
    # Some hundred bytes a query and clause come on top, as where groups are made.
    assert ask.scratch(index, plan="terms", memory_budget=memory_budget) < memory_budget + 400 * n_queries


def test_a_thread_has_the_room_that_is_reckoned():
    import numba

    loops = compiled.terms()
    # The loops' own cannot be called from Python.
    make_room = numba.njit(loops.make_room.py_func)
    for n_codes, n_slots in ((0, 0), (5_000, 300)):
        n_bytes = sum(part.nbytes for part in make_room(64, 2, n_codes, n_slots))
        assert n_bytes <= loops.room_bytes(64, 2, n_codes, n_slots) <= 1.5 * n_bytes


@pytest.mark.parametrize("plan", ["shared", "terms"])
def test_a_row_that_int8_puts_far_behind(plan):
    """Rounding takes half a code from the best job and gives half to the others: nearly all that a bound allows."""
    n, m = 64, 50
    tail = np.full(n, (m + 0.51) / 127)
    tail[11] = (m + 0.49) / 127
    vectors = np.stack([np.ones(n), tail], axis=1).astype(np.float32)
    prior = np.zeros(n, dtype=np.float32)
    prior[11] = 0.03 / 127
    index = TermKnnIndex.build(np.arange(n), vectors, {"t": Ragged.from_lists([[1]] * n)}, device="cpu")
    where = AnyOf("t", Ragged.from_lists([[1]] * 3))
    hits = index.search(np.ones((3, 2), np.float32), 1, where, prior=prior, plan=plan)
    assert hits.ids.tolist() == [[11]] * 3
