"""A stretch of candidate rows: brought in once, side by side, for all queries of a piece; whom each passes; products.

Sixteen queries are scored at a time, one a lane. Where the processor has int8 tiles (AMX), sixteen rows meet them in
one instruction for every 64 components; else a row's int8 codes are spread over the lanes and meet the queries' codes,
four components an instruction.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd, simd_int8
from gpu_retrieval.loops.score_state import LINE, TOGETHER, inline, inner, row_words
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.simd_int8 import CODE_BYTES
from gpu_retrieval.loops.simd_types import HAS_TILES

# How far ahead rows are asked for.
AHEAD = 24
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
def bring_in(jobs, work, s, start, step, n, more):
    """The n rows at every `step`-th place from `start` on are the stretch; of `more`, the next ones are asked for."""
    words, stretch = (work.queries.shape[1] + 3) // 4, len(s.scales)
    wide, whole = row_words(words), words // LANES * LANES
    for i in range(min(AHEAD, more)):
        ask_for_codes(jobs, work, start + i * step, words)
    i = 0
    while i < n:
        row = np.int64(work.rows[start + i * step])
        if step == 1 and n - i >= LANES and wide == words * CODE_BYTES and _are_neighbours(work, start + i):
            _bring_in_neighbours(jobs, work, s, i, row, words)
            i += LANES
            continue
        if i + AHEAD < more:
            ask_for_codes(jobs, work, start + (i + AHEAD) * step, words)
        at, into = row * words, i * wide
        for j in range(0, whole, LANES):
            simd_int8.take_words(s.rows, into + j * CODE_BYTES, jobs.coarse, at + j)
        for j in range(whole, words):
            simd_int8.take_word(s.rows, into + j * CODE_BYTES, jobs.coarse, at + j)
        s.scales[i], s.lengths[i] = jobs.bounds[2 * row], jobs.bounds[2 * row + 1]
        if len(jobs.priors):
            s.priors[i] = jobs.priors[jobs.base + row]
        for r in range(len(work.numbers)):
            s.ranks[r * stretch + i] = work.numbers[r, row]
        ask_for_lists(work, row)
        i += 1


@inline
def _are_neighbours(work, place):
    """Whether the sixteen rows from a place on follow one another in memory."""
    rows = simd.numbered_from(work.rows[place])
    return simd.between(simd.load(work.rows, place), rows, rows) == np.uint64((1 << LANES) - 1)


@inline
def _bring_in_neighbours(jobs, work, s, i, row, words):
    """Sixteen neighbours from `row` on, which the processor sees coming, into the stretch from `i` on."""
    stretch = len(s.scales)
    for j in range(0, LANES * words, LANES):
        simd_int8.take_words(s.rows, (i * words + j) * CODE_BYTES, jobs.coarse, row * words + j)
    simd.store(s.scales, i, simd.load_firsts(jobs.bounds, 2 * row))
    simd.store(s.lengths, i, simd.load_seconds(jobs.bounds, 2 * row))
    if len(jobs.priors):
        simd.store(s.priors, i, simd.load(jobs.priors, jobs.base + row))
    for r in range(len(work.numbers)):
        simd.store(s.ranks, r * stretch + i, simd.load(work.numbers[r], row))
    for lane in range(LANES if len(work.lists) else 0):
        ask_for_lists(work, row + lane)


@inline
def ask_for_lists(work, row):
    """The lists of a row's codes are read soon."""
    for field in range(len(work.spans) if len(work.lists) else 0):
        number = work.numbers[len(work.low) + field, row]
        if number < 0:
            simd.prefetch(work.lists, np.int64(~number))


