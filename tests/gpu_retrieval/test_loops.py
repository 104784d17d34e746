"""The compiled loops beside the plain ways that they stand in for."""

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
    ragged,
)
from gpu_retrieval.filters import cells
from gpu_retrieval.filters.side_checks import SideChecks
from gpu_retrieval.loops import compiled, score_groups
from gpu_retrieval.plans import by_loops
from gpu_retrieval.ragged import numbered
from gpu_retrieval.sharing import costs
from tests.gpu_retrieval.oracle import Ask, assert_hits

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="Numba is not installed: there are no loops to test")


@pytest.mark.parametrize("longest", [0, 1, 6, 30])
def test_rows_found_by_hashing_are_those_found_by_sorting(monkeypatch, longest):
    """Written in any order and with repeats; rows of many values and of none."""
    rng = np.random.default_rng(longest)
    kinds = [rng.integers(0, 9, rng.integers(0, longest + 1)) for _ in range(40)]
    rows = Ragged.from_lists([rng.permutation(kinds[i]) for i in rng.integers(0, 40, 500)])
    plain, of_plain = rows.distinct()
    monkeypatch.setattr(ragged, "WORTH_HASHING", 0)
    hashed, of_hashed = rows.distinct()
    np.testing.assert_array_equal(of_hashed, of_plain)
    np.testing.assert_array_equal(hashed.offsets, plain.offsets)
    np.testing.assert_array_equal(hashed.values, plain.values)


def test_rows_with_one_hash_are_told_apart(monkeypatch):
    loops = compiled.keys()
    monkeypatch.setattr(ragged, "WORTH_HASHING", 0)
    monkeypatch.setattr(loops, "hash_rows", lambda offsets, values, hashes: hashes.fill(7))
    sets, of_row = Ragged.from_lists([[1, 2], [3], [2, 1], []]).distinct()
    assert of_row.tolist() == [0, 1, 0, 2]
    assert [sets.row(i).tolist() for i in range(3)] == [[1, 2], [3], []]


def test_keys_are_numbered_in_their_order(monkeypatch):
    keys = np.random.default_rng(0).integers(0, 50, 300) * 2**40
    firsts, numbers = numbered(keys)
    monkeypatch.setattr(ragged, "WORTH_HASHING", 0)
    for plain, hashed in zip((firsts, numbers), numbered(keys), strict=True):
        np.testing.assert_array_equal(plain, hashed)


