"""Position lift on sample marketplaces, by how much of the match between seeker and job no field tells.

    make bench-embeddings SIZE=small ONLY=lift [SHARES="0.5 0.75"]

The measure is that of `jobs.evaluation.position_lift`: the list that was shown is re-ranked by cosine to the seeker's
chain, and lift is how far that moves the mean position of the job applied for against re-ranking by features alone.
The markets differ in `--hidden-share` and in what follows from it, and in the actions that there are a job.
Beside it, recall@100 of the same jobs, by cosine to the click chain, among all that were open then.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.chain_rivals import Gensim
from benchmarks.chain_rows import OURS, PASSES, SECOND_COMPILER, WINDOW, board_vectors, defaults, trained_model
from benchmarks.lift_data import CHAINS, Case, LiftMarket, lift_markets
from jobs.embeddings.steps import SkipGram
from jobs.evaluation.position_lift import tied_position
from jobs.evaluation.reranking import ListCase, case_positions
from jobs.marketplace.config import MarketConfig

# What `ORDERING` changes was tried on the market of seed 11.
MARKET_SEED, TRAINING_SEED, RESAMPLES, CUT, CASES_AT_ONCE = 12, 1, 1000, 100, 500
CHANCE, SHOWN, FEATURES, IDS, GENSIM = "chance", "shown", "features alone", "ids alone", "gensim, by cosine"
ORDERING, TRUE_JOBS, TRUTH = "job vectors to order lists", "what the jobs truly are", "the truth"
REMEMBERED = "job vectors to order lists, of histories"
NAMES = {"of histories": REMEMBERED, "to order lists": ORDERING, "the defaults": OURS, "the truth": TRUTH}

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class LiftSize:
    seekers: int
    jobs: int
    days: int
    shares: tuple[float, ...]


LIFT_SIZES = {
    "smoke": (LiftSize(seekers=400, jobs=200, days=28, shares=(0.0, 0.5)),),
    "small": (LiftSize(seekers=3_000, jobs=600, days=56, shares=(0.75,)),),
    "full": (
        LiftSize(seekers=16_000, jobs=1_600, days=56, shares=(0.75,)),
        LiftSize(seekers=8_000, jobs=1_600, days=56, shares=(0.0, 0.25, 0.5, 0.75)),
    ),
}


def ordering(options: SkipGram) -> SkipGram:
    """To order lists: all negatives are jobs that the chain's lists showed and that it passed over."""
    return replace(options, refused_share=1.0, id_dropout=0.0, negatives=4, scale=4.0, epochs=4, chain_epochs=0)


def remembering(options: SkipGram) -> SkipGram:
    """The same over histories, whose contexts are of other visits too; negatives are of the very list acted in."""
    return replace(ordering(options), windows=dict.fromkeys(options.windows, WINDOW), epochs=2)


def lift(sizes: Sequence[LiftSize], shares: Sequence[float] = ()) -> dict[str, object]:
    """Print a table a market and a share, the market's unless named; the lifts of `NAMES`, by seekers, share and chain.

    `position_lift_percent` and that of the click chain are of histories, of the first market, at its greatest share.
    """
    found: dict[str, dict[str, Any]] = {}
    for size in sizes:
        config = MarketConfig(n_seekers=size.seekers, n_jobs=size.jobs, days=size.days, seed=MARKET_SEED, dirt=0.0)
        shape = f"{size.seekers:,} seekers, {size.jobs:,} jobs, {size.days} days, the last week held out"
        seeds = f"market seed {MARKET_SEED}, training seed {TRAINING_SEED}"
        print(f"\nposition lift: markets of {shape}; {seeds}", flush=True)
        for market in simulated(config, shares or size.shares):
            lifts = table(market)
            of = {name: {chain: lifts[chain][order] for chain in CHAINS} for name, order in NAMES.items()}
            found.setdefault(f"{size.seekers}", {})[f"{market.config.hidden_share:g}"] = of
    first = found[f"{sizes[0].seekers}"]
    share = max(first, key=float)
    click, apply = (first[share]["of histories"][chain] for chain in CHAINS)
    return {
        "position_lift_percent": apply,
        "position_lift_percent_click": click,
        "hidden_share": float(share),
        "position_lifts": found,
    }


def simulated(config: MarketConfig, shares: Sequence[float]) -> list[LiftMarket]:
    """All markets; then Spark is stopped, so that nothing runs beside the training."""
    from jobs.stage import start_spark

    arguments = f"--master local[2] --driver-memory 2g --driver-java-options {SECOND_COMPILER} pyspark-shell"
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", arguments)
    started, spark = time.perf_counter(), start_spark("position_lift")
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory(prefix="position-lift-") as folder:
        markets = list(lift_markets(spark, config, shares, Path(folder)))
    spark.stop()
    print(f"simulated in {time.perf_counter() - started:.0f} s")
    return markets


