"""What a batch costs as one thing grows and the others stay: jobs, queries, components, k, the pass rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.market import SHARES, Market, ask, make_market
from benchmarks.retrieval_measure import SEED, seconds_of

K, WORKLOAD, QUERIES = 100, "0.1%", 50_000
COMPONENTS, KS = (16, 32, 64, 128, 256), (10, 100, 1_000, 5_000)


def costs(n: int) -> dict[str, Any]:
    """`cost_exponent` in the number of jobs, and `costs`: by what grows, pairs of its value and the seconds.

    Jobs grow up to n; the rest is measured on a quarter of them.
    """
    market = make_market(n, 64, SEED)
    some = market.first(n // 4)
    points = {
        "jobs": [(part, _seconds(market.first(part), WORKLOAD, QUERIES, K)) for part in (n // 8, n // 4, n // 2, n)],
        "queries": [(q, _seconds(some, WORKLOAD, q, K)) for q in (1_000, 10_000, 50_000, 200_000)],
        "components": [(d, _seconds(make_market(n // 4, d, SEED), WORKLOAD, QUERIES, K)) for d in COMPONENTS],
        "k": [(k, _seconds(some, "1%", 5_000, k)) for k in KS],
        "pass rate": [_by_pass_rate(some, workload) for workload in SHARES],
    }
    print(f"\nseconds of a batch: {K} of {WORKLOAD} for {QUERIES:,} queries, unless it says otherwise")
    for name, line in points.items():
        print(f"  {name:<11}", ", ".join(f"{value:g}: {seconds:.3f}" for value, seconds in line), flush=True)
    slope = float(np.polyfit(*np.log(np.array(points["jobs"])).T, 1)[0])
    print(f"  exponent in jobs {slope:.3f}")
    return {"cost_exponent": slope, "costs": points}


def _seconds(market: Market, workload: str, n_queries: int, k: int) -> float:
    return min(seconds_of(market.index(), ask(market, workload, n_queries, SEED + 3), k)[1])


def _by_pass_rate(market: Market, workload: str) -> tuple[float, float]:
    """The measured rate, and seconds of 1,000 queries."""
    asked, index = ask(market, workload, 1_000, SEED + 3), market.index()
    hits, seconds = seconds_of(index, asked, K)
    return float(hits.n_matches.mean()) / len(index), min(seconds)
