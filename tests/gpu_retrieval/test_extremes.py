"""Inputs chosen to break a shortcut: ties, extremes of float32, nothing at all, one of everything."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gpu_retrieval import AnyOf, NoneOf, Ragged, TermKnnIndex
from gpu_retrieval.plans import scan, tiles
from tests.gpu_retrieval.oracle import Ask, World, answer, assert_hits

STORAGES = ["float32", "float16", "int8"]


def plain(vectors, ids=None, terms=None) -> World:
    vectors = np.array(vectors, dtype=np.float32)
    ids = np.arange(len(vectors)) if ids is None else np.array(ids)
    return World(ids, vectors, terms or {}, {})


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several tiles in worlds of a few hundred jobs, and the product taken however few pass."""
    monkeypatch.setattr(tiles, "CPU_TILE", (4, 50))
    monkeypatch.setattr(tiles, "GPU_TILE", (4, 50))
    monkeypatch.setattr(tiles, "FEWEST_JOBS", 1)
    monkeypatch.setattr(scan, "DIRECT_SHARE", 0.0)


@pytest.mark.parametrize("storage", STORAGES)
def test_all_tie_and_the_smallest_ids_win(device, storage):
    """200 equal jobs with descending ids: every one survives the scan in every tile."""
    world = plain(np.full((200, 3), 0.7), ids=np.arange(200)[::-1] * 10)
    ask = Ask(np.full((5, 3), 0.3, dtype=np.float32), 7)
    hits = ask.search(world.build(storage=storage, device=device))
    assert hits.ids.tolist() == [[0, 10, 20, 30, 40, 50, 60]] * 5
    assert len(set(hits.scores.reshape(-1).tolist())) == 1


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_scores_in_order_of_storage(device, storage, rising):
    """Ascending scores make each tile's best the best so far; descending ones never."""
    order = np.arange(300) if rising else np.arange(300)[::-1]
    world = plain(np.stack([order, np.ones(300)], axis=1) / 64)
    hits = Ask(np.array([[1, 0]], dtype=np.float32), 20).search(world.build(storage=storage, device=device))
    assert hits.scores[0].tolist() == [(299 - i) / 64 for i in range(20)]


@pytest.mark.parametrize("storage", STORAGES)
def test_scores_closer_than_the_scan_can_tell(device, storage):
    """Neighbours differ in the last bit of one component of a hundred: far below any quantisation."""
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.standard_normal((1, 100), dtype=np.float32), 150, axis=0)
    for row in range(150):
        for _ in range(row * 7 % 150):
            vectors[row, 50] = np.nextafter(vectors[row, 50], np.float32(9))
    query = rng.standard_normal((1, 100), dtype=np.float32)
    query[0, 50] = 40
    world = plain(vectors)
    exact = [
        sum(Fraction(a) * Fraction(b) for a, b in zip(query[0].tolist(), row.tolist(), strict=True)) for row in vectors
    ]
    final = [np.float32(float(value)) for value in exact]
    order = sorted(range(150), key=lambda row: (-final[row], row))
    hits = Ask(query, 30).search(world.build(storage=storage, device=device))
    assert len(set(final)) > 20
    assert hits.ids[0].tolist() == order[:30]
    assert hits.scores[0].tolist() == [final[row] for row in order[:30]]


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_of_every_length_side_by_side(device, storage):
    """One row 2**80 times longer than its neighbours widens the bound of its tile, nothing else."""
    rng = np.random.default_rng(2)
    vectors = rng.integers(-8, 9, (120, 4)) * 2.0 ** rng.choice([-70, -1, 0, 10, 80], (120, 1))
    queries = rng.integers(-8, 9, (3, 4)).astype(np.float32)
    world, ask = plain(vectors), Ask(queries, 15)
    assert_hits(ask.search(world.build(storage=storage, device=device)), answer(world, ask))


@pytest.mark.parametrize("storage", STORAGES)
def test_products_beyond_float32(device, storage):
    """3e38 squared overflows float32 on the way and cancels in the end: 0 for job 0, infinite for job 1."""
    big = 3e38
    world = plain([[big, big], [big, 0], [0, 1], [-big, 0]])
    ask = Ask(np.array([[big, -big]], dtype=np.float32), 4)
    hits = ask.search(world.build(storage=storage, device=device))
    # -3e38 of job 2 lies between; job 3 overflows downwards and is still a hit, with an id.
    assert hits.ids[0].tolist() == [1, 0, 2, 3]
    assert hits.scores[0].tolist() == [np.inf, 0.0, -np.float32(big), -np.inf]


@pytest.mark.parametrize("storage", STORAGES)
def test_subnormals_are_kept(device, storage):
    """2**-149 is the least float32, 3 * 2**-150 rounds to twice it, and -0.0 ties with 0.0."""
    least = 2.0**-149
    world = plain([[least], [2.0**-74 * 1.5], [-0.0], [0.0], [-least]])
    ask = Ask(np.array([[1], [2.0**-75], [-1]], dtype=np.float32), 5)
    hits = ask.search(world.build(storage=storage, device=device))
    assert hits.ids.tolist() == [[1, 0, 2, 3, 4], [1, 0, 2, 3, 4], [4, 2, 3, 0, 1]]
    assert hits.scores[1].tolist() == [2 * least, 0, 0, 0, 0]
    assert hits.scores[0].tolist()[1:] == [least, 0, 0, -least]
    assert not np.signbit(hits.scores[hits.scores == 0]).any()


