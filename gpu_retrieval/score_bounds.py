"""Which pairs of candidates and queries a bound on their int8 product cannot rule out.

With q = s·a + e and v = t·b + f (a, b int8 codes, s, t scales, e, f residuals),
|q·v − s·t·a·b| ≤ |q||f| + |e||v − f|. In units of s: a row's |f| is at most `widest`·t and its |v − f| at most its
`length`, so that the bound is t·(|q|/s·widest) + length·(|e|/s). The first factor is a whole number added to a·b.
Roundings of float32, of the prior and of the final score itself are in the second, or taken off the limit.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.quantize import FLOAT32_ROUNDING, SAFE_SCORE
from gpu_retrieval.score_final import begin, floor32, raise_limit
from gpu_retrieval.score_rows import products
from gpu_retrieval.score_state import BLOCK, MOST_QUERIES, TOGETHER, inline, inner, peaks_of
from gpu_retrieval.simd import LANES

# The largest upper bound that is told apart from others as an int16, but for roundings.
MOST_SHORT = 30_000.0
LEAST_FLOAT = np.float32(np.finfo(np.float32).min)


@inline
def code_query(jobs, queries, row, codes, place, stride):
    """A query's int8 codes, four of them from `place` on and the next four `stride` further, and what its bounds need.

    That is the unit, the reach, the offset of its sums, the errors, the slack, the short, and whether it is safe: as in
    `Scratch`.
    """
    d, largest, total = queries.shape[1], np.float32(0), 0.0
    for j in range(d):
        x = queries[row, j]
        largest = max(largest, abs(x))
        total += np.float64(x) * np.float64(x)
    scale = max(np.float64(largest), 2.0**-100) / 127 if largest > 0 else 1.0
    unit, residual, sum_ = 1 / scale, 0.0, np.int32(0)
    for j in range(d):
        x = np.float64(queries[row, j])
        code = np.rint(x * unit)
        residual += (x - code * scale) ** 2
        sum_ += np.int32(code)
        codes[place + (j >> 2) * stride + (j & 3)] = np.int8(code)
    norm, residual = np.sqrt(total) * (1 + 1e-9), np.sqrt(residual) * (1 + 1e-9)
    reach = np.ceil(norm * unit * jobs.widest * (1 + 1e-6)) + 1
    largest_score = norm * jobs.longest + jobs.largest_prior
    safe = largest_score < SAFE_SCORE and largest_score * unit < SAFE_SCORE
    errors = (residual + 16 * FLOAT32_ROUNDING * (norm + residual)) * unit * (1 + 1e-6)
    slack = (32 * FLOAT32_ROUNDING * jobs.largest_prior + 2.0**-139) * unit + 2.0**-119
    short = MOST_SHORT / max(largest_score * unit, 1e-30)
    # A row's codes are met as code + 128, so that they are not negative.
    return unit, reach, np.int32(reach) - 128 * sum_, errors, slack, short, safe


@inline
def take_queries(jobs, work, best, q0, n, s):
    """Queries [q0, q0 + n) as codes, with what their bounds need."""
    words = (work.queries.shape[1] + 3) // 4
    lanes = (n + LANES - 1) // LANES * LANES
    s.codes[: lanes * words * 4] = 0
    s.limits[:lanes] = np.inf
    for q in range(n):
        place = (q // LANES) * words * 4 * LANES + (q % LANES) * 4
        s.units[q], s.reach[q], s.offsets[q], s.errors[q], s.slack[q], s.short[q], s.safe[q] = code_query(
            jobs, work.queries, q0 + q, s.codes, place, 4 * LANES
        )
        s.limits[q] = -np.inf
        begin(work, best, s, q0, q)
        raise_limit(best, s, q0, q)
        for r in range(len(work.low)):
            at = r * len(s.limits) + q
            s.low[at], s.high[at] = work.low[r, q0 + q], work.high[r, q0 + q]


@inline
def _list_pairs(s, lanes, first, n_found):
    """Lists the pairs whose bits are set, sixteen a row, the row `first` the lowest; how many places are taken then."""
    while lanes:
        bit = simd.lowest_bit(lanes)
        s.found[n_found] = first + bit // LANES * MOST_QUERIES + bit % LANES
        n_found += 1
        lanes &= lanes - np.uint64(1)
    return n_found


@inline
def _reaching(jobs, s, at, i, errors, units, limits):
    """Which of the sixteen queries are in reach of the i-th row of the block at `at`, as bits."""
    upper = simd.times(simd.spread_at(s.lengths, at + i), errors)
    sums = simd.as_floats(simd.load(s.sums, i * LANES))
    upper = simd.times_plus(sums, simd.spread_at(s.scales, at + i), upper)
    if len(jobs.priors):
        upper = simd.times_plus(simd.spread_at(s.priors, at + i), units, upper)
    return simd.not_below(upper, limits)


@inline
def in_reach(jobs, s, at, n, lane0, n_found):
    """Lists which of the block's n rows are in reach of which of the sixteen queries from `lane0` on.

    `found`, of which `n_found` places are taken, gets a row's place in the stretch times MOST_QUERIES, plus the query.
    Returns how many places are taken then.
    """
    errors, units, limits = simd.load(s.errors, lane0), simd.load(s.units, lane0), simd.load(s.limits, lane0)
    passing = lane0 // LANES * len(s.scales) + at
    for i in range(0, n, TOGETHER):
        lanes = np.uint64(0)
        for j in range(TOGETHER):
            lanes |= _reaching(jobs, s, at, i + j, errors, units, limits) << np.uint64(j * LANES)
        lanes &= simd.load_bits(s.passing, passing + i)
        n_found = _list_pairs(s, lanes, (at + i) * MOST_QUERIES + lane0, n_found)
    return n_found


@inline
def known_in_reach(s, at, n, lane0, n_found):
    """`in_reach` of rows whose upper bounds are there as `shorts`: all that it lists, and a few more."""
    # Below by more than the roundings of both could add.
    least = simd.plus(simd.times(simd.load(s.limits, lane0), simd.load(s.short, lane0)), simd.spread(np.float32(-2)))
    most = simd.spread(np.float32(32_764))
    least = simd.choose(simd.not_below(least, most), most, least)
    passing = lane0 // LANES * len(s.scales) + at
    for i in range(n):
        taken = simd.not_below(simd.as_floats(simd.load_shorts(s.shorts, (passing + i) * LANES)), least)
        taken &= np.uint64(s.passing[passing + i])
        # Written in any case: so many rows are in reach of somebody that a branch is missed.
        pairs = simd.numbered_from(np.int32((at + i) * MOST_QUERIES + lane0))
        simd.store(s.found, n_found, simd.packed(pairs, taken))
        n_found += simd.count_bits(taken)
    return n_found


@inner
def _find_peaks(jobs, s, words, n, lane0, n_peaks):
    """The largest lower bounds of the stretch's n rows, each of every `n_peaks`-th of them; -inf where none passes.

    Rows that lie together are alike: the best of them would share a peak. The upper bounds are written as `shorts`.
    """
    errors, units, reach = simd.load(s.errors, lane0), simd.load(s.units, lane0), simd.load(s.reach, lane0)
    nothing, less, has_priors = simd.spread(np.float32(-np.inf)), simd.spread(np.float32(-1)), len(jobs.priors) > 0
    twice = simd.times(reach, simd.spread(np.float32(-2)))
    errors_down = simd.times(errors, less)
    passing, short = lane0 // LANES * len(s.scales), simd.load(s.short, lane0)
    for p in range(n_peaks):
        simd.store(s.peaks, p * LANES, nothing)
    for at in range(0, n, BLOCK):
        products(s, words, at, min(BLOCK, n - at), lane0)
        into = at % n_peaks * LANES
        for i in range(min(BLOCK, n - at)):
            # `sums` are not below the products, and twice the reach above what is not above them
            sums, scale = simd.as_floats(simd.load(s.sums, i * LANES)), simd.spread_at(s.scales, at + i)
            length = simd.spread_at(s.lengths, at + i)
            upper = simd.times_plus(sums, scale, simd.times(length, errors))
            lower = simd.times_plus(simd.plus(sums, twice), scale, simd.times(length, errors_down))
            if has_priors:
                prior = simd.spread_at(s.priors, at + i)
                upper, lower = simd.times_plus(prior, units, upper), simd.times_plus(prior, units, lower)
            simd.store_shorts(s.shorts, (passing + at + i) * LANES, simd.times(upper, short))
            lower = simd.choose(np.uint64(s.passing[passing + at + i]), lower, nothing)
            simd.store(s.peaks, into + i * LANES, simd.larger(lower, simd.load(s.peaks, into + i * LANES)))


@inner
def seed(jobs, s, words, n, lane0, n_lanes, k):
    """Raises the limits of sixteen queries to what k of the stretch's n rows reach for certain, or nearly to it.

    The k-th of the peaks is not above the k-th of all rows, and near it where there are PEAKS times as many peaks.
    """
    everyone, lowers = np.uint64((1 << n_lanes) - 1), s.peaks
    n_peaks = peaks_of(n, k)
    _find_peaks(jobs, s, words, n, lane0, n_peaks)
    most = simd.load(lowers, 0)
    for p in range(1, n_peaks):
        most = simd.larger(most, simd.load(lowers, p * LANES))
    unknown, least = simd.spread(LEAST_FLOAT), most
    for p in range(n_peaks):
        peak = simd.load(lowers, p * LANES)
        least = simd.choose(simd.not_below(peak, unknown) & ~simd.not_below(peak, least), peak, least)
    half, wanted, all_of_them = simd.spread(np.float32(0.5)), simd.spread(np.int32(k)), simd.spread(np.int32(2**30))
    near = simd.spread(np.int32(k + k // 16))
    known = simd.between(_count_reaching(lowers, n_peaks, least), wanted, all_of_them)
    for _ in range(12):
        middle = simd.times_plus(least, half, simd.times(most, half))
        counts = _count_reaching(lowers, n_peaks, middle)
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
def _count_reaching(lowers, n, level):
    counts = simd.spread(np.int32(0))
    for p in range(n):
        counts = simd.count_in(counts, simd.not_below(simd.load(lowers, p * LANES), level))
    return counts
