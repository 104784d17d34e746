"""int8 products of candidates and queries, and which pairs a bound cannot rule out.

Sixteen queries are scored at a time, one a lane: a row's int8 codes are spread over the lanes and meet the
queries' codes, four components an instruction.

With q = s·a + e and v = t·b + f (a, b int8 codes, s, t scales, e, f residuals),
|q·v − s·t·a·b| ≤ |q||f| + |e||v − f|. In units of s: a row's |f| is at most `widest`·t and its |v − f| at most its
`length`, so that the bound is t·(|q|/s·widest) + length·(|e|/s). The first factor is a whole number added to a·b.
Roundings of float32, of the prior and of the final score itself are in the second, or taken off the limit.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.quantize import FLOAT32_ROUNDING, SAFE_SCORE
from gpu_retrieval.score_final import key_score
from gpu_retrieval.score_state import LINE, inline, inner
from gpu_retrieval.simd import LANES

# Rows a step of the product.
STEP = 8
# How far ahead rows are asked for.
AHEAD = 32
# Rows a peak: so few that the k-th of the peaks is near the k-th of all, in as few as then can be.
PEAKS = 4
LEAST_FLOAT = np.float32(np.finfo(np.float32).min)


@inline
def floor32(value):
    # Below the float64 by more than the rounding to float32 could add.
    return np.float32(value - abs(value) * 1e-6 - 1e-37)


@inline
def settled_limit(best, n_best, unit, slack, cell):
    """What a row's upper bound must reach, from final scores alone."""
    if n_best < len(best):
        return np.float32(-np.inf)
    return floor32(np.float64(key_score(best[len(best) - 1], cell)) * unit - slack)


@inline
def take_queries(jobs, work, best, q0, n, s):
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
            s.limits[q] = settled_limit(best.keys[q0 + q], best.n_keys[q0 + q], unit, s.slack[q], s.bits)
        for r in range(len(work.low)):
            at = r * len(s.limits) + q
            s.low[at], s.high[at] = work.low[r, q0 + q], work.high[r, q0 + q]


@inline
def products(jobs, work, start, n, end, codes, lane0, s):
    """(n rounded up to STEP, LANES) int32 `sums` of n rows from `start` on and the sixteen queries from `lane0` on.

    What comes after them, up to `end`, is asked for.
    """
    coarse, rows, sums, words = jobs.coarse, work.rows, s.sums, (work.queries.shape[1] + 3) // 4
    stride, last, first = words + 2, start + n - 1, lane0 * words
    for step in range(0, n, STEP):
        begin = start + step
        if lane0 == 0:
            for ahead in range(begin + AHEAD, min(begin + AHEAD + STEP, end)):
                for j in range(0, stride, LINE):
                    simd.prefetch(coarse, np.int64(rows[ahead]) * stride + j)
                simd.prefetch(coarse, np.int64(rows[ahead]) * stride + stride - 1)
                for r in range(len(work.numbers)):
                    simd.prefetch(work.numbers[r], np.int64(rows[ahead]))
        b0 = np.int64(rows[min(begin + 0, last)]) * stride
        b1 = np.int64(rows[min(begin + 1, last)]) * stride
        b2 = np.int64(rows[min(begin + 2, last)]) * stride
        b3 = np.int64(rows[min(begin + 3, last)]) * stride
        b4 = np.int64(rows[min(begin + 4, last)]) * stride
        b5 = np.int64(rows[min(begin + 5, last)]) * stride
        b6 = np.int64(rows[min(begin + 6, last)]) * stride
        b7 = np.int64(rows[min(begin + 7, last)]) * stride
        t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = simd.load(s.offsets, lane0)
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


@inline
def _passing(work, s, row, lane0, everyone):
    """The lanes whose ranges a row lies in."""
    passing, width = everyone, len(s.limits)
    for r in range(len(work.numbers)):
        first, last = simd.load(s.low, r * width + lane0), simd.load(s.high, r * width + lane0)
        passing &= simd.between(simd.spread(work.numbers[r, row]), first, last)
    return passing


@inline
def in_reach(jobs, work, s, start, n, lane0, everyone):
    """Which of a block's n rows are in reach of which of the sixteen queries from `lane0` on; how many rows are.

    `found` gets the row's place in the block beside its lanes, `uppers` the upper bounds.
    """
    errors, units, limits = simd.load(s.errors, lane0), simd.load(s.units, lane0), simd.load(s.limits, lane0)
    counts = simd.load(s.counts, lane0)
    n_found, scales, words = 0, jobs.scales, (work.queries.shape[1] + 3) // 4
    for i in range(n):
        row = np.int64(work.rows[start + i])
        at = row * (words + 2) + words
        upper = simd.times(simd.spread_at(scales, at + 1), errors)
        sums = simd.as_floats(simd.load(s.sums, i * LANES))
        upper = simd.times_plus(sums, simd.spread_at(scales, at), upper)
        if len(jobs.priors) > 0:
            upper = simd.times_plus(simd.spread_at(jobs.priors, jobs.base + row), units, upper)
        taken = simd.not_below(upper, limits) & everyone
        if len(work.numbers):
            passing = _passing(work, s, row, lane0, everyone)
            counts = simd.count_in(counts, passing)
            taken &= passing
        if taken:
            simd.store(s.uppers, i * LANES, upper)
            s.found[n_found] = (np.uint64(i) << np.uint64(LANES)) | taken
            n_found += 1
    simd.store(s.counts, lane0, counts)
    return n_found


