"""A query that shares its candidates with no other: a row's codes lie in the lanes, not sixteen queries.

The bounds are those of `score_bounds`, of sixteen rows at a time.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.score_final import settle
from gpu_retrieval.score_state import LINE, inline, inner
from gpu_retrieval.score_waiting import prune
from gpu_retrieval.simd import LANES

# Rows that are asked for before their turn.
AHEAD = 32
# Places in `sums`: the query's codes, then sixteen rows' sums, their numbers, and their ranks in up to four ranges.
MOST_WORDS = 512
SUMS, ROWS, RANKS = MOST_WORDS, MOST_WORDS + LANES, MOST_WORDS + 2 * LANES
# Rows taken in between two prunings.
BATCH = 2048


@inline
def can_alone(n_queries, work):
    """Whether there is one query, and its codes fill registers."""
    words = (work.queries.shape[1] + 3) // 4
    return n_queries == 1 and words % LANES == 0 and words <= MOST_WORDS


@inline
def _ask_for(jobs, work, place, words):
    row = np.int64(work.rows[place])
    at = row * (words + 2)
    for j in range(0, words + 2, LINE):
        simd.prefetch(jobs.coarse, at + j)
    simd.prefetch(jobs.coarse, at + words + 1)
    for r in range(len(work.numbers)):
        simd.prefetch(work.numbers[r], row)


@inline
def _bring_in(jobs, work, s, start, n, words):
    """Sums of n rows from `start` on with the query, and beside them what their bounds need, side by side."""
    for i in range(n):
        row = np.int64(work.rows[start + i])
        at, sums = row * (words + 2), simd.spread(np.int32(0))
        for j in range(0, words, LANES):
            sums = simd.dot4(sums, simd.load(jobs.coarse, at + j), simd.load(s.sums, j))
        s.sums[SUMS + i] = simd.total(sums) + s.offsets[0]
        s.sums[ROWS + i] = row
        s.lowers[i], s.lowers[LANES + i] = jobs.scales[at + words], jobs.scales[at + words + 1]
        if len(jobs.priors):
            s.lowers[2 * LANES + i] = jobs.priors[jobs.base + row]
        for r in range(len(work.numbers)):
            s.sums[RANKS + r * LANES + i] = work.numbers[r, row]


@inline
def _passing(work, s, cells, n):
    """The rows, as bits, that pass the query's ranges, and of those the ones that its mask lets pass."""
    passing, width = np.uint64((1 << n) - 1), len(s.limits)
    for r in range(len(work.numbers)):
        first, last = simd.spread(s.low[r * width]), simd.spread(s.high[r * width])
        passing &= simd.between(simd.load(s.sums, RANKS + r * LANES), first, last)
    unmasked = passing
    if len(work.mask):
        for i in range(n):
            unmasked &= ~(np.uint64(not work.mask[cells + i]) << np.uint64(i))
    return passing, unmasked


@inner
def _settle_held(jobs, work, best, s, q, cap):
    """All that waits, some at a time: there is room to sort so many."""
    for first in range(0, s.n_held[0], cap):
        held = s.held[first : min(first + cap, s.n_held[0])]
        best.n_keys[q] = settle(jobs, work.queries[q], best.keys[q], best.n_keys[q], held, s)
    s.n_held[0] = 0


@inner
def search_alone(jobs, work, best, s, piece, cap):
    """One piece of one query, whose codes and limit are there; all the room for rows in waiting is its own."""
    first, last, q = piece[0], piece[1], piece[2]
    k, words = best.keys.shape[1], (work.queries.shape[1] + 3) // 4
    codes, room, next_prune = s.codes.view(np.int32), len(s.held) // LANES * LANES, k + BATCH
    for j in range(words):
        s.sums[j] = codes[j * LANES]
    errors, reach, down = simd.spread(s.errors[0]), simd.spread(s.reach[0]), simd.spread(np.float32(-2))
    errors_down, reach_down = simd.times(errors, down), simd.times(reach, down)
    for place in range(first, min(first + AHEAD, last)):
        _ask_for(jobs, work, place, words)
    for start in range(first, last, LANES):
        n = min(LANES, last - start)
        for place in range(start + AHEAD, min(start + AHEAD + LANES, last)):
            _ask_for(jobs, work, place, words)
        _bring_in(jobs, work, s, start, n, words)
        scale, length = simd.load(s.lowers, 0), simd.load(s.lowers, LANES)
        upper = simd.times_plus(simd.as_floats(simd.load(s.sums, SUMS)), scale, simd.times(length, errors))
        if len(jobs.priors):
            upper = simd.times_plus(simd.load(s.lowers, 2 * LANES), simd.spread(s.units[0]), upper)
        lower = simd.times_plus(length, errors_down, simd.times_plus(scale, reach_down, upper))
        passing, kept = _passing(work, s, work.offsets[q] + start - first if len(work.mask) else 0, n)
        s.counts[0] += simd.count_bits(passing)
        kept &= simd.not_below(upper, simd.spread(s.limits[0]))
        simd.store_some(s.upper, s.n_held[0], upper, kept)
        simd.store_some(s.lower, s.n_held[0], lower, kept)
        simd.store_some(s.held, s.n_held[0], simd.load(s.sums, ROWS), kept)
        s.n_held[0] += simd.count_bits(kept)
        if s.n_held[0] > min(next_prune, room - LANES):
            if s.safe[0]:
                prune(s, 0, room, k)
            if s.n_held[0] > room // 2:
                _settle_held(jobs, work, best, s, q, cap)
            next_prune = s.n_held[0] + BATCH
    if s.safe[0]:
        prune(s, 0, room, k)
    _settle_held(jobs, work, best, s, q, cap)
    if len(work.numbers):
        best.n_matches[q] += s.counts[0]