def table(market: LiftMarket) -> dict[str, dict[str, float]]:
    """Train, measure and print; the lift of each order, by chain."""
    points, seekers = int(market.known.n_actions.sum()), len({case.seeker for case in market.cases})
    print(f"\nhidden share {market.config.hidden_share:g}: market {market.config.hash}, data {market.hash}")
    each = f"{points / market.known.n_jobs:.0f} a job, the median {np.median(market.known.n_actions):.0f}"
    print(f"  {len(market.board.chains):,} chains of {points:,} actions on {market.known.n_jobs:,} jobs: {each}")
    print(f"  {len(market.cases):,} applications of {seekers:,} seekers to jobs that they had not met before")
    heads = "".join(f"{f'{chain} chain: position':>23s}{'lift, %':>24s}" for chain in CHAINS)
    print(f"  {'':42s}{heads}{f'recall@{CUT}':>12s}{'s':>7s}")
    judges = {chain: Judge(market, chain) for chain in CHAINS}
    lifts: dict[str, dict[str, float]] = {chain: {} for chain in CHAINS}
    for name, made in orders(market).items():
        began = time.perf_counter()
        order = made()
        seconds, cells = time.perf_counter() - began, ""
        for chain, judge in judges.items():
            position, (change, low, high) = judge.judged(name, order)
            lifts[chain][name] = round(change, 1)
            cells += f"{position:23.3f}{f'{change:+.1f} [{low:+.1f}, {high:+.1f}]':>24s}"
        found = f"{recall(market, order):12.3f}" if order is not None else f"{'':12s}"
        print(f"  {name:42s}{cells}{found}{seconds:7.1f}", flush=True)
    return lifts


def orders(market: LiftMarket) -> dict[str, Callable[[], Vectors | None]]:
    """What makes each row's vectors of all jobs, None for an order that has none; features before all they measure."""
    options = replace(defaults(), seed=TRAINING_SEED)
    return {
        FEATURES: lambda: multi_hot(market.board.features),
        CHANCE: lambda: None,
        SHOWN: lambda: None,
        IDS: lambda: trained(market, replace(options, id_dropout=0.0), with_features=False),
        GENSIM: lambda: by_gensim(market),
        OURS: lambda: trained(market, options),
        ORDERING: lambda: trained(market, ordering(options)),
        REMEMBERED: lambda: trained(market.remembered, remembering(options)),
        TRUE_JOBS: lambda: market.latents,
        TRUTH: lambda: None,
    }


def trained(market: LiftMarket, options: SkipGram, with_features: bool = True) -> Vectors:
    """A job that training has not seen has the vector of its features; without any, zeros."""
    _, model = trained_model(market.known, options, with_features)
    return board_vectors(market.board, model, with_features)


def by_gensim(market: LiftMarket) -> Vectors:
    options = defaults()
    with tempfile.TemporaryDirectory() as folder:
        how = {"dim": options.dim, "negatives": options.negatives, "window": WINDOW, "seed": TRAINING_SEED}
        model = Gensim(market.board, Path(folder) / "chains.txt", **how)
        model.train(PASSES * options.epochs)
        return model.normed()


def multi_hot(features: list[list[int]]) -> Vectors:
    """(jobs, distinct features) of 0 and 1."""
    distinct, column = np.unique(np.concatenate(features), return_inverse=True)
    hot = np.zeros((len(features), len(distinct)), np.float32)
    hot[np.repeat(np.arange(len(features)), [len(keys) for keys in features]), column] = 1.0
    return hot


class Judge:
    """The cases that have such a chain, and the positions that features give them."""

    def __init__(self, market: LiftMarket, chain: str) -> None:
        self._cases = [case for case in market.cases if len(case.chains[chain])]
        self._lists = [ListCase(case.listed, case.place, case.chains[chain]) for case in self._cases]
        self._jobs = np.arange(market.board.n_jobs)
        self._seekers = np.array([case.seeker for case in self._cases])
        self._before = self.positions(FEATURES, multi_hot(market.board.features))

    def positions(self, name: str, vectors: Vectors | None) -> NDArray[np.float64]:
        if vectors is not None:
            return case_positions(self._lists, self._jobs, vectors)[:, 0]
        return np.array([fixed_position(name, case) for case in self._cases])

    def judged(self, name: str, vectors: Vectors | None) -> tuple[float, tuple[float, float, float]]:
        """The mean position, and the lift with its bounds."""
        after = self.positions(name, vectors)
        return float(after.mean()), lift_bounds(self._seekers, self._before, after)


def fixed_position(name: str, case: Case) -> float:
    if name == CHANCE:
        return (len(case.listed) + 1) / 2
    return case.place + 1.0 if name == SHOWN else tied_position(case.affinity, case.place)


def lift_bounds(
    seekers: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[float, float, float]:
    """(after - before) / before of the mean positions in percent, and its 95 % interval over resamples of seekers."""
    distinct, of = np.unique(seekers, return_inverse=True)
    sums = np.stack([np.bincount(of, before), np.bincount(of, after)], axis=1)
    n = len(distinct)
    drawn = np.random.default_rng(MARKET_SEED).multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES) @ sums
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], (0.025, 0.975))
    return tuple(float(100.0 * (ratio - 1.0)) for ratio in (after.sum() / before.sum(), low, high))  # type: ignore[return-value]


def recall(market: LiftMarket, vectors: Vectors) -> float:
    """The share of the cases whose job is among the `CUT` nearest to the click chain, of the open jobs not in it."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = 0
    for start in range(0, len(market.cases), CASES_AT_ONCE):
        cases = market.cases[start : start + CASES_AT_ONCE]
        queries = np.stack([vectors[case.chains["click"]].mean(axis=0) for case in cases])
        for case, scores in zip(cases, queries @ units.T, strict=True):
            asked = (market.posted_s <= case.asked_s) & (market.closed_s > case.asked_s)
            asked[case.chains["click"]] = False
            target = case.listed[case.place]
            ranked = np.append(scores[asked & (np.arange(len(asked)) != target)], scores[target])
            found += tied_position(ranked, len(ranked) - 1) <= CUT
    return found / len(market.cases)
