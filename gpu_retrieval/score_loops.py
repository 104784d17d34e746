"""The scoring of candidates on the CPU: int8 products that a bound makes safe, selection, final scores.

A piece of work is some candidate rows against up to 64 queries. Sixteen queries are scored at a time, one a
lane: the row's int8 codes are spread over the lanes and meet the queries' codes, four components an
instruction. What comes out is within a known distance of the final score (`Query bounds` below), so that a row
whose upper bound lies below the k-th best lower bound can be dropped unseen (the VA-file's filter step: Weber,
Schek, Blott, VLDB 1998). What is left is scored again from the originals, and only that second score,
`final_score`, decides what is returned; it adds in the order of `scan.final_score_bits`.

Query bounds. With q = s·a + e and v = t·b + f (a, b int8 codes, s, t scales, e, f residuals),
|q·v − s·t·a·b| ≤ |q||f| + |e||v − f|. In units of s: a row's |f| is at most `widest`·t and its |v − f| at most its
`length`, so that the bound is t·(|q|/s·widest) + length·(|e|/s). The first factor is a whole number added to a·b.
Roundings of float32, of the prior and of the final score itself are in the second, or taken off the limit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange

from gpu_retrieval import simd
from gpu_retrieval.quantize import FLOAT32_ROUNDING, SAFE_SCORE
from gpu_retrieval.simd import LANES
from gpu_retrieval.topk import NO_KEY

# Rows whose codes are brought in together, and rows a step of the product.
BLOCK, STEP = 64, 8
# Words of a cache line, and how far ahead rows are asked for.
LINE, AHEAD = 16, 32
# Keys that are sorted by counting, for each, those below it.
COUNTED = 320
# Loops that allocate nothing: without reference counts, of which a call with some dozen arrays has as many.
_INNER: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False}
_inner: Any = njit(**_INNER)
# Where the arguments alone, some hundreds of words, would cost more than what is done with them.
_inline: Any = njit(**_INNER, forceinline=True)


class Jobs(NamedTuple):
    """A segment: the rows of its `quantize.Coarse`, flat, as int32 and as float32, and float32 `vectors`, flat.

    `widest` and `longest` are over all rows. `priors` (rows,) float32, empty without; `ranks` (rows,) uint32 of
    the ids; both of all segments, this one's from `base`.
    """

    coarse: np.ndarray
    scales: np.ndarray
    widest: float
    longest: float
    vectors: np.ndarray
    priors: np.ndarray
    largest_prior: float
    ranks: np.ndarray
    base: int


class Work(NamedTuple):
    """Candidate `rows` int32, `pieces` (p, 4) int64 of first and last place there and first and last query.

    A query must pass, of each `numbers` (r, n) int32, the range [`low`, `high`] (r, queries) int32, and its cell of
    `mask`, flat over its candidates from `offsets`, where that is not empty. No query lies in two pieces.
    """

    rows: np.ndarray
    pieces: np.ndarray
    queries: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mask: np.ndarray
    offsets: np.ndarray


class Best(NamedTuple):
    """`keys` (queries, k) uint64, ascending, `n_keys` (queries,) of which are there; `n_matches` are added up."""

    keys: np.ndarray
    n_keys: np.ndarray
    n_matches: np.ndarray


class _Scratch(NamedTuple):
    """What a thread needs. `held` rows of each query wait with a lower and an upper bound of their score."""

    codes: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    reach: np.ndarray
    errors: np.ndarray
    slack: np.ndarray
    safe: np.ndarray
    limits: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    found: np.ndarray
    bounds: np.ndarray
    held: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    n_held: np.ndarray
    wide: np.ndarray
    products: np.ndarray
    pool: np.ndarray
    bits: np.ndarray


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


def held_rows(k: int) -> int:
    """Rows of a query that wait for their final score at most."""
    return (k + max(k // 2, 256) + LANES - 1) // LANES * LANES


def scratch_bytes(n_queries: int, d: int, k: int, n_ranges: int) -> int:
    """Bytes that a thread takes for pieces of so many queries."""
    alone = (d + 3) * 16 + BLOCK * (8 * LANES + 8) + 8 * (k + held_rows(k)) + 4096
    return alone + n_queries * (12 * held_rows(k) + d + 8 * n_ranges + 64)


@njit(nogil=True, cache=True)
def _make_scratch(n_queries, d, k, cap, n_ranges):
    words = (d + 3) // 4
    lanes = (n_queries + LANES - 1) // LANES * LANES
    return _Scratch(
        np.zeros(lanes * words * 4, np.int8),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.int32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float64),
        np.zeros(lanes, np.bool_),
        np.zeros(lanes, np.float32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(lanes, np.int32),
        np.zeros(BLOCK * LANES, np.int32),
        np.zeros(BLOCK, np.uint64),
        np.zeros(BLOCK * LANES, np.float32),
        np.zeros(n_queries * cap, np.int32),
        np.zeros(n_queries * cap, np.float32),
        np.zeros(n_queries * cap, np.float32),
        np.zeros(lanes, np.int64),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.zeros(k + cap + 8, np.uint64),
        np.zeros(1, np.float32),
    )


@_inline
def _products64(query, at, vectors, start):
    """Two of the eight registers of products of 64 components, the 32 components apart that are added first."""
    near = simd.times(simd.load(query, at), simd.load_wide(vectors, start + at))
    return simd.plus(near, simd.times(simd.load(query, at + 32), simd.load_wide(vectors, start + at + 32)))


@_inline
def final_score(query, vectors, left, row, prior, products):
    """The float32 score that is returned, summed as `scan.final_score_bits` sums; -0.0 is 0.0.

    `query` float64 and `products` have 8 places more than a vector has components.
    """
    start = row * left
    if left == 64:
        # The same additions without a way through memory.
        even = simd.plus(_products64(query, 0, vectors, start), _products64(query, 16, vectors, start))
        odd = simd.plus(_products64(query, 8, vectors, start), _products64(query, 24, vectors, start))
        total = simd.plus(even, odd)
        return np.float32(simd.fold(total) + prior) + np.float32(0)
    whole = left // 8 * 8
    for j in range(0, whole, 8):
        simd.store(products, j, simd.times(simd.load(query, j), simd.load_wide(vectors, start + j)))
    for j in range(whole, left):
        products[j] = query[j] * np.float64(vectors[start + j])
    while left >= 16 and left % 16 == 0:
        left //= 2
        for j in range(0, left, 8):
            simd.store(products, j, simd.plus(simd.load(products, j), simd.load(products, left + j)))
    while left > 1:
        half = left // 2
        for j in range(half):
            products[j] += products[left - half + j]
        left -= half
    return np.float32(products[0] + prior) + np.float32(0)


@_inline
def _key(bits, rank):
    """`topk.score_keys` of one score."""
    wide = np.uint64(bits)
    turned = wide if wide >> np.uint64(31) else wide ^ np.uint64(0x7FFFFFFF)
    return (turned << np.uint64(32)) | np.uint64(rank)


@_inline
def _key_score(key, cell):
    """`topk.key_scores` of one key; `cell` (1,) float32 is scratch."""
    turned = key >> np.uint64(32)
    cell.view(np.uint32)[0] = np.uint32(turned if turned >> np.uint64(31) else turned ^ np.uint64(0x7FFFFFFF))
    return cell[0]


@_inline
def _floor32(value):
    # Below the float64 by more than the rounding to float32 could add.
    return np.float32(value - abs(value) * 1e-6 - 1e-37)


@_inline
def _settled_limit(best, n_best, unit, slack, cell):
    """What a row's upper bound must reach, from final scores alone."""
    if n_best < len(best):
        return np.float32(-np.inf)
    return _floor32(np.float64(_key_score(best[len(best) - 1], cell)) * unit - slack)


