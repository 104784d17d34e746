"""The plan "kernels" without a GPU: the kernels' source compiled for GPUs, and run on a CPU from that source.

What no test here can say: that a GPU computes what PTX's description says, and how fast.
"""

from __future__ import annotations

import ctypes
import random
import re
from dataclasses import replace

import numpy as np
import pytest

from gpu_retrieval import AllOf, AnyOf, Between, Ragged, TermKnnIndex, backend
from gpu_retrieval.cuda import draws, launch
from gpu_retrieval.cuda.programs import fits
from gpu_retrieval.plans import kernel_check, kernels
from tests.gpu_retrieval import cuda_on_cpu, oracle

EMULATED = cuda_on_cpu.EmulatedCupy() if cuda_on_cpu.COMPILER else None


@pytest.fixture
def emulated(monkeypatch):
    """A device whose kernels g++ has compiled; its launches are counted from zero."""
    if EMULATED is None:
        pytest.skip("NO g++ HERE: nothing of the CUDA kernels was run, not even on a CPU")
    monkeypatch.setattr(backend, "import_cupy", lambda: EMULATED)
    cuda_on_cpu.declare(monkeypatch)
    # A self-check of the size of a GPU's would take a minute on fibers.
    monkeypatch.setattr(kernel_check, "N_JOBS", 800)
    monkeypatch.setattr(kernel_check, "K", 4)
    assert kernel_check.ready(backend.choose_backend("cuda:0"))
    cuda_on_cpu.RawModule.launches.clear()
    return "cuda:0"


def launched(name: str) -> list[int]:
    """Blocks of each launch of a kernel."""
    return [int(np.prod(grid)) for kernel, grid, _ in cuda_on_cpu.RawModule.launches if kernel.startswith(name)]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_compiled_for_gpus_without_spilling_registers(arch):
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="NO CuPy HERE: kernels were not compiled")
    try:
        program = nvrtc.createProgram(launch.source(), "kernels.cu", (), ())
    except Exception as error:
        pytest.skip(f"NO NVRTC HERE: the kernels were not compiled for {arch}: {error}")
    # What CuPy adds to the options of a RawModule: cupy/cuda/compiler.py, _compile_nvrtc.
    added = ("-ftz=true", "--device-as-default-execution-space", f"-arch={arch}")
    try:
        nvrtc.compileProgram(program, (*launch.OPTIONS, *added, "--ptxas-options=-v"))
    finally:
        log = nvrtc.getProgramLog(program)
    names = set(cuda_on_cpu.parameters(launch.source()))
    assert set(re.findall(r"entry function '(\w+)'", log)) == names and len(names) == 12
    assert re.findall(r"(\d+) bytes spill stores", log) and not re.search(r"[1-9]\d* bytes spill", log), log
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
    # Two blocks of 256 threads on a multiprocessor of 65,536 registers, or one of 1,024.
    assert max(registers) <= 128, log


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_oracle(emulated, monkeypatch, seed):
    rng = random.Random(seed)
    n, d = rng.choice([0, 1, 5, 33, 70, 150]), rng.choice([1, 3, 16, 33, 64, 70])
    world = oracle.make_world(rng, n, d)
    ask = oracle.make_ask(rng, world, rng.choice([1, 2, 17, 20]), k=rng.choice([1, 3, 10, 100]))
    monkeypatch.setattr(draws, "DRAWN_COST", rng.choice([0.0, 1.25]))
    monkeypatch.setattr(kernels, "scan_tiles", lambda task: pytest.fail("left to the scan"))
    index = world.build(device=emulated, storage=rng.choice(["float32", "float16", "int8"]))
    expected = oracle.answer(world, ask)
    for budget in (4 << 20, 1 << 30):
        oracle.assert_hits(ask.search(index, plan="kernels", memory_budget=budget), expected)


