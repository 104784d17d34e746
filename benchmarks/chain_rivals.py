"""The rivals of job vectors on the same chains: Word2Vec by gensim and Spark, item-kNN, implicit's iALS, popularity.

Each is (query weights by job, sparse (queries, jobs)) → (queries, jobs) scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from gensim.models import Word2Vec
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray

from benchmarks.chain_data import Board, Chain
from gpu_retrieval import Ragged, TermKnnIndex

Scores = Callable[[sp.csr_matrix], NDArray[np.float32]]


def matrix(chains: list[Chain], n_jobs: int) -> sp.csr_matrix:
    """(chains, jobs): how often each job is in each chain."""
    rows = np.repeat(np.arange(len(chains)), [len(jobs) for jobs, _ in chains])
    columns = np.concatenate([jobs for jobs, _ in chains])
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(chains), n_jobs))


def by_cosine(vectors: NDArray[np.float32], prior: NDArray[np.float32] | None = None) -> Scores:
    """The weighted mean of the chain's vectors against every job's, as the chain channels ask, and `prior` beside."""

    def scores(queries: sp.csr_matrix) -> NDArray[np.float32]:
        means = np.asarray(queries @ vectors)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        found = means @ vectors.T
        return found if prior is None else found + prior

    return scores


def by_neighbors(vectors: NDArray[np.float32], n: int, prior: NDArray[np.float32] | None = None) -> Scores:
    """The `n` nearest of each of the chain's jobs, merged by the weighted mean of their cosines, `prior` beside."""
    n_jobs = len(vectors)
    index = TermKnnIndex.build(np.arange(n_jobs), vectors, device="cpu")
    hits = index.search(vectors, k=n, exclude=Ragged(np.arange(n_jobs + 1), np.arange(n_jobs)))
    found = hits.ids >= 0
    rows, jobs = np.repeat(np.arange(n_jobs), found.sum(axis=1)), hits.ids[found]
    kept = sp.csr_matrix((hits.scores[found], (rows, jobs)), (n_jobs, n_jobs))
    met = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, jobs)), (n_jobs, n_jobs))

    def scores(queries: sp.csr_matrix) -> NDArray[np.float32]:
        found = (queries @ kept).toarray() / np.maximum(np.asarray(queries.sum(axis=1)), 1e-12)
        found = found if prior is None else found + prior
        # what is nobody's neighbour was not found
        return np.where((queries @ met).toarray() > 0, found, -np.inf).astype(np.float32)

    return scores


def popularity(board: Board) -> Scores:
    shares = board.n_actions.astype(np.float32)
    return lambda queries: np.broadcast_to(shares, queries.shape).copy()


def item_knn(board: Board) -> Scores:
    """Cosine of the chains that two jobs are in."""
    seen = matrix(board.chains, board.n_jobs)
    seen.data[:] = 1
    norms = np.sqrt(np.asarray(seen.sum(axis=0)).ravel())
    similar = seen @ sp.diags(1 / np.maximum(norms, 1)).tocsr()
    similar = (similar.T @ similar).tocsr()
    similar.setdiag(0)
    return lambda queries: (queries @ similar).toarray()


def ials(board: Board, dim: int, epochs: int, seed: int) -> Scores:
    """Chains as users. Of alpha 1, 10 and 40, the last was best on a planted board."""
    model = AlternatingLeastSquares(
        factors=dim, iterations=max(epochs, 15), regularization=0.1, alpha=40.0, random_state=seed, num_threads=2
    )
    model.fit(matrix(board.chains, board.n_jobs), show_progress=False)
    factors = np.array(model.item_factors)

    def scores(queries: sp.csr_matrix) -> NDArray[np.float32]:
        binary = queries.copy()
        binary.data[:] = 1
        users = model.recalculate_user(np.arange(binary.shape[0]), binary)
        return np.asarray(users @ factors.T)

    return scores


class Gensim:
    """Word2Vec, skip-gram with negatives, from a file, as it is fastest; `pairs` are what it trains on an epoch."""

    def __init__(self, board: Board, file: Path, *, dim: int, negatives: int, window: int, seed: int) -> None:
        with open(file, "w") as lines:
            lines.writelines(" ".join(map(str, jobs)) + "\n" for jobs, _ in board.chains)
        self._file, self._board = str(file), board
        self._n_words = sum(len(jobs) for jobs, _ in board.chains)
        self.pairs = 2 * sum(min(at, window) for jobs, _ in board.chains for at in range(len(jobs)))
        self._model = Word2Vec(
            vector_size=dim,
            window=window,
            negative=negatives,
            sg=1,
            min_count=1,
            sample=0,
            shrink_windows=False,
            workers=2,
            seed=seed,
        )
        known = {str(job): int(n) for job, n in enumerate(board.n_actions) if n}
        self._model.build_vocab_from_freq(known, corpus_count=len(board.chains))

    def train(self, epochs: int) -> float:
        """Seconds of training alone."""
        start = time.perf_counter()
        self._model.train(
            corpus_file=self._file, total_examples=len(self._board.chains), total_words=self._n_words, epochs=epochs
        )
        return time.perf_counter() - start

    def by_cosine(self, prior: NDArray[np.float32] | None = None) -> Scores:
        return by_cosine(self.normed(), prior)

    def normed(self) -> NDArray[np.float32]:
        """(jobs, dim) input vectors of length 1, zeros for a job in no chain."""
        return self._by_job(self._model.wv.get_normed_vectors())

    def as_trained(self) -> Scores:
        """Input vectors of the chain against output vectors of every job, which is what its loss compares."""
        inputs, outputs = self._by_job(self._model.wv.vectors), self._by_job(self._model.syn1neg)
        return lambda queries: np.asarray(queries @ inputs) @ outputs.T

    def _by_job(self, by_word: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = np.zeros((self._board.n_jobs, self._model.vector_size), np.float32)
        vectors[[int(word) for word in self._model.wv.index_to_key]] = by_word
        return vectors


def spark_word2vec(spark: Any, board: Board, folder: Path, *, dim: int, epochs: int, window: int, seed: int) -> Scores:
    """MLlib's skip-gram with hierarchical softmax, by cosine, on one partition: with more it averages their models."""
    from pyspark.ml.feature import Word2Vec
    from pyspark.ml.functions import vector_to_array

    file = folder / f"chains-{seed}.parquet"
    pq.write_table(pa.table({"jobs": [[str(job) for job in jobs] for jobs, _ in board.chains]}), file)
    trainer = Word2Vec(
        inputCol="jobs", outputCol="mean", vectorSize=dim, windowSize=window, minCount=1, maxIter=epochs, seed=seed
    )
    found = trainer.fit(spark.read.parquet(str(file))).getVectors()
    table = found.select("word", vector_to_array("vector", "float32").alias("vector")).toArrow().combine_chunks()
    words = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, dim)
    vectors = np.zeros((board.n_jobs, dim), np.float32)
    vectors[[int(word) for word in table["word"].to_pylist()]] = words / np.maximum(
        np.linalg.norm(words, axis=1, keepdims=True), 1e-12
    )
    return by_cosine(vectors)
