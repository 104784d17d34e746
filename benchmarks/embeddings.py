"""Job vectors against their rivals, on the same chains in the same run; the last line is JSON.

    make bench-embeddings SIZE=small [DATA=../shared/data]

The next job of held-out chains is asked for from the jobs before it: those of a planted board and, with DATA,
of a real one. Pairs a second are of ids alone over a million jobs.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.chain_data import Board, Chain, jobboard, large_vocabulary, planted_board, write
from benchmarks.chain_rivals import Gensim, Scores, by_cosine, ials, item_knn, popularity
from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.model_files import Model
from jobs.embeddings.training import SkipGram, train
from jobs.evaluation.metrics import bootstrap_bounds
from jobs.settings import RetrieveCandidates, TrainJobEmbeddings
from jobs.train_job_embeddings import skip_gram

CUTS = (10, 100)
WINDOW = 5
HALF_LIFE, MOST_ACTIONS = RetrieveCandidates().half_life_actions, RetrieveCandidates().max_actions
RESAMPLES, DATA_SEED = 1000, 20260105
QUERIES_AT_ONCE = 250


@dataclass(frozen=True)
class Size:
    jobs: int
    chains: int
    held_out: int
    seeds: int
    speed_chains: int
    speed_runs: int


SIZES = {
    "small": Size(jobs=10_000, chains=8_000, held_out=3_000, seeds=2, speed_chains=40_000, speed_runs=3),
    "full": Size(jobs=100_000, chains=100_000, held_out=10_000, seeds=5, speed_chains=400_000, speed_runs=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", default="", help="the folder that holds jobboard/")
    arguments = parser.parse_args()
    size, start = SIZES[arguments.size], time.perf_counter()
    head(f"make bench-embeddings SIZE={arguments.size}" + (" DATA=../shared/data" if arguments.data else ""))
    figures = speed(size)
    figures |= quality(planted_board(size.jobs, size.chains, size.held_out, DATA_SEED), size.seeds)
    if arguments.data:
        # A pass over so few chains is short: more of them, for all who learn in passes.
        found = quality(jobboard(Path(arguments.data)), size.seeds, epochs=20)
        figures |= {f"jobboard_{name}": value for name, value in found.items()}
    else:
        print("\nthe job board: not measured, no DATA was named")
    print(f"\n{time.perf_counter() - start:.0f} s in all; position lift: not measured here, no list was shown")
    print(json.dumps(figures))


def head(command: str) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("torch", "numba", "numpy", "scipy", "gensim", "implicit")
    print(f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print(f"command: {command}; data seed {DATA_SEED}")
    print(f"load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())}", flush=True)


def speed(size: Size) -> dict[str, float]:
    """Pairs a second of each trainer, ids alone, two threads, ten negatives a pair, window 5."""
    board = large_vocabulary(1_000_000, size.speed_chains, DATA_SEED)
    print(f"\npairs/s, {board.n_jobs:,} jobs, {len(board.chains):,} chains, data {board.hash}, two threads")
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(board, Path(folder))
        for dim in (64, 128):
            options = ids_alone(dim, epochs=1, seed=7)
            warm_up(options)
            gensim = Gensim(board, Path(folder) / "chains.txt", dim=dim, negatives=10, window=WINDOW, seed=7)
            rates: dict[str, list[float]] = {}
            for run in range(size.speed_runs):
                for name, changed in trainers(options, run).items():
                    rates.setdefault(name, []).append(rate(corpus, folder, board, changed))
                rates.setdefault("gensim", []).append(gensim.pairs / gensim.train(1))
            for name, values in rates.items():
                each = ", ".join(f"{value:,.0f}" for value in values)
                print(f"  dim {dim:3d}  {name:46s} {statistics.median(values):12,.0f}   ({each})", flush=True)
            ratio = statistics.median(rates["compiled step"]) / statistics.median(rates["gensim"])
            ratios["pairs_per_s_over_gensim" + ("" if dim == 64 else f"_{dim}")] = round(ratio, 3)
            one = statistics.median(rates["compiled step, negatives of each pair"])
            ratios[f"unshared_pairs_per_s_over_gensim_{dim}"] = round(one / statistics.median(rates["gensim"]), 3)
    return ratios


def trainers(options: SkipGram, run: int) -> dict[str, SkipGram]:
    several = {
        "compiled step": options,
        "compiled step, negatives of each pair": replace(options, pairs_a_draw=1),
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


def rate(corpus: JobCorpus, folder: str, board: Board, options: SkipGram) -> float:
    trained = train(corpus, folder, len(board.chains), options, lambda line: None)
    assert trained is not None
    return trained.pairs_per_s


def ids_alone(dim: int, epochs: int, seed: int) -> SkipGram:
    """What gensim does: every window alike, no costs, negatives by count, always the id."""
    windows = dict.fromkeys(defaults().windows, WINDOW)
    return SkipGram(
        dim=dim, epochs=epochs, windows=windows, inventory_share=0.0, id_dropout=0.0, threads=2, seed=seed, device="cpu"
    )


def defaults() -> SkipGram:
    return replace(skip_gram(TrainJobEmbeddings()), threads=2, device="cpu")


def quality(board: Board, n_seeds: int, epochs: int | None = None) -> dict[str, float]:
    """The table of recalls of one board, and its figures."""
    epochs = epochs or defaults().epochs
    cold = board.n_actions[board.targets] == 0
    n_points = sum(len(jobs) for jobs, _ in board.chains)
    size = f"{board.n_jobs:,} jobs, {len(board.chains):,} chains of {n_points:,} actions"
    print(f"\n{board.name}: {size}, data {board.hash}")
    print(f"  next job of {len(cold):,} held-out chains, {cold.sum():,} of them cold; {n_seeds} seeds, {epochs} epochs")
    print(f"  {'':46s} {'warm @10':>20s} {'warm @100':>20s} {'all @100':>20s} {'cold @100':>20s} {'s':>6s}")
    recalls: dict[str, dict[str, float]] = {}
    for name, seconds, found in rows(board, n_seeds, epochs):
        columns = {f"{part} @{cut}": found[cut][chosen] for part, cut, chosen in parts(cold)}
        recalls[name] = {column: float(values.mean()) for column, values in columns.items()}
        cells = [f"{values.mean():.3f} [{bounds(values)}]" for values in columns.values()]
        print(f"  {name:46s} {' '.join(f'{cell:>20s}' for cell in cells)} {seconds:6.1f}", flush=True)
    return {
        "recall_100_over_best_rival": ratio(recalls, OURS, RIVALS, "all @100"),
        "warm_recall_100_over_best_rival": ratio(recalls, OURS, RIVALS, "warm @100"),
        "ids_alone_warm_recall_100_over_best_rival": ratio(recalls, NO_FEATURES, RIVALS, "warm @100"),
        "ids_alone_warm_recall_100_over_gensim": ratio(recalls, IDS, RIVALS[:2], "warm @100"),
        "cold_over_warm_recall": round(recalls[OURS]["cold @100"] / recalls[OURS]["warm @100"], 3),
    }


def ratio(recalls: dict[str, dict[str, float]], name: str, rivals: tuple[str, ...], column: str) -> float:
    return round(recalls[name][column] / max(recalls[rival][column] for rival in rivals), 3)


OURS, NO_FEATURES, IDS = "job vectors (the defaults)", "- features: ids alone", "ids alone, as gensim"
RIVALS = ("gensim, by cosine", "gensim, inputs against outputs", "item-kNN", "implicit iALS", "popularity")


def parts(cold: NDArray[np.bool_]) -> list[tuple[str, int, NDArray[np.bool_]]]:
    everyone = np.ones(len(cold), bool)
    return [("warm", 10, ~cold), ("warm", 100, ~cold), ("all", 100, everyone), ("cold", 100, cold)]


def bounds(values: NDArray[np.float64]) -> str:
    low, high = bootstrap_bounds(values[:, None], RESAMPLES, DATA_SEED)
    return f"{low[0]:.3f}, {high[0]:.3f}"


Row = tuple[str, float, dict[int, NDArray[np.float64]]]


def rows(board: Board, n_seeds: int, epochs: int) -> Iterator[Row]:
    """(name, seconds a training, each held-out chain's recall by cut, the mean over seeds)."""
    seeds = range(1, n_seeds + 1)
    for name, options, with_features, both_sides in ablations(epochs):
        yield mean_row(name, board, [ours(board, replace(options, seed=s), with_features, both_sides) for s in seeds])
    by_gensim = [gensim(board, defaults().dim, epochs, seed) for seed in seeds]
    yield mean_row(RIVALS[0], board, [(seconds, cosine) for seconds, cosine, _ in by_gensim])
    yield mean_row(RIVALS[1], board, [(seconds, as_trained) for seconds, _, as_trained in by_gensim])
    yield mean_row(RIVALS[2], board, [timed(lambda: item_knn(board))])
    yield mean_row(RIVALS[3], board, [timed(lambda s=s: ials(board, defaults().dim, epochs, s)) for s in seeds])
    yield mean_row(RIVALS[4], board, [timed(lambda: popularity(board))])


def ablations(epochs: int) -> list[tuple[str, SkipGram, bool, bool]]:
    """(name, options, with features, chains backwards too)."""
    full = replace(defaults(), epochs=epochs)
    one_window = dict.fromkeys(full.windows, WINDOW)
    return [
        (OURS, full, True, False),
        ("- left-wise: contexts of both sides", replace(full, epochs=max(epochs // 2, 1)), True, True),
        ("- windows by action: five for all", replace(full, windows=one_window), True, False),
        ("+ local negatives: three in ten", replace(full, local_share=0.3), True, False),
        ("- cost matrix", replace(full, costs={}), True, False),
        ("+ the chain's application as context of all", replace(full, applied_context=True), True, False),
        (NO_FEATURES, replace(full, id_dropout=0.0), False, False),
        ("- id dropout: one id in ten, not in two", replace(full, id_dropout=0.1), True, False),
        ("- shared negatives: drawn for each pair", replace(full, pairs_a_draw=1), True, False),
        (IDS, ids_alone(full.dim, epochs, 0), False, False),
    ]


def ours(board: Board, options: SkipGram, with_features: bool, both_sides: bool) -> tuple[float, Scores]:
    if both_sides:
        backwards: list[Chain] = [(jobs[::-1], actions[::-1]) for jobs, actions in board.chains]
        board = replace(board, chains=[*board.chains, *backwards])
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(board, Path(folder), with_features=with_features)
        start = time.perf_counter()
        trained = train(corpus, folder, len(board.chains), options, lambda line: None)
        seconds = time.perf_counter() - start
        assert trained is not None
        ids, keys = corpus.job_ids[corpus.has_id], corpus.feature_keys[corpus.rows.values]
        model = Model((), corpus.feature_keys, ids, trained.table, corpus.weights, {})
        vectors, _ = model.vectors(corpus.job_ids, keys, corpus.rows.offsets)
    return seconds, by_cosine(vectors)


def gensim(board: Board, dim: int, epochs: int, seed: int) -> tuple[float, Scores, Scores]:
    with tempfile.TemporaryDirectory() as folder:
        model = Gensim(board, Path(folder) / "chains.txt", dim=dim, negatives=10, window=WINDOW, seed=seed)
        seconds = model.train(epochs)
        return seconds, model.by_cosine(), model.as_trained()


def timed(made: Callable[[], Scores]) -> tuple[float, Scores]:
    start = time.perf_counter()
    scores = made()
    return time.perf_counter() - start, scores


def mean_row(name: str, board: Board, made: list[tuple[float, Scores]]) -> Row:
    ranks = [held_out_ranks(board, scores) for _, scores in made]
    found = {cut: np.mean([rank <= cut for rank in ranks], axis=0) for cut in CUTS}
    return name, statistics.median(seconds for seconds, _ in made), found


def held_out_ranks(board: Board, scores: Scores) -> NDArray[np.float64]:
    """The rank of each held-out chain's last job among all jobs that its chain lacks; ties share their mean."""
    ranks = []
    for start in range(0, len(board.held_out), QUERIES_AT_ONCE):
        chains = board.held_out[start : start + QUERIES_AT_ONCE]
        queries, targets = chain_queries(chains, board.n_jobs), board.targets[start : start + QUERIES_AT_ONCE]
        found = np.array(scores(queries), dtype=np.float32)
        # Products of the same terms in another order differ in the last bits.
        found = found.round(6)
        found[queries.nonzero()] = -np.inf
        own = found[np.arange(len(chains)), targets][:, None]
        ranks.append((found > own).sum(axis=1) + ((found == own).sum(axis=1) + 1) / 2)
    return np.concatenate(ranks)


def chain_queries(chains: list[Chain], n_jobs: int) -> sp.csr_matrix:
    """(chains, jobs): what each job of a chain but its last counts, the latest most, as retrieval weighs them."""
    latest = [jobs[:-1][::-1][:MOST_ACTIONS] for jobs, _ in chains]
    rows = np.repeat(np.arange(len(chains)), [len(jobs) for jobs in latest])
    ages = np.concatenate([np.arange(len(jobs)) for jobs in latest])
    weights = (0.5 ** (ages / HALF_LIFE)).astype(np.float32)
    return sp.csr_matrix((weights, (rows, np.concatenate(latest))), (len(chains), n_jobs))


if __name__ == "__main__":
    main()
