"""Job vectors against their rivals, on the same chains in the same run; the last line is JSON.

    make bench-embeddings SIZE=small [DATA=../shared/data]

The next job of held-out chains is asked for from the jobs before it: those of a planted board and, with DATA,
of a real one. Pairs a second are of ids alone over a million jobs. Position lift is of sample marketplaces. `small`
is for a look, in minutes; `full` takes hours and is what the documentation shows.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.chain_data import Board, described, jobboard, large_vocabulary, planted_board, write
from benchmarks.chain_rivals import Gensim
from benchmarks.chain_rows import (
    CONTEXTS,
    HELPED,
    IDS,
    NO_FEATURES,
    OURS,
    RIVALS,
    WINDOW,
    Effort,
    defaults,
    ids_alone,
    rows,
)
from benchmarks.position_lift import LIFT_SIZES, lift
from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.training import SkipGram, train
from jobs.evaluation.metrics import bootstrap_bounds

RESAMPLES, DATA_SEED = 1000, 20260105
SHOWN_DATA = "../shared/data"
# A pass over so few chains is short: more of them, for all who learn in passes.
JOB_BOARD_EPOCHS = 10
# Of a job, where speed with features is measured.
FEATURES = 10
COMPILED, UNSHARED = "compiled step", "compiled step, negatives of each pair"
DESCRIBED = f"compiled step, {FEATURES} features a job"
OVER_GENSIM = {
    COMPILED: "pairs_per_s_over_gensim_{}",
    UNSHARED: "unshared_pairs_per_s_over_gensim_{}",
    DESCRIBED: "pairs_per_s_with_features_over_gensim_{}",
}


@dataclass(frozen=True)
class Size:
    """`planted` and `large` are the jobs, chains and held-out chains of a board; `other_boards` are seeds of it."""

    planted: tuple[int, int, int]
    effort: Effort
    speed_chains: int
    speed_runs: int
    other_boards: tuple[int, ...] = ()
    large: tuple[int, int, int] | None = None


SIZES = {
    "smoke": Size((600, 500, 200), Effort(1, 1), 500, 1, other_boards=(1,), large=(800, 500, 200)),
    "small": Size((10_000, 8_000, 3_000), Effort(2, 1), speed_chains=40_000, speed_runs=1),
    "full": Size(
        (10_000, 8_000, 3_000),
        Effort(5, 2),
        speed_chains=40_000,
        speed_runs=3,
        other_boards=(1, 2, 3, 4),
        large=(100_000, 100_000, 5_000),
    ),
}
OF_OTHERS, OF_LARGE = Effort(1, 1, in_all_ways=False), Effort(2, 1, in_all_ways=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", default="", help="the folder that holds jobboard/")
    parser.add_argument("--only", choices=PARTS, help="one part; recalls do not mind other work")
    parser.add_argument("--ours", action="store_true", help="of a recall, neither ablations nor rivals")
    parser.add_argument("--shares", type=float, nargs="*", default=(), help="of hidden preference, for the lift")
    given = parser.parse_args()
    said = {"SIZE": given.size, "ONLY": given.only, "SHARES": " ".join(f"{share:g}" for share in given.shares)}
    said |= {"DATA": SHOWN_DATA if given.data else "", "OURS": "yes" if given.ours else ""}
    head("make bench-embeddings " + " ".join(f"{name}={value}" for name, value in said.items() if value))
    start, figures = time.perf_counter(), {}
    for part in [given.only] if given.only else PARTS:
        began = time.perf_counter()
        figures |= PARTS[part](SIZES[given.size], given)
        print(f"{part}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    print(json.dumps(figures))


def head(command: str) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("torch", "numba", "numpy", "scipy", "gensim", "implicit", "pyspark")
    print(f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print(f"command: {command}; data seed {DATA_SEED}")
    print(f"load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())}", flush=True)


def speed(size: Size, given: argparse.Namespace) -> dict[str, float]:
    """Pairs a second of each trainer, two threads, ten negatives a pair, window 5; ids alone where nothing is said."""
    board = large_vocabulary(1_000_000, size.speed_chains, DATA_SEED)
    print(f"\npairs/s, {board.n_jobs:,} jobs, {len(board.chains):,} chains, data {board.hash}, two threads")
    ratios = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder, of_features = Path(scratch) / "ids", Path(scratch) / "features"
        corpus, with_features = write(board, folder), write(described(board, FEATURES, DATA_SEED), of_features)
        for dim in (64, 128):
            options = ids_alone(dim, epochs=1, seed=7)
            warm_up(options)
            gensim = Gensim(board, folder / "chains.txt", dim=dim, negatives=10, window=WINDOW, seed=7)
            rates: dict[str, list[float]] = {}
            for run in range(size.speed_runs):
                for name, changed in trainers(options, run).items():
                    rates.setdefault(name, []).append(rate(corpus, folder, board, changed))
                rates.setdefault(DESCRIBED, []).append(rate(with_features, of_features, board, options))
                rates.setdefault("gensim", []).append(gensim.pairs / gensim.train(1))
            for name, values in rates.items():
                each = ", ".join(f"{value:,.0f}" for value in values)
                print(f"  dim {dim:3d}  {name:46s} {statistics.median(values):12,.0f}   ({each})", flush=True)
            over = {name: statistics.median(rates[name]) / statistics.median(rates["gensim"]) for name in OVER_GENSIM}
            ratios |= {OVER_GENSIM[name].format(dim): round(ratio, 3) for name, ratio in over.items()}
    ratios["pairs_per_s_over_gensim"] = ratios.pop("pairs_per_s_over_gensim_64")
    return ratios


def trainers(options: SkipGram, run: int) -> dict[str, SkipGram]:
    several = {
        COMPILED: options,
        UNSHARED: replace(options, pairs_a_draw=1),
        "compiled step, one thread": replace(options, threads=1),
    }
    # The slowest is only run once.
    return several if run else several | {"PyTorch step": replace(options, step="torch")}


def warm_up(options: SkipGram) -> None:
    """Compiles what is timed after it."""
    board = large_vocabulary(100, 50, DATA_SEED)
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(board, Path(folder))
        for threads in (1, 2):
            train(corpus, folder, len(board.chains), replace(options, threads=threads), lambda line: None)


def rate(corpus: JobCorpus, folder: Path, board: Board, options: SkipGram) -> float:
    trained = train(corpus, str(folder), len(board.chains), options, lambda line: None)
    assert trained is not None
    return trained.pairs_per_s


def planted(size: Size, given: argparse.Namespace) -> dict[str, float]:
    return quality(planted_board(*size.planted, DATA_SEED), replace(size.effort, ours_alone=given.ours))


def real_board(size: Size, given: argparse.Namespace) -> dict[str, float]:
    if not given.data:
        print("\nthe job board: not measured, no DATA was named")
        return {}
    effort = replace(size.effort, ours_alone=given.ours)
    return prefixed("jobboard", quality(jobboard(Path(given.data)), effort, epochs=JOB_BOARD_EPOCHS))


def boards(size: Size, given: argparse.Namespace) -> dict[str, list[float]]:
    """The planted board made anew from other seeds: each figure is a list, by board."""
    if not size.other_boards:
        print("\nother planted boards: not measured, they are of SIZE=full")
        return {}
    found = []
    for seed in size.other_boards:
        print(f"\nboard seed {seed}:", end="")
        found.append(quality(planted_board(*size.planted, seed), replace(OF_OTHERS, ours_alone=given.ours)))
    return prefixed("boards", {name: [each[name] for each in found] for name in found[0]})


def large(size: Size, given: argparse.Namespace) -> dict[str, float]:
    if size.large is None:
        print("\nthe large board: not measured, it is of SIZE=full")
        return {}
    return prefixed("large", quality(planted_board(*size.large, DATA_SEED), replace(OF_LARGE, ours_alone=given.ours)))


def prefixed(word: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {f"{word}_{name}": value for name, value in figures.items()}


def lists(size: Size, given: argparse.Namespace) -> dict[str, object]:
    return lift(LIFT_SIZES[given.size], given.shares)


PARTS: dict[str, Callable[[Size, argparse.Namespace], dict[str, Any]]] = {
    "speed": speed,
    "planted": planted,
    "jobboard": real_board,
    "lift": lists,
    "boards": boards,
    "large": large,
}


def quality(board: Board, effort: Effort, epochs: int | None = None) -> dict[str, float]:
    """The table of recalls of one board, and its figures."""
    epochs = epochs or defaults().epochs
    cold = board.n_actions[board.targets] == 0
    n_points = sum(len(jobs) for jobs, _ in board.chains)
    shape = f"{board.n_jobs:,} jobs, {len(board.chains):,} chains of {n_points:,} actions"
    print(f"\n{board.name}: {shape}, data {board.hash}")
    few = f"{effort.seeds} seeds ({effort.ablation_seeds} of ablations), {epochs} epochs"
    print(f"  next job of {len(cold):,} held-out chains, {cold.sum():,} of them cold; {few}")
    print(f"  {'':46s} {'warm @10':>20s} {'warm @100':>20s} {'all @100':>20s} {'cold @100':>20s} {'s':>6s}")
    recalls: dict[str, dict[str, float]] = {}
    for name, seconds, found in rows(board, effort, epochs):
        columns = {f"{part} @{cut}": found[cut][chosen] for part, cut, chosen in parts(cold)}
        recalls[name] = {column: float(values.mean()) for column, values in columns.items()}
        cells = [f"{values.mean():.3f} [{bounds(values)}]" for values in columns.values()]
        print(f"  {name:46s} {' '.join(f'{cell:>20s}' for cell in cells)} {seconds:6.1f}", flush=True)
    ours = {
        "cold_over_warm_recall": cold_over_warm(recalls[OURS]),
        "contexts_cold_over_warm_recall": cold_over_warm(recalls[CONTEXTS]),
    }
    if effort.ours_alone:
        return ours
    return ours | {
        "recall_100_over_best_rival": ratio(recalls, OURS, RIVALS, "all @100"),
        "recall_100_over_gensim_scored_as_ours": ratio(recalls, OURS, (HELPED,), "all @100"),
        "warm_recall_100_over_best_rival": ratio(recalls, OURS, RIVALS, "warm @100"),
        "ids_alone_warm_recall_100_over_best_rival": ratio(recalls, NO_FEATURES, RIVALS, "warm @100"),
        "ids_alone_warm_recall_100_over_gensim": ratio(recalls, IDS, RIVALS[:2], "warm @100"),
        "contexts_recall_100_over_best_rival": ratio(recalls, CONTEXTS, RIVALS, "all @100"),
        "contexts_recall_100_over_gensim_scored_as_ours": ratio(recalls, CONTEXTS, (HELPED,), "all @100"),
    }


def cold_over_warm(columns: dict[str, float]) -> float:
    return round(columns["cold @100"] / columns["warm @100"], 3)


def ratio(recalls: dict[str, dict[str, float]], name: str, rivals: tuple[str, ...], column: str) -> float:
    return round(recalls[name][column] / max(recalls[rival][column] for rival in rivals), 3)


def parts(cold: NDArray[np.bool_]) -> list[tuple[str, int, NDArray[np.bool_]]]:
    everyone = np.ones(len(cold), bool)
    return [("warm", 10, ~cold), ("warm", 100, ~cold), ("all", 100, everyone), ("cold", 100, cold)]


def bounds(values: NDArray[np.float64]) -> str:
    low, high = bootstrap_bounds(values[:, None], RESAMPLES, DATA_SEED)
    return f"{low[0]:.3f}, {high[0]:.3f}"


if __name__ == "__main__":
    main()
