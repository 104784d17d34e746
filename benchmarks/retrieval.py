"""Filtered top-k against other engines: queries/s, ratios, recall, and what the matrix product alone could do.

`make bench-retrieval SIZE=small` (1M jobs × 64 and × 128, k = 100 and 1,000) or `SIZE=full` (also 5M jobs);
`smoke` only shows that the script runs. `--part` runs one part: `64` and `128` are the comparisons at so many
components, `graphs`, `clauses`, `costs` and `memory` the others. For a machine that others use too there are
`--clock cpu` and `--size busy`, a little of `small`. Prints a table a workload and, last, one line of JSON. Every
engine answers the same queries with the same filters, ours all of them and the others the first of them; every answer
is checked against a float64 oracle on a sample, and a wrong one of an exact engine stops the run.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import clock
from benchmarks.engines import DuckDB, LanceDB, Tantivy
from benchmarks.market import SHARES, ask, make_market
from benchmarks.retrieval_clauses import clauses
from benchmarks.retrieval_costs import costs
from benchmarks.retrieval_measure import SEED, measure_ours, measure_rival, print_machine, sgemm_gflops
from benchmarks.retrieval_memory import memory
from benchmarks.rivals import Faiss, Hnswlib, Usearch

KS = (100, 1_000)
WORKLOADS = (*SHARES, "distinct")
LOW_PASS = ("1%", "0.1%", "0.01%", "distinct")
PARTS = ("64", "128", "graphs", "clauses", "costs", "memory")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Jobs of each comparison; queries of ours at low pass rates for each k, and at others; the rivals' samples."""

    jobs: tuple[int, ...]
    n_low: dict[int, int]
    n_high: int
    n_faiss_low: int
    n_faiss_high: int
    n_engine: int
    n_graph_jobs: int
    n_graph_queries: int
    n_cost_jobs: int
    n_memory_jobs: int
    n_clause_jobs: int
    n_clause_queries: int


SIZES = {
    "smoke": Size(
        jobs=(20_000,), n_low={100: 2_000, 1_000: 500}, n_high=300, n_faiss_low=100, n_faiss_high=100,
        n_engine=3, n_graph_jobs=5_000, n_graph_queries=20, n_cost_jobs=40_000, n_memory_jobs=20_000,
        n_clause_jobs=20_000, n_clause_queries=500,
    ),
    "busy": Size(
        jobs=(1_000_000,), n_low={100: 100_000, 1_000: 10_000}, n_high=200, n_faiss_low=100, n_faiss_high=20,
        n_engine=0, n_graph_jobs=100_000, n_graph_queries=20, n_cost_jobs=400_000, n_memory_jobs=250_000,
        n_clause_jobs=250_000, n_clause_queries=2_000,
    ),
    "small": Size(
        jobs=(1_000_000,), n_low={100: 100_000, 1_000: 20_000}, n_high=1_000, n_faiss_low=1_000, n_faiss_high=200,
        n_engine=20, n_graph_jobs=100_000, n_graph_queries=30, n_cost_jobs=1_000_000, n_memory_jobs=1_000_000,
        n_clause_jobs=1_000_000, n_clause_queries=20_000,
    ),
    "full": Size(
        jobs=(1_000_000, 5_000_000), n_low={100: 100_000, 1_000: 20_000}, n_high=1_000, n_faiss_low=1_000,
        n_faiss_high=200, n_engine=20, n_graph_jobs=100_000, n_graph_queries=100, n_cost_jobs=4_000_000,
        n_memory_jobs=1_000_000, n_clause_jobs=1_000_000, n_clause_queries=20_000,
    ),
}  # fmt: skip


def main(size: Size, chosen: list[str], workloads: list[str]) -> None:
    print_machine("benchmarks.retrieval")
    start, result = time.perf_counter(), {"seed": SEED, "sgemm_gflops": sgemm_gflops()}
    print(f"SGEMM, best of four shapes: {result['sgemm_gflops']:,.1f} GFLOP/s")
    lines = [
        line for d in ("64", "128") if d in chosen for n in size.jobs for line in compare(n, int(d), size, workloads)
    ]
    graphs = graph_engines(size) if "graphs" in chosen else []
    result |= summary(lines, graphs, result["sgemm_gflops"]) | {"lines": lines, "graphs": graphs}
    if "clauses" in chosen:
        result["clauses"] = clauses(size.n_clause_jobs, size.n_clause_queries)
    if "costs" in chosen:
        result |= costs(size.n_cost_jobs)
    if "memory" in chosen:
        result["memory"] = memory(size.n_memory_jobs)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak resident set {peak:.2f} GiB, {seconds:,.0f} s in all")
    print(json.dumps(result))


