"""The scoring of candidates on the CPU: int8 products that a bound makes safe, selection, final scores.

A piece of work is some candidate rows against up to 128 queries. The products (`score_rows`) are within a known
distance of the final scores (`score_bounds`), so that a row whose upper bound lies below the k-th best lower bound can
be dropped unseen (the VA-file's filter step: Weber, Schek, Blott, VLDB 1998). What that limit will be is guessed from a
sample of the rows first (as SELECT does: Floyd and Rivest, CACM 18(3), 1975), so that only rows which reach the guess
are held, and pruned by the limit that they give (`score_held`). Where that turns out lower than the guess, the rows are
met once more. What is left is scored again from the originals (`score_final`), and only that second score decides what
is returned; it adds in the order of `scan.final_score_bits`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from gpu_retrieval.loops import SOURCES, simd_int8
from gpu_retrieval.loops.score_alone import can_alone, search_alone
from gpu_retrieval.loops.score_bounds import find_reaching, guess, has_limits, hold_found, take_queries
from gpu_retrieval.loops.score_final import key_score, score_rows
from gpu_retrieval.loops.score_held import finish
from gpu_retrieval.loops.score_rows import bring_in, has_codes, is_excluded, let_pass, n_excluded, table_codes
from gpu_retrieval.loops.score_state import (
    BLOCK,
    STRETCH,
    Best,
    Jobs,
    Work,
    held_rows,
    inline,
    make_scratch,
    once,
    scratch_bytes,
    table_bytes,
    wanted_of,
)
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.simd_types import HAS_TILES
from gpu_retrieval.loops.threads import n_threads, on_threads
from gpu_retrieval.stored.quantize import Coarse

__all__ = [
    "BLOCK", "Best", "Jobs", "Work", "decode", "fixed", "held_rows", "jobs_of", "n_threads", "score", "scratch_bytes",
    "table_bytes",
]  # fmt: skip


def fixed(array: np.ndarray) -> np.ndarray:
    """A view that is read only, as arrays of a loaded index are: one compiled form for both."""
    view = array.view()
    view.flags.writeable = False
    return view


def jobs_of(coarse: Coarse, vectors: np.ndarray, ranks: np.ndarray, prior: np.ndarray | None, base: int) -> Jobs:
    """The segment whose first row is `base` in the order of ids, of which `ranks` and `prior` are."""
    priors = np.empty(0, dtype=np.float32) if prior is None else prior
    return Jobs(
        fixed(coarse.rows.reshape(-1)),
        fixed(coarse.bounds.reshape(-1)),
        coarse.widest,
        coarse.longest,
        fixed(vectors.reshape(-1)),
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
def _take_all(jobs, work, best, s, query, first, last, cap):
    """Every eligible row of a small piece, straight to its final score."""
    n = 0
    for place in range(first, last):
        row = np.int64(work.rows[place])
        passes = len(work.mask) == 0 or work.mask[work.offsets[query] + place - first]
        for r in range(len(work.low)):
            number = work.numbers[r, row]
            passes &= (number >= work.low[r, query]) & (number <= work.high[r, query])
        passes &= has_codes(work, query, row)
        if len(work.numbers):
            best.n_matches[query] += passes
        if len(work.excluded_spans):
            passes &= not is_excluded(work, query, row)
        s.held[n] = row
        n += passes
    score_rows(jobs, work, best, s, query, s.held[:n], cap)


@inline
def sample_step(n, k, room):
    """Which part of n rows is a sample, of at most `room` rows: every how manieth.

    The more rows the dearer the sample, the fewer the lower the guess and the more rows reach it: the least of both
    grows with the root of n / k, and its factor was found by trying.
    """
    return max(int(2 * np.sqrt(n / k)), (n + room - 1) // room)


@inline
def _guess(jobs, work, s, piece, k):
    """Guesses the queries' k-th scores from every so manieth row."""
    first, n, q0, n_queries = piece[0], piece[1] - piece[0], piece[2], piece[3] - piece[2]
    step = sample_step(n, k, len(s.scales))
    n_sample, room = n // step, wanted_of(k / 2)
    if 4 * wanted_of(k / step) > 3 * n_sample:
        return
    bring_in(jobs, work, s, first, step, n_sample, n_sample)
    for lane0 in range(0, n_queries, LANES):
        n_lanes, most_excluded = min(LANES, n_queries - lane0), 0
        for q in range(q0 + lane0, q0 + lane0 + n_lanes):
            most_excluded = max(most_excluded, n_excluded(work, q))
        # As if all of them were among the best.
        wanted = wanted_of((k + most_excluded) / step)
        if wanted <= room and 4 * wanted <= 3 * n_sample:
            let_pass(work, s, np.int64(0), step, n_sample, q0, lane0, n_lanes)
            guess(jobs, s, (work.queries.shape[1] + 3) // 4, n_sample, lane0, n_lanes, wanted)
    # The sample's matches are met again with all rows.
    s.counts[:] = 0


@once
def _meet_all(jobs, work, best, s, piece, cap):
    """All rows of a piece, a stretch at a time: what is in reach is held, and at last scored."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    words, stretch = (work.queries.shape[1] + 3) // 4, min(STRETCH, len(s.scales))
    for start in range(first, last, stretch):
        n = min(stretch, last - start)
        bring_in(jobs, work, s, start, np.int64(1), n, last - start)
        for lane0 in range(0, n_queries, LANES):
            if not has_limits(s, lane0):
                continue
            n_lanes = min(LANES, n_queries - lane0)
            let_pass(work, s, start - first, np.int64(1), n, q0, lane0, n_lanes)
            n_found = find_reaching(jobs, s, words, n, lane0)
            hold_found(jobs, work, best, s, start, n_found, q0, lane0, cap)
    for q in range(n_queries):
        finish(jobs, work, best, s, q, q0 + q, cap)


@inline
def _is_left(s, n_queries):
    """Whether any query's guess was too high; if so, those alone hold what they have not met when all is met again."""
    is_left = False
    for q in range(n_queries):
        if s.limits[q] < s.guesses[q]:
            s.ceilings[q], s.guesses[q], is_left = s.guesses[q], -np.inf, True
        else:
            s.limits[q] = np.inf
    return is_left


@once
def _search(jobs, work, best, s, piece, cap):
    """One piece of the work."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    k = best.k
    if _is_small(last - first, n_queries, cap, k):
        for q in range(n_queries):
            _take_all(jobs, work, best, s, q0 + q, first, last, cap)
        return
    take_queries(jobs, work, best, q0, n_queries, s)
    table_codes(work, s, q0, n_queries)
    s.counts[:] = 0
    if can_alone(n_queries, work):
        search_alone(jobs, work, best, s, piece, cap)
        return
    if s.safe[:n_queries].all():
        _guess(jobs, work, s, piece, k)
    # A second time where a guess was too high; matches are counted the first.
    for met in range(2):
        _meet_all(jobs, work, best, s, piece, cap)
        for q in range(n_queries if met == 0 and len(work.numbers) else 0):
            best.n_matches[q0 + q] += s.counts[q]
        if not _is_left(s, n_queries):
            break


def _entries(sources: str) -> tuple[Any, Any]:
    """The loops that are called from outside, kept compiled on disk.

    Numba sees a change in the file of such a function and in what it closes over, not in other files whose
    functions it calls: `sources` stands for those.
    """

    @njit(nogil=True, cache=True)
    def score(jobs, work, best, most, stretch, cap, thread, threads):
        """The pieces of one thread."""
        _ = sources
        d, k = work.queries.shape[1], best.k
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


_score, decode = _entries(f"{SOURCES} {HAS_TILES}")


def score(jobs: Jobs, work: Work, best: Best, most: int, stretch: int, cap: int, threads: int) -> None:
    """Takes every candidate of every piece, of `most` queries or fewer, into the best."""
    on_threads(_score, min(threads, len(work.pieces)), jobs, work, best, most, stretch, cap)