def market(n: int, d: int, seed: int, device: str, storage: str) -> tuple[TermKnnIndex, dict[str, np.ndarray]]:
    """Clustered unit vectors, one region a job, up to three skills a job."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((8, d))[rng.integers(0, 8, n)] + rng.standard_normal((n, d))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    skills = [rng.choice(12, rng.integers(0, 4), replace=False) for _ in range(n)]
    terms = {
        "region": Ragged(np.arange(n + 1, dtype=np.int64), rng.integers(0, 9, n, dtype=np.int32)),
        "skill": Ragged.from_lists(skills),
    }
    ids = rng.permutation(10 * n)[:n].astype(np.int64)
    index = TermKnnIndex.build(ids, vectors, terms, {"salary": rng.random(n)}, device=device, storage=storage)
    return index, {"ids": ids, "vectors": vectors}


def asked(n_queries: int, d: int, seed: int) -> tuple[np.ndarray, AllOf]:
    rng = np.random.default_rng(seed)
    regions = [rng.choice(9, 2, replace=False) for _ in range(n_queries)]
    skills = [rng.choice(12, 3, replace=False) for _ in range(n_queries)]
    where = AllOf(
        AnyOf("region", Ragged.from_lists(regions), applies=rng.random(n_queries) < 0.5),
        AnyOf("skill", Ragged.from_lists(skills)),
        Between("salary", rng.random(n_queries) * 0.5, None),
    )
    return rng.standard_normal((n_queries, d)).astype(np.float32), where


@pytest.mark.parametrize(("storage", "d", "cost"), [("float16", 128, 0.0), ("int8", 100, 1.25), ("float32", 64, 0.0)])
def test_equals_the_scan_where_selection_matters(emulated, monkeypatch, storage, d, cost):
    """More jobs than groups of 32 that matter, rows drawn twice by their skills, two segments, jobs closed."""
    monkeypatch.setattr(draws, "DRAWN_COST", cost)
    index, given = market(1_500, d, 1, emulated, storage)
    _, added = market(300, d, 2, "cpu", storage)
    new = ~np.isin(added["ids"], given["ids"])
    terms = {"region": Ragged(np.arange(new.sum() + 1, dtype=np.int64), np.ones(new.sum(), np.int32))}
    terms["skill"] = Ragged(np.zeros(new.sum() + 1, dtype=np.int64), np.empty(0, np.int32))
    index.add(added["ids"][new], added["vectors"][new].copy(), terms, {"salary": np.ones(new.sum())})
    index.remove(given["ids"][::7].copy())
    queries, where = asked(18, d, 3)
    exclude = Ragged.from_lists([given["ids"][1:60:2]] * 18, dtype="int64")
    prior = np.random.default_rng(4).standard_normal(len(index)).astype(np.float32) * 0.1
    for options in ({}, {"exclude": exclude, "prior": prior}):
        theirs = index.search(queries, 10, where, plan="scan", **options)
        for budget in (1 << 30, 4 << 20):
            mine = index.search(queries, 10, where, plan="kernels", memory_budget=budget, **options)
            oracle.assert_hits(mine, (theirs.ids, theirs.scores, theirs.n_matches))
    assert index.explain(where).count("kernels")


def test_rounds_that_cut_a_draw_give_the_same(emulated, monkeypatch):
    index, _ = market(2_000, 32, 5, emulated, "float16")
    queries, where = asked(5, 32, 6)
    whole, real = {}, kernels.sizes
    for cost in (0.0, 1e9):
        monkeypatch.setattr(draws, "DRAWN_COST", cost)
        whole[cost] = index.search(queries, 7, where, plan="kernels")
        n_rounds = len(launched("passing"))
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "sizes", lambda *given: replace(real(*given), round_bytes=500))
            cut = index.search(queries, 7, where, plan="kernels")
        assert len(launched("passing")) > n_rounds + 3
        oracle.assert_hits(cut, (whole[cost].ids, whole[cost].scores, whole[cost].n_matches))
    oracle.assert_hits(whole[0.0], (whole[1e9].ids, whole[1e9].scores, whole[1e9].n_matches))


def test_more_ties_than_there_is_room_for_go_to_the_scan(emulated, monkeypatch):
    n = 9_000
    vectors = np.ones((n, 4), dtype=np.float32)
    index = TermKnnIndex.build(np.arange(n)[::-1].copy(), vectors, device=emulated)
    scanned = []
    real = kernels.scan_tiles
    monkeypatch.setattr(kernels, "scan_tiles", lambda task: scanned.append(len(task.queries)) or real(task))
    hits = index.search(np.ones((2, 4), dtype=np.float32), 3, plan="kernels")
    assert hits.ids.tolist() == [[0, 1, 2]] * 2 and hits.n_matches.tolist() == [n, n]
    assert scanned == [2]


def test_few_scores_are_made_final(emulated, monkeypatch):
    """Of 3,000 jobs, little more than k are scored finally: limits are as sharp as float16 lets them be."""
    index, _ = market(3_000, 64, 7, emulated, "float16")
    seen = []
    real = launch.Kernels.launch

    def watched(self, name, grid, *args, **options):
        real(self, name, grid, *args, **options)
        if name == "score_found":
            counts = ctypes.cast(int(args[-2]), ctypes.POINTER(ctypes.c_uint32))
            seen.append(np.ctypeslib.as_array(counts, (4,)).copy())

    monkeypatch.setattr(launch.Kernels, "launch", watched)
    queries, _ = asked(4, 64, 8)
    index.search(queries, 20, plan="kernels")
    assert len(seen) == 1 and (seen[0] >= 20).all() and (seen[0] <= 30).all()


def test_a_grid_is_as_large_as_what_is_drawn(emulated):
    n = 40_000
    region = np.zeros(n, dtype=np.int32)
    region[::100] = 1
    terms = {"region": Ragged(np.arange(n + 1, dtype=np.int64), region)}
    index = TermKnnIndex.build(np.arange(n), np.ones((n, 8), dtype=np.float32), terms, device=emulated)
    hits = index.search(np.ones((1, 8), np.float32), 5, AnyOf("region", Ragged.from_lists([[1]])), plan="kernels")
    assert hits.ids.tolist() == [[0, 100, 200, 300, 400]] and hits.n_matches.tolist() == [400]
    assert launched("passing") == launched("best_of_groups") == launched("collect") == [1]


def test_subnormal_scores_keep_their_bits(emulated):
    """Final scores below 2**-126, which float32 that is flushed would make zeros of."""
    vectors = np.array([[2.0**-75], [3 * 2.0**-76], [-(2.0**-75)], [2.0**-140], [0.0]], dtype=np.float32)
    index = TermKnnIndex.build(np.arange(5), vectors, device=emulated)
    queries = np.array([[2.0**-73], [2.0**-4]], dtype=np.float32)
    hits = index.search(queries, 5, plan="kernels")
    assert hits.ids.tolist() == [[1, 0, 3, 4, 2], [1, 0, 3, 4, 2]]
    assert hits.scores[0].tolist() == [1.5 * 2.0**-148, 2.0**-148, 0.0, 0.0, -(2.0**-148)]
    assert hits.scores[1].tolist() == [3 * 2.0**-80, 2.0**-79, 2.0**-144, 0.0, -(2.0**-79)]


def test_what_kernels_have_no_room_for_is_scanned(emulated, monkeypatch):
    wide = TermKnnIndex.build(np.arange(3), np.eye(3, 2_000, dtype=np.float32), device=emulated)
    assert wide.search(np.eye(3, 2_000, dtype=np.float32), 1, plan="kernels").ids.tolist() == [[0], [1], [2]]
    long = TermKnnIndex.build(np.arange(2), np.array([[1e30], [2e30]], np.float32), device=emulated)
    assert long.search(np.ones((1, 1), np.float32), 1, plan="kernels").ids.tolist() == [[1]]
    index, _ = market(100, 8, 9, emulated, "float16")
    queries, where = asked(2, 8, 10)
    many = AllOf(*[where] * 40)
    assert not fits(many) and fits(where)
    hits = index.search(queries, 3, many, plan="kernels")
    expected = index.search(queries, 3, where, plan="scan")
    oracle.assert_hits(hits, (expected.ids, expected.scores, expected.n_matches))
    assert launched("passing") == []


def test_kernels_that_answer_wrongly_are_not_used(emulated, monkeypatch):
    """A fault of the device shows in the self-check: then the array code answers, with a warning."""
    real = launch.Kernels.launch

    def faulty(self, name, grid, *args, **options):
        real(self, name, grid, *args, **options)
        if name.startswith("best_of_groups"):
            ctypes.memset(int(args[-1]), 0x4E, cuda_on_cpu.DECLARED[int(args[-1])][1])

    monkeypatch.setattr(launch.Kernels, "launch", faulty)
    other = cuda_on_cpu.EmulatedCupy()
    monkeypatch.setattr(backend, "import_cupy", lambda: other)
    index = TermKnnIndex.build(np.arange(4), np.eye(4, dtype=np.float32), device="cuda:0")
    with pytest.warns(RuntimeWarning, match="kernels are not used on cuda:0, the array code is: ids of"):
        assert index.plans == ("scan", "shared")
    with pytest.raises(ValueError, match="plan: expected 'auto' or one of"):
        index.search(np.eye(4, dtype=np.float32), 1, plan="kernels")
    assert index.search(np.eye(4, dtype=np.float32), 1).ids.tolist() == [[0], [1], [2], [3]]


def test_arguments_are_checked_as_a_gpu_would_not(emulated):
    """The stand-in refuses what CuPy would pass on unseen: a wrong type, a wrong number."""
    decode = cuda_on_cpu.RawModule(code=launch.source(), options=()).get_function("decode_keys")
    array = EMULATED.zeros(1, dtype=np.int64)
    with pytest.raises(AssertionError, match="decode_keys, argument 0: expected uint64, got int64"):
        decode((1,), (32,), (array, np.int64(1), array, array, array))
    with pytest.raises(AssertionError, match="decode_keys"):
        decode((1,), (32,), (array,))