@_inline
def _take_queries(jobs, work, best, q0, n, s):
    """Queries [q0, q0 + n) as codes, with what their bounds need."""
    d = work.queries.shape[1]
    words = (d + 3) // 4
    lanes = (n + LANES - 1) // LANES * LANES
    s.codes[: lanes * words * 4] = 0
    s.limits[:lanes] = np.inf
    s.n_held[:n] = 0
    for q in range(n):
        largest, total = np.float32(0), 0.0
        for j in range(d):
            x = work.queries[q0 + q, j]
            largest = max(largest, abs(x))
            total += np.float64(x) * np.float64(x)
        scale = max(np.float64(largest), 2.0**-100) / 127 if largest > 0 else 1.0
        unit, residual, sum_ = 1 / scale, 0.0, np.int32(0)
        place = (q // LANES) * words * 4 * LANES + (q % LANES) * 4
        for j in range(d):
            x = np.float64(work.queries[q0 + q, j])
            code = np.rint(x * unit)
            residual += (x - code * scale) ** 2
            sum_ += np.int32(code)
            s.codes[place + (j >> 2) * (4 * LANES) + (j & 3)] = np.int8(code)
        norm, residual = np.sqrt(total) * (1 + 1e-9), np.sqrt(residual) * (1 + 1e-9)
        reach = np.ceil(norm * unit * jobs.widest * (1 + 1e-6)) + 1
        largest_score = norm * jobs.longest + jobs.largest_prior
        s.safe[q] = largest_score < SAFE_SCORE and largest_score * unit < SAFE_SCORE
        s.units[q] = unit
        s.reach[q] = reach
        # A row's codes are met as code + 128, so that they are not negative.
        s.offsets[q] = np.int32(reach) - 128 * sum_
        s.errors[q] = (residual + 16 * FLOAT32_ROUNDING * (norm + residual)) * unit * (1 + 1e-6)
        s.slack[q] = (32 * FLOAT32_ROUNDING * jobs.largest_prior + 2.0**-139) * unit + 2.0**-119
        s.limits[q] = -np.inf
        if s.safe[q]:
            s.limits[q] = _settled_limit(best.keys[q0 + q], best.n_keys[q0 + q], unit, s.slack[q], s.bits)
        for r in range(len(work.low)):
            at = r * len(s.limits) + q
            s.low[at], s.high[at] = work.low[r, q0 + q], work.high[r, q0 + q]


@_inline
def _products(coarse, words, rows, start, n, end, codes, lane0, offsets, sums):
    """(n rounded up to STEP, LANES) int32 sums of `rows[start:start + n]` and the sixteen queries from `lane0` on."""
    stride, last, first = words + 2, start + n - 1, lane0 * words
    for step in range(0, n, STEP):
        begin = start + step
        if lane0 == 0:
            for ahead in range(begin + AHEAD, min(begin + AHEAD + STEP, end)):
                for j in range(0, stride, LINE):
                    simd.prefetch(coarse, np.int64(rows[ahead]) * stride + j)
                simd.prefetch(coarse, np.int64(rows[ahead]) * stride + stride - 1)
        b0 = np.int64(rows[min(begin + 0, last)]) * stride
        b1 = np.int64(rows[min(begin + 1, last)]) * stride
        b2 = np.int64(rows[min(begin + 2, last)]) * stride
        b3 = np.int64(rows[min(begin + 3, last)]) * stride
        b4 = np.int64(rows[min(begin + 4, last)]) * stride
        b5 = np.int64(rows[min(begin + 5, last)]) * stride
        b6 = np.int64(rows[min(begin + 6, last)]) * stride
        b7 = np.int64(rows[min(begin + 7, last)]) * stride
        t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = simd.load(offsets, lane0)
        for j in range(words):
            right = simd.load(codes, first + j * LANES)
            t0 = simd.dot4(t0, simd.spread_at(coarse, b0 + j), right)
            t1 = simd.dot4(t1, simd.spread_at(coarse, b1 + j), right)
            t2 = simd.dot4(t2, simd.spread_at(coarse, b2 + j), right)
            t3 = simd.dot4(t3, simd.spread_at(coarse, b3 + j), right)
            t4 = simd.dot4(t4, simd.spread_at(coarse, b4 + j), right)
            t5 = simd.dot4(t5, simd.spread_at(coarse, b5 + j), right)
            t6 = simd.dot4(t6, simd.spread_at(coarse, b6 + j), right)
            t7 = simd.dot4(t7, simd.spread_at(coarse, b7 + j), right)
        at = step * LANES
        simd.store(sums, at + 0 * LANES, t0)
        simd.store(sums, at + 1 * LANES, t1)
        simd.store(sums, at + 2 * LANES, t2)
        simd.store(sums, at + 3 * LANES, t3)
        simd.store(sums, at + 4 * LANES, t4)
        simd.store(sums, at + 5 * LANES, t5)
        simd.store(sums, at + 6 * LANES, t6)
        simd.store(sums, at + 7 * LANES, t7)


@_inner
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
    s.limits[q] = max(s.limits[q], _floor32(np.float64(least) - s.slack[q]))
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


@_inner
def _sort(keys, size):
    """Shell's sort, in gaps of 3h + 1 (Knuth 5.2.1): Numba's own allocates."""
    gap = 1
    while 3 * gap < size:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, size):
            key, at = keys[i], i
            while at >= gap and keys[at - gap] > key:
                keys[at] = keys[at - gap]
                at -= gap
            keys[at] = key
        gap //= 3


