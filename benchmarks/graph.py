"""The segment graph against the ratio scorer, the naive explode and liblinear; the last line is JSON.

    make bench-graph [SIZE=small|full] [DATA=../shared/data]

Hires of a market with planted links (`benchmarks.graph_data`) go the whole way from tables to chosen links, at several
sizes, each in a process of its own (`benchmarks.graph_size`) and scored against what was planted. With DATA, the moves
of a real job board are asked for too. With `--results FOLDER` what each size printed is kept there and not measured
again, and `--one` stops after the first size that is measured: a long run can be made in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.graph_head import head
from benchmarks.graph_moves import next_occupations
from benchmarks.graph_size import LIMITS, NO_HIRES, PENALTY, SEED
from jobs.reporting.plots import link_path


@dataclass(frozen=True)
class Size:
    """Hires of each run, of which the last is asked for audiences too; of the one that has rivals; and of the one in
    which a single hire is enough for a candidate, 0 for none.
    """

    hires: tuple[int, ...]
    rivals: int
    wide: int = 0
    submit: str = "pyspark-shell"


# Hires below which a run is mostly Spark's jobs, and says nothing of how the cost grows.
FIXED_COSTS = 10_000
# As conf/spark says of a job of many minutes: the second compiler and a parallel collector.
MANY_MINUTES = (
    "--driver-memory 2g --driver-java-options "
    "'-XX:TieredStopAtLevel=4 -XX:-UseSerialGC -XX:+UseParallelGC' pyspark-shell"
)
SIZES = {
    "smoke": Size(hires=(1_000, 2_000), rivals=1_000),
    "small": Size(hires=(2_000, 10_000, 20_000, 40_000), rivals=10_000),
    "full": Size(hires=(50_000, 150_000, 500_000), rivals=50_000, wide=500_000, submit=MANY_MINUTES),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", default="", help="the folder that holds jobboard/ and onet/")
    parser.add_argument("--results", default="", help="a folder that keeps what each size printed")
    parser.add_argument("--one", action="store_true", help="stop after the first size that is measured")
    parser.add_argument("--figure", default="", help="an SVG file for the path of the largest size, on later hires")
    given = parser.parse_args()
    size, start = SIZES[given.size], time.perf_counter()
    command = f"make bench-graph SIZE={given.size}" + (" DATA=../shared/data" if given.data else "")
    head(command, f"{LIMITS}\n{NO_HIRES}\n{PENALTY}\nSpark: {size.submit}", SEED)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(given.results or folder)
        kept.mkdir(parents=True, exist_ok=True)
        runs = []
        for n_hires in size.hires:
            is_there = (kept / f"{n_hires}.txt").exists()
            runs.append(measured(n_hires, size, kept / f"{n_hires}.txt"))
            if given.one and not is_there:
                return
        wide = printed(["--hires", str(size.wide), "--support", "1"], size, kept / "wide.txt") if size.wide else {}
    figures = {name: value for name, value in runs[-1].items() if not name.startswith("rule ")}
    if given.figure:
        Path(given.figure).write_bytes(link_path(figures["path"]))
    large = [run for run in runs if run["hires"] >= FIXED_COSTS]
    exponents = {name: exponent(large, name) for name in ("seconds", "cpu_seconds")}
    print(f"\nfitted exponents of the cost: {exponents['seconds']} of time, {exponents['cpu_seconds']} of cores' time")
    figures |= {
        "cost_exponent": exponents["seconds"],
        "cost_exponent_of_cores_time": exponents["cpu_seconds"],
        "peak_mb": max(run["peak_mb"] for run in runs),
        "rules": {
            run["hires"]: {name[5:]: value for name, value in run.items() if name.startswith("rule ")} for run in runs
        },
    }
    figures |= {name: run[name] for run in runs for name in run if name.startswith(("naive_", "liblinear_"))} | wide
    if given.data:
        figures |= next_occupations(Path(given.data), SEED)
    else:
        print("\nthe job board: not measured, no DATA was named")
    print(f"\n{time.perf_counter() - start:.0f} s in all; load after: {os.getloadavg()[0]:.2f}")
    print(json.dumps(figures))


def exponent(runs: list[dict[str, Any]], cost: str) -> float | None:
    """Of hires, by least squares of the logarithms; None for fewer than two sizes."""
    if len(runs) < 2:
        return None
    hires, costs = (np.log([run[name] for run in runs]) for name in ("hires", cost))
    return round(float(np.polyfit(hires, costs, 1)[0]), 3)


def measured(n_hires: int, size: Size, output: Path) -> dict[str, Any]:
    """The figures of one size."""
    options = ["--rivals"] * (n_hires == size.rivals) + ["--audiences"] * (n_hires == size.hires[-1])
    return printed(["--hires", str(n_hires), *options], size, output)


def printed(options: list[str], size: Size, output: Path) -> dict[str, Any]:
    """The figures of `graph_size`, from `output` where they are there; what was printed is printed."""
    if not output.exists():
        command = [sys.executable, "-m", "benchmarks.graph_size", *options]
        load = os.getloadavg()[0]
        environ = os.environ | {"PYSPARK_SUBMIT_ARGS": size.submit}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
        lines, _, last = done.stdout.rstrip("\n").rpartition("\n")
        output.write_text(f"{lines}\n  load before: {load:.2f}\n{last}\n")
    lines, _, last = output.read_text().rstrip("\n").rpartition("\n")
    print(lines, flush=True)
    figures: dict[str, Any] = json.loads(last)
    return figures


if __name__ == "__main__":
    main()
