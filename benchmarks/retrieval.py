"""Filtered top-k against other engines: queries/s, ratios, recall, and what the matrix product alone could do.

`make bench-retrieval SIZE=small` (1M jobs × 64, under ten minutes on two cores) or `SIZE=full` (also × 128 and
5M jobs); `smoke` only shows that the script runs. Prints a table a workload and, last, one line of JSON. Every
engine answers the same queries with the same filters, ours all of them and the others the first of them; every
answer is checked against a float64 oracle on a sample, and a wrong one of an exact engine stops the run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.market import SHARES, Asked, Market, ask, make_market
from benchmarks.rivals import DuckDB, Faiss, Hnswlib
from gpu_retrieval import TermKnnIndex

SEED = 20_261_122
K = 100
LOW_PASS = ("1%", "0.1%", "0.01%", "distinct")
N_ORACLE = 20
# float32 sums of the exact rivals may swap neighbours that lie this close.
CLOSE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Size:
    """Jobs, components, queries of ours a workload (low pass rates, others), and the rivals' samples."""

    jobs: tuple[tuple[int, int], ...]
    n_low: int
    n_high: int
    n_faiss_low: int
    n_faiss_high: int
    n_duckdb: int
    n_graph_jobs: int
    n_graph_queries: int


SIZES = {
    "smoke": Size(
        jobs=((20_000, 16),), n_low=2_000, n_high=300, n_faiss_low=200, n_faiss_high=200,
        n_duckdb=5, n_graph_jobs=5_000, n_graph_queries=20,
    ),
    "small": Size(
        jobs=((1_000_000, 64),), n_low=100_000, n_high=1_000, n_faiss_low=1_000, n_faiss_high=200,
        n_duckdb=10, n_graph_jobs=100_000, n_graph_queries=30,
    ),
    "full": Size(
        jobs=((1_000_000, 64), (1_000_000, 128), (5_000_000, 64), (5_000_000, 128)), n_low=100_000, n_high=4_000,
        n_faiss_low=1_000, n_faiss_high=1_000, n_duckdb=30, n_graph_jobs=1_000_000, n_graph_queries=200,
    ),
}  # fmt: skip


