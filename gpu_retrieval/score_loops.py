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

from gpu_retrieval import compiled
from gpu_retrieval.score_alone import can_alone, search_alone
from gpu_retrieval.score_bounds import bounds, drop_masked, in_reach, products, seed, take_queries, within
from gpu_retrieval.score_final import key_score, settle
from gpu_retrieval.score_state import (
    BLOCK,
    Best,
    Jobs,
    Work,
    held_rows,
    inline,
    inner,
    make_scratch,
    scratch_bytes,
)
from gpu_retrieval.score_waiting import hold, prune
from gpu_retrieval.simd import LANES

# Whose functions end up in the compiled loops.
INNER_FILES = ("simd", "simd_types", "score_state", "score_bounds", "score_final", "score_waiting", "score_alone")

__all__ = ["Best", "Jobs", "Work", "decode", "held_rows", "n_threads", "score", "scratch_bytes"]


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


@inline
def _is_small(n, n_queries, cap, k):
    """Whether the final scores of all n rows cost less than finding those that are not needed."""
    return n <= k or (n <= cap and (n - k) * n_queries <= 2 * n * ((n_queries + LANES - 1) // LANES))


@inner
def _take_all(jobs, work, best, s, q0, q, first, last):
    """Every eligible row of a small piece, straight to its final score."""
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


@inline
def _lanes(n_queries, lane0):
    """How many queries the sixteen from `lane0` on are, and a bit for each."""
    n_lanes = min(LANES, n_queries - lane0)
    return n_lanes, np.uint64((1 << n_lanes) - 1)


@inner
def _search_first(jobs, work, best, s, piece, n_rows, cap, k):
    """The first rows of a piece, all at once: what the k-th of them reaches for certain holds back the rest."""
    first, q0, n_queries = piece[0], piece[2], piece[3] - piece[2]
    codes = s.codes.view(np.int32)
    for lane0 in range(0, n_queries, LANES):
        n_lanes, everyone = _lanes(n_queries, lane0)
        for at in range(0, n_rows, BLOCK):
            n = min(BLOCK, n_rows - at)
            products(jobs, work, first + at, n, first + n_rows, codes, lane0, s)
            bounds(jobs, work, s, first + at, n, at, lane0, everyone)
        if len(work.mask):
            drop_masked(work, s, n_rows, q0, lane0, n_lanes)
        seed(s, n_rows, lane0, n_lanes, k)
        hold(jobs, work, best, s, q0, first, within(s, n_rows, lane0, everyone), lane0, first, cap, k)


@inner
def _search(jobs, work, best, s, piece, stretch, cap):
    """One piece of the work."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    k = best.keys.shape[1]
    if _is_small(last - first, n_queries, cap, k):
        for q in range(n_queries):
            _take_all(jobs, work, best, s, q0, q, first, last)
        return
    take_queries(jobs, work, best, q0, n_queries, s)
    s.counts[:] = 0
    if can_alone(n_queries, work):
        search_alone(jobs, work, best, s, piece, cap)
        return
    done = min(stretch, last - first) if stretch > k and s.safe[:n_queries].all() else 0
    if done:
        _search_first(jobs, work, best, s, piece, done, cap, k)
    if first + done < last:
        for q in range(n_queries if done else 0):
            prune(s, q, cap, k)
    codes = s.codes.view(np.int32)
    for start in range(first + done, last, BLOCK):
        n = min(BLOCK, last - start)
        for lane0 in range(0, n_queries, LANES):
            products(jobs, work, start, n, last, codes, lane0, s)
            n_found = in_reach(jobs, work, s, start, n, lane0, _lanes(n_queries, lane0)[1])
            hold(jobs, work, best, s, q0, start, n_found, lane0, first, cap, k)
    for q in range(n_queries):
        if s.safe[q]:
            prune(s, q, cap, k)
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
    def score(jobs, work, best, most, stretch, cap, threads):
        """Takes every candidate of every piece, of `most` queries or fewer, into the best."""
        _ = sources
        d, k = work.queries.shape[1], best.keys.shape[1]
        for thread in prange(threads):
            s = make_scratch(most, stretch, d, k, cap, len(work.numbers))
            for p in range(thread, len(work.pieces), threads):
                _search(jobs, work, best, s, work.pieces[p], stretch, cap)

    @njit(parallel=True, nogil=True, cache=True)
    def decode(best, n_best, into, sorted_ids, ids, scores):
        """Sorted keys of query i into row `into[i]` of the hits, and no hit in the places after them."""
        _ = sources
        for i in prange(len(best)):
            cell = np.zeros(1, dtype=np.float32)
            for j in range(n_best[i]):
                key = best[i, j]
                ids[into[i], j] = sorted_ids[np.int64(key & np.uint64(0xFFFFFFFF))]
                scores[into[i], j] = key_score(key, cell)
            for j in range(n_best[i], ids.shape[1]):
                ids[into[i], j] = -1
                scores[into[i], j] = -np.inf

    return score, decode


score, decode = _entries(compiled.digest(*INNER_FILES))
