"""Ours and a rival timed on the same queries, their answers compared with a float64 oracle; SGEMM; the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import now
from benchmarks.market import Asked, Market
from gpu_retrieval import Hits, TermKnnIndex

SEED = 20_261_122
N_ORACLE = 20
# float32 sums of the exact rivals may swap neighbours that lie this close.
CLOSE = 1e-5


def seconds_of(index: TermKnnIndex, asked: Asked, k: int, runs: int = 2) -> tuple[Hits, list[float]]:
    """Seconds of each run of the whole batch, after one of a part of it, which compiles and inverts the columns."""
    few, plan = asked.take(np.arange(min(200, len(asked)))), index.explain(asked.where).split()[1].rstrip(":")
    # A part would take another plan, and the batch's would be compiled within the clock.
    index.search(few.queries, k, few.where, few.exclude, plan=plan)
    seconds: list[float] = []
    for _ in range(runs):
        start = now()
        hits = index.search(asked.queries, k, asked.where, asked.exclude)
        seconds.append(now() - start)
    return hits, seconds


def measure_ours(index: TermKnnIndex, market: Market, asked: Asked, k: int) -> dict[str, Any]:
    """The better of two runs; a sample of the answers has to be the oracle's, bit for bit."""
    hits, seconds = seconds_of(index, asked, k)
    for i in sample_of(asked):
        scores = oracle_scores(market, asked, i)[:k]
        found = hits.scores[i][: len(scores)]
        if not (np.array_equal(found, scores) and hits.n_matches[i] == asked.passing(market, i).sum()):
            sys.exit(f"{asked.name}: query {i} differs from the oracle")
    rate, passing = len(asked) / min(seconds), float(hits.n_matches.mean()) / len(index)
    print(f"\n{asked.name}, k = {k}: {len(asked):,} queries {asked.digest}, measured pass rate {passing:.4%}")
    print(f"  {index.explain(asked.where).splitlines()[0]}")
    spread = ", ".join(f"{value:.3f}" for value in seconds)
    print(f"  {'gpu_retrieval':<18} {rate:>12,.1f} queries/s   runs {spread} s   equal to the oracle", flush=True)
    gflops = rate * 2 * len(index) * index.d / 1e9
    return {"pass_rate": passing, "queries_per_s": rate, "gflops_if_all_pairs": gflops}


def measure_rival(rival: Any, market: Market, asked: Asked, k: int, ours: float) -> dict[str, float]:
    ids, seconds = rival.search(asked, k)
    rate = len(asked) / seconds
    recall = float(np.mean([recall_of(market, asked, i, ids[i], k) for i in sample_of(asked)]))
    print(
        f"  {rival.name:<18} {rate:>12,.1f} queries/s   recall {recall:.4f}, {len(asked):,} queries, "
        f"ours {ours / rate:,.1f}×",
        flush=True,
    )
    if rival.exact and recall < 1:
        sys.exit(f"{rival.name} is exact, yet its recall is {recall}")
    return {"queries_per_s": rate, "recall": recall, "ratio": ours / rate}


def oracle_scores(market: Market, asked: Asked, query: int) -> np.ndarray:
    """float32 scores of all that pass, summed in float64, best first."""
    rows = np.flatnonzero(asked.passing(market, query))
    exact = market.vectors[rows].astype(np.float64) @ asked.queries[query].astype(np.float64)
    return np.sort(exact.astype(np.float32))[::-1]


def recall_of(market: Market, asked: Asked, query: int, ids: np.ndarray, k: int) -> float:
    """Share of the k best that came back, by score, so that ties count either way; an ineligible id stops all."""
    scores = oracle_scores(market, asked, query)[:k]
    found = ids[ids >= 0]
    if not asked.passing(market, query)[found].all():
        sys.exit(f"{asked.name}: query {query} was given an ineligible job")
    if len(scores) == 0:
        return 1.0
    own = market.vectors[found].astype(np.float64) @ asked.queries[query].astype(np.float64)
    return min(1.0, float((own >= scores[-1] - CLOSE).sum()) / len(scores))


def sample_of(asked: Asked) -> np.ndarray:
    return np.linspace(0, len(asked) - 1, min(N_ORACLE, len(asked))).astype(int)


def sgemm_gflops() -> float:
    """Best rate of float32 products through NumPy's BLAS: a large square, and tiles like those of a scan."""
    rng, best = np.random.default_rng(0), 0.0
    for rows, inner, columns in ((2_048, 2_048, 2_048), (1_024, 64, 4_096), (256, 64, 16_384), (1_024, 128, 4_096)):
        left = rng.standard_normal((rows, inner), dtype=np.float32)
        right = rng.standard_normal((inner, columns), dtype=np.float32)
        out = np.empty((rows, columns), dtype=np.float32)
        for _ in range(5):
            start = now()
            np.matmul(left, right, out=out)
            best = max(best, 2 * rows * inner * columns / (now() - start) / 1e9)
    return best


def print_machine(module: str) -> None:
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("numpy", "numba", "faiss-cpu", "hnswlib", "usearch", "duckdb", "lancedb", "tantivy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = os.getloadavg()[0]
    print(
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}; "
        f"load {load:.1f} at the start"
    )
    print(f"{versions}; seed {SEED}; command: {' '.join(['python', '-m', module, *sys.argv[1:]])}")
