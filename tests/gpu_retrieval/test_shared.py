"""Jobs drawn from postings: worlds large enough for many blocks, batches and prunings; and when it is taken."""

from __future__ import annotations

import subprocess
import sys

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
from gpu_retrieval.filters import candidates
from gpu_retrieval.filters.candidates import Drawing
from gpu_retrieval.loops import compiled
from gpu_retrieval.plans import by_arrays, shared
from gpu_retrieval.sharing.groups import group_queries
from gpu_retrieval.sharing.parts import Parts
from tests.gpu_retrieval.oracle import Ask, assert_hits

N, D = 6_000, 13


def lists(rng: np.random.Generator, n: int, n_terms: int, most: int) -> Ragged:
    return Ragged.from_lists([rng.integers(0, n_terms, rng.integers(0, most + 1)) for _ in range(n)])


@pytest.fixture(scope="module")
def index(device) -> TermKnnIndex:
    """Three segments and closed jobs; field `all` is carried by everyone, `tag` by nobody twice."""
    rng = np.random.default_rng(11)
    ids = rng.permutation(3 * N)[:N].astype(np.int64)
    vectors = rng.standard_normal((N, D), dtype=np.float32)
    vectors[N // 2 :] = vectors[rng.integers(0, N // 2, N - N // 2)]
    terms = {"region": lists(rng, N, 12, 2), "skill": lists(rng, N, 300, 4), "all": Ragged.from_lists([[5]] * N)}
    numbers = {"pay": np.where(rng.random(N) < 0.1, np.nan, rng.integers(0, 50, N) / 2)}
    built: TermKnnIndex | None = None
    for part in (slice(0, 4_500), slice(4_500, 5_700), slice(5_700, N)):
        rows = np.arange(N)[part]
        columns = {name: ragged.take(rows) for name, ragged in terms.items()}
        own_numbers = {name: values[part] for name, values in numbers.items()}
        if built is None:
            built = TermKnnIndex.build(ids[part], vectors[part], columns, own_numbers, storage="int8", device=device)
        else:
            built.add(ids[part], vectors[part], columns, own_numbers)
    assert built is not None
    built.remove(ids[rng.random(N) < 0.1])
    return built


def filters(rng: np.random.Generator, n_queries: int):
    """By name: what drives, what is adopted, what is left a query; each with its own rows."""
    region, skill = lists(rng, n_queries, 12, 2), lists(rng, n_queries, 300, 2)
    everyone = Ragged.from_lists([[5]] * n_queries)
    pay = Between("pay", rng.uniform(0, 20, n_queries), None)
    some = rng.random(n_queries) < 0.6
    return {
        "one giant group": AnyOf("all", everyone),
        "every filter unique": AnyOf("skill", Ragged.from_lists([[2 * i, 2 * i + 1] for i in range(n_queries)])),
        "conjunction": AllOf(AnyOf("region", region), NoneOf("skill", skill), pay),
        "two that drive": AllOf(AnyOf("region", region), AnyOf("skill", skill, applies=some), AllIn("all", everyone)),
        "all of a row": AllOf(AllIn("skill", skill), AnyOf("region", region, missing_passes=True)),
        "nested": AllOf(AnyOf("region", region, applies=some), OneOf(AllIn("skill", skill), AllOf(pay, applies=some))),
        "nothing drives": OneOf(AnyOf("region", region), pay),
    }


@pytest.mark.parametrize("name", list(filters(np.random.default_rng(0), 2)))
@pytest.mark.parametrize(("k", "memory_budget"), [(3, 1 << 20), (40, 3 << 20), (40, 1 << 30), (9_000, 64 << 20)])
def test_equals_the_scan(index, monkeypatch, name, k, memory_budget):
    rng = np.random.default_rng(5)
    n_queries = 90
    queries = rng.standard_normal((n_queries, D), dtype=np.float32)
    queries[7] = 0
    exclude = [rng.choice(index.ids, 30).tolist() for _ in range(n_queries)] if k == 40 else None
    prior = rng.standard_normal(len(index), dtype=np.float32) if k == 3 else None
    ask = Ask(queries, k, filters(rng, n_queries)[name], exclude, prior)
    with pytest.MonkeyPatch.context() as patch:
        # By arrays, which share no code with the loops.
        patch.setattr(compiled, "AVAILABLE", False)
        expected = ask.search(index, plan="scan")
    hits = ask.search(index, plan="shared", memory_budget=memory_budget)
    assert_hits(hits, (expected.ids, expected.scores, expected.n_matches))
    monkeypatch.setattr(shared, "WORTH_LOADING", 0)
    hits = ask.search(index, plan="scan", memory_budget=memory_budget)
    assert_hits(hits, (expected.ids, expected.scores, expected.n_matches))
    assert hits.n_matches.max() > 0


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("step", [0.0, 2.0**-30, 1.0])
def test_ties_and_near_ties_by_the_thousand(device, rising, step):
    """Scores that the float32 scan cannot tell apart fill what waits over and over; in rising order they all pass."""
    n, k = 5_000, 20
    height = np.arange(n) if rising else np.arange(n)[::-1]
    vectors = np.stack([np.ones(n), height * step, np.ones(n)], axis=1).astype(np.float32)
    ids = np.arange(n)[::-1].copy()
    index = TermKnnIndex.build(ids, vectors, {"all": Ragged.from_lists([[1]] * n)}, device=device)
    queries = np.array([[2**14, 1, -(2**14)], [1, 1, 1]] * 4, dtype=np.float32)
    hits = Ask(queries, k, AnyOf("all", Ragged.from_lists([[1]] * 8))).search(index)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for i in range(8):
        order = np.lexsort((ids, -exact[i].astype(np.float32)))[:k]
        np.testing.assert_array_equal(hits.ids[i], ids[order])


@pytest.mark.parametrize(
    ("scale", "of_queries"), [(2.0**-75, 2.0**-75), (2.0**62, 2.0**62), (3e18, 3e18), (2e37, 1e-3)]
)
def test_blocks_of_extreme_lengths(device, scale, of_queries):
    """Products, or bounds of them, that vanish in float32 or overflow there, over several blocks."""
    rng = np.random.default_rng(8)
    n = 1_500
    vectors = (rng.standard_normal((n, 5)) * scale).astype(np.float32)
    index = TermKnnIndex.build(
        np.arange(n), vectors, {"t": Ragged.from_lists([[i % 2] for i in range(n)])}, device=device
    )
    queries = (rng.standard_normal((12, 5)) * of_queries).astype(np.float32)
    hits = Ask(queries, 30, AnyOf("t", Ragged.from_lists([[i % 2] for i in range(12)]))).search(index)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for i in range(12):
        own = np.arange(i % 2, n, 2)
        with np.errstate(over="ignore"):
            best = np.sort(exact[i, own].astype(np.float32))[::-1][:30]
        np.testing.assert_array_equal(hits.scores[i], best)


def test_queries_that_ask_the_same_are_one_group():
    index = TermKnnIndex.build(
        np.arange(1_000),
        np.ones((1_000, 4), np.float32),
        {"a": Ragged.from_lists([[i % 50] for i in range(1_000)]), "b": Ragged.from_lists([[i % 7] for i in range(1_000)])},
        device="cpu",
    )  # fmt: skip
    a = Ragged.from_lists([[1, 2], [2, 1, 1], [3], [3], []])
    b = Ragged.from_lists([[0], [0], [1], [2], [1]])
    where = AllOf(AnyOf("a", a), AnyOf("b", b))
    groups = group_queries(Parts.of(where, 5, index._segments), d=4, k=10, memory_budget=1 << 30)
    sizes = np.diff(groups.starts)
    together = [set(part.tolist()) for part in np.split(groups.order, np.cumsum(sizes)[:-1])]
    assert {0, 1} in together
    assert sorted(groups.n_drawn.tolist()) in ([0, 20, 40], [0, 20, 20, 40])
    assert groups.n_undriven == 0


def test_the_plan_that_is_taken_and_why():
    pytest.importorskip("numba", reason="the costs are those of the compiled loops")
    rng = np.random.default_rng(3)
    n = 20_000
    terms = {"rare": Ragged.from_lists(rng.integers(0, 500, (n, 1))), "all": Ragged.from_lists([[0]] * n)}
    index = TermKnnIndex.build(np.arange(n), rng.standard_normal((n, 32), dtype=np.float32), terms, device="cpu")
    rare = AnyOf("rare", Ragged.from_lists([[i % 40] for i in range(400)]))
    assert index.explain(rare).startswith("plan shared: 400 queries in 40 groups draw ")
    everyone = AnyOf("all", Ragged.from_lists([[0]] * 400))
    assert "estimated µs a query: " in index.explain(everyone)
    nothing = NoneOf("rare", Ragged.from_lists([[1]] * 400))
    assert index.explain(nothing).startswith("plan scan: no query has an AnyOf or AllIn to draw jobs from")
    assert index.explain().startswith("plan scan: no query has")


@pytest.mark.parametrize("without_numba", [True, False])
def test_scratch_stays_within_the_budget(monkeypatch, without_numba):
    """What NumPy allocates in a search of 20,000 jobs × 300 queries under 2 MiB; outputs and the index aside."""
    if without_numba:
        monkeypatch.setattr(compiled, "AVAILABLE", False)
    rng = np.random.default_rng(4)
    n, n_queries, k, memory_budget = 20_000, 300, 50, 2 << 20
    terms = {"r": Ragged.from_lists(rng.integers(0, 5, (n, 1)))}
    numbers = {"pay": rng.random(n)}
    vectors = rng.standard_normal((n, 16), dtype=np.float32)
    index = TermKnnIndex.build(np.arange(n), vectors, terms, numbers, device="cpu")
    where = AllOf(
        AnyOf("r", Ragged.from_lists([[i % 5, (i + 1) % 5] for i in range(n_queries)])),
        Between("pay", rng.random(n_queries) / 2, None),
    )
    ask = Ask(rng.standard_normal((n_queries, 16)).astype(np.float32), k, where)
    assert ask.scratch(index, plan="shared", memory_budget=memory_budget) < memory_budget


@pytest.mark.parametrize("n_queries", [1, 40])
def test_a_group_that_does_not_fit_is_cut_by_what_it_draws(monkeypatch, n_queries):
    """16,000 of 80,000 rows from five terms, 2,048 of them at a time: 8 parts would do, and all lie in one quarter."""
    n, drawn = 80_000, []
    terms = {"t": Ragged.from_lists([[i % 5] if i < 16_000 else [9] for i in range(n)])}
    vectors = np.random.default_rng(2).standard_normal((n, 4), dtype=np.float32)
    index = TermKnnIndex.build(np.arange(n), vectors, terms, device="cpu")
    ask = Ask(vectors[:n_queries], 10, AnyOf("t", Ragged.from_lists([[0, 1, 2, 3, 4]] * n_queries)))
    real = Drawing.candidates
    monkeypatch.setattr(candidates, "BYTES_PER_DRAWN", 64)

    def counted(*args):
        found = real(*args)
        drawn.append(len(found.cells.rows))
        return found

    monkeypatch.setattr(Drawing, "candidates", counted)
    tight = ask.search(index, plan="shared", memory_budget=1 << 20)
    assert len(drawn) <= 16
    assert sum(drawn) == 16_000
    assert max(drawn) <= 2_048
    roomy = ask.search(index, plan="shared")
    assert_hits(tight, (roomy.ids, roomy.scores, roomy.n_matches))


@pytest.mark.parametrize(("n_queries", "n_groups"), [(12, 2), (960, 12)])
def test_few_queries_that_draw_the_same_rows_share_them(n_queries, n_groups):
    """A title of one a row is left to the scoring loops where too few queries of a region ask for it."""
    pytest.importorskip("numba", reason="without the loops every clause that is shared is checked once a group")
    rng = np.random.default_rng(6)
    n = 20_000
    terms = {
        "region": Ragged.from_lists([[i % 2] for i in range(n)]),
        "title": Ragged.from_lists(rng.integers(0, 24, (n, 1))),
    }
    index = TermKnnIndex.build(np.arange(n), rng.standard_normal((n, 64), dtype=np.float32), terms, device="cpu")
    titles = [[(i % 12 + j) % 24 for j in range(14)] for i in range(n_queries)]
    where = AllOf(
        AnyOf("region", Ragged.from_lists([[i % 2] for i in range(n_queries)])), AnyOf("title", Ragged.from_lists(titles))
    )  # fmt: skip
    groups = group_queries(Parts.of(where, n_queries, index._segments), 64, 10, 1 << 30, beside=True)
    assert len(groups) == n_groups
    assert (groups.kept is None) == (n_groups == 2)
    assert f"in {len(groups):,} groups" in index.explain(where)


def test_few_queries_with_wide_filters_meet_all_jobs_in_their_order():
    """What each draws for itself costs more than the jobs of all; for many queries it does not."""
    pytest.importorskip("numba", reason="the costs are those of the compiled loops")
    rng, n = np.random.default_rng(7), 300_000
    terms = {name: Ragged.of_one(rng.integers(0, 12, n, dtype=np.int32)) for name in ("region", "title")}
    index = TermKnnIndex.build(np.arange(n), rng.standard_normal((n, 64), dtype=np.float32), terms, device="cpu")
    wide = [rng.choice(12, 5, replace=False) for _ in range(16)]

    def plan(n_queries: int) -> str:
        lists = Ragged.from_lists([wide[i % 16] for i in range(n_queries)])
        return index.explain(AllOf(AnyOf("region", lists), AnyOf("title", lists)))

    assert plan(16).startswith("plan scan: 16 queries in ")
    assert plan(4_000).startswith("plan shared: 4,000 queries in ")


def test_rows_that_are_only_drawn_are_drawn_for_all_groups_at_once(monkeypatch):
    """40,000 rows for two groups fit a budget of 4 MiB; checked once a group, they would not."""
    pytest.importorskip("numba", reason="NumPy draws by way of arrays of int64")
    n, taken = 40_000, []
    terms = {"t": Ragged.from_lists([[i % 2] for i in range(n)])}
    vectors = np.random.default_rng(2).standard_normal((n, 4), dtype=np.float32)
    index = TermKnnIndex.build(np.arange(n), vectors, terms, device="cpu")
    ask = Ask(vectors[:20], 10, AnyOf("t", Ragged.from_lists([[i % 2] for i in range(20)])))
    real = Drawing.candidates
    monkeypatch.setattr(Drawing, "candidates", lambda *args: taken.append(1) or real(*args))
    ask.search(index, plan="shared", memory_budget=4 << 20)
    assert len(taken) == 1


def test_a_budget_too_small_for_the_compiled_loop(monkeypatch):
    """With k in the thousands and 1 MiB the loop's threads have no room: the arrays' way is taken."""
    rng = np.random.default_rng(9)
    index = TermKnnIndex.build(
        np.arange(9_000), rng.standard_normal((9_000, 4), dtype=np.float32), {"t": Ragged.from_lists([[1]] * 9_000)}, device="cpu"
    )  # fmt: skip
    ask = Ask(rng.standard_normal((3, 4), dtype=np.float32), 8_000, AnyOf("t", Ragged.from_lists([[1]] * 3)))
    taken = []
    real = by_arrays.ByArrays.take_in
    monkeypatch.setattr(by_arrays.ByArrays, "take_in", lambda *args: taken.append(1) or real(*args))
    small = ask.search(index, plan="shared", memory_budget=1 << 20)
    assert taken
    large = ask.search(index, plan="scan")
    assert_hits(small, (large.ids, large.scores, large.n_matches))


@pytest.mark.parametrize("d", [1, 7, 63, 64, 65, 128])
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_loops_add_as_arrays_do(monkeypatch, d, storage):
    """Final scores to the last bit, by registers and by memory, of components whose sum depends on its order."""
    rng = np.random.default_rng(d)
    n = 700
    vectors = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-6, 6, (n, d))).astype(np.float32)
    queries = (rng.standard_normal((20, d)) * 10.0 ** rng.integers(-6, 6, (20, d))).astype(np.float32)
    terms = {"t": Ragged.from_lists(rng.integers(0, 3, (n, 1)))}
    index = TermKnnIndex.build(rng.permutation(n), vectors, terms, storage=storage, device="cpu")
    ask = Ask(queries, 50, AnyOf("t", Ragged.from_lists([[0, i % 3] for i in range(20)])))
    hits = ask.search(index, plan="shared")
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    other = ask.search(index, plan="scan")
    assert_hits(hits, (other.ids, other.scores, other.n_matches))