@_inner
def _least(keys, size, best, kept):
    """The `kept` least of `size` different keys into `best`, ascending; `keys` has a register's room beyond them."""
    if size > COUNTED:
        _sort(keys, size)
        for i in range(kept):
            best[i] = keys[i]
        return
    for i in range(size, size + 8):
        keys[i] = NO_KEY
    for i in range(size):
        key, before = simd.spread(keys[i]), 0
        for j in range(0, size, 8):
            before += simd.count_bits(simd.below(simd.load(keys, j), key))
        if before < kept:
            best[before] = keys[i]


@_inner
def _settle(jobs, query, best, n_best, held, s):
    """Scores `held` rows for good and merges them into the sorted keys of `best`; how many there are now."""
    d, k = len(query), len(best)
    bits = s.bits.view(np.uint32)
    for j in range(d):
        s.wide[j] = query[j]
    for i in range(n_best):
        s.pool[i] = best[i]
    size, last = n_best, best[k - 1]
    for i in range(len(held)):
        if i + 4 < len(held):
            for j in range(0, d, LINE):
                simd.prefetch(jobs.vectors, np.int64(held[i + 4]) * d + j)
        row = np.int64(held[i])
        prior = np.float64(jobs.priors[jobs.base + row]) if len(jobs.priors) else 0.0
        s.bits[0] = final_score(s.wide, jobs.vectors, d, row, prior, s.products)
        key = _key(bits[0], jobs.ranks[jobs.base + row])
        s.pool[size] = key
        size += key < last
    kept = min(size, k)
    _least(s.pool, size, best, kept)
    return kept


