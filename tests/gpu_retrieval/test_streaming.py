"""An index larger than a GPU's memory, in tiles that pass through it: the same answers, within the bound.

Devices are played: by kernels on a CPU (`cuda_on_cpu`) and, for the array code, by the strict stand-in of CuPy.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from gpu_retrieval import AnyOf, Ragged, TermKnnIndex, backend
from gpu_retrieval.cuda import placement
from gpu_retrieval.cuda.placement import BYTES_BESIDE, device_bytes, tiles
from gpu_retrieval.plans import choice, kernel_check, kernels
from tests.gpu_retrieval import cuda_on_cpu, oracle

pytest.importorskip("cupy", reason="CuPy is not installed: its stand-ins check names against it")


@pytest.fixture
def streaming(monkeypatch):
    """The device of kernels on a CPU, without the self-check of another test."""
    if not cuda_on_cpu.COMPILER:
        pytest.skip("NO g++ HERE: nothing of the CUDA kernels was run, not even on a CPU")
    world = cuda_on_cpu.EmulatedCupy()
    monkeypatch.setattr(backend, "import_cupy", lambda: world)
    monkeypatch.setattr(choice, "ready", lambda chosen: chosen.on_gpu)
    cuda_on_cpu.declare(monkeypatch)
    return world


def memory_for(index: TermKnnIndex, n_tiles: int) -> int:
    """About what cuts the index into so many tiles."""
    hosts = index._rows.hosts
    n_rows, n_bytes = sum(map(len, hosts)), sum(map(device_bytes, hosts))
    of_none = device_bytes(hosts[0].part(0, 0))
    return BYTES_BESIDE * n_rows + placement.TILES_HELD * (of_none + (n_bytes - of_none) * 5 // (4 * n_tiles))


def n_tiles(index: TermKnnIndex) -> int:
    words = index.explain().rpartition("\n")[2]
    return int(words.split(" in ")[1].split()[0].replace(",", "")) if "stream through" in words else 1


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_oracle_however_it_is_cut(streaming, monkeypatch, seed):
    """Closed jobs, priors, excluded ids, filters of every kind; k above a tile's rows, few rows a tile."""
    rng = random.Random(500 + seed)
    n, d = rng.choice([100, 150]), rng.choice([3, 33, 64])
    world = oracle.make_world(rng, n, d)
    ask = oracle.make_ask(rng, world, rng.choice([1, 2, 17]), k=rng.choice([1, 10, 100]))
    storage = rng.choice(["float32", "float16", "int8"])
    monkeypatch.setattr(placement, "ALIGN", 16)
    monkeypatch.setattr(placement, "TILES_HELD", rng.choice([2, 3]))
    # Batches of few queries, in passes of one batch or of all.
    monkeypatch.setattr(kernels, "MOST_BATCH_QUERIES", rng.choice([3, 4096]))
    if rng.random() < 0.5:
        monkeypatch.setattr(kernels._Search, "batches_a_pass", lambda self: 1)
    monkeypatch.setattr(placement, "STAGE_BYTES", rng.choice([1 << 10, 1 << 25]))
    expected = oracle.answer(world, ask)
    whole = world.build(device="cuda:0", storage=storage)
    for wanted in (6, 20):
        index = world.build(device="cuda:0", storage=storage, device_memory=memory_for(whole, wanted))
        assert n_tiles(index) > 1
        for plan in ("kernels", "scan"):
            oracle.assert_hits(ask.search(index, plan=plan, memory_budget=4 << 20), expected)


def market(n: int, d: int, device: str, **options) -> tuple[TermKnnIndex, np.ndarray]:
    rng = np.random.default_rng(3)
    skills = Ragged.from_lists([rng.choice(9, rng.integers(0, 4), replace=False) for _ in range(n)])
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    ids = rng.permutation(10 * n)[:n].astype(np.int64)
    terms = {"region": Ragged(np.arange(n + 1, dtype=np.int64), rng.integers(0, 5, n, dtype=np.int32)), "skill": skills}
    return TermKnnIndex.build(ids, vectors, terms, {"pay": rng.random(n)}, device=device, **options), ids


@pytest.mark.parametrize("storage", ["float16", "int8", "float32"])
def test_changes(streaming, storage):
    """Two segments, closed jobs, some tiles that stay: as the CPU answers."""
    n, d = 600, 20
    rng = np.random.default_rng(4)
    queries = rng.standard_normal((9, d)).astype(np.float32)
    where = AnyOf("skill", Ragged.from_lists([rng.choice(9, 2, replace=False) for _ in queries]), missing_passes=True)
    some = AnyOf("region", Ragged.from_lists([[q % 5] for q in range(len(queries))]))
    bound = memory_for(market(n, d, "cuda:0", storage=storage)[0], 14)
    answers = {}
    for device in ("cpu", "cuda:0"):
        index, ids = market(n, d, device, storage=storage, **({} if device == "cpu" else {"device_memory": bound}))
        index.add(
            np.arange(7 * n, 7 * n + 90) * 10,
            np.random.default_rng(5).standard_normal((90, d)).astype(np.float32),
            {"region": Ragged.from_lists([[2]] * 90), "skill": Ragged.from_lists([[]] * 90)},
            {"pay": np.ones(90)},
        )
        index.remove(ids[::7].copy())
        prior = np.random.default_rng(6).standard_normal(len(index)).astype(np.float32)
        exclude = Ragged.from_lists([ids[1:40:2]] * len(queries), dtype="int64")
        for name, asked in (("none", None), ("all", where), ("drawn", some)):
            hits = index.search(queries, 30, asked, exclude, prior, memory_budget=1 << 20)
            if name in answers:
                oracle.assert_hits(hits, answers[name])
            answers[name] = hits.ids, hits.scores, hits.n_matches
    last = index.explain(some).rpartition("\n")[2]
    assert (
        last.startswith("of the index ") and " stream through cuda:0 in " in last and " 0 of which stay" not in last
    ), last


