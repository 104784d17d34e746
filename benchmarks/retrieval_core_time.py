"""Filtered top-k in seconds of one core's own time: ours, faiss and SGEMM, each on one thread.

For a machine that others use as well: the clock of the process stands still while it waits for its turn, though
caches are still shared. `OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python -m
benchmarks.retrieval_core_time`, about three minutes on an idle core. Five answers a workload are compared with a
float64 oracle, bit for bit; faiss gets its bitmaps outside the clock.
"""

from __future__ import annotations

import json
import sys
import time

import faiss
import numpy as np

from benchmarks.market import Asked, Market, ask, make_market
from benchmarks.retrieval import SEED, K, oracle_scores, print_machine, sample_of
from gpu_retrieval import TermKnnIndex

N, D = 1_000_000, 64
# Queries of ours and of faiss a workload.
WORKLOADS = {
    "100%": (300, 20),
    "50%": (300, 20),
    "10%": (1_000, 20),
    "1%": (100_000, 100),
    "0.1%": (100_000, 200),
    "0.01%": (100_000, 200),
    "distinct": (100_000, 200),
}


def main() -> None:
    print_machine()
    sgemm = sgemm_gflops()
    print(f"SGEMM, one thread: {sgemm:.1f} GFLOP/s")
    market = make_market(N, D, SEED)
    index, flat = market.index(), faiss.IndexFlatIP(D)
    flat.add(market.vectors)
    print(f"{N:,} jobs × {D}, market {market.digest}, k = {K}")
    lines = []
    for workload, (n_ours, n_faiss) in WORKLOADS.items():
        asked = ask(market, workload, n_ours, SEED + 1)
        ours, theirs = ours_seconds(index, market, asked), faiss_seconds(flat, market, asked.take(np.arange(n_faiss)))
        gflops = 2 * N * D / ours / 1e9
        print(
            f"{workload:>8}: ours {ours * 1e6:8.1f} µs a query ({gflops:,.0f} GFLOP/s if all pairs), "
            f"faiss {theirs * 1e6:8.0f}, ratio {theirs / ours:.1f}"
        )
        lines.append({"workload": workload, "ours_s": ours, "faiss_s": theirs, "ratio": theirs / ours})
    share = 2 * N * D / lines[0]["ours_s"] / 1e9 / sgemm
    print(json.dumps({"share_of_sgemm_full_scan": share, "sgemm_gflops": sgemm, "lines": lines}))


def ours_seconds(index: TermKnnIndex, market: Market, asked: Asked) -> float:
    """A query's, after a small batch that loads the loops and inverts the columns."""
    few = asked.take(np.arange(200))
    index.search(few.queries, K, few.where)
    start = time.process_time()
    hits = index.search(asked.queries, K, asked.where)
    seconds = time.process_time() - start
    for i in sample_of(asked)[:5]:
        scores = oracle_scores(market, asked, i)[:K]
        if not np.array_equal(hits.scores[i][: len(scores)], scores):
            sys.exit(f"{asked.name}: query {i} differs from the oracle")
    return seconds / len(asked)


def faiss_seconds(flat: faiss.IndexFlatIP, market: Market, asked: Asked) -> float:
    """A query's: one call for all without a filter, otherwise a call and a bitmap each."""
    if asked.where is None:
        start = time.process_time()
        flat.search(asked.queries, K)
        return (time.process_time() - start) / len(asked)
    bitmaps = [np.packbits(asked.passing(market, i), bitorder="little") for i in range(len(asked))]
    params = [faiss.SearchParameters(sel=faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))) for bits in bitmaps]
    start = time.process_time()
    for i, own in enumerate(params):
        flat.search(asked.queries[i : i + 1], K, params=own)
    return (time.process_time() - start) / len(asked)


def sgemm_gflops() -> float:
    rng, best = np.random.default_rng(0), 0.0
    for rows, inner, columns in ((2_048, 2_048, 2_048), (1_024, 64, 4_096), (256, 64, 16_384)):
        left = rng.standard_normal((rows, inner), dtype=np.float32)
        right = rng.standard_normal((inner, columns), dtype=np.float32)
        out = np.empty((rows, columns), dtype=np.float32)
        for _ in range(6):
            start = time.process_time()
            np.matmul(left, right, out=out)
            best = max(best, 2 * rows * inner * columns / (time.process_time() - start) / 1e9)
    return best


if __name__ == "__main__":
    main()
