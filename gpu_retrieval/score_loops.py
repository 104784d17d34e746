"""The scoring of candidates on the CPU: int8 products that a bound makes safe, selection, final scores.

A piece of work is some candidate rows against up to 64 queries. The products (`score_bounds`) are within a known
distance of the final scores, so that a row whose upper bound lies below the k-th best lower bound can be dropped
unseen (the VA-file's filter step: Weber, Schek, Blott, VLDB 1998). What is left is scored again from the originals
(`score_final`), and only that second score decides what is returned; it adds in the order of
`scan.final_score_bits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from gpu_retrieval import compiled, simd
from gpu_retrieval.score_bounds import floor32, in_reach, products, settled_limit, take_queries
from gpu_retrieval.score_final import key_score, settle
from gpu_retrieval.score_state import BLOCK, Best, Jobs, Work, held_rows, inline, inner, make_scratch, scratch_bytes
from gpu_retrieval.simd import LANES

__all__ = ["Best", "Jobs", "Work", "decode", "held_rows", "n_threads", "score", "scratch_bytes"]


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


@inner
def _prune(s, q, cap, k):
    """Drops rows in waiting that cannot be among the k best, and sharpens the limit."""
    n, at = s.n_held[q], q * cap
    if n <= k:
        return
    least, most = s.lower[at], s.lower[at]
    for i in range(at, at + n):
        least, most = min(least, s.lower[i]), max(most, s.lower[i])
    for i in range(at + n, at + (n + LANES - 1) // LANES * LANES):
        s.lower[i] = s.upper[i] = -np.inf
    # At least k rows have a lower bound of `least` or more: so is the k-th score.
    for _ in range(10):
        middle = np.float32(0.5) * least + np.float32(0.5) * most
        level, count = simd.spread(middle), 0
        for i in range(at, at + n, LANES):
            count += simd.count_bits(simd.not_below(simd.load(s.lower, i), level))
        if count >= k:
            least = middle
            if count <= k + k // 16:
                break
        else:
            most = middle
    s.limits[q] = max(s.limits[q], floor32(np.float64(least) - s.slack[q]))
    limit = simd.spread(s.limits[q])
    left = at
    for i in range(at, at + n, LANES):
        upper = simd.load(s.upper, i)
        kept = simd.not_below(upper, limit)
        if at + n - i < LANES:
            kept &= (np.uint64(1) << np.uint64(at + n - i)) - np.uint64(1)
        lower, rows = simd.load(s.lower, i), simd.load(s.held, i)
        simd.store_some(s.upper, left, upper, kept)
        simd.store_some(s.lower, left, lower, kept)
        simd.store_some(s.held, left, rows, kept)
        left += simd.count_bits(kept)
    s.n_held[q] = left - at


@inner
def _make_room(jobs, work, best, s, q0, q, cap, k):
    """Fewer rows in waiting for a query: by their bounds or, where those cannot tell, by their final scores."""
    if s.safe[q]:
        _prune(s, q, cap, k)
    n = s.n_held[q]
    if n > k + (cap - k) // 2:
        held = s.held[q * cap : q * cap + n]
        keys = best.keys[q0 + q]
        best.n_keys[q0 + q] = settle(jobs, work.queries[q0 + q], keys, best.n_keys[q0 + q], held, s)
        s.n_held[q] = 0
        if s.safe[q]:
            limit = settled_limit(keys, best.n_keys[q0 + q], np.float64(s.units[q]), s.slack[q], s.bits)
            s.limits[q] = max(s.limits[q], limit)


@inline
def _hold(jobs, work, best, s, q0, start, n_found, lane0, first, cap, k):
    """Puts what is in reach to the rows in waiting."""
    words = (work.queries.shape[1] + 3) // 4
    masked = len(work.mask) > 0
    for f in range(n_found):
        place = start + np.int64(s.found[f] >> np.uint64(LANES))
        lanes = s.found[f] & np.uint64((1 << LANES) - 1)
        row = np.int64(work.rows[place])
        scale = jobs.scales[row * (words + 2) + words]
        length = jobs.scales[row * (words + 2) + words + 1]
        while lanes:
            lane = simd.lowest_bit(lanes)
            lanes &= lanes - np.uint64(1)
            q = lane0 + lane
            if masked and not work.mask[work.offsets[q0 + q] + place - first]:
                continue
            if s.n_held[q] == cap:
                _make_room(jobs, work, best, s, q0, q, cap, k)
            upper = s.bounds[f * LANES + lane]
            at = q * cap + s.n_held[q]
            s.held[at] = row
            s.upper[at] = upper
            s.lower[at] = upper - np.float32(2) * (scale * s.reach[q] + length * s.errors[q])
            # The limit may have risen since the bounds were compared with it.
            s.n_held[q] += not upper < s.limits[q]


@inner
def _take_all(jobs, work, best, s, q0, q, first, last):
    """Every eligible row of a piece that has no more than k, straight to its final score."""
    n = 0
    for place in range(first, last):
        row = np.int64(work.rows[place])
        passes = len(work.mask) == 0 or work.mask[work.offsets[q0 + q] + place - first]
        for r in range(len(work.numbers)):
            number = work.numbers[r, row]
            passes &= (number >= work.low[r, q0 + q]) & (number <= work.high[r, q0 + q])
        s.held[n] = row
        n += passes
    if len(work.numbers):
        best.n_matches[q0 + q] += n
    best.n_keys[q0 + q] = settle(jobs, work.queries[q0 + q], best.keys[q0 + q], best.n_keys[q0 + q], s.held[:n], s)


@inner
def _search(jobs, work, best, s, piece, cap):
    """One piece of the work."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    k, words = best.keys.shape[1], (work.queries.shape[1] + 3) // 4
    if last - first <= k:
        for q in range(n_queries):
            _take_all(jobs, work, best, s, q0, q, first, last)
        return
    take_queries(jobs, work, best, q0, n_queries, s)
    s.counts[:] = 0
    codes = s.codes.view(np.int32)
    for start in range(first, last, BLOCK):
        n = min(BLOCK, last - start)
        for lane0 in range(0, n_queries, LANES):
            products(jobs.coarse, words, work.rows, start, n, last, codes, lane0, s.offsets, s.sums)
            bound = np.uint64((1 << min(LANES, n_queries - lane0)) - 1)
            n_found = in_reach(jobs, work, s, start, n, lane0, bound)
            _hold(jobs, work, best, s, q0, start, n_found, lane0, first, cap, k)
    for q in range(n_queries):
        if s.safe[q]:
            _prune(s, q, cap, k)
        held = s.held[q * cap : q * cap + s.n_held[q]]
        best.n_keys[q0 + q] = settle(jobs, work.queries[q0 + q], best.keys[q0 + q], best.n_keys[q0 + q], held, s)
        if len(work.numbers):
            best.n_matches[q0 + q] += s.counts[q]


