"""The scoring of candidates on the CPU: int8 products that a bound makes safe, selection, final scores.

A piece of work is some candidate rows against up to 128 queries. The products (`score_rows`) are within a known
distance of the final scores (`score_bounds`), so that a row whose upper bound lies below the k-th best lower bound can
be dropped unseen (the VA-file's filter step: Weber, Schek, Blott, VLDB 1998). What is left is scored again from the
originals (`score_final`), row by row for all queries that it is in reach of, and only that second score decides what is
returned; it adds in the order of `scan.final_score_bits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from gpu_retrieval import compiled, simd_int8
from gpu_retrieval.score_alone import can_alone, search_alone
from gpu_retrieval.score_bounds import in_reach, known_in_reach, seed, take_queries
from gpu_retrieval.score_final import begin, key_score, raise_limit, score_found, score_pair, score_rows, sort_in
from gpu_retrieval.score_rows import bring_in, has_code, let_pass, products, table_codes
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
    table_bytes,
)
from gpu_retrieval.segments import Segment
from gpu_retrieval.simd import LANES
from gpu_retrieval.simd_types import HAS_TILES

# Rows of a stretch after the first: what is brought in is met while it is still near.
LATER = 1024
# Whose functions end up in the compiled loops.
INNER_FILES = (
    "simd", "simd_int8", "simd_types", "score_alone", "score_bounds", "score_final", "score_rows", "score_state",
)  # fmt: skip

__all__ = [
    "BLOCK", "Best", "Jobs", "Work", "decode", "fixed", "held_rows", "jobs_of", "n_threads", "score", "scratch_bytes",
    "table_bytes",
]  # fmt: skip


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


def fixed(array: np.ndarray) -> np.ndarray:
    """A view that is read only, as arrays of a loaded index are: one compiled form for both."""
    view = array.view()
    view.flags.writeable = False
    return view


def jobs_of(host: Segment, ranks: np.ndarray, prior: np.ndarray | None, base: int) -> Jobs:
    """The segment whose first row is `base` in the order of ids, of which `ranks` and `prior` are."""
    coarse, priors = host.coarse, np.empty(0, dtype=np.float32) if prior is None else prior
    return Jobs(
        fixed(coarse.rows.reshape(-1)),
        fixed(coarse.bounds.reshape(-1)),
        coarse.widest,
        coarse.longest,
        fixed(host.vectors.reshape(-1)),
        fixed(priors),
        float(np.abs(priors).max(initial=0)),
        fixed(ranks),
        base,
    )


@inline
def _is_small(n, n_queries, cap, k):
    """Whether the final scores of all n rows cost less than finding those that are not needed."""
    return n <= k or (n <= cap and (n - k) * n_queries <= 2 * n * ((n_queries + LANES - 1) // LANES))


@inline
def _take_all(jobs, work, best, s, q0, q, first, last, cap):
    """Every eligible row of a small piece, straight to its final score."""
    n = 0
    begin(work, best, s, q0, q)
    for place in range(first, last):
        row = np.int64(work.rows[place])
        passes = len(work.mask) == 0 or work.mask[work.offsets[q0 + q] + place - first]
        for r in range(len(work.low)):
            number = work.numbers[r, row]
            passes &= (number >= work.low[r, q0 + q]) & (number <= work.high[r, q0 + q])
        for field in range(len(work.spans)):
            passes &= has_code(work, field, q0 + q, work.numbers[len(work.low) + field, row])
        s.held[n] = row
        n += passes
    if len(work.numbers):
        best.n_matches[q0 + q] += n
    score_rows(jobs, work, best, s, q0, q, s.held[:n], cap)
    sort_in(best, s, q0, q, cap)


@inner
def _search_stretch(jobs, work, best, s, start, n, q0, n_queries, cap, is_known):
    """A stretch that has been brought in, block by block; the last pairs found wait for their rows meanwhile.

    Where `is_known`, `seed` has met all pairs before.
    """
    words, n_found = (work.queries.shape[1] + 3) // 4, 0
    for at in range(0, n, BLOCK):
        block = min(BLOCK, n - at)
        for lane0 in range(0, n_queries, LANES):
            n_before = n_found
            if is_known:
                n_found = known_in_reach(s, at, block, lane0, n_found)
            else:
                products(s, words, at, block, lane0)
                n_found = in_reach(jobs, s, at, block, lane0, n_found)
            n_found = score_found(jobs, work, best, s, q0, start, n_before, n_found, cap)
    for f in range(n_found):
        score_pair(jobs, work, best, s, q0, start, f, cap)


@inner
def _search(jobs, work, best, s, piece, cap):
    """One piece of the work."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    k, words, stretch = best.k, (work.queries.shape[1] + 3) // 4, len(s.scales)
    if _is_small(last - first, n_queries, cap, k):
        for q in range(n_queries):
            _take_all(jobs, work, best, s, q0, q, first, last, cap)
        return
    take_queries(jobs, work, best, q0, n_queries, s)
    table_codes(work, s, q0, n_queries)
    s.counts[:] = 0
    if can_alone(n_queries, work):
        search_alone(jobs, work, best, s, piece, cap)
        return
    is_safe = s.safe[:n_queries].all()
    start = first
    while start < last:
        n = min(stretch if start == first else min(LATER, stretch), last - start)
        bring_in(jobs, work, s, start, n, last)
        is_known = start == first and n > k and is_safe
        for lane0 in range(0, n_queries, LANES):
            n_lanes = min(LANES, n_queries - lane0)
            let_pass(work, s, start - first, n, q0, lane0, n_lanes)
            if is_known:
                seed(jobs, s, words, n, lane0, n_lanes, k)
        _search_stretch(jobs, work, best, s, start, n, q0, n_queries, cap, is_known)
        start += n
        for q in range(n_queries):
            if start == last or s.n_new[q] > k // 4:
                sort_in(best, s, q0, q, cap)
                raise_limit(best, s, q0, q)
    for q in range(n_queries if len(work.numbers) else 0):
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
        d, k = work.queries.shape[1], best.k
        for thread in prange(threads):
            s = make_scratch(most, stretch, d, k, cap, len(work.low), len(work.numbers), work.tables[-1])
            if HAS_TILES:
                simd_int8.configure(s.tiles)
            for p in range(thread, len(work.pieces), threads):
                _search(jobs, work, best, s, work.pieces[p], cap)
            if HAS_TILES:
                simd_int8.release()

    @njit(parallel=True, nogil=True, cache=True)
    def decode(n_best, rows, sorted_ids, ids, scores):
        """The `n_best[i]` keys that lie in row `rows[i]` of `ids` become ids and scores; after them is no hit."""
        _ = sources
        for i in prange(len(rows)):
            cell, row = np.zeros(1, dtype=np.float32), rows[i]
            for j in range(n_best[i]):
                key = np.uint64(ids[row, j])
                ids[row, j] = sorted_ids[np.int64(key & np.uint64(0xFFFFFFFF))]
                scores[row, j] = key_score(key, cell)
            for j in range(n_best[i], ids.shape[1]):
                ids[row, j] = -1
                scores[row, j] = -np.inf

    return score, decode


score, decode = _entries(f"{compiled.digest(*INNER_FILES)} {HAS_TILES}")
