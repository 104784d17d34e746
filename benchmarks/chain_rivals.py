"""The rivals of job vectors on the same chains: gensim's Word2Vec, item-kNN, implicit's iALS, popularity.

Each is (query weights by job, sparse (queries, jobs)) → (queries, jobs) scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from gensim.models import Word2Vec
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray

from benchmarks.chain_data import Board, Chain

Scores = Callable[[sp.csr_matrix], NDArray[np.float32]]


def matrix(chains: list[Chain], n_jobs: int) -> sp.csr_matrix:
    """(chains, jobs): how often each job is in each chain."""
    rows = np.repeat(np.arange(len(chains)), [len(jobs) for jobs, _ in chains])
    columns = np.concatenate([jobs for jobs, _ in chains])
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(chains), n_jobs))


def by_cosine(vectors: NDArray[np.float32]) -> Scores:
    """The weighted mean of the chain's vectors against every job's, as the chain channels ask."""
    return lambda queries: np.asarray(queries @ vectors) @ vectors.T


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

    def by_cosine(self) -> Scores:
        return by_cosine(self._by_job(self._model.wv.get_normed_vectors()))

    def as_trained(self) -> Scores:
        """Input vectors of the chain against output vectors of every job, which is what its loss compares."""
        inputs, outputs = self._by_job(self._model.wv.vectors), self._by_job(self._model.syn1neg)
        return lambda queries: np.asarray(queries @ inputs) @ outputs.T

    def _by_job(self, by_word: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = np.zeros((self._board.n_jobs, self._model.vector_size), np.float32)
        vectors[[int(word) for word in self._model.wv.index_to_key]] = by_word
        return vectors
