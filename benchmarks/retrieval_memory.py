"""The most memory that a search holds, as the system counts it, beside the budget it was given (Linux).

Each budget has a process of its own, in which the index lies in memory and has answered the queries before: what a
search then adds, its outputs aside, is scratch.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.market import ask, make_market
from benchmarks.retrieval_measure import SEED

BUDGETS_MB, K, QUERIES = (16, 256, 2_048), 100, 20_000
MODULE = "benchmarks.retrieval_memory"


def memory(n: int) -> list[dict[str, float]]:
    """For each budget, megabytes: the index at rest, the scratch of three workloads' searches."""
    lines = []
    print(f"\nmost memory of a search, {n:,} jobs × 64, {QUERIES:,} queries, k = {K}, outputs aside")
    for budget in BUDGETS_MB:
        run = subprocess.run([sys.executable, "-m", MODULE, str(n), str(budget)], check=True, capture_output=True)
        lines.append(json.loads(run.stdout.splitlines()[-1]))
        print("  " + ", ".join(f"{name} {value:,.1f}" for name, value in lines[-1].items()), flush=True)
    return lines


def measure(n: int, budget_mb: int) -> dict[str, float]:
    market = make_market(n, 64, SEED)
    index, line = market.index(), {"budget_mb": float(budget_mb)}
    for workload in ("1%", "0.1%", "distinct"):
        asked = ask(market, workload, QUERIES, SEED + 4)
        # Loads the loops of the plan that it takes.
        index.search(asked.queries, K, asked.where, memory_budget=budget_mb << 20)
        # What was freed goes back to the system, and the kernel forgets the peak so far.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        at_rest = _resident_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        hits = index.search(asked.queries, K, asked.where, memory_budget=budget_mb << 20)
        outputs = (hits.ids.nbytes + hits.scores.nbytes + hits.n_matches.nbytes) / 2**20
        line[f"at_rest_mb_{workload}"] = at_rest
        line[f"scratch_mb_{workload}"] = _resident_mb("VmHWM") - at_rest - outputs
    return line


def _resident_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