def compare(n: int, d: int, size: Size, workloads: list[str]) -> list[dict[str, Any]]:
    """Every workload and k; the databases at the first number of jobs and 64 components only."""
    market, lines = make_market(n, d, SEED), []
    index = market.index()
    print(f"\n{n:,} jobs × {d}, market {market.digest}", flush=True)
    rivals: list[tuple[Any, int, int]] = [(Faiss(market), size.n_faiss_low, size.n_faiss_high)]
    if size.n_engine and d == 64 and n == size.jobs[0]:
        rivals += [(engine(market), size.n_engine, size.n_engine // 2) for engine in (DuckDB, LanceDB, Tantivy)]
    for workload in workloads:
        is_low = workload in LOW_PASS
        # The same queries for each k, the first of them: faiss keeps their bitmaps.
        whole = ask(market, workload, size.n_low[KS[0]] if is_low else size.n_high, SEED + 1)
        for k in KS:
            asked = whole.take(np.arange(min(len(whole), size.n_low[k])))
            ours = measure_ours(index, market, asked, k)
            lines.append({"workload": workload, "n": n, "d": d, "k": k, **ours})
            for rival, n_low, n_high in rivals:
                if isinstance(rival, Tantivy) and not is_low:
                    # It hands every job that passes to Python, one by one.
                    continue
                sample = asked.take(np.arange(n_low if is_low else n_high))
                lines[-1][rival.name] = measure_rival(rival, market, sample, k, ours["queries_per_s"])
    return lines


def graph_engines(size: Size) -> list[dict[str, Any]]:
    """Graphs build for minutes at a million: they run on fewer jobs, beside the databases and ours on the same."""
    market, lines = make_market(size.n_graph_jobs, 64, SEED), []
    index, engines = market.index(), []
    for kind in (Hnswlib, Usearch, DuckDB, LanceDB, Tantivy):
        start = clock.now()
        engines.append(kind(market))
        print(f"{size.n_graph_jobs:,} jobs × 64 for {kind.name}, built in {clock.now() - start:.1f} s", flush=True)
    for workload in (*LOW_PASS, "100%"):
        k, no_filter = KS[0], workload == "100%"
        asked = ask(market, workload, size.n_high if no_filter else size.n_low[k] // 5, SEED + 2)
        ours = measure_ours(index, market, asked, k)
        for rival in engines:
            if isinstance(rival, Tantivy if no_filter else Usearch):
                continue
            sample = asked if no_filter and not rival.exact else asked.take(np.arange(size.n_graph_queries))
            found = measure_rival(rival, market, sample, k, ours["queries_per_s"])
            lines.append({"workload": workload, "engine": rival.name, "ours": ours["queries_per_s"], **found})
    return lines


def summary(lines: list[dict[str, Any]], graphs: list[dict[str, Any]], sgemm: float) -> dict[str, float]:
    """The least ratios over what was run; nothing where a part was left out."""
    engines, found = (DuckDB.name, LanceDB.name, Tantivy.name), {}
    low = [line for line in lines if line["workload"] in LOW_PASS]
    filtered = [line["ratio"] for line in graphs if line["workload"] != "100%" and line["recall"] >= 0.95]
    over_engines = [line[name]["ratio"] for line in low for name in engines if name in line] + filtered
    exact = [line[name]["ratio"] for line in lines for name in (Faiss.name, *engines) if name in line]
    full_scans = [line["gflops_if_all_pairs"] for line in lines if line["workload"] == "100%"]
    if low:
        found["least_ratio_over_faiss_low_pass"] = min(line[Faiss.name]["ratio"] for line in low)
        found["least_ratio_over_faiss_low_pass_job_market"] = min(
            (line[Faiss.name]["ratio"] for line in low if line["workload"] != "distinct"), default=0.0
        )
    if exact:
        found["least_ratio_over_exact_rivals"] = min(exact)
    if full_scans:
        found["share_of_sgemm_full_scan"] = min(full_scans) / sgemm
    if over_engines:
        found["least_ratio_over_best_engine"] = min(over_engines)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--clock", choices=clock.CLOCKS, default="wall")
    parser.add_argument("--part", choices=PARTS, action="append", help="all of them unless named")
    parser.add_argument("--workload", choices=WORKLOADS, action="append", help="of the comparisons; all unless named")
    arguments = parser.parse_args()
    clock.use(arguments.clock)
    main(SIZES[arguments.size], arguments.part or list(PARTS), arguments.workload or list(WORKLOADS))