@pytest.mark.parametrize("by", ["avx512vnni", "avxvnni", "avx512bw", "avx2", "dotprod", ""])
def test_products_of_every_processor(by, monkeypatch):
    """What another processor would use is tested too, where this one has it."""
    numba = pytest.importorskip("numba")
    from gpu_retrieval.loops import simd, simd_int8, simd_types

    has = {**simd_types.FEATURES, "dotprod": simd_int8.BY == "dotprod", "": True}
    has["avxvnni"] = has.get("avxvnni") or (has.get("avx512vnni") and has.get("avx512vl"))
    if not has.get(by):
        pytest.skip(f"this processor has no {by}")
    above, code = (0 if by == "dotprod" else 128), (np.int16 if by in ("avx512bw", "avx2") else np.int8)
    for name, value in (("BY", by), ("CODE_BYTES", code().itemsize)):
        monkeypatch.setattr(simd_int8, name, value)
    n_rows, words, wide = simd_int8.ROWS_AT_ONCE, 17, 17 * code().itemsize

    @numba.njit
    def dot(rows, codes, widened, out):
        start = simd.spread(np.int32(-7))
        simd.store(out, 0, simd_int8.dot4(start, simd.load(rows, 2), simd.load(codes, 0)))
        taken = np.full(n_rows * (wide + 1), -1, np.int32)
        for row in range(n_rows):
            simd_int8.take_words(taken, row * (wide + 1), rows, row * (words + 1) + 2)
            simd_int8.take_word(taken, (row + 1) * (wide + 1) - 1 - wide // words, rows, row * (words + 1) + 18)
        simd_int8.dot_rows(taken, 0, wide + 1, widened, 16, wide, start, out, 16)

    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (n_rows + 1, words + 1, 4)).astype(np.uint8)
    codes = rng.integers(-128, 128, (words + 1, 16, 4)).astype(np.int8)
    rows[0, 2:4], rows[0, 4:6], codes[:3] = 255, 0, -128
    a_word = 4 // code().itemsize
    widened = codes[1:].reshape(words, 16, -1, a_word).transpose(0, 2, 1, 3).astype(code)
    widened = np.concatenate([np.zeros(16, np.int32), np.ascontiguousarray(widened).view(np.int32).reshape(-1)])
    out = np.zeros(16 * (n_rows + 1), dtype=np.int32)
    dot(rows.view(np.int32).reshape(-1), codes.view(np.int32).reshape(-1), widened, out)
    of_row = rows.reshape(-1, 4)[2:].astype(np.int64) - 128 + above
    np.testing.assert_array_equal(out[:16], (codes[0] * of_row[:16]).sum(axis=1) - 7)
    for row in range(n_rows):
        own = of_row[row * (words + 1) :][:words]
        expected = np.einsum("jlb,jb->l", codes[1:].astype(np.int64), own) - 7
        np.testing.assert_array_equal(out[16 * (row + 1) :][:16], expected)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("features", [None, {"avx2": True}, {}])