def test_memory_is_taken_once_and_within_the_bound(streaming):
    taken: list[int] = []
    for name in ("empty", "asarray"):
        real = getattr(streaming, name)

        def counted(*given, real=real, **options):
            array = real(*given, **options)
            taken.append(int(array.nbytes))
            return array

        setattr(streaming, name, counted)
    bound = memory_for(market(2_000, 32, "cuda:0", storage="float16")[0], 16)
    index, _ = market(2_000, 32, "cuda:0", storage="float16", device_memory=bound)
    queries = np.random.default_rng(1).standard_normal((3, 32)).astype(np.float32)
    where = AnyOf("skill", Ragged.from_lists([[1], [2], [3]]))
    index.search(queries, 5, where, memory_budget=8 << 20)
    assert n_tiles(index) > 12
    first = sum(taken)
    # The lanes' own uploads stand beside what is bounded.
    assert sum(size for size in taken if size != 1 << 20) <= bound + (8 << 20)
    held = device_bytes(index._rows.hosts[0])
    assert held > bound
    taken.clear()
    index.search(queries, 5, where, memory_budget=8 << 20)
    assert sum(taken) == 0, (first, taken)


@pytest.mark.parametrize("bound", [None, 14_000])
def test_rows_dealt_out_to_devices(streaming, monkeypatch, bound):
    """Three devices, each with a third of the rows, one of them without an open job; a k that no third holds."""
    monkeypatch.setattr(streaming.cuda.runtime, "getDeviceCount", lambda: 3)
    monkeypatch.setattr(placement, "ALIGN", 16)
    n, d = 400, 20
    queries = np.random.default_rng(4).standard_normal((5, d)).astype(np.float32)
    where = AnyOf("region", Ragged.from_lists([[1], [2, 3], [0], [], [4]]))
    answers = {}
    for device, options in (("cpu", {}), ("cuda:0,cuda:2,cuda:1", {"device_memory": bound})):
        index, ids = market(n, d, device, storage="int8", **options)
        index.remove(index._rows.hosts[0].ids[: n // 3 + 1].copy())
        prior = np.random.default_rng(6).standard_normal(len(index)).astype(np.float32)
        exclude = Ragged.from_lists([ids[1:40:2]] * len(queries), dtype="int64")
        for name, asked in (("none", None), ("drawn", where)):
            hits = index.search(queries, 150, asked, exclude, prior)
            if name in answers:
                oracle.assert_hits(hits, answers[name])
            answers[name] = hits.ids, hits.scores, hits.n_matches
    lines = index.explain(where).splitlines()[-3:]
    verb = "lie on" if bound is None else "stream through"
    assert all(f"rows {verb} {name}" in line for name, line in zip(index.device.split(","), lines, strict=True)), lines
    assert "job" in str(index.why_not(queries[0], None, int(ids[-1])))


def test_devices_between_commas_are_different_gpus(streaming):
    for device in ("cuda:0,cuda:0", "cuda:0,cpu"):
        with pytest.raises(ValueError, match="device: expected different GPUs between commas"):
            market(10, 4, device)


def test_a_bound_that_holds_no_tile_is_refused(streaming):
    index, _ = market(50, 8, "cuda:0", device_memory=1_000)
    with pytest.raises(ValueError, match=r"device_memory: expected at least [\d,]+ bytes for 50 jobs, got 1,000"):
        index.search(np.ones((1, 8), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="device_memory: expected at least 1, got 0"):
        market(50, 8, "cuda:0", device_memory=0)


def test_tiles_are_the_segment_cut():
    index, _ = market(300, 16, "cpu")
    host = index._rows.hosts[0]
    for most in (1, 4_000, 20_000, 1 << 30):
        parts = list(tiles(host, most))
        assert np.concatenate([part.ids for part in parts]).tolist() == host.ids.tolist()
        assert all(device_bytes(part) <= most or len(part) == 1 for part in parts)
        for name, column in host.terms.items():
            base = np.cumsum([0] + [len(part) for part in parts])
            rows = [part.terms[name].rows + first for part, first in zip(parts, base, strict=False)]
            pairs = [
                (term, row)
                for part, own in zip(parts, rows, strict=True)
                for term, row in zip(np.repeat(column.terms, np.diff(part.terms[name].starts)), own, strict=True)
            ]
            assert sorted(pairs) == list(zip(np.repeat(column.terms, np.diff(column.starts)), column.rows, strict=True))


def test_the_array_code_streams_too(monkeypatch):
    """A device without kernels: tiles lie there one at a time."""
    from tests.gpu_retrieval.strict_cupy import StrictCupy

    world = StrictCupy()
    monkeypatch.setattr(backend, "import_cupy", lambda: world)
    assert not kernel_check.ready(backend.choose_backend("cuda:0"))
    queries = np.random.default_rng(1).standard_normal((3, 12)).astype(np.float32)
    where = AnyOf("skill", Ragged.from_lists([[1], [2, 3], []]))
    expected = market(400, 12, "cpu")[0].search(queries, 7, where, plan="scan")
    bound = memory_for(market(400, 12, "cuda:0")[0], 16)
    index, _ = market(400, 12, "cuda:0", device_memory=bound)
    for plan in index.plans:
        hits = index.search(queries, 7, where, plan=plan)
        oracle.assert_hits(hits, (expected.ids, expected.scores, expected.n_matches))
    assert n_tiles(index) > 3 and len(index._rows.segments[0]._copies) == 0
