"""A step of training compiled for the CPU: what `training.TorchLearner` does, several times as fast.

The gradient is written out by hand. With v the unit vectors, a pair's scores are scale · v_job · v_context +
bias; each job of a step gathers what its pairs ask of it, takes it back through the pool and the unit length,
and changes its rows by Adagrad. Every value is summed by one thread in one order, so that the table depends
neither on the number of threads nor on their timing.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.state import State
from jobs.embeddings.steps import Ints, SkipGram, Step, distinct

Floats = NDArray[np.float32]

# Sums may be reordered within a vector register; NaN and infinity keep their meaning, for they are looked for.
_MATH = {"reassoc", "contract", "nsz"}
_SHORTEST = np.float32(1e-12)  # as torch's normalize
_ADAGRAD = np.float32(1e-10)


class CompiledLearner:
    """The embedding table and the bias, and how a step changes them. Memory beside them: a few steps' vectors."""

    def __init__(self, corpus: JobCorpus, options: SkipGram, state: State) -> None:
        numba.set_num_threads(min(options.threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        self._rows, self._weights, self._options = corpus.rows, corpus.weights, options
        self.table, self._squares = state.table, state.squares
        self._bias, self._bias_squares = state.bias
        self._place = np.full(len(corpus.weights), -1, np.int32)
        n_pairs = options.pairs_a_step
        n_most = n_pairs * (2 + options.negatives)
        self._vectors, self._gradients = np.empty((2, n_most, options.dim), np.float32)
        self._contexts, self._pulls = np.empty((2, n_pairs, options.dim), np.float32)
        self._norms = np.empty(n_most, np.float32)

    def state(self) -> State:
        return State(self.table, self._squares, np.array([self._bias, self._bias_squares]))

    def learn(self, step: Step) -> float:
        """Take one step; returns the loss before it."""
        rows, scale, rate = self._rows, np.float32(self._options.scale), np.float32(self._options.learning_rate)
        bags = (rows.offsets, np.asarray(rows.values), rows.id_rows, self._weights)
        pool(step.jobs, step.keeps_id, *bags, self.table, self._vectors, self._norms)
        slopes, losses = slopes_and_losses(
            step.position, step.counts, step.costs, scale, self._bias, self._vectors, self._contexts, self._pulls
        )
        starts, entries = by_job(step.position, len(step.jobs))
        _vector_gradients(
            starts, entries, slopes, scale, self._contexts, self._pulls, self._vectors, self._norms, self._gradients
        )
        _learn_ids(step.jobs, step.keeps_id, *bags[2:], self._gradients, rate, self.table, self._squares)
        if len(rows.values):
            self._learn_features(step.jobs, rate)
        self._learn_bias(np.float32(slopes.sum(dtype=np.float64)), rate)
        return float(losses.mean(dtype=np.float64))

    def _learn_features(self, jobs: Ints, rate: np.float32) -> None:
        offsets, values = self._rows.offsets, np.asarray(self._rows.values)
        bags, starts = _feature_rows(jobs, offsets, values)
        rows, position = distinct(bags, self._place)
        gradients = np.zeros((len(rows), self._options.dim), np.float32)
        _feature_gradients(numba.get_num_threads(), starts, rows, position, self._weights, self._gradients, gradients)
        _learn_rows(rows, gradients, rate, self.table, self._squares)

    def _learn_bias(self, slope: np.float32, rate: np.float32) -> None:
        self._bias_squares += slope**2
        self._bias -= rate * slope / (np.sqrt(self._bias_squares) + _ADAGRAD)


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def pool(jobs, keeps_id, offsets, values, id_rows, weights, table, vectors, norms):  # type: ignore[no-untyped-def]
    """The unit vectors of the jobs, and their lengths before; zeros for an empty bag."""
    dim = table.shape[1]
    for at in prange(len(jobs)):
        job = jobs[at]
        for d in range(dim):
            vectors[at, d] = 0.0
        for place in range(offsets[job], offsets[job + 1]):
            row, weight = values[place], weights[values[place]]
            for d in range(dim):
                vectors[at, d] += weight * table[row, d]
        row = id_rows[job]
        if keeps_id[at] and row >= 0:
            weight = weights[row]
            for d in range(dim):
                vectors[at, d] += weight * table[row, d]
        square = np.float32(0.0)
        for d in range(dim):
            square += vectors[at, d] * vectors[at, d]
        norms[at] = np.sqrt(square)
        inverse = np.float32(1.0) / max(norms[at], _SHORTEST)
        for d in range(dim):
            vectors[at, d] *= inverse


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def slopes_and_losses(position, counts, costs, scale, bias, vectors, contexts, pulls):  # type: ignore[no-untyped-def]
    """(slopes, losses): the loss's derivative by each score, (pairs, 1 + negatives), and each pair's loss.

    Into `contexts` go the vectors of the contexts, into `pulls` the loss's gradients by them.
    """
    n_pairs, n_negatives = counts.shape
    dim = vectors.shape[1]
    slopes = np.zeros((n_pairs, 1 + n_negatives), np.float32)
    losses = np.zeros(n_pairs, np.float32)
    for pair in prange(n_pairs):
        at = position[n_pairs + pair]
        for d in range(dim):
            contexts[pair, d] = vectors[at, d]
            pulls[pair, d] = 0.0
        for k in range(1 + n_negatives):
            if k > 0 and counts[pair, k - 1] == 0.0:
                continue
            other = position[pair] if k == 0 else position[2 * n_pairs + pair * n_negatives + k - 1]
            product = np.float32(0.0)
            for d in range(dim):
                product += vectors[other, d] * contexts[pair, d]
            # A positive is repelled by how little it is liked, a negative by how much.
            sign, cost = (np.float32(-1.0), costs[pair]) if k == 0 else (np.float32(1.0), counts[pair, k - 1])
            score = sign * (scale * product + bias)
            falling = np.exp(-abs(score))
            losses[pair] += cost * (max(score, np.float32(0.0)) + np.log1p(falling))
            share = (np.float32(1.0) if score >= 0.0 else falling) / (np.float32(1.0) + falling)
            slope = sign * cost * share / np.float32(n_pairs)
            slopes[pair, k] = slope
            for d in range(dim):
                pulls[pair, d] += slope * scale * vectors[other, d]
    return slopes, losses


@njit(cache=True)
def by_job(position: Ints, n_jobs: int) -> tuple[Ints, Ints]:
    """(starts, entries): job j is at the places entries[starts[j]:starts[j + 1]] of `position`, ascending.

    >>> [array.tolist() for array in by_job(np.array([1, 0, 1]), 2)]
    [[0, 1, 3], [1, 0, 2]]
    """
    starts = np.zeros(n_jobs + 2, np.int64)
    for at in position:
        starts[at + 2] += 1
    for job in range(n_jobs):
        starts[job + 2] += starts[job + 1]
    entries = np.empty(len(position), np.int64)
    for place in range(len(position)):
        job = position[place]
        entries[starts[job + 1]] = place
        starts[job + 1] += 1
    return starts[: n_jobs + 1], entries


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def _vector_gradients(starts, entries, slopes, scale, contexts, pulls, vectors, norms, gradients):  # type: ignore[no-untyped-def]
    """The loss's gradients by the jobs' vectors before they were made unit vectors."""
    n_pairs, n_negatives = slopes.shape[0], slopes.shape[1] - 1
    dim = vectors.shape[1]
    for at in prange(len(starts) - 1):
        for d in range(dim):
            gradients[at, d] = 0.0
        for entry in entries[starts[at] : starts[at + 1]]:
            if n_pairs <= entry < 2 * n_pairs:
                for d in range(dim):
                    gradients[at, d] += pulls[entry - n_pairs, d]
                continue
            pair, k = (entry, 0)
            if entry >= 2 * n_pairs:
                pair = (entry - 2 * n_pairs) // n_negatives
                k = 1 + entry - 2 * n_pairs - pair * n_negatives
            slope = slopes[pair, k] * scale
            if slope != 0.0:
                for d in range(dim):
                    gradients[at, d] += slope * contexts[pair, d]
        along = np.float32(0.0)
        for d in range(dim):
            along += gradients[at, d] * vectors[at, d]
        # A vector too short to have a direction is only divided by the least length.
        if norms[at] < _SHORTEST:
            along = np.float32(0.0)
        inverse = np.float32(1.0) / max(norms[at], _SHORTEST)
        for d in range(dim):
            gradients[at, d] = (gradients[at, d] - along * vectors[at, d]) * inverse


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def _learn_ids(jobs, keeps_id, id_rows, weights, gradients, rate, table, squares):  # type: ignore[no-untyped-def]
    """Adagrad on the rows of the ids: a row is one job's alone."""
    for at in prange(len(jobs)):
        row = id_rows[jobs[at]]
        if keeps_id[at] and row >= 0:
            for d in range(table.shape[1]):
                slope = weights[row] * gradients[at, d]
                squares[row, d] += slope * slope
                table[row, d] -= rate * slope / (np.sqrt(squares[row, d]) + _ADAGRAD)


@njit(cache=True)
def _feature_rows(jobs, offsets, values):  # type: ignore[no-untyped-def]
    """The feature rows of the jobs' bags, one bag after the other, and where each bag starts."""
    starts = np.zeros(len(jobs) + 1, np.int64)
    for at in range(len(jobs)):
        starts[at + 1] = starts[at] + offsets[jobs[at] + 1] - offsets[jobs[at]]
    rows = np.empty(starts[-1], np.int64)
    for at in range(len(jobs)):
        rows[starts[at] : starts[at + 1]] = values[offsets[jobs[at]] : offsets[jobs[at] + 1]]
    return rows, starts


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def _feature_gradients(n_parts, starts, rows, position, weights, of_jobs, gradients):  # type: ignore[no-untyped-def]
    """Into `gradients` the sums over the jobs that have each row: many jobs share it, so a thread has columns."""
    dim = gradients.shape[1]
    for part in prange(n_parts):
        first, end = part * dim // n_parts, (part + 1) * dim // n_parts
        for at in range(len(starts) - 1):
            for place in range(starts[at], starts[at + 1]):
                into = position[place]
                weight = weights[rows[into]]
                for d in range(first, end):
                    gradients[into, d] += weight * of_jobs[at, d]


@njit(cache=True, parallel=True, fastmath=_MATH, error_model="numpy")
def _learn_rows(rows, gradients, rate, table, squares):  # type: ignore[no-untyped-def]
    """Adagrad on distinct rows."""
    for at in prange(len(rows)):
        row = rows[at]
        for d in range(table.shape[1]):
            slope = gradients[at, d]
            squares[row, d] += slope * slope
            table[row, d] -= rate * slope / (np.sqrt(squares[row, d]) + _ADAGRAD)