def main(size: Size) -> None:
    print_machine()
    sgemm = sgemm_gflops()
    print(f"SGEMM, best of four shapes: {sgemm:,.1f} GFLOP/s\n")
    lines: list[dict[str, Any]] = []
    for n, d in size.jobs:
        market = make_market(n, d, SEED)
        index = market.index()
        print(f"{n:,} jobs × {d}, market {market.digest}, k = {K}")
        rivals = [(Faiss(market), size.n_faiss_low, size.n_faiss_high), (DuckDB(market), size.n_duckdb, size.n_duckdb)]
        for workload in (*SHARES, "distinct"):
            low = workload in LOW_PASS
            asked = ask(market, workload, size.n_low if low else size.n_high, SEED + 1)
            ours = measure_ours(index, market, asked, d)
            lines.append({"workload": workload, "n": n, "d": d, **ours})
            for rival, n_low, n_high in rivals:
                sample = asked.take(np.arange(n_low if low else n_high))
                lines[-1][rival.name] = measure_rival(rival, market, sample, ours["queries_per_s"])
        if (n, d) == size.jobs[0]:
            exponent = cost_exponent(market)
            engines = graph_engines(market.first(size.n_graph_jobs), size)
        del market, index, rivals
    print(f"peak resident set {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    print(json.dumps(summary(lines, engines, exponent, sgemm)))


def measure_ours(index: TermKnnIndex, market: Market, asked: Asked, d: int) -> dict[str, Any]:
    """Best of two runs of the whole batch after one of a part of it, which compiles and inverts the columns."""
    few = asked.take(np.arange(200))
    index.search(few.queries, K, few.where)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        hits = index.search(asked.queries, K, asked.where)
        seconds.append(time.perf_counter() - start)
    for i in sample_of(asked):
        scores = oracle_scores(market, asked, i)[:K]
        found = hits.scores[i][: len(scores)]
        if not (np.array_equal(found, scores) and hits.n_matches[i] == asked.passing(market, i).sum()):
            sys.exit(f"{asked.name}: query {i} differs from the oracle")
    rate = len(asked) / min(seconds)
    passing = hits.n_matches.mean() / len(index)
    print(f"\n{asked.name}: {len(asked):,} queries {asked.digest}, measured pass rate {passing:.4%}")
    print(f"  {index.explain(asked.where).splitlines()[0]}")
    spread = ", ".join(f"{value:.3f}" for value in seconds)
    print(f"  {'gpu_retrieval':<18} {rate:>12,.1f} queries/s   runs {spread} s   equal to the oracle")
    gflops = rate * 2 * len(index) * d / 1e9
    return {"pass_rate": passing, "queries_per_s": rate, "gflops_if_all_pairs": gflops}


def measure_rival(rival: Any, market: Market, asked: Asked, ours: float) -> dict[str, float]:
    ids, seconds = rival.search(asked, K)
    rate = len(asked) / seconds
    recall = float(np.mean([recall_of(market, asked, i, ids[i]) for i in sample_of(asked)]))
    print(
        f"  {rival.name:<18} {rate:>12,.1f} queries/s   recall {recall:.4f}, {len(asked):,} queries, "
        f"ours {ours / rate:,.1f}×"
    )
    if rival.exact and recall < 1:
        sys.exit(f"{rival.name} is exact, yet its recall is {recall}")
    return {"queries_per_s": rate, "recall": recall, "ratio": ours / rate}


def graph_engines(market: Market, size: Size) -> list[dict[str, Any]]:
    """hnswlib builds for minutes at a million: it runs on fewer jobs, beside ours on the same."""
    start = time.perf_counter()
    rival = Hnswlib(market)
    print(f"\n{len(market.region):,} jobs for hnswlib, built in {time.perf_counter() - start:.1f} s")
    index, lines = market.index(), []
    for workload in LOW_PASS:
        asked = ask(market, workload, size.n_low, SEED + 2)
        ours = measure_ours(index, market, asked, market.vectors.shape[1])
        sample = asked.take(np.arange(size.n_graph_queries))
        lines.append({"workload": workload, **measure_rival(rival, market, sample, ours["queries_per_s"])})
    return lines


def cost_exponent(market: Market) -> float:
    """Exponent in n of the seconds of 0.1 % batches, by least squares over 1/8 to all of the jobs."""
    n, points = len(market.region), []
    print("\ncost against jobs, 0.1%, 50,000 queries")
    for part in (n // 8, n // 4, n // 2, n):
        some = market.first(part)
        index, asked = some.index(), ask(some, "0.1%", 50_000, SEED + 3)
        few = asked.take(np.arange(200))
        index.search(few.queries, K, few.where)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            index.search(asked.queries, K, asked.where)
            seconds.append(time.perf_counter() - start)
        points.append((part, min(seconds)))
        print(f"  {part:>10,} jobs  {min(seconds):.3f} s")
    slope = np.polyfit(*np.log(np.array(points)).T, 1)[0]
    print(f"  exponent {slope:.3f}")
    return float(slope)


def summary(
    lines: list[dict[str, Any]], engines: list[dict[str, Any]], exponent: float, sgemm: float
) -> dict[str, Any]:
    low = [line for line in lines if line["workload"] in LOW_PASS]
    good = [line for line in engines if line["recall"] >= 0.95]
    full_scans = [line["gflops_if_all_pairs"] for line in lines if line["workload"] == "100%"]
    best_engines = [line[DuckDB.name]["ratio"] for line in low] + [line["ratio"] for line in good]
    exact = [line[name]["ratio"] for line in lines for name in (Faiss.name, DuckDB.name)]
    return {
        "least_ratio_over_faiss_low_pass": min(line[Faiss.name]["ratio"] for line in low),
        "least_ratio_over_faiss_low_pass_job_market": min(
            line[Faiss.name]["ratio"] for line in low if line["workload"] != "distinct"
        ),
        "least_ratio_over_best_engine": min(best_engines),
        "least_ratio_over_exact_rivals": min(exact),
        "share_of_sgemm_full_scan": min(full_scans) / sgemm,
        "cost_exponent": exponent,
        "sgemm_gflops": sgemm,
        "seed": SEED,
        "lines": lines,
        "hnswlib": engines,
    }  # fmt: skip


def oracle_scores(market: Market, asked: Asked, query: int) -> np.ndarray:
    """float32 scores of all that pass, summed in float64, best first."""
    rows = np.flatnonzero(asked.passing(market, query))
    exact = market.vectors[rows].astype(np.float64) @ asked.queries[query].astype(np.float64)
    return np.sort(exact.astype(np.float32))[::-1]


def recall_of(market: Market, asked: Asked, query: int, ids: np.ndarray) -> float:
    """Share of the k best that came back, by score, so that ties count either way; an ineligible id stops all."""
    scores = oracle_scores(market, asked, query)[:K]
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
            start = time.perf_counter()
            np.matmul(left, right, out=out)
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start) / 1e9)
    return best


def print_machine() -> None:
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("numpy", "numba", "faiss-cpu", "hnswlib", "duckdb")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}")
    print(f"{versions}; seed {SEED}; command: {' '.join(['python', '-m', 'benchmarks.retrieval', *sys.argv[1:]])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    main(SIZES[parser.parse_args().size])