@_inner
def _make_room(jobs, work, best, s, q0, q, cap, k):
    """Fewer rows in waiting for a query: by their bounds or, where those cannot tell, by their final scores."""
    if s.safe[q]:
        _prune(s, q, cap, k)
    n = s.n_held[q]
    if n > k + (cap - k) // 2:
        held = s.held[q * cap : q * cap + n]
        keys = best.keys[q0 + q]
        best.n_keys[q0 + q] = _settle(jobs, work.queries[q0 + q], keys, best.n_keys[q0 + q], held, s)
        s.n_held[q] = 0
        if s.safe[q]:
            limit = _settled_limit(keys, best.n_keys[q0 + q], np.float64(s.units[q]), s.slack[q], s.bits)
            s.limits[q] = max(s.limits[q], limit)


@_inline
def _in_reach(jobs, work, s, start, n, lane0, bound):
    """Which of a block's n rows are in reach of which of the sixteen queries from `lane0` on; how many rows are.

    `found` gets the row's place in the block beside its lanes, `bounds` the upper bounds.
    """
    errors, units, limits = simd.load(s.errors, lane0), simd.load(s.units, lane0), simd.load(s.limits, lane0)
    counts = simd.load(s.counts, lane0)
    low, high, n_found, scales = s.low, s.high, 0, jobs.scales
    words = (work.queries.shape[1] + 3) // 4
    has_prior, n_ranges, width = len(jobs.priors) > 0, len(work.numbers), len(s.limits)
    for i in range(n):
        row = np.int64(work.rows[start + i])
        at = row * (words + 2) + words
        upper = simd.times(simd.spread_at(scales, at + 1), errors)
        sums = simd.as_floats(simd.load(s.sums, i * LANES))
        upper = simd.times_plus(sums, simd.spread_at(scales, at), upper)
        if has_prior:
            upper = simd.times_plus(simd.spread_at(jobs.priors, jobs.base + row), units, upper)
        taken = simd.not_below(upper, limits) & bound
        if n_ranges:
            passing = bound
            for r in range(n_ranges):
                first, last = simd.load(low, r * width + lane0), simd.load(high, r * width + lane0)
                passing &= simd.between(simd.spread(work.numbers[r, row]), first, last)
            counts = simd.count_in(counts, passing)
            taken &= passing
        if taken:
            simd.store(s.bounds, n_found * LANES, upper)
            s.found[n_found] = (np.uint64(i) << np.uint64(LANES)) | taken
            n_found += 1
    simd.store(s.counts, lane0, counts)
    return n_found