@inner
def table_codes(work, s, q0, n_queries):
    """Makes `tables`: for each sixteen of the queries and each code, a bit for each query that lets it pass."""
    n_codes = work.tables[-1]
    if n_codes:
        s.tables[: (n_queries + LANES - 1) // LANES * n_codes] = 0
    for field in range(len(work.spans)):
        for q in range(n_queries):
            lane, first, last = np.uint16(1 << (q % LANES)), work.spans[field, q0 + q, 0], work.spans[field, q0 + q, 1]
            at = q // LANES * n_codes
            table = s.tables[at + work.tables[field] : at + work.tables[field + 1]]
            if first < 0 and not work.is_none_of[field]:
                for code in range(len(table)):
                    table[code] |= lane
            for i in range(first, last):
                table[work.terms[i]] |= lane


@inline
def of_codes(work, field, table, number):
    """What a table of a field's codes has for a row's, that of any of them: a bit for each query which it is let pass.

    `number` is the row's of the field.
    """
    if number >= 0:
        lanes = table[np.uint64(number)]
    else:
        at = np.int64(~number)
        code, lanes = work.lists[at], np.uint16(0)
        while code >= 0:
            lanes |= table[np.uint64(code)]
            at += 1
            code = work.lists[at]
        lanes |= table[np.uint64(~code)]
    return lanes ^ np.uint16(0xFFFF if work.is_none_of[field] else 0)


@inline
def has_codes(work, query, row):
    """Whether a query lets a row's codes of the fields of terms pass, without the tables."""
    passes, holds = True, False
    for field in range(len(work.spans)):
        holds |= _has_codes(work, field, query, work.numbers[len(work.low) + field, row])
        if work.is_last[field]:
            passes, holds = passes and holds, False
    return passes


@inline
def _has_codes(work, field, query, number):
    first, last = work.spans[field, query, 0], work.spans[field, query, 1]
    if first < 0:
        return True
    if number >= 0:
        return _has(work.terms, first, last, number) != work.is_none_of[field]
    at, has = np.int64(~number), False
    while not has and work.lists[at] >= 0:
        has = _has(work.terms, first, last, work.lists[at])
        at += 1
    return (has or _has(work.terms, first, last, ~work.lists[at])) != work.is_none_of[field]


@inline
def n_excluded(work, query):
    """How many rows a query is not to be shown."""
    return work.excluded_spans[query, 1] - work.excluded_spans[query, 0] if len(work.excluded_spans) else 0


@inline
def is_excluded(work, query, row):
    """Whether the query is not to be shown the row."""
    return _has(work.excluded, work.excluded_spans[query, 0], work.excluded_spans[query, 1], row)


@inline
def may_be_excluded(s, q, row):
    """False of most rows that are not, without a look at the list."""
    return (s.excluded[q] >> (np.uint64(row) & np.uint64(63))) & np.uint64(1) != np.uint64(0)


@inline
def _has(values, low, last, value):
    """Whether the ascending values[low:last] have one."""
    at = place_of(values, low, last, value)
    return at < last and values[at] == value


@inline
def place_of(values, low, high, value):
    """The first place of the ascending values[low:high] whose value is not below one; `high` without any."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def let_pass(work, s, cells, step, n, q0, lane0, n_lanes):
    """Which of the queries from `lane0` on let each of the stretch's n rows pass.

    The rows have every `step`-th of a query's cells of the mask, its `cells`-th and on.
    """
    everyone, width, stretch = np.uint64((1 << n_lanes) - 1), len(s.limits), len(s.scales)
    n_ranges, passing = len(work.low), s.passing
    passing[:n] = np.uint16(everyone)
    # What is read with the last rows passes nobody.
    passing[n : (n + TOGETHER - 1) // TOGETHER * TOGETHER] = 0
    for field in range(len(work.spans)):
        table = s.tables[lane0 // LANES * work.tables[-1] + work.tables[field] :]
        codes = s.ranks[(n_ranges + field) * stretch :]
        is_first, is_last, either = field == 0 or work.is_last[field - 1], work.is_last[field], s.either
        for i in range(n):
            holding = of_codes(work, field, table, codes[i])
            if not is_first:
                holding |= either[i]
            if is_last:
                passing[i] &= holding
            else:
                either[i] = holding
    counts = simd.load(s.counts, lane0)
    for r in range(n_ranges):
        low, high = simd.load(s.low, r * width + lane0), simd.load(s.high, r * width + lane0)
        for i in range(n):
            lanes = np.uint64(passing[i]) & simd.between(simd.spread_at(s.ranks, r * stretch + i), low, high)
            passing[i] = np.uint16(lanes)
            if r == n_ranges - 1:
                counts = simd.count_in(counts, lanes)
    for i in range(n if n_ranges == 0 and len(work.spans) else 0):
        counts = simd.count_in(counts, np.uint64(passing[i]))
    simd.store(s.counts, lane0, counts)
    for lane in range(n_lanes if len(work.mask) else 0):
        cell = work.offsets[q0 + lane0 + lane] + cells
        for i in range(n):
            passing[i] &= ~(np.uint16(not work.mask[cell + i * step]) << np.uint16(lane))


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
    codes, offsets, wide = s.codes.view(np.int32), simd.load(s.offsets, lane0), row_words(words)
    for i in range(0, n, simd_int8.ROWS_AT_ONCE):
        simd_int8.dot_rows(s.rows, (at + i) * wide, wide, codes, lane0 * wide, wide, offsets, s.sums, i * LANES)
