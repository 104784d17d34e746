"""Filtered top-k on a GPU: milliseconds a batch, queries/s a night, share of what the memory's rate allows.

    python -m benchmarks.retrieval_gpu --size small      (2M jobs × 128)
    python -m benchmarks.retrieval_gpu --size full       (15.5M × 128 float16, as LiNR measured)

Needs CuPy and PyTorch, no network. Prints a line a workload and, last, one line of JSON; `--raw` names a file that gets
the same. What `--minutes` have no room for is named and left out; the most wanted comes first. The rival is a PyTorch
product in float16 on the same GPU, masked and then `topk`, a batch of up to 16 queries with its masks made outside the
clock; faiss-gpu and cuVS run where they are installed. Answers are compared with float64 over NumPy for the first
queries of each workload, and a wrong one stops the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.market import Asked, Market, ask, make_market
from benchmarks.retrieval_gpu_rivals import rivals
from gpu_retrieval import AnyOf, Hits, Ragged, TermKnnIndex
from gpu_retrieval.backend import import_cupy
from gpu_retrieval.cuda.launch import Kernels
from gpu_retrieval.cuda.placement import device_bytes

SEED = 20_261_123
D = 128
N_TAGS = 10_000
N_CHECKED = 2
# Queries of the rival's batch.
BATCH = 16
# A float64 sum in another order may round to the neighbouring float32.
CLOSE = 2e-7
# Bytes that a place of a round takes beside its codes: row, one column a clause, mask and best score.
BYTES_BESIDE = 4 + 4 + 0.25


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`n_tags` of 10,000 asked, a share of the jobs each; or `market`, a workload of `benchmarks.market`."""

    name: str
    n_queries: int
    k: int
    n_tags: int = 0
    market: str = ""
    repeats: int = 30
    most_ms: float | None = None
    streamed: bool = False


@dataclass(frozen=True, kw_only=True)
class Size:
    jobs: int
    night: int


SIZES = {
    "smoke": Size(jobs=3_000, night=40),
    "small": Size(jobs=2_000_000, night=100_000),
    "full": Size(jobs=15_500_000, night=100_000),
}