@inline
def bounds(jobs, work, s, start, n, at, lane0, everyone):
    """Both bounds of a block's n rows, to the stretch's rows from `at` on; -inf where a row is out of range."""
    errors, units, reach = simd.load(s.errors, lane0), simd.load(s.units, lane0), simd.load(s.reach, lane0)
    counts, nothing = simd.load(s.counts, lane0), simd.spread(np.float32(-np.inf))
    twice = simd.spread(np.float32(-2))
    errors_down, reach_down = simd.times(errors, twice), simd.times(reach, twice)
    scales, words = jobs.scales, (work.queries.shape[1] + 3) // 4
    for i in range(n):
        row = np.int64(work.rows[start + i])
        place = row * (words + 2) + words
        scale, length = simd.spread_at(scales, place), simd.spread_at(scales, place + 1)
        sums = simd.as_floats(simd.load(s.sums, i * LANES))
        upper = simd.times_plus(sums, scale, simd.times(length, errors))
        if len(jobs.priors) > 0:
            upper = simd.times_plus(simd.spread_at(jobs.priors, jobs.base + row), units, upper)
        lower = simd.times_plus(length, errors_down, simd.times_plus(scale, reach_down, upper))
        if len(work.numbers):
            passing = _passing(work, s, row, lane0, everyone)
            counts = simd.count_in(counts, passing)
            upper, lower = simd.choose(passing, upper, nothing), simd.choose(passing, lower, nothing)
        simd.store(s.uppers, (at + i) * LANES, upper)
        simd.store(s.lowers, (at + i) * LANES, lower)
    simd.store(s.counts, lane0, counts)


@inline
def drop_masked(work, s, n, q0, lane0, n_lanes):
    """Both bounds of the stretch's rows that a query's mask leaves out become -inf."""
    for lane in range(n_lanes):
        cells = work.offsets[q0 + lane0 + lane]
        for i in range(n):
            passes = work.mask[cells + i]
            s.uppers[i * LANES + lane] = s.uppers[i * LANES + lane] if passes else np.float32(-np.inf)
            s.lowers[i * LANES + lane] = s.lowers[i * LANES + lane] if passes else np.float32(-np.inf)


@inner
def seed(s, n, lane0, n_lanes, k):
    """Raises the limits of sixteen queries to what k of the stretch's n rows reach for certain, or nearly to it.

    The k-th of the peaks of rows that lie together is not above the k-th of all. Overwrites `lowers`.
    """
    lowers, width, n_peaks = s.lowers, 1, 0
    while n >= 2 * PEAKS * k * width:
        width *= 2
    most, everyone = simd.load(lowers, 0), np.uint64((1 << n_lanes) - 1)
    for first in range(0, n, width):
        peak = simd.load(lowers, first * LANES)
        for i in range(first + 1, min(first + width, n)):
            peak = simd.larger(peak, simd.load(lowers, i * LANES))
        simd.store(lowers, n_peaks * LANES, peak)
        most = simd.larger(most, peak)
        n_peaks += 1
    unknown, least = simd.spread(LEAST_FLOAT), most
    for p in range(n_peaks):
        peak = simd.load(lowers, p * LANES)
        least = simd.choose(simd.not_below(peak, unknown) & ~simd.not_below(peak, least), peak, least)
    half, wanted, all_of_them = simd.spread(np.float32(0.5)), simd.spread(np.int32(k)), simd.spread(np.int32(2**30))
    near = simd.spread(np.int32(k + k // 16))
    known = simd.between(_reaching(lowers, n_peaks, least), wanted, all_of_them)
    for _ in range(12):
        middle = simd.times_plus(least, half, simd.times(most, half))
        counts = _reaching(lowers, n_peaks, middle)
        enough = simd.between(counts, wanted, all_of_them)
        least, most = simd.choose(enough, middle, least), simd.choose(enough, most, middle)
        if simd.between(counts, wanted, near) & everyone == everyone:
            break
    simd.store(lowers, 0, least)
    for lane in range(n_lanes):
        if known & (np.uint64(1) << np.uint64(lane)):
            limit = floor32(np.float64(lowers[lane]) - s.slack[lane0 + lane])
            s.limits[lane0 + lane] = max(s.limits[lane0 + lane], limit)


@inline
def _reaching(lowers, n, level):
    counts = simd.spread(np.int32(0))
    for p in range(n):
        counts = simd.count_in(counts, simd.not_below(simd.load(lowers, p * LANES), level))
    return counts


@inline
def within(s, n, lane0, everyone):
    """`found` of the stretch's n rows, once the limits are known; how many there are."""
    # Rows at -inf stay out even where nothing is known.
    limits, n_found = simd.larger(simd.load(s.limits, lane0), simd.spread(LEAST_FLOAT)), 0
    for i in range(n):
        taken = simd.not_below(simd.load(s.uppers, i * LANES), limits) & everyone
        s.found[n_found] = (np.uint64(i) << np.uint64(LANES)) | taken
        n_found += taken != 0
    return n_found
