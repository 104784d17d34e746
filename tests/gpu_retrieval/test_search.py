"""Search equals the oracle under every tile, budget, storage, batch and shard count."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_retrieval import (
    AllIn,
    AllOf,
    AnyOf,
    Between,
    NoneOf,
    OneOf,
    Ragged,
    merge_hits,
    topk,
)
from gpu_retrieval.filters import candidates, cells
from gpu_retrieval.plans import by_arrays, scan, shared, tiles
from tests.gpu_retrieval.oracle import Ask, answer, assert_hits, make_ask, make_world, take

# The device fixture lasts a module and holds no state that an example could change.
BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BUDGET = 1 << 28
STORAGES = st.sampled_from(["float32", "float16", "int8"])


def worlds(seed: int, n: int, d: int, n_queries: int, k: int):
    rng = random.Random(seed)
    world = make_world(rng, n, d)
    return world, make_ask(rng, world, n_queries, k)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 40),
    d=st.integers(1, 5),
    n_queries=st.integers(0, 7),
    k=st.integers(1, 12),
    storage=STORAGES,
    tile_queries=st.integers(1, 4),
    tile_jobs=st.integers(1, 50),
    direct_share=st.sampled_from([0.0, 0.004, 1.0]),
    pair_bytes=st.sampled_from([64, 512, 1 << 17]),
    most_cells=st.sampled_from([1, 7, 1 << 20]),
)
@BOUNDED
def test_equals_the_oracle_under_any_tiles(
    device, seed, n, d, n_queries, k, storage, tile_queries, tile_jobs, direct_share, pair_bytes, most_cells
):
    world, ask = worlds(seed, n, d, n_queries, k)
    expected = answer(world, ask)
    index = world.build(storage=storage, device=device)
    with pytest.MonkeyPatch.context() as patch:
        small = (tile_queries, tile_jobs)
        patch.setattr(tiles, "CPU_TILE", small)
        patch.setattr(tiles, "GPU_TILE", small)
        patch.setattr(tiles, "FEWEST_JOBS", 1)
        # Without slack the tile's own k-th score decides even in worlds this small.
        patch.setattr(scan, "SLACK", 0)
        patch.setattr(scan, "DIRECT_SHARE", direct_share)
        real = tiles.tile

        def narrow(task):
            chosen = real(task)
            return tiles.Tiling(
                n_queries=chosen.n_queries,
                n_jobs=chosen.n_jobs,
                n_pairs=3,
                posting_bytes=pair_bytes,
                topk_bytes=pair_bytes,
            )

        patch.setattr(scan, "tile", narrow)
        patch.setattr(by_arrays, "tile", narrow)
        patch.setattr(candidates, "BYTES_PER_ROW", BUDGET // 8 // most_cells)
        patch.setattr(candidates, "BYTES_PER_DRAWN", BUDGET // 8 // most_cells)
        patch.setattr(candidates, "BYTES_PER_CELL", BUDGET // 8 // most_cells)
        patch.setattr(cells, "CELLS_AT_ONCE", most_cells)
        patch.setattr(shared, "WORTH_LOADING", 0)
        assert_hits(ask.search(index, memory_budget=BUDGET), expected)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), n_queries=st.integers(1, 7), storage=STORAGES)
@BOUNDED
def test_one_query_alone_gets_the_bits_it_gets_in_a_batch(device, seed, n, n_queries, storage):
    world, ask = worlds(seed, n, 3, n_queries, 5)
    index = world.build(storage=storage, device=device)
    together = ask.search(index)
    for i in range(n_queries):
        alone = ask.one(i).search(index)
        assert_hits(alone, (together.ids[i : i + 1], together.scores[i : i + 1], together.n_matches[i : i + 1]))


@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), n_shards=st.integers(1, 4), k=st.integers(1, 12))
@BOUNDED
def test_shards_merged_equal_the_whole(device, seed, n, n_shards, k):
    world, ask = worlds(seed, n, 3, 4, k)
    whole = answer(world, ask)
    parts = []
    for shard in range(n_shards):
        rows = np.arange(n)[shard::n_shards]
        prior = None if ask.prior is None else ask.prior[rows]
        part = Ask(ask.queries, k, ask.where, ask.exclude, prior)
        parts.append(part.search(world.part(rows).build(device=device)))
    assert_hits(merge_hits(parts, k), whole)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), storage=STORAGES)
@BOUNDED
def test_order_of_jobs_does_not_matter(device, seed, n, storage):
    world, ask = worlds(seed, n, 3, 4, 6)
    rows = np.array(random.Random(seed + 1).sample(range(n), n))
    shuffled = Ask(ask.queries, ask.k, ask.where, ask.exclude, None if ask.prior is None else ask.prior[rows])
    assert_hits(shuffled.search(world.part(rows).build(storage=storage, device=device)), answer(world, ask))


@given(seed=st.integers(0, 2**32), n=st.integers(1, 40))
@BOUNDED
def test_no_filtered_id_ever_appears(device, seed, n):
    from tests.gpu_retrieval.oracle import passes

    world, ask = worlds(seed, n, 3, 5, 8)
    row_of = {job_id: row for row, job_id in enumerate(world.ids.tolist())}
    hits = ask.search(world.build(device=device))
    for i, ids in enumerate(hits.ids.tolist()):
        found = [job_id for job_id in ids if job_id >= 0]
        assert len(set(found)) == len(found) == min(ask.k, hits.n_matches[i])
        for job_id in found:
            assert passes(ask.where, i, world, row_of[job_id])
            assert ask.exclude is None or job_id not in ask.exclude[i]


def rewrites(rng: random.Random, n_queries: int):
    """The same condition written in other ways, by name."""
    rows = [[rng.randint(0, 4) for _ in range(rng.randint(0, 3))] for _ in range(n_queries)]
    longest = max(map(len, rows), default=0)
    singles = [Ragged.from_lists([row[i : i + 1] for row in rows]) for i in range(longest)]
    present = [np.array([len(row) > i for row in rows], dtype=bool) for i in range(longest)]
    missing = rng.random() < 0.5
    ragged, twice = Ragged.from_lists(rows), Ragged.from_lists([row[::-1] + row for row in rows])
    lo = np.array([rng.randint(0, 3) for _ in rows], dtype=np.int64)
    hi = lo + rng.randint(0, 2)
    in_words = Ragged.from_lists([range(a, b + 1) for a, b in zip(lo, hi, strict=True)])
    any_of = AnyOf("skill", ragged, missing_passes=missing)
    return {
        "a row is a set": (any_of, AnyOf("skill", twice, missing_passes=missing)),
        "AnyOf is an OR of its terms": (
            any_of,
            OneOf(
                AnyOf("skill", Ragged.from_lists([[] for _ in rows])),
                *(AnyOf("skill", single, missing_passes=missing) for single in singles),
            ),
        ),
        "AllIn is an AND of its terms": (
            AllIn("skill", ragged, missing_passes=missing),
            AllOf(
                *(AllIn("skill", s, missing_passes=missing, applies=p) for s, p in zip(singles, present, strict=True))
            ),
        ),
        "NoneOf is an AND of its terms": (
            NoneOf("skill", ragged),
            AllOf(*(NoneOf("skill", single) for single in singles)),
        ),
        "composites of one part": (any_of, AllOf(OneOf(AllOf(any_of)))),
        "a part that does not apply": (
            any_of,
            OneOf(any_of, NoneOf("skill", ragged, applies=np.zeros(n_queries, dtype=bool))),
        ),
        "Between is two half ranges": (
            Between("level", lo, hi),
            AllOf(Between("level", lo, None), Between("level", None, hi)),
        ),
        "bounds of another dtype": (
            Between("level", lo, hi),
            Between("level", lo - 0.5, hi + 0.5),
        ),
        "Between is AnyOf on small integers": (Between("level", lo, hi), AnyOf("level", in_words)),
    }


@pytest.mark.parametrize("name", list(rewrites(random.Random(0), 1)))
@given(seed=st.integers(0, 2**32))
@settings(BOUNDED, max_examples=25)
def test_a_condition_written_another_way_returns_the_same(device, name, seed):
    rng = random.Random(seed)
    world = make_world(rng, 30, 2)
    level = np.array([rng.randint(0, 5) for _ in world.ids], dtype=np.int64)
    world.numbers["level"] = level
    world.terms["level"] = [[value] for value in level.tolist()]
    one, other = rewrites(rng, 4)[name]
    index = world.build(device=device)
    queries = np.array([[rng.randint(-3, 3), 1] for _ in range(4)], dtype=np.float32)
    first, second = (Ask(queries, 40, where).search(index) for where in (one, other))
    assert_hits(first, (second.ids, second.scores, second.n_matches))
    assert_hits(first, answer(world, Ask(queries, 40, one)))


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("memory_budget", [1 << 20, 3 << 20, 1 << 28])
def test_neither_budget_nor_storage_nor_batch_changes_a_bit_of_real_numbers(device, storage, memory_budget):
    """Gaussian vectors, thousands of jobs: several tiles under the least budget, one under the most."""
    rng = np.random.default_rng(7)
    n, d, n_queries, k = 4_000, 24, 30, 50
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    queries = rng.standard_normal((n_queries, d), dtype=np.float32)
    queries[5] = 0
    prior = rng.standard_normal(n, dtype=np.float32)
    regions = [[int(region)] for region in rng.integers(0, 20, n)]
    asked = Ragged.from_lists([[int(i) % 20, (int(i) + 7) % 20] for i in range(n_queries)])
    from tests.gpu_retrieval.oracle import World

    index = World(np.arange(n)[::-1].copy(), vectors, {"region": regions}, {}).build(storage=storage, device=device)
    where = OneOf(AnyOf("region", asked), applies=np.arange(n_queries) % 3 > 0)
    hits = Ask(queries, k, where, prior=prior).search(index, memory_budget=memory_budget)

    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64) + prior
    for i in range(n_queries):
        eligible = np.array([i % 3 == 0 or bool(set(job) & {i % 20, (i + 7) % 20}) for job in regions])
        final = exact[i].astype(np.float32)
        order = sorted(np.flatnonzero(eligible), key=lambda row: (-final[row], index.ids[row]))[:k]
        np.testing.assert_array_equal(hits.ids[i], index.ids[order])
        np.testing.assert_array_equal(hits.scores[i], final[order])
        assert hits.n_matches[i] == eligible.sum()
    for size in (1, 7):
        rows = np.arange(10, 10 + size)
        few = index.search(queries[rows], k, take(where, rows), prior=prior, memory_budget=memory_budget)
        assert_hits(few, (hits.ids[rows], hits.scores[rows], hits.n_matches[rows]))


def test_merge_blocks_of_any_width_keep_the_same_keys():
    """The top-k of random keys, fed in pieces, under scratch from one pair to plenty."""
    from gpu_retrieval.backend import choose_backend

    rng = np.random.default_rng(3)
    queries = rng.integers(0, 5, 3_000)
    keys = rng.integers(0, 1 << 60, 3_000).astype(np.uint64)
    for scratch in (0, 4_000, 1 << 20):
        top = topk.TopK(choose_backend("cpu"), 5, 20, scratch)
        step = min(top.max_pairs, 700)
        for start in range(0, 3_000, step):
            top.push(queries[start : start + step], keys[start : start + step])
            top.settle()
        top.flush()
        for i in range(5):
            np.testing.assert_array_equal(np.sort(top.best[i]), np.sort(keys[queries == i])[:20])