def workloads(size: Size) -> list[Workload]:
    """LiNR's settings with what issue and paper ask of them in ms, then the night's."""
    few = min(N_TAGS // 4, round(4_650 / size.jobs * N_TAGS))
    return [
        Workload(name="11 % pass, batch 1", n_queries=1, k=2_000, n_tags=1_100, most_ms=1.0),
        Workload(name="11 % pass, batch 16", n_queries=16, k=2_000, n_tags=1_100, most_ms=3.0),
        Workload(name="few thousand pass, batch 1", n_queries=1, k=2_000, n_tags=few, most_ms=0.3),
        Workload(name="night, 1 %", n_queries=size.night, k=100, market="1%", repeats=2),
        Workload(name="night, 0.1 %", n_queries=size.night, k=100, market="0.1%", repeats=2),
        Workload(name="few thousand pass, batch 16", n_queries=16, k=2_000, n_tags=few),
        Workload(name="no filter, batch 16", n_queries=16, k=2_000, repeats=10),
        Workload(name="streamed: 11 % pass, batch 16", n_queries=16, k=2_000, n_tags=1_100, repeats=3, streamed=True),
        Workload(name="night, 0.1 %, k = 1,000", n_queries=size.night, k=1_000, market="0.1%", repeats=2),
    ]


def main(size: Size, minutes: float, raw: Path | None) -> None:
    cupy = import_cupy()
    if cupy is None or not cupy.cuda.is_available():
        raise SystemExit("benchmarks.retrieval_gpu: expected CuPy and a GPU, found no " + ("GPU" if cupy else "CuPy"))
    begun, say = time.perf_counter(), partial(tell, raw)
    say(machine(cupy))
    rate = copy_rate(cupy)
    say(f"copy within the GPU's memory: {rate / 1e9:,.0f} GB/s read and written")
    market = make_market(size.jobs, D, SEED, threads=os.cpu_count() or 1)
    say(f"{size.jobs:,} jobs × {D}, market {market.digest}, seed {SEED}: {time.perf_counter() - begun:,.0f} s")
    index = build(market)
    say(f"plans {index.plans}, index made: {time.perf_counter() - begun:,.0f} s")
    others, missing = rivals(market)
    for name, reason in missing.items():
        say(f"{name}: NOT RUN, {reason}")
    say("k and filters as named; wall clock with host and copies, kernels by CUDA's events\n")
    rows, left_out = [], []
    for workload in workloads(size):
        if time.perf_counter() - begun > 60 * minutes:
            left_out.append(workload.name)
            say(f"{workload.name}: LEFT OUT, {minutes:g} minutes are over")
            continue
        asked = queries(market, workload)
        masks = np.stack([asked_mask(market, asked, query) for query in range(min(BATCH, len(asked)))])
        row = measure(cupy, streamed(index) if workload.streamed else index, market, workload, asked, masks, rate)
        for rival in others:
            row |= rival.measure(asked, masks, workload.k)
        rows.append(row)
        say("  ".join(f"{name} {value}" for name, value in row.items()))
    result = {"gpu": gpu_name(cupy), "jobs": size.jobs, "d": D, "plans": index.plans, "not_run": missing}
    result |= {"left_out": left_out, "seconds": round(time.perf_counter() - begun), "workloads": rows}
    say(json.dumps(result))


def tell(raw: Path | None, line: str) -> None:
    print(line, flush=True)
    if raw is not None:
        with raw.open("a") as file:
            file.write(line + "\n")


def streamed(index: TermKnnIndex) -> TermKnnIndex:
    """The same rows with a third of the device memory that they take."""
    rows = index._rows
    most = sum(map(device_bytes, rows.hosts)) // 3
    return TermKnnIndex(rows.hosts, rows.alive, "", index._backends, most)


def machine(cupy: Any) -> str:
    import torch

    versions = {"NumPy": np.__version__, "CuPy": cupy.__version__, "torch": torch.__version__}
    return (
        f"{gpu_name(cupy)}, {cupy.cuda.runtime.memGetInfo()[1] / 2**30:.0f} GiB; {platform.processor()}\n"
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def gpu_name(cupy: Any) -> str:
    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def copy_rate(cupy: Any) -> float:
    """Bytes read and written a second by a copy of 2 GiB within the GPU's memory, best of ten."""
    source = cupy.zeros(1 << 31, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    best = min(timed(cupy, lambda: cupy.copyto(target, source)) for _ in range(10))
    return 2 * source.nbytes / best


def timed(cupy: Any, run: Callable[[], Any]) -> float:
    """Seconds by the wall clock until the device is done."""
    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    run()
    cupy.cuda.Device().synchronize()
    return time.perf_counter() - start


def build(market: Market) -> TermKnnIndex:
    n = len(market.region)
    offsets = np.arange(n + 1, dtype=np.int64)
    fields = {"region": market.region, "occupation": market.occupation, "tag": market.tag}
    terms = {name: Ragged(offsets, values) for name, values in fields.items()}
    numbers = {"salary": market.salary}
    return TermKnnIndex.build(np.arange(n), market.vectors, terms, numbers, storage="float16", device="cuda:0")


def queries(market: Market, workload: Workload) -> Asked:
    if workload.market:
        return ask(market, workload.market, workload.n_queries, SEED + 1)
    rng = np.random.default_rng(SEED + 2)
    like = rng.integers(0, len(market.region), workload.n_queries)
    rows = market.vectors[like] + 0.5 * rng.standard_normal((workload.n_queries, D)) / np.sqrt(D)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    if not workload.n_tags:
        return Asked(workload.name, rows, None)
    tags = [np.sort(rng.choice(N_TAGS, workload.n_tags, replace=False)) for _ in range(workload.n_queries)]
    return Asked(workload.name, rows, AnyOf("tag", Ragged.from_lists(tags)))


def measure(
    cupy: Any,
    index: TermKnnIndex,
    market: Market,
    workload: Workload,
    asked: Asked,
    masks: np.ndarray,
    rate: float,
) -> dict[str, Any]:
    """Ours: median wall clock, kernels apart, and how near that is to reading once what passes."""

    def search() -> Hits:
        return index.search(asked.queries, workload.k, asked.where)

    hits = search()
    check(market, asked, masks, workload.k, hits)
    wall = float(np.median([timed(cupy, search) for _ in range(workload.repeats)]))
    kernels = kernel_seconds(cupy, search)
    device = sum(kernels.values())
    row = {
        "workload": workload.name,
        "k": workload.k,
        "pass": round(float(hits.n_matches.mean()) / len(market.region), 6),
        "wall_ms": round(wall * 1e3, 3),
        "kernels_ms": round(device * 1e3, 3),
        "queries_per_s": round(len(asked) / wall),
        "goal_ms": workload.most_ms,
        "pool_MiB": round(cupy.get_default_memory_pool().total_bytes() / 2**20),
        "kernels": {name: round(seconds * 1e3, 4) for name, seconds in kernels.items()},
    }
    if len(asked) == len(masks) and device:
        n_read = np.count_nonzero(masks.any(axis=0))
        least = n_read * (2 * D + 4) + float(hits.n_matches.sum()) * BYTES_BESIDE
        # A copy reads and writes: what only reads goes at about the sum of both.
        row["share_of_memory_rate"] = round(least / rate / device, 3)
    return row


def kernel_seconds(cupy: Any, search: Callable[[], Any]) -> dict[str, float]:
    """Seconds of each kernel in one search, by events on its stream. Kernels of two streams may overlap in time."""
    events: list[tuple[str, Any, Any]] = []
    launch = Kernels.launch

    def timed_launch(self: Kernels, name: str, *args: Any, **options: Any) -> None:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record(cupy.cuda.get_current_stream())
        launch(self, name, *args, **options)
        end.record(cupy.cuda.get_current_stream())
        events.append((name, begin, end))

    Kernels.launch = timed_launch  # type: ignore[method-assign]
    try:
        search()
        cupy.cuda.Device().synchronize()
    finally:
        Kernels.launch = launch  # type: ignore[method-assign]
    seconds: dict[str, float] = defaultdict(float)
    for name, begin, end in events:
        seconds[name] += cupy.cuda.get_elapsed_time(begin, end) / 1e3
    return dict(seconds)


def asked_mask(market: Market, asked: Asked, query: int) -> np.ndarray:
    """(jobs,) bool, from the columns themselves."""
    return np.ones(len(market.region), dtype=bool) if asked.where is None else asked.passing(market, query)


def check(market: Market, asked: Asked, masks: np.ndarray, k: int, hits: Hits) -> None:
    """The first queries against float64 over NumPy: how many pass, the scores, and that each id has its score."""
    for query in range(min(N_CHECKED, len(asked))):
        rows = np.flatnonzero(masks[query])
        exact = np.empty(len(rows))
        for start in range(0, len(rows), 1 << 20):
            part = rows[start : start + (1 << 20)]
            exact[start : start + (1 << 20)] = market.vectors[part].astype(np.float64) @ asked.queries[query]
        n = min(k, len(rows))
        best = -np.sort(-exact)[:n]
        ids = hits.ids[query, :n]
        assert hits.n_matches[query] == len(rows)
        assert np.allclose(hits.scores[query, :n], best, rtol=CLOSE, atol=CLOSE), "scores differ from float64"
        at = np.minimum(np.searchsorted(rows, ids), len(rows) - 1)
        assert (rows[at] == ids).all() and len(np.unique(ids)) == n, "an id that does not pass, or twice"
        assert np.allclose(exact[at], hits.scores[query, :n], rtol=CLOSE, atol=CLOSE), "an id with another's score"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--raw", type=Path)
    given = parser.parse_args()
    main(SIZES[given.size], given.minutes, given.raw)