def test_lanes_side_by_side(features, dtype, monkeypatch):
    """As this processor packs them (None), one with AVX2 alone, and one with neither that nor AVX-512."""
    numba = pytest.importorskip("numba")
    from gpu_retrieval.loops import simd

    if features is not None:
        if not features.keys() <= {name for name, there in simd.FEATURES.items() if there}:
            pytest.skip("this processor has no AVX2")
        monkeypatch.setattr(simd, "FEATURES", features)

    @numba.njit
    def pack(values, bits, out):
        for i in range(len(bits)):
            simd.store_packed(out[i], 3, simd.load(values, 0), bits[i])

    values = np.arange(1, 17).astype(dtype)
    bits = np.append(np.random.default_rng(1).integers(0, 1 << 16, 500), [0, 1, 255, 256, (1 << 16) - 1]).astype(
        np.uint64
    )
    out = np.zeros((len(bits), 24), dtype=dtype)
    pack(values, bits, out)
    for row, own in zip(out, bits, strict=True):
        chosen = values[[bool(int(own) >> lane & 1) for lane in range(16)]]
        np.testing.assert_array_equal(row[3 : 3 + len(chosen)], chosen)
        assert not row[:3].any() and not row[19:].any()


def test_products_of_tiles_are_those_of_lanes():
    pytest.importorskip("numba")
    from numba import njit

    from gpu_retrieval.loops import score_rows, score_state, simd_int8, simd_types

    if not simd_types.HAS_TILES:
        pytest.skip("NO TILES HERE: this processor has no int8 tiles, or its system does not let them be used")
    d, n_queries, n_rows = 72, 20, 70

    @njit
    def both(codes, rows, offsets, out):
        s = score_state.make_scratch(n_queries, 128, d, 10, 272, 0, 0, 0)
        s.codes[: len(codes)] = codes
        s.offsets[:] = offsets
        wide = score_state.row_words(d // 4)
        for i in range(n_rows):
            for j in range(d // 4):
                s.rows[i * wide + j] = rows[i, j]
        simd_int8.configure(s.tiles)
        for at in range(0, n_rows, 64):
            for lane0 in range(0, 32, 16):
                score_rows.products(s, d // 4, at, min(64, n_rows - at), lane0)
                for i in range(min(64, n_rows - at)):
                    out[at + i, lane0 : lane0 + 16] = s.sums[i * 16 : i * 16 + 16]
        simd_int8.release()

    rng = np.random.default_rng(3)
    left = rng.integers(0, 256, (n_rows, d)).astype(np.uint8)
    right = np.zeros((32, d), np.int8)
    right[:n_queries] = rng.integers(-128, 128, (n_queries, d))
    offsets = rng.integers(-(2**20), 2**20, 32).astype(np.int32)
    by_lanes = right.reshape(2, 16, d // 4, 4).transpose(0, 2, 1, 3)
    out = np.zeros((n_rows, 32), dtype=np.int32)
    both(np.ascontiguousarray(by_lanes).reshape(-1), left.view(np.int32), offsets, out)
    np.testing.assert_array_equal(out, left.astype(np.int32) @ right.T.astype(np.int32) + offsets)


def test_works_where_the_processor_has_no_tiles():
    """The answers are those with tiles, or without either, of many rows, queries and budgets."""
    pytest.importorskip("numba")
    code = (
        "import hashlib, sys\n"
        "import numpy as np\n"
        "from gpu_retrieval.loops import simd_types\n"
        "simd_types.HAS_TILES &= sys.argv[1] == 'tiles'\n"
        "from gpu_retrieval import AllOf, AnyOf, Between, Ragged, TermKnnIndex\n"
        "rng, n = np.random.default_rng(5), 40_000\n"
        "sha = hashlib.sha256()\n"
        "for d in (20, 64):\n"
        "    vectors = rng.standard_normal((n, d)).astype(np.float32)\n"
        "    terms = {'t': Ragged.from_lists(rng.integers(0, 2, (n, 1)))}\n"
        "    index = TermKnnIndex.build(np.arange(n), vectors, terms, {'x': rng.random(n)}, device='cpu')\n"
        "    queries = rng.standard_normal((150, d)).astype(np.float32)\n"
        "    where = AllOf(AnyOf('t', Ragged.from_lists([[i % 2] for i in range(150)])), Between('x', rng.random(150), None))\n"
        "    for budget in (1 << 24, 1 << 30):\n"
        "        hits = index.search(queries, 50, where, plan='shared', memory_budget=budget)\n"
        "        for part in (hits.ids, hits.scores, hits.n_matches):\n"
        "            sha.update(part.tobytes())\n"
        "print(sha.hexdigest())\n"
    )
    answers = [
        subprocess.run([sys.executable, "-c", code, tiles], capture_output=True, text=True, check=True).stdout
        for tiles in ("tiles", "lanes")
    ]
    assert answers[0] == answers[1]


def test_works_where_numba_is_not_installed():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from gpu_retrieval import AnyOf, Ragged, TermKnnIndex\n"
        "from gpu_retrieval.loops import compiled\n"
        "assert not compiled.AVAILABLE\n"
        "rows = Ragged.from_lists([[1], [2]])\n"
        "index = TermKnnIndex.build(np.arange(2), np.eye(2, dtype=np.float32), {'t': rows}, device='cpu')\n"
        "hits = index.search(np.ones((2, 2), np.float32), 1, AnyOf('t', rows), plan='shared')\n"
        "assert hits.ids.tolist() == [[0], [1]]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