@_inline
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


@_inner
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
    best.n_keys[q0 + q] = _settle(jobs, work.queries[q0 + q], best.keys[q0 + q], best.n_keys[q0 + q], s.held[:n], s)


@_inner
def _search(jobs, work, best, s, piece, cap):
    """One piece of the work."""
    first, last, q0, n_queries = piece[0], piece[1], piece[2], piece[3] - piece[2]
    k, words = best.keys.shape[1], (work.queries.shape[1] + 3) // 4
    if last - first <= k:
        for q in range(n_queries):
            _take_all(jobs, work, best, s, q0, q, first, last)
        return
    _take_queries(jobs, work, best, q0, n_queries, s)
    s.counts[:] = 0
    codes = s.codes.view(np.int32)
    for start in range(first, last, BLOCK):
        n = min(BLOCK, last - start)
        for lane0 in range(0, n_queries, LANES):
            _products(jobs.coarse, words, work.rows, start, n, last, codes, lane0, s.offsets, s.sums)
            bound = np.uint64((1 << min(LANES, n_queries - lane0)) - 1)
            n_found = _in_reach(jobs, work, s, start, n, lane0, bound)
            _hold(jobs, work, best, s, q0, start, n_found, lane0, first, cap, k)
    for q in range(n_queries):
        if s.safe[q]:
            _prune(s, q, cap, k)
        held = s.held[q * cap : q * cap + s.n_held[q]]
        best.n_keys[q0 + q] = _settle(jobs, work.queries[q0 + q], best.keys[q0 + q], best.n_keys[q0 + q], held, s)
        if len(work.numbers):
            best.n_matches[q0 + q] += s.counts[q]


@njit(parallel=True, nogil=True, cache=True)
def score(jobs, work, best, most, cap, threads):
    """Takes every candidate of every piece, of `most` queries or fewer, into the best."""
    d, k = work.queries.shape[1], best.keys.shape[1]
    for thread in prange(threads):
        s = _make_scratch(most, d, k, cap, len(work.numbers))
        for p in range(thread, len(work.pieces), threads):
            _search(jobs, work, best, s, work.pieces[p], cap)


@njit(parallel=True, nogil=True, cache=True)
def decode(best, n_best, into, sorted_ids, ids, scores):
    """Sorted keys of query i into row `into[i]` of the hits."""
    for i in prange(len(best)):
        cell = np.zeros(1, dtype=np.float32)
        for j in range(n_best[i]):
            key = best[i, j]
            ids[into[i], j] = sorted_ids[np.int64(key & np.uint64(0xFFFFFFFF))]
            scores[into[i], j] = _key_score(key, cell)
