"""Rows that wait between a lower and an upper bound of their score with a query, for a limit that leaves few."""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd
from gpu_retrieval.loops.score_final import floor32, raise_limit, score_rows
from gpu_retrieval.loops.score_state import inline, inner
from gpu_retrieval.loops.simd import LANES


@inner
def prune(s, q, first, n, k):
    """Drops those of n rows held from `first` on that cannot be among the k best of query q; how many are left.

    Sharpens the query's limit.
    """
    if n <= k or not s.safe[q]:
        return n
    least, most = s.lower[first], s.lower[first]
    for i in range(first, first + n):
        least, most = min(least, s.lower[i]), max(most, s.lower[i])
    stop = first + n
    for i in range(stop, first + (n + LANES - 1) // LANES * LANES):
        s.lower[i] = s.upper[i] = -np.inf
    # At least k rows have a lower bound of `least` or more: so is the k-th score.
    for _ in range(10):
        middle = np.float32(0.5) * least + np.float32(0.5) * most
        level, count = simd.spread(middle), 0
        for i in range(first, stop, LANES):
            count += simd.count_bits(simd.not_below(simd.load(s.lower, i), level))
        if count >= k:
            least = middle
            if count <= k + k // 16:
                break
        else:
            most = middle
    s.limits[q] = max(s.limits[q], floor32(np.float64(least) - s.slack[q]))
    limit = simd.spread(s.limits[q])
    left = first
    for i in range(first, stop, LANES):
        upper = simd.load(s.upper, i)
        kept = simd.not_below(upper, limit)
        if stop - i < LANES:
            kept &= (np.uint64(1) << np.uint64(stop - i)) - np.uint64(1)
        lower, rows = simd.load(s.lower, i), simd.load(s.held, i)
        simd.store_packed(s.upper, left, upper, kept)
        simd.store_packed(s.lower, left, lower, kept)
        simd.store_packed(s.held, left, rows, kept)
        left += simd.count_bits(kept)
    return left - first


@inner
def score_held(jobs, work, best, s, q, query, first, n, cap):
    """The n rows held from `first` on to their final scores."""
    score_rows(jobs, work, best, s, query, s.held[first : first + n], cap)
    raise_limit(best, s, q, query)


@inner
def shrink(jobs, work, best, s, q, query, cap):
    """Makes room among the rows that query q holds."""
    first = q * cap
    n = prune(s, q, first, np.int64(s.n_held[q]), best.k)
    if n > cap // 4 * 3:
        score_held(jobs, work, best, s, q, query, first, n, cap)
        n = 0
    s.n_held[q] = n


@inline
def finish(jobs, work, best, s, q, query, cap):
    """Final scores of all rows that query q holds and that are not ruled out."""
    if s.n_held[q]:
        n = prune(s, q, q * cap, np.int64(s.n_held[q]), best.k)
        score_held(jobs, work, best, s, q, query, q * cap, n, cap)
        s.n_held[q] = 0