def test_a_subnormal_prior_counts(device):
    world = plain(np.zeros((3, 2)))
    prior = np.array([0, 2.0**-149, -(2.0**-149)], dtype=np.float32)
    hits = Ask(np.zeros((1, 2), dtype=np.float32), 3, prior=prior).search(world.build(device=device))
    assert hits.ids.tolist() == [[1, 0, 2]]
    assert hits.scores[0].tolist() == prior[[1, 0, 2]].tolist()


def test_zero_queries_rank_by_prior_beside_others(device):
    world = plain(np.eye(4), terms={"region": [[0], [1], [0], [0]]})
    queries = np.array([[0, 0, 0, 0], [0, 5, 0, 0], [0, 0, -0.0, 0]], dtype=np.float32)
    where = NoneOf("region", Ragged.from_lists([[], [], [1]]))
    prior = np.array([1, 0.5, 1, 3], dtype=np.float32)
    hits = Ask(queries, 4, where, prior=prior).search(world.build(device=device))
    assert hits.ids.tolist() == [[3, 0, 2, 1], [1, 3, 0, 2], [3, 0, 2, -1]]
    assert hits.scores[2].tolist() == [3, 1, 1, -np.inf]
    without = Ask(queries, 4, where).search(world.build(device=device))
    assert without.ids[0].tolist() == [0, 1, 2, 3]
    assert without.scores[0].tolist() == [0] * 4


def test_each_filter_its_own_and_one_giant_group(device):
    """Half the queries ask for a term of their own, half for the one that every job has."""
    n = 130
    world = plain(np.arange(2 * n).reshape(n, 2) % 17, terms={"t": [[row, 1_000_000] for row in range(n)]})
    rows = [[row] if row % 2 else [1_000_000] for row in range(n)]
    ask = Ask(np.ones((n, 2), dtype=np.float32), 3, AnyOf("t", Ragged.from_lists(rows)))
    hits = ask.search(world.build(device=device))
    assert_hits(hits, answer(world, ask))
    assert hits.n_matches.tolist() == [1 if row % 2 else n for row in range(n)]


def test_k_beyond_the_jobs_is_padded(device):
    hits = Ask(np.ones((2, 1), np.float32), 6).search(plain([[1], [2]]).build(device=device))
    assert hits.ids.tolist() == [[1, 0, -1, -1, -1, -1]] * 2
    assert hits.scores[0].tolist() == [2, 1] + [-np.inf] * 4
    assert hits.n_matches.tolist() == [2, 2]


def test_the_greatest_k(device):
    """k = 50,000 of 60,000 jobs under the least budget."""
    n, k = 60_000, 50_000
    scores = (np.arange(n, dtype=np.int64) * 7919 % n).astype(np.float32)
    index = plain(scores[:, None]).build(device=device)
    hits = index.search(np.array([[1], [0]], dtype=np.float32), k, memory_budget=1 << 20)
    np.testing.assert_array_equal(hits.scores[0], np.arange(n, n - k, -1) - 1)
    np.testing.assert_array_equal(scores[hits.ids[0]], hits.scores[0])
    np.testing.assert_array_equal(hits.ids[1], np.arange(k))
    if index.device == "cpu":
        tracemalloc.start()
        try:
            index.search(np.array([[1], [0]], dtype=np.float32), k, memory_budget=1 << 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak - 2 * k * 12 < 1 << 20


@pytest.mark.parametrize("storage", STORAGES)
def test_no_jobs_and_no_queries(device, storage):
    empty = TermKnnIndex.build(
        np.empty(0, np.int64),
        np.empty((0, 2), np.float32),
        {"t": Ragged.from_lists([])},
        {"x": np.empty(0)},
        storage=storage,
        device=device,
    )
    hits = empty.search(np.ones((2, 2), np.float32), 3, AnyOf("t", Ragged.from_lists([[1], []])))
    assert hits.ids.tolist() == [[-1] * 3] * 2
    assert hits.n_matches.tolist() == [0, 0]
    none = plain([[1, 2]]).build(storage=storage, device=device).search(np.empty((0, 2), np.float32), 3)
    assert none.ids.shape == none.scores.shape == (0, 3)
    assert none.n_matches.shape == (0,)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("memory_budget", [1 << 20, 4 << 20])
def test_scratch_stays_within_the_budget(monkeypatch, storage, memory_budget):
    """Peak of NumPy's allocations in a search of 8,000 jobs × 60 queries, outputs and the index aside."""
    monkeypatch.undo()
    rng = np.random.default_rng(4)
    n, n_queries, k = 8_000, 60, 100
    regions = [[int(region)] for region in rng.integers(0, 30, n)]
    index = plain(rng.standard_normal((n, 32)), terms={"r": regions}).build(storage=storage, device="cpu")
    where = AnyOf("r", Ragged.from_lists([[i % 30, (i + 1) % 30] for i in range(n_queries)]))
    ask = Ask(rng.standard_normal((n_queries, 32)).astype(np.float32), k, where)
    outputs = n_queries * (k * 12 + 8)
    ask.search(index, memory_budget=memory_budget)
    tracemalloc.start()
    try:
        ask.search(index, memory_budget=memory_budget)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        unfiltered = replace(ask, where=None)
        unfiltered.search(index, memory_budget=memory_budget)
        peak_unfiltered = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(peak, peak_unfiltered) - outputs < memory_budget
