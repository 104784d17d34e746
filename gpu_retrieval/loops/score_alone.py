"""A query that shares its candidates with no other: a row's codes lie in the lanes, not sixteen queries.

The bounds are those of `score_bounds`, of sixteen rows at a time.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd, simd_int8
from gpu_retrieval.loops.score_held import prune, score_held
from gpu_retrieval.loops.score_rows import ask_for_codes, is_excluded, may_be_excluded, of_codes
from gpu_retrieval.loops.score_state import ALONE, inline, inner
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.simd_int8 import A_WORD

# Rows that are asked for before their turn.
AHEAD = 32
# Places in `sums`: the query's codes, then sixteen rows' sums, their numbers, and their ranks and codes in up to eight.
MOST_WORDS = 512
SUMS, ROWS, RANKS = MOST_WORDS, MOST_WORDS + LANES, MOST_WORDS + 2 * LANES


@inline
def can_alone(n_queries, work):
    """Whether there is one query, and its codes fill registers."""
    words = (work.queries.shape[1] + 3) // 4
    return n_queries == 1 and words % LANES == 0 and words <= MOST_WORDS


@inline
def _bring_in(jobs, work, s, start, n, words):
    """Sums of n rows from `start` on with the query, and beside them what their bounds need, side by side."""
    for i in range(n):
        row = np.int64(work.rows[start + i])
        at, sums = row * words, simd.spread(np.int32(0))
        for j in range(0, words, LANES):
            sums = simd_int8.dot4(sums, simd.load(jobs.coarse, at + j), simd.load(s.sums, j))
        s.sums[SUMS + i] = simd.total(sums) + s.offsets[0]
        s.sums[ROWS + i] = row
        s.scales[i], s.lengths[i] = jobs.bounds[2 * row], jobs.bounds[2 * row + 1]
        if len(jobs.priors):
            s.priors[i] = jobs.priors[jobs.base + row]
        for r in range(len(work.numbers)):
            s.sums[RANKS + r * LANES + i] = work.numbers[r, row]


@inline
def _passing(work, s, cells, n):
    """The rows, as bits, that pass the query's ranges and terms, and of those the ones that its mask lets pass."""
    passing, width = np.uint64((1 << n) - 1), len(s.limits)
    for r in range(len(work.low)):
        first, last = simd.spread(s.low[r * width]), simd.spread(s.high[r * width])
        passing &= simd.between(simd.load(s.sums, RANKS + r * LANES), first, last)
    holding = np.uint64(0)
    for field in range(len(work.spans)):
        codes = RANKS + (len(work.low) + field) * LANES
        for i in range(n):
            let = of_codes(work, field, s.tables[work.tables[field] :], s.sums[codes + i])
            holding |= np.uint64(let & np.uint16(1)) << np.uint64(i)
        if work.is_last[field]:
            passing, holding = passing & holding, np.uint64(0)
    unmasked = passing
    if len(work.mask):
        for i in range(n):
            unmasked &= ~(np.uint64(not work.mask[cells + i]) << np.uint64(i))
    return passing, unmasked


@inline
def _not_excluded(work, s, query, kept):
    """Those of the rows, as bits, that the query may be shown."""
    left = kept
    while left:
        i = simd.lowest_bit(left)
        row = s.sums[ROWS + i]
        if may_be_excluded(s, 0, row) and is_excluded(work, query, row):
            kept &= ~(np.uint64(1) << np.uint64(i))
        left &= left - np.uint64(1)
    return kept


@inner
def search_alone(jobs, work, best, s, piece, cap):
    """One piece of one query, whose codes and limit are there."""
    first, last, q0 = piece[0], piece[1], piece[2]
    k, words = best.k, (work.queries.shape[1] + 3) // 4
    codes, room, n_held, next_prune = s.sums.view(np.int8), len(s.held), np.int64(0), k + ALONE
    for j in range(4 * words):
        codes[j] = np.int8(s.codes[j // A_WORD * A_WORD * LANES + j % A_WORD])
    errors, reach, down = simd.spread(s.errors[0]), simd.spread(s.reach[0]), simd.spread(np.float32(-2))
    errors_down, reach_down = simd.times(errors, down), simd.times(reach, down)
    for place in range(first, min(first + AHEAD, last)):
        ask_for_codes(jobs, work, place, words)
    for start in range(first, last, LANES):
        n = min(LANES, last - start)
        for place in range(start + AHEAD, min(start + AHEAD + LANES, last)):
            ask_for_codes(jobs, work, place, words)
        _bring_in(jobs, work, s, start, n, words)
        scale, length = simd.load(s.scales, 0), simd.load(s.lengths, 0)
        upper = simd.times_plus(simd.as_floats(simd.load(s.sums, SUMS)), scale, simd.times(length, errors))
        if len(jobs.priors):
            upper = simd.times_plus(simd.load(s.priors, 0), simd.spread(s.units[0]), upper)
        lower = simd.times_plus(length, errors_down, simd.times_plus(scale, reach_down, upper))
        passing, kept = _passing(work, s, work.offsets[q0] + start - first if len(work.mask) else 0, n)
        s.counts[0] += simd.count_bits(passing)
        kept &= simd.not_below(upper, simd.spread(s.limits[0]))
        if len(work.excluded_spans):
            kept = _not_excluded(work, s, q0, kept)
        simd.store_packed(s.upper, n_held, upper, kept)
        simd.store_packed(s.lower, n_held, lower, kept)
        simd.store_packed(s.held, n_held, simd.load(s.sums, ROWS), kept)
        n_held += simd.count_bits(kept)
        if n_held > min(next_prune, room - LANES):
            n_held = prune(s, np.int64(0), np.int64(0), n_held, k)
            if n_held > room // 2:
                score_held(jobs, work, best, s, np.int64(0), q0, np.int64(0), n_held, cap)
                n_held = np.int64(0)
            next_prune = n_held + ALONE
    score_held(jobs, work, best, s, np.int64(0), q0, np.int64(0), prune(s, np.int64(0), np.int64(0), n_held, k), cap)
    if len(work.numbers):
        best.n_matches[q0] += s.counts[0]