def _entries(sources: str) -> tuple[Any, Any]:
    """The loops that are called from outside, kept compiled on disk.

    Numba sees a change in the file of such a function and in what it closes over, not in other files whose
    functions it calls: `sources` stands for those.
    """

    @njit(parallel=True, nogil=True, cache=True)
    def score(jobs, work, best, most, cap, threads):
        """Takes every candidate of every piece, of `most` queries or fewer, into the best."""
        _ = sources
        d, k = work.queries.shape[1], best.keys.shape[1]
        for thread in prange(threads):
            s = make_scratch(most, d, k, cap, len(work.numbers))
            for p in range(thread, len(work.pieces), threads):
                _search(jobs, work, best, s, work.pieces[p], cap)

    @njit(parallel=True, nogil=True, cache=True)
    def decode(best, n_best, into, sorted_ids, ids, scores):
        """Sorted keys of query i into row `into[i]` of the hits."""
        _ = sources
        for i in prange(len(best)):
            cell = np.zeros(1, dtype=np.float32)
            for j in range(n_best[i]):
                key = best[i, j]
                ids[into[i], j] = sorted_ids[np.int64(key & np.uint64(0xFFFFFFFF))]
                scores[into[i], j] = key_score(key, cell)

    return score, decode


score, decode = _entries(compiled.digest("simd", "score_state", "score_bounds", "score_final"))
