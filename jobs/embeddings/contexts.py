"""A job's vector beside those of the jobs that it was met with, by one more pass over the chains.

Where training ends, an id's row is as noisy as its last steps, the more so the fewer they were. The mean of a
job's contexts has no such noise, and says what its own vector was trained to be near: a cosine to the sum of both
is that of an input to an input and, in part, to an output of word2vec.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.embeddings.compiled import pool
from jobs.embeddings.corpus import JobCorpus, chain_batches
from jobs.embeddings.steps import Ints, SkipGram, Steps

Floats = NDArray[np.float32]


def beside_contexts(corpus: JobCorpus, uri: str, options: SkipGram, table: Floats) -> Floats:
    """The table with the rows of ids moved: by `context_weight` times the direction of the job's contexts.

    A job's unit vector becomes that of itself plus so much of that direction. Jobs without an id embedding, or
    without contexts, stay where they are. Memory is the vectors of all jobs twice, and the pairs of a batch.
    """
    rows, n_jobs = corpus.rows, len(corpus.job_ids)
    vectors, sums = np.empty((n_jobs, options.dim), np.float32), np.zeros((n_jobs, options.dim), np.float32)
    norms = np.empty(n_jobs, np.float32)
    bags = (rows.offsets, np.asarray(rows.values), rows.id_rows, corpus.weights)
    pool(np.arange(n_jobs), np.ones(n_jobs, bool), *bags, table, vectors, norms)
    steps = Steps(corpus, options)
    for chains in chain_batches(uri, corpus.job_ids, options.chains_a_batch):
        targets, contexts = steps.pairs(chains)
        add_each_to_other(chains.jobs[targets], chains.jobs[contexts], vectors, sums)
    lengths = np.linalg.norm(sums, axis=1)
    met = np.flatnonzero((rows.id_rows >= 0) & (lengths > 0))
    share = options.context_weight * norms[met] / lengths[met] / corpus.weights[rows.id_rows[met]]
    moved = table.copy()
    moved[rows.id_rows[met]] += share[:, None] * sums[met]
    return moved


@njit(cache=True)
def add_each_to_other(first: Ints, second: Ints, vectors: Floats, sums: Floats) -> None:
    """Of each pair of jobs, the vector of either to the sum of the other.

    >>> vectors, sums = np.array([[1, 0], [0, 1], [3, 3]], np.float32), np.zeros((3, 2), np.float32)
    >>> add_each_to_other(np.array([0, 0]), np.array([1, 2]), vectors, sums)
    >>> sums.tolist()
    [[3.0, 4.0], [1.0, 0.0], [1.0, 0.0]]
    """
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        for d in range(vectors.shape[1]):
            sums[a, d] += vectors[b, d]
            sums[b, d] += vectors[a, d]
