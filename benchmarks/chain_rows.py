"""The rows of a board's table of recalls: job vectors as they are served, their ablations, and their rivals."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.chain_data import Board, Chain, write
from benchmarks.chain_rivals import (
    Gensim,
    Scores,
    by_cosine,
    by_neighbors,
    ials,
    item_knn,
    popularity,
    spark_word2vec,
)
from gpu_retrieval import Hits
from jobs.channels.sharing import share_places
from jobs.embeddings.model_files import Model
from jobs.embeddings.state import warm_state
from jobs.embeddings.training import SkipGram, train
from jobs.settings import BuildIndex, RetrieveCandidates, TrainJobEmbeddings
from jobs.train_job_embeddings import skip_gram

CUTS = (10, 100)
WINDOW = 5
SERVING, NEIGHBORS = RetrieveCandidates(), BuildIndex().neighbors
# Warm jobs and new ones share the places of a list: what the default trades between them.
OTHER_NEW = (0.5, 2.0, 3.0)
# Of a vector that its contexts are part of.
CONTEXT_WEIGHT = 0.5
# As many as a board's feature keys have.
FIELDS = ("a", "b", "c", "d")
QUERIES_AT_ONCE = 250

OURS, NO_FEATURES, IDS = "job vectors (the defaults)", "- features: ids alone", "ids alone, as gensim"
BY_PAIRS = "- whole chains: by pairs alone"
CONTEXTS = f"+ contexts at {CONTEXT_WEIGHT:g}"
# As they come; and gensim's vectors scored as ours are, which is half of what we do.
RIVALS = (
    "gensim, by cosine",
    "gensim, inputs against outputs",
    "Spark's Word2Vec, by cosine",
    "item-kNN",
    "implicit iALS",
    "popularity",
)
HELPED = "gensim, by cosine and popularity as ours"
# Passes of gensim and Spark for one of ours, which meets each pair from both sides as they do.
PASSES = 2
# Of Java, which the project's settings leave out for short jobs: MLlib's Word2Vec took 50 s without it, 5 s with it.
SECOND_COMPILER = "-XX:TieredStopAtLevel=4"


@dataclass(frozen=True)
class Effort:
    """How often a board is learnt, and whether in all ways: if not, of the ablations only those without features.

    With `ours_alone`, no ablation is learnt, and no rival.
    """

    seeds: int
    ablation_seeds: int
    in_all_ways: bool = True
    ours_alone: bool = False


def ids_alone(dim: int, epochs: int, seed: int) -> SkipGram:
    """What gensim does: every window alike, no costs, negatives by count, always the id."""
    windows = dict.fromkeys(defaults().windows, WINDOW)
    return SkipGram(
        contexts="before",
        dim=dim,
        epochs=epochs,
        windows=windows,
        inventory_share=0.0,
        id_dropout=0.0,
        chain_epochs=0,
        threads=2,
        seed=seed,
        device="cpu",
    )


def defaults() -> SkipGram:
    return replace(skip_gram(TrainJobEmbeddings()), threads=2, device="cpu")


Row = tuple[str, float, dict[int, NDArray[np.float64]]]


def rows(board: Board, effort: Effort, epochs: int) -> Iterator[Row]:
    """(name, seconds a training, each held-out chain's recall by cut, the mean over seeds)."""
    seeds, few, prior = range(1, effort.seeds + 1), list(range(1, effort.ablation_seeds + 1)), chain_prior(board)
    own = [vectors(board, replace(defaults(), epochs=epochs, seed=seed)) for seed in seeds]
    ours = [(seconds, by_cosine(found, prior)) for seconds, found in own]
    yield mean_row(OURS, board, ours, SERVING.new_weight)
    pairs = [vectors(board, replace(defaults(), epochs=epochs, chain_epochs=0, seed=seed)) for seed in seeds]
    yield mean_row(BY_PAIRS, board, [(s, by_cosine(found, prior)) for s, found in pairs], SERVING.new_weight)
    cosines = [(seconds, by_cosine(found)) for seconds, found in own]
    yield mean_row("- popularity: by cosine and share", board, cosines, SERVING.new_weight)
    for new_weight in OTHER_NEW:
        yield mean_row(f"new jobs counting {new_weight:g}, not {SERVING.new_weight:g}", board, ours, new_weight)
    yield mean_row("- new jobs' share: by score alone", board, ours)
    options = replace(defaults(), epochs=epochs, context_weight=CONTEXT_WEIGHT)
    beside = [vectors(board, replace(options, seed=seed)) for seed in seeds]
    yield mean_row(CONTEXTS, board, [(s, by_cosine(found, prior)) for s, found in beside], SERVING.new_weight)
    if effort.in_all_ways:
        near = [(seconds, by_neighbors(found, NEIGHBORS, prior)) for seconds, found in own[: len(few)]]
        yield mean_row(f"from {NEIGHBORS} neighbours a job", board, near, SERVING.new_weight)
    if effort.ours_alone:
        return
    for name, options, with_features in ablations(epochs):
        if with_features and not effort.in_all_ways:
            continue
        made = [vectors(board, replace(options, seed=seed), with_features) for seed in few]
        how, new_weight = None if name == IDS else prior, SERVING.new_weight if with_features else 0.0
        yield mean_row(name, board, [(seconds, by_cosine(found, how)) for seconds, found in made], new_weight)
    if effort.in_all_ways:
        for name, made in warm_starts(board, epochs, few, prior):
            yield mean_row(name, board, made, SERVING.new_weight)
    yield from rivals(board, effort, epochs, prior)


def rivals(board: Board, effort: Effort, epochs: int, prior: NDArray[np.float32]) -> Iterator[Row]:
    seeds, few = range(1, effort.seeds + 1), list(range(1, effort.ablation_seeds + 1))
    by_gensim = [gensim(board, defaults().dim, PASSES * epochs, seed, prior) for seed in seeds]
    for place, rival in enumerate((RIVALS[0], HELPED, RIVALS[1])):
        yield mean_row(rival, board, [(made[0], made[1 + place]) for made in by_gensim])
    yield mean_row(RIVALS[2], board, by_spark(board, defaults().dim, PASSES * epochs, few))
    yield mean_row(RIVALS[3], board, [timed(lambda: item_knn(board))])
    yield mean_row(RIVALS[4], board, [timed(lambda s=s: ials(board, defaults().dim, epochs, s)) for s in seeds])
    yield mean_row(RIVALS[5], board, [timed(lambda: popularity(board))])


def warm_starts(
    board: Board, epochs: int, seeds: list[int], prior: NDArray[np.float32]
) -> Iterator[tuple[str, list[tuple[float, Scores]]]]:
    """A model of the first four fifths of the chains, and one pass over all of them: from that model, and anew."""
    earlier, once = replace(board, chains=board.chains[: len(board.chains) * 4 // 5]), replace(defaults(), epochs=1)
    made: dict[str, list[tuple[float, Scores]]] = {}
    for seed in seeds:
        _, before = trained_model(earlier, replace(defaults(), epochs=epochs, seed=seed))
        options = replace(once, seed=seed)
        for name, start in (("one pass, from four fifths' model", before), ("one pass, anew", None)):
            seconds, model = trained_model(board, options, start=start)
            made.setdefault(name, []).append((seconds, by_cosine(board_vectors(board, model), prior)))
        made.setdefault("four fifths' model as it is", []).append((0.0, by_cosine(board_vectors(board, before), prior)))
    yield from made.items()


def chain_prior(board: Board) -> NDArray[np.float32]:
    """What the chain channels add to a cosine for a job's popularity, on a log scale from 0 to 1, as in retrieval."""
    popular = np.log1p(board.n_actions) / np.log1p(board.n_actions.max())
    known = np.where(board.n_actions == 0, SERVING.new_popularity, popular)
    return (SERVING.chain_popularity * known).astype(np.float32)


def ablations(epochs: int) -> list[tuple[str, SkipGram, bool]]:
    """(name, options, with features)."""
    full = replace(defaults(), epochs=epochs)
    one_window = dict.fromkeys(full.windows, WINDOW)
    return [
        (
            "- both sides: those before, twice the passes",
            replace(full, contexts="before", epochs=2 * epochs),
            True,
        ),
        ("- windows by action: five for all", replace(full, windows=one_window), True),
        ("+ local negatives: three in ten", replace(full, local_share=0.3), True),
        ("- cost matrix", replace(full, costs={}), True),
        ("+ the chain's application as context of all", replace(full, applied_context=True), True),
        ("+ refused jobs: two negatives in ten", replace(full, refused_share=0.2), True),
        (NO_FEATURES, replace(full, id_dropout=0.0), False),
        ("- id dropout: one id in ten, not in two", replace(full, id_dropout=0.1), True),
        ("- shared negatives: drawn for each pair", replace(full, pairs_a_draw=1), True),
        (IDS, ids_alone(full.dim, PASSES * epochs, 0), False),
    ]


def vectors(board: Board, options: SkipGram, with_features: bool = True) -> tuple[float, NDArray[np.float32]]:
    """Seconds of training, and the vectors of all jobs."""
    seconds, model = trained_model(board, options, with_features)
    return seconds, board_vectors(board, model, with_features)


def trained_model(
    board: Board, options: SkipGram, with_features: bool = True, start: Model | None = None
) -> tuple[float, Model]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(board, Path(folder), with_features=with_features)
        began = time.perf_counter()
        state = warm_state(corpus, options, FIELDS, start) if start else None
        # The table is the same for any number of threads, and one waits for no other.
        options = replace(options, threads=1)
        trained = train(corpus, folder, len(board.chains), options, lambda line: None, start=state)
        seconds = time.perf_counter() - began
        assert trained is not None
        ids, squares = corpus.job_ids[corpus.has_id], trained.state.squares.mean(axis=1)
        return seconds, Model(
            FIELDS, corpus.feature_keys, ids, trained.table, corpus.weights, {}, squares, trained.state.bias
        )


def board_vectors(board: Board, model: Model, with_features: bool = True) -> NDArray[np.float32]:
    features = board.features if with_features and board.features else [[]] * board.n_jobs
    offsets = np.concatenate([[0], np.cumsum([len(keys) for keys in features])])
    keys = np.array([key for keys in features for key in keys], np.int64)
    return model.vectors(np.arange(board.n_jobs), keys, offsets)[0]


def gensim(
    board: Board, dim: int, epochs: int, seed: int, prior: NDArray[np.float32]
) -> tuple[float, Scores, Scores, Scores]:
    with tempfile.TemporaryDirectory() as folder:
        model = Gensim(board, Path(folder) / "chains.txt", dim=dim, negatives=10, window=WINDOW, seed=seed)
        seconds = model.train(epochs)
        return seconds, model.by_cosine(), model.by_cosine(prior), model.as_trained()


def by_spark(board: Board, dim: int, epochs: int, seeds: list[int]) -> list[tuple[float, Scores]]:
    from pyspark.sql import SparkSession

    how = {"spark.driver.memory": "2g", "spark.driver.extraJavaOptions": SECOND_COMPILER}
    spark = SparkSession.builder.master("local[2]").config(map=how).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:

        def fitted(seed: int) -> Scores:
            how = {"dim": dim, "epochs": epochs, "window": WINDOW, "seed": seed}
            return spark_word2vec(spark, board, Path(folder), **how)

        made = [timed(lambda seed=seed: fitted(seed)) for seed in seeds]
    spark.stop()
    return made


def timed(made: Callable[[], Scores]) -> tuple[float, Scores]:
    start = time.perf_counter()
    scores = made()
    return time.perf_counter() - start, scores


def mean_row(name: str, board: Board, made: list[tuple[float, Scores]], new_weight: float | None = None) -> Row:
    ranks = [held_out_ranks(board, scores, new_weight) for _, scores in made]
    found = {cut: np.mean([rank <= cut for rank in ranks], axis=0) for cut in CUTS}
    return name, statistics.median(seconds for seconds, _ in made), found


def held_out_ranks(board: Board, scores: Scores, new_weight: float | None = None) -> NDArray[np.float64]:
    """The rank of each held-out chain's last job among all jobs that its chain lacks; ties share their mean.

    With `new_weight`, it is the place in a list that jobs in no chain share so with the others, as a chain channel's;
    infinite beyond the longest cut.
    """
    ranks, is_new = [], board.n_actions == 0
    for start in range(0, len(board.held_out), QUERIES_AT_ONCE):
        chains = board.held_out[start : start + QUERIES_AT_ONCE]
        queries, targets = chain_queries(chains, board.n_jobs), board.targets[start : start + QUERIES_AT_ONCE]
        found = np.array(scores(queries), dtype=np.float32)
        # Products of the same terms in another order differ in the last bits.
        found = found.round(6)
        found[queries.nonzero()] = -np.inf
        if new_weight is None:
            own = found[np.arange(len(chains)), targets][:, None]
            ranks.append((found > own).sum(axis=1) + ((found == own).sum(axis=1) + 1) / 2)
        else:
            shared = share_places(best_of(found, ~is_new), best_of(found, is_new), new_weight)
            at = shared.ids == targets[:, None]
            ranks.append(np.where(at.any(axis=1), at.argmax(axis=1) + 1.0, np.inf))
    return np.concatenate(ranks)


def best_of(scores: NDArray[np.float32], kind: NDArray[np.bool_]) -> Hits:
    """The best jobs of a kind, to the longest cut. Ties by ascending id."""
    jobs, hits = np.flatnonzero(kind), Hits.none(len(scores), max(CUTS))
    n = min(max(CUTS), len(jobs))
    if n:
        own = scores[:, jobs]
        best = np.sort(np.argpartition(-own, n - 1, axis=1)[:, :n], axis=1)
        order = np.argsort(-np.take_along_axis(own, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        hits.scores[:, :n] = np.take_along_axis(own, best, 1)
        hits.ids[:, :n] = np.where(np.isfinite(hits.scores[:, :n]), jobs[best], -1)
        hits.n_matches[:] = np.isfinite(own).sum(axis=1)
    return hits


def chain_queries(chains: list[Chain], n_jobs: int) -> sp.csr_matrix:
    """(chains, jobs): what each job of a chain but its last counts, the latest most, as retrieval weighs them."""
    latest = [jobs[:-1][::-1][: SERVING.max_actions] for jobs, _ in chains]
    rows = np.repeat(np.arange(len(chains)), [len(jobs) for jobs in latest])
    ages = np.concatenate([np.arange(len(jobs)) for jobs in latest])
    weights = (0.5 ** (ages / SERVING.half_life_actions)).astype(np.float32)
    return sp.csr_matrix((weights, (rows, np.concatenate(latest))), (len(chains), n_jobs))