def test_rows_kept_by_code_are_those_kept_by_looking_at_each(monkeypatch):
    """Groups drawn from the same postings, which are put in the order of the other field once for all of them."""
    rng = np.random.default_rng(1)
    n, n_queries = 20_000, 600
    terms = {name: Ragged.from_lists(rng.integers(0, 30, (n, 1))) for name in ("region", "title")}
    index = TermKnnIndex.build(np.arange(n), rng.standard_normal((n, 8), np.float32), terms, device="cpu")
    regions, titles = [[0, 1], [5], [7, 29]], [rng.choice(31, 3, replace=False) for _ in range(20)]
    where = AllOf(
        AnyOf("region", Ragged.from_lists([regions[i % 3] for i in range(n_queries)])),
        AnyOf("title", Ragged.from_lists([titles[i % 20] for i in range(n_queries)])),
    )
    ask, taken = Ask(rng.standard_normal((n_queries, 8), np.float32), 20, where), []
    # A title is checked once a group, and not beside the products.
    monkeypatch.setattr(costs, "SIDE_NS", 1e9)
    real = cells._by_code
    monkeypatch.setattr(cells, "_by_code", lambda *args: taken.append(real(*args)) or taken[-1])
    by_code = ask.search(index, plan="shared")
    assert any(kept is not None for kept in taken)
    monkeypatch.setattr(cells, "_by_code", lambda *args: None)
    plain = ask.search(index, plan="shared")
    assert_hits(by_code, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("k", [30, 700, 2_500])
@pytest.mark.parametrize("levels", [1, 7, 100_000])
def test_many_equal_scores_by_counting_and_by_buckets(k, levels):
    """One score for all, a few, and nearly all different; a salary that a fifth of the jobs have."""
    rng = np.random.default_rng(levels)
    n, n_queries = 5_000, 40
    vectors = np.stack([rng.integers(0, levels, n), np.ones(n)], axis=1).astype(np.float32)
    pay = rng.random(n)
    terms = {"t": Ragged.from_lists([[i % 2] for i in range(n)])}
    ids = rng.permutation(n)
    index = TermKnnIndex.build(ids, vectors, terms, {"pay": pay}, device="cpu")
    floor = np.where(np.arange(n_queries) % 2, 0.8, 0.0)
    where = AllOf(AnyOf("t", Ragged.from_lists([[0, 1]] * n_queries)), Between("pay", floor, None))
    queries = np.stack([rng.choice([-1, 1, 3], n_queries), np.ones(n_queries)], axis=1).astype(np.float32)
    hits = Ask(queries, k, where).search(index, plan="shared")
    for i in range(n_queries):
        own = np.flatnonzero(pay >= floor[i])
        scores = (vectors[own].astype(np.float64) @ queries[i].astype(np.float64)).astype(np.float32)
        best = own[np.lexsort((ids[own], -scores))][:k]
        np.testing.assert_array_equal(hits.ids[i][: len(best)], ids[best])
        assert (hits.ids[i][len(best) :] == -1).all() and hits.n_matches[i] == len(own)


@pytest.mark.parametrize(("scale", "k"), [(1e-30, 600), (1.0, 600), (3e38, 2_900)])
def test_scores_that_no_bucket_divides(scale, k):
    """Hundreds of different scores that lie 1e-30 apart or closer, or further apart than a float32 says."""
    n = 3_000
    heights = np.random.default_rng(3).permutation(np.linspace(-1, 1, n)).astype(np.float32) * np.float32(scale)
    index = TermKnnIndex.build(
        np.arange(n), heights[:, None], {"t": Ragged.from_lists([[1]] * n)}, device="cpu"
    )  # fmt: skip
    where = AnyOf("t", Ragged.from_lists([[1]] * 20))
    hits = Ask(np.ones((20, 1), dtype=np.float32), k, where).search(index, plan="shared")
    best = np.lexsort((np.arange(n), -heights))[:k]
    np.testing.assert_array_equal(hits.ids, np.tile(best, (20, 1)))
    np.testing.assert_array_equal(hits.scores, np.tile(heights[best], (20, 1)))


@pytest.mark.parametrize("case", ["lengths apart", "all below zero", "a large prior", "a prior alone", "nothing"])
def test_bounds_far_apart_and_of_one_sign(monkeypatch, case):
    """Rows and priors beside which the others are nothing; scores that are all negative, or all the same."""
    rng = np.random.default_rng(len(case))
    n, d, n_queries = 6_000, 64, 40
    vectors, queries = rng.standard_normal((n, d), np.float32), rng.standard_normal((n_queries, d), np.float32)
    prior = None
    if case == "lengths apart":
        vectors *= 10.0 ** rng.integers(-4, 5, (n, 1)).astype(np.float32)
    elif case == "all below zero":
        vectors, queries = np.abs(vectors), -np.abs(queries)
    elif case.endswith("prior"):
        prior = rng.standard_normal(n, np.float32) * np.float32(1e5)
    if case in ("a prior alone", "nothing"):
        queries[:] = 0
        prior = None if case == "nothing" else rng.standard_normal(n, np.float32)
    terms = {"t": Ragged.from_lists([[i % 2] for i in range(n)])}
    index = TermKnnIndex.build(rng.permutation(n), vectors, terms, {"pay": rng.random(n)}, device="cpu")
    where = AllOf(
        AnyOf("t", Ragged.from_lists([[i % 2] for i in range(n_queries)])), Between("pay", rng.random(n_queries), None)
    )
    ask = Ask(queries, 20, where, None, prior)
    hits = ask.search(index, plan="shared")
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("n_queries", [1, 70])
@pytest.mark.parametrize("asked", ["terms", "terms and ranges", "terms and a prior", "closed jobs"])
@pytest.mark.parametrize(("d", "k"), [(13, 5), (64, 90), (64, 1_500)])
def test_terms_checked_beside_the_scores(monkeypatch, d, k, asked, n_queries):
    """Sets of no term, of terms that nobody has, and for some queries only; rows that are neighbours, and that are not."""
    rng = np.random.default_rng(d + k + n_queries)
    n = 12_000
    fields = {"region": rng.integers(0, 6, n), "title": rng.integers(0, 40, n), "level": rng.integers(0, 3, n)}
    terms = {name: Ragged.from_lists(values[:, None]) for name, values in fields.items()}
    vectors, numbers = rng.standard_normal((n, d), np.float32), {"pay": rng.random(n), "age": rng.random(n)}
    ids = rng.permutation(n)

    def part(rows):
        own = {name: ragged.take(rows) for name, ragged in terms.items()}
        return ids[rows], vectors[rows], own, {name: values[rows] for name, values in numbers.items()}

    index = TermKnnIndex.build(*part(np.arange(11_000)), device="cpu")
    index.add(*part(np.arange(11_000, n)))
    if asked == "closed jobs":
        index.remove(ids[rng.random(n) < 0.3])
    some = rng.random(n_queries) < 0.7
    titles = [rng.choice(50, rng.integers(0, 20), replace=False) for _ in range(n_queries)]
    clauses = [
        AnyOf("region", Ragged.from_lists([[i % 6, (i + 1) % 6] for i in range(n_queries)])),
        AnyOf("title", Ragged.from_lists(titles), applies=some),
        AnyOf("level", Ragged.from_lists([[i % 3, 9] for i in range(n_queries)])),
    ]
    if asked == "terms and ranges":
        clauses += [Between("pay", rng.random(n_queries) / 2, None), Between("age", None, rng.random(n_queries))]
    prior = rng.standard_normal(len(index), np.float32) if asked == "terms and a prior" else None
    ask, made = Ask(rng.standard_normal((n_queries, d), np.float32), k, AllOf(*clauses), None, prior), []
    real = SideChecks.asked
    with pytest.MonkeyPatch.context() as patch:
        # No clause is checked once a group.
        patch.setattr(costs, "KEEP_NS", 1e9)
        patch.setattr(costs, "ORDER_NS", 1e9)
        patch.setattr(SideChecks, "asked", lambda self, *args: made.append(self) or real(self, *args))
        hits = ask.search(index, plan="shared")
    assert made and all(checks.terms for checks in made)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("memory_budget", [1 << 20, 1 << 30])
@pytest.mark.parametrize(("d", "k"), [(64, 10), (64, 400), (128, 30)])
@pytest.mark.parametrize("asked", ["range", "mask", "excluded", "prior", "ties"])
def test_a_query_alone_in_its_group(monkeypatch, d, k, asked, memory_budget):
    """Rows in the lanes: the candidates of each query are its own, more than are taken in between two prunings."""
    rng = np.random.default_rng(d + k)
    n, n_queries = 12_000, 9
    tags = rng.integers(0, 20, (n, 1))
    vectors = rng.standard_normal((n, d), np.float32)
    if asked == "ties":
        vectors = vectors[rng.integers(0, 5, n)]
    skills = Ragged.from_lists([rng.integers(0, 9, rng.integers(0, 4)) for _ in range(n)])
    terms, numbers = {"tag": Ragged.from_lists(tags), "skill": skills}, {"pay": rng.random(n), "level": rng.random(n)}
    index = TermKnnIndex.build(rng.permutation(n), vectors, terms, numbers, device="cpu")
    clauses = [AnyOf("tag", Ragged.from_lists([range(i + 1) for i in range(n_queries)]))]
    if asked == "range":
        clauses += [Between("pay", rng.random(n_queries) / 2, None), Between("level", None, rng.random(n_queries))]
    if asked == "mask":
        clauses.append(AllIn("skill", Ragged.from_lists(rng.integers(0, 9, (n_queries, 1))), missing_passes=True))
    exclude = [rng.choice(n, 500).tolist() for _ in range(n_queries)] if asked == "excluded" else None
    prior = rng.standard_normal(n, np.float32) if asked == "prior" else None
    ask = Ask(rng.standard_normal((n_queries, d), np.float32), k, AllOf(*clauses), exclude, prior)
    hits = ask.search(index, plan="shared", memory_budget=memory_budget)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("n_queries", [1, 70])
@pytest.mark.parametrize(("d", "k"), [(13, 5), (64, 90), (64, 13_000)])
@pytest.mark.parametrize(
    "asked", ["ranges", "none of", "any of or none", "one of", "skills", "all of", "two fields", "all of it"]
)
def test_what_rows_lack_or_have_more_of_is_checked_beside_the_scores(monkeypatch, d, k, asked, n_queries):
    """Rows without a term or a number, and with several terms, in the index and where jobs were added: without a mask."""
    rng, n = np.random.default_rng(d + k + n_queries), 12_000
    grades = [[] if rng.random() < 0.4 else [int(rng.integers(0, 7))] for _ in range(n)]
    terms = {"region": Ragged.from_lists(rng.integers(0, 3, (n, 1))), "grade": Ragged.from_lists(grades)}
    terms["kind"] = Ragged.from_lists(rng.integers(0, 9, (n, 1)))
    terms["skill"] = Ragged.from_lists([rng.integers(0, 30, rng.integers(0, 5)) for _ in range(n)])
    terms["area"] = Ragged.from_lists([rng.integers(0, 9, rng.integers(1, 3)) for _ in range(n)])
    numbers = {name: np.where(rng.random(n) < 0.3, np.nan, rng.random(n)) for name in ("opens", "closes", "pay")}
    vectors = rng.standard_normal((n, d), np.float32)

    def part(rows):
        own = {name: ragged.take(rows) for name, ragged in terms.items()}
        return rows, vectors[rows], own, {name: values[rows] for name, values in numbers.items()}

    index = TermKnnIndex.build(*part(np.arange(11_000)), device="cpu")
    index.add(*part(np.arange(11_000, n)))

    def grade(clause, field="grade", **options):
        lists = [rng.choice(9, rng.integers(0, 5), replace=False) for _ in range(n_queries)]
        return clause(field, Ragged.from_lists(lists), applies=np.arange(n_queries) % 5 < 4, **options)

    at = np.where(rng.random(n_queries) < 0.2, np.nan, rng.random(n_queries))
    ranges = [
        Between("opens", None, at, missing_passes=True),
        Between("closes", at, None, missing_passes=True, applies=np.arange(n_queries) % 3 < 2),
        Between("pay", None, 1 - at / 2),
        Between("pay", at / 2, 1 - at / 2),
    ]
    number = np.arange(n_queries)
    kinds = Ragged.from_lists([[i % 9, (i + 4) % 9] for i in range(n_queries)])
    either = OneOf(
        grade(AnyOf, missing_passes=True), AnyOf("kind", kinds, applies=number % 7 < 3), applies=number % 11 < 9
    )  # fmt: skip
    parts = {
        "ranges": ranges,
        "none of": [grade(NoneOf)],
        "any of or none": [grade(AnyOf, missing_passes=True)],
        "one of": [either],
        "skills": [grade(NoneOf, "skill"), grade(AnyOf, "skill", missing_passes=True)],
        "all of": [grade(AllIn, "skill"), AllIn("grade", Ragged.from_lists(rng.integers(0, 7, (n_queries, 1))))],
        "two fields": [
            grade(NoneOf, "area"),
            OneOf(grade(AnyOf, "skill"), grade(AnyOf, "area"), grade(AnyOf, missing_passes=True)),
        ],
        "all of it": [*ranges, grade(NoneOf, "skill"), either],
    }[asked]
    regions = AnyOf("region", Ragged.from_lists([[i % 3, (i + 1) % 3] for i in range(n_queries)]))
    ask = Ask(rng.standard_normal((n_queries, d), np.float32), k, AllOf(regions, *parts), None, None)
    made, real = [], SideChecks.asked
    with pytest.MonkeyPatch.context() as patch:
        # No clause is checked once a group.
        for name in ("KEEP_NS", "ORDER_NS", "CHECK_NS"):
            patch.setattr(costs, name, 1e9)
        patch.setattr(SideChecks, "asked", lambda self, *args: made.append(self) or real(self, *args))
        hits = ask.search(index, plan="shared")
    assert made and all(len(checks) >= len(parts) for checks in made)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("floor", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("k", [1, 20, 400])
def test_a_sample_that_is_better_than_the_rest(monkeypatch, k, floor):
    """All rows of the sample are ahead of all others, so that far fewer than k rows reach what it has guessed."""
    n, n_queries, rng = 6_000, 40, np.random.default_rng(k)
    _, room = by_loops.PIECES[0]
    vectors = 0.1 * rng.standard_normal((n, 8)).astype(np.float32)
    vectors[:: score_groups.sample_step.py_func(n, k, room), 0] += 2
    terms = {"t": Ragged.from_lists([[0]] * n)}
    index = TermKnnIndex.build(np.arange(n), vectors, terms, {"pay": rng.random(n)}, device="cpu")
    queries = 0.1 * rng.standard_normal((n_queries, 8)).astype(np.float32)
    queries[:, 0] += 1
    where = AllOf(AnyOf("t", Ragged.from_lists([[0]] * n_queries)), Between("pay", np.full(n_queries, floor), None))
    ask = Ask(queries, k, where)
    hits = ask.search(index, plan="shared")
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    plain = ask.search(index, plan="scan")
    assert_hits(hits, (plain.ids, plain.scores, plain.n_matches))


@pytest.mark.parametrize("n_last", [1, 2, 3, 37])
def test_rows_after_the_last_of_a_group_are_nobodys(monkeypatch, n_last):
    """A second stretch of a few rows, after one of whose rows those at the next places were the best."""
    monkeypatch.setattr(by_loops, "PIECES", ((16, 64),))
    rng, n_own = np.random.default_rng(n_last), 64 + n_last
    vectors = 0.01 * rng.standard_normal((n_own + 64, 8)).astype(np.float32)
    best, others = np.arange(n_last, n_last + 3), np.arange(n_own, n_own + 64)
    vectors[best, 0], vectors[others, 0] = 2, 3
    terms = {"t": Ragged.from_lists([[int(row >= n_own)] for row in range(len(vectors))])}
    index = TermKnnIndex.build(np.arange(len(vectors)), vectors, terms, device="cpu")
    queries = np.zeros((32, 8), np.float32)
    queries[:, 0] = np.linspace(1, 2, 32)
    hits = index.search(queries, 3, AnyOf("t", Ragged.from_lists([[i // 16] for i in range(32)])), plan="shared")
    assert (hits.ids[:16] == best).all()
    assert (hits.ids[16:] >= n_own).all()


def test_rows_of_equal_sums_have_hashes_of_their_own():
    """A thousand orders of the same terms, many with the same sum of places times terms too."""
    rng = np.random.default_rng(5)
    rows = Ragged.from_lists([rng.permutation(12) for _ in range(1_000)])
    hashes = np.empty(len(rows), dtype=np.uint64)
    compiled.keys().hash_rows(rows.offsets, rows.values, hashes)
    assert len(np.unique(hashes)) == len({row.tobytes() for row in rows.values.reshape(-1, 12)})
