"""Whether the kernels can be trusted on a device: asked once, by doing.

They have not run on a GPU yet, and a GPU's own arithmetic, its compiler and its driver are things that no test
without one can speak for. So the first search on a device has a small index answered by the kernels there and by NumPy
on the host, and the kernels are used only where both give the same bits.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np

from gpu_retrieval.backend import Backend, choose_backend
from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, NoneOf, OneOf
from gpu_retrieval.plans import kernels
from gpu_retrieval.plans.scan import scan_tiles
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.stored.building import new_segment
from gpu_retrieval.stored.rows import Rows
from gpu_retrieval.stored.segments import DeviceSegment
from gpu_retrieval.task import SearchTask

N_JOBS, N_QUERIES, D, K = 6_000, 40, 72, 20


@cache
def ready(backend: Backend) -> bool:
    """Whether the device has the kernels; a warning says why where it is a GPU and has not."""
    if not backend.on_gpu or not hasattr(backend.xp, "RawModule"):
        return False
    try:
        with backend.active():
            wrong = disagreement(backend)
    except Exception as error:  # whatever CUDA, NVRTC or CuPy may raise: the array code needs none of it
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        warnings.warn(
            f"the CUDA kernels are not used on {backend.device}, the array code is: {wrong}",
            RuntimeWarning,
            stacklevel=2,
        )
    return not wrong


def disagreement(backend: Backend) -> str:
    """Where the kernels' answer on the small index is not NumPy's, as words; none where they agree."""
    host = choose_backend("cpu")
    for storage in ("float16", "int8"):
        task = small_task(backend, storage)
        # Driven queries and queries that see every job; rounds that take all at once and a few groups at a time.
        for part in (task, replace(task, where=None), replace(task, memory_budget=4 << 20)):
            on_host = [DeviceSegment(segment.host, host) for segment in part.segments]
            mine, theirs = kernels.search(part), scan_tiles(replace(part, backend=host, segments=on_host))
            for name in ("ids", "scores", "n_matches"):
                differs = (getattr(mine, name) != getattr(theirs, name)).any(axis=-1)
                if differs.any():
                    return (
                        f"{name} of {np.count_nonzero(differs)} of {N_QUERIES} queries differ from NumPy's, {storage}"
                    )
    return ""


def small_task(backend: Backend, storage: str) -> SearchTask:
    """Jobs in two segments and queries with every kind of clause, from a fixed seed."""
    rng = np.random.default_rng(7)
    rows = Rows([], [], backend)
    for first in (0, N_JOBS * 3 // 4):
        n = N_JOBS * 3 // 4 if first == 0 else N_JOBS // 4
        skills = Ragged(np.arange(n + 1, dtype=np.int64) * 2, rng.integers(0, 30, 2 * n, dtype=np.int32))
        region = Ragged.of_one(rng.integers(0, 12, n, dtype=np.int32))
        terms = {"region": region, "skill": skills}
        vectors = rng.standard_normal((n, D)).astype(np.float32)
        ids = np.arange(first, first + n, dtype=np.int64)
        segment = new_segment(ids, vectors, terms, {"salary": rng.random(n)}, storage)
        rows.segments += Rows([segment], [np.ones(n, dtype=bool)], backend).segments
        rows.alive.append(rng.random(n) < 0.95)
    few, most = _asked(rng, 12, 2), _asked(rng, 30, 6)
    floor = rng.random(N_QUERIES) * 0.5
    either = OneOf(AnyOf("skill", most), NoneOf("skill", few, applies=rng.random(N_QUERIES) < 0.5))
    where = AllOf(AnyOf("region", few), either, Between("salary", floor, None), AllIn("skill", _asked(rng, 30, 0)))
    alive = np.concatenate(rows.alive)
    return SearchTask(
        backend=backend,
        segments=rows.segments,
        order=rows.by_id,
        alive=alive,
        n_alive=int(np.count_nonzero(alive)),
        prior=rng.standard_normal(N_JOBS).astype(np.float32),
        queries=rng.standard_normal((N_QUERIES, D)).astype(np.float32),
        k=K,
        where=where,
        exclude=Ragged(np.arange(N_QUERIES + 1, dtype=np.int64) * 5, rng.integers(0, N_JOBS, 5 * N_QUERIES)),
        memory_budget=256 << 20,
    )


def _asked(rng: np.random.Generator, n_terms: int, n_asked: int) -> Ragged:
    """Rows of terms, half of the queries with the same."""
    values = rng.integers(0, n_terms, (N_QUERIES, n_asked), dtype=np.int32)
    values[::2] = values[:1]
    return Ragged(np.arange(N_QUERIES + 1, dtype=np.int64) * n_asked, values.reshape(-1))
