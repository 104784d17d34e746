"""A stretch of candidate rows: brought in once, side by side, for all queries of a piece; whom each passes; products.

Sixteen queries are scored at a time, one a lane. Where the processor has int8 tiles (AMX), sixteen rows meet them in
one instruction for every 64 components; else a row's int8 codes are spread over the lanes and meet the queries' codes,
four components an instruction.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd, simd_int8
from gpu_retrieval.score_state import LINE, inline, inner, row_words
from gpu_retrieval.simd import LANES
from gpu_retrieval.simd_types import HAS_TILES

# How far ahead rows are asked for.
AHEAD = 24
# Rows a step of the products without tiles.
STEP = 8
WORD, TILE = 4, simd_int8.TILE_BYTES


@inline
def ask_for_codes(jobs, work, place, words):
    """The codes of the row at a place, what its bounds need, and its ranks are read soon."""
    row = np.int64(work.rows[place])
    for j in range(0, words, LINE):
        simd.prefetch(jobs.coarse, row * words + j)
    simd.prefetch(jobs.bounds, 2 * row)
    if words % LINE:
        simd.prefetch(jobs.coarse, row * words + words - 1)
    for r in range(len(work.numbers)):
        simd.prefetch(work.numbers[r], row)


@inner
def bring_in(jobs, work, s, start, n, end):
    """The n rows from `start` on become the stretch; what comes after them, up to `end`, is asked for."""
    words, stretch = (work.queries.shape[1] + 3) // 4, len(s.scales)
    wide, whole = row_words(words), words // LANES * LANES
    for place in range(start, min(start + AHEAD, end)):
        ask_for_codes(jobs, work, place, words)
    for i in range(n):
        if start + i + AHEAD < end:
            ask_for_codes(jobs, work, start + i + AHEAD, words)
        row = np.int64(work.rows[start + i])
        at, into = row * words, i * wide
        for j in range(0, whole, LANES):
            simd.store(s.rows, into + j, simd.load(jobs.coarse, at + j))
        for j in range(whole, words):
            s.rows[into + j] = jobs.coarse[at + j]
        s.scales[i], s.lengths[i] = jobs.bounds[2 * row], jobs.bounds[2 * row + 1]
        if len(jobs.priors):
            s.priors[i] = jobs.priors[jobs.base + row]
        for r in range(len(work.numbers)):
            s.ranks[r * stretch + i] = work.numbers[r, row]


@inner
def let_pass(work, s, cells, n, q0, lane0, n_lanes):
    """Which of the queries from `lane0` on let each of the stretch's n rows pass, the stretch `cells` into a mask."""
    everyone, width, stretch = np.uint64((1 << n_lanes) - 1), len(s.limits), len(s.scales)
    n_ranges, passing = len(work.numbers), s.passing[lane0 // LANES * stretch :]
    if n_ranges == 0:
        passing[:n] = np.uint16(everyone)
    counts = simd.load(s.counts, lane0)
    for r in range(n_ranges):
        low, high = simd.load(s.low, r * width + lane0), simd.load(s.high, r * width + lane0)
        for i in range(n):
            lanes = everyone if r == 0 else np.uint64(passing[i])
            lanes &= simd.between(simd.spread_at(s.ranks, r * stretch + i), low, high)
            passing[i] = np.uint16(lanes)
            if r == n_ranges - 1:
                counts = simd.count_in(counts, lanes)
    simd.store(s.counts, lane0, counts)
    for lane in range(n_lanes if len(work.mask) else 0):
        cell = work.offsets[q0 + lane0 + lane] + cells
        for i in range(n):
            passing[i] &= ~(np.uint16(not work.mask[cell + i]) << np.uint16(lane))


@inline
def products(s, words, at, n, lane0):
    """(BLOCK, LANES) int32 `sums` of n rows of the stretch from `at` on and the sixteen queries from `lane0` on."""
    if HAS_TILES:
        _products_of_tiles(s, words, at, lane0)
    else:
        _products_of_lanes(s, words, at, n, lane0)


@inline
def _products_of_tiles(s, words, at, lane0):
    wide = row_words(words)
    simd_int8.load_sums0(s.offsets, lane0, 0)
    simd_int8.load_sums1(s.offsets, lane0, 0)
    simd_int8.load_sums2(s.offsets, lane0, 0)
    simd_int8.load_sums3(s.offsets, lane0, 0)
    codes, stride = s.codes.view(np.int32), WORD * wide
    for j in range(0, wide, LANES):
        first = at * wide + j
        simd_int8.load_queries(codes, (lane0 * words) + j * LANES, TILE)
        simd_int8.load_rows0(s.rows, first, stride)
        simd_int8.dot0()
        simd_int8.load_rows1(s.rows, first + LANES * wide, stride)
        simd_int8.dot1()
        simd_int8.load_rows2(s.rows, first + 2 * LANES * wide, stride)
        simd_int8.dot2()
        simd_int8.load_rows0(s.rows, first + 3 * LANES * wide, stride)
        simd_int8.dot3()
    simd_int8.store_sums0(s.sums, 0, TILE)
    simd_int8.store_sums1(s.sums, LANES * LANES, TILE)
    simd_int8.store_sums2(s.sums, 2 * LANES * LANES, TILE)
    simd_int8.store_sums3(s.sums, 3 * LANES * LANES, TILE)


@inline
def _products_of_lanes(s, words, at, n, lane0):
    codes, first = s.codes.view(np.int32), lane0 * words
    rows = s.rows
    for step in range(0, n, STEP):
        b0 = (at + step) * words
        b1 = b0 + words
        b2 = b1 + words
        b3 = b2 + words
        b4 = b3 + words
        b5 = b4 + words
        b6 = b5 + words
        b7 = b6 + words
        t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = simd.load(s.offsets, lane0)
        for j in range(words):
            right = simd.load(codes, first + j * LANES)
            t0 = simd_int8.dot4(t0, simd.spread_at(rows, b0 + j), right)
            t1 = simd_int8.dot4(t1, simd.spread_at(rows, b1 + j), right)
            t2 = simd_int8.dot4(t2, simd.spread_at(rows, b2 + j), right)
            t3 = simd_int8.dot4(t3, simd.spread_at(rows, b3 + j), right)
            t4 = simd_int8.dot4(t4, simd.spread_at(rows, b4 + j), right)
            t5 = simd_int8.dot4(t5, simd.spread_at(rows, b5 + j), right)
            t6 = simd_int8.dot4(t6, simd.spread_at(rows, b6 + j), right)
            t7 = simd_int8.dot4(t7, simd.spread_at(rows, b7 + j), right)
        into = step * LANES
        simd.store(s.sums, into + 0 * LANES, t0)
        simd.store(s.sums, into + 1 * LANES, t1)
        simd.store(s.sums, into + 2 * LANES, t2)
        simd.store(s.sums, into + 3 * LANES, t3)
        simd.store(s.sums, into + 4 * LANES, t4)
        simd.store(s.sums, into + 5 * LANES, t5)
        simd.store(s.sums, into + 6 * LANES, t6)
        simd.store(s.sums, into + 7 * LANES, t7)
