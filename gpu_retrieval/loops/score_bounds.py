"""Which pairs of candidates and queries a bound on their int8 product cannot rule out.

With q = s·a + e and v = t·b + f (a, b int8 codes, s, t scales, e, f residuals),
|q·v − s·t·a·b| ≤ |q||f| + |e||v − f|. In units of s: a row's |f| is at most `widest`·t and its |v − f| at most its
`length`, so that the bound is t·(|q|/s·widest) + length·(|e|/s). The first factor is a whole number added to a·b.
Roundings of float32, of the prior and of the final score itself are in the second, or taken off the limit.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd, simd_int8
from gpu_retrieval.loops.score_final import raise_limit
from gpu_retrieval.loops.score_held import shrink
from gpu_retrieval.loops.score_rows import is_excluded, may_be_excluded, n_excluded, products
from gpu_retrieval.loops.score_state import BLOCK, TOGETHER, inline, inner, peaks_of
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.simd_int8 import A_WORD
from gpu_retrieval.stored.quantize import FLOAT32_ROUNDING, SAFE_SCORE

# The largest upper bound that is told apart from others as an int16, but for roundings.
MOST_SHORT = 30_000.0
LEAST_FLOAT = np.float32(np.finfo(np.float32).min)


@inline
def code_query(jobs, queries, row, codes, place, stride):
    """A query's int8 codes, a word of them from `place` on and the next `stride` further, and what its bounds need.

    That is the unit, the reach, the offset of its sums, the errors, the slack, the short, and whether it is safe: as in
    `Scratch`.
    """
    d, a_word, largest, total = queries.shape[1], 4 // codes.itemsize, np.float32(0), 0.0
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
        codes[place + j // a_word * stride + j % a_word] = np.int8(code)
    norm, residual = np.sqrt(total) * (1 + 1e-9), np.sqrt(residual) * (1 + 1e-9)
    reach = np.ceil(norm * unit * jobs.widest * (1 + 1e-6)) + 1
    largest_score = norm * jobs.longest + jobs.largest_prior
    safe = largest_score < SAFE_SCORE and largest_score * unit < SAFE_SCORE
    errors = (residual + 16 * FLOAT32_ROUNDING * (norm + residual)) * unit * (1 + 1e-6)
    slack = (32 * FLOAT32_ROUNDING * jobs.largest_prior + 2.0**-139) * unit + 2.0**-119
    short = MOST_SHORT / max(largest_score * unit, 1e-30)
    return unit, reach, np.int32(reach) - simd_int8.ABOVE * sum_, errors, slack, short, safe


@inline
def take_queries(jobs, work, best, q0, n, s):
    """Queries [q0, q0 + n) as codes, with what their bounds need."""
    words = (work.queries.shape[1] + 3) // 4
    lanes = (n + LANES - 1) // LANES * LANES
    s.codes[: lanes * words * 4] = 0
    s.limits[:lanes], s.guesses[:lanes], s.ceilings[:lanes] = np.inf, -np.inf, np.nan
    for q in range(n):
        place = q // LANES * words * 4 * LANES + q % LANES * A_WORD
        s.units[q], s.reach[q], s.offsets[q], s.errors[q], s.slack[q], _, s.safe[q] = code_query(
            jobs, work.queries, q0 + q, s.codes, place, A_WORD * LANES
        )
        s.limits[q], s.n_held[q] = -np.inf, 0
        raise_limit(best, s, q, q0 + q)
        for r in range(len(work.low)):
            at = r * len(s.limits) + q
            s.low[at], s.high[at] = work.low[r, q0 + q], work.high[r, q0 + q]
        s.excluded[q] = 0
        for i in range(n_excluded(work, q0 + q)):
            row = np.uint64(work.excluded[work.excluded_spans[q0 + q, 0] + i])
            s.excluded[q] |= np.uint64(1) << (row & np.uint64(63))


@inner
def guess(jobs, s, words, n, lane0, n_lanes, wanted):
    """What about `wanted` of the stretch's n rows, a sample, reach as the `guesses` of sixteen queries.

    By their codes alone; -inf where fewer pass.
    """
    units, nothing, has_priors = simd.load(s.units, lane0), simd.spread(np.float32(-np.inf)), len(jobs.priors) > 0
    reach_down, n_peaks = simd.times(simd.load(s.reach, lane0), simd.spread(np.float32(-1))), peaks_of(n, wanted)
    for p in range(n_peaks):
        simd.store(s.peaks, p * LANES, nothing)
    for at in range(0, n, BLOCK):
        products(s, words, at, min(BLOCK, n - at), lane0)
        # Rows that lie together are alike: the best of them would share a peak.
        into = at % n_peaks * LANES
        for i in range(min(BLOCK, n - at)):
            sums = simd.plus(simd.as_floats(simd.load(s.sums, i * LANES)), reach_down)
            scores = simd.times(sums, simd.spread_at(s.scales, at + i))
            if has_priors:
                scores = simd.times_plus(simd.spread_at(s.priors, at + i), units, scores)
            scores = simd.choose(np.uint64(s.passing[at + i]), scores, nothing)
            simd.store(s.peaks, into + i * LANES, simd.larger(scores, simd.load(s.peaks, into + i * LANES)))
    _reached_by(s, n_peaks, lane0, n_lanes, wanted)


@inline
def _reached_by(s, n_peaks, lane0, n_lanes, wanted):
    """Guesses what `wanted` of the peaks reach, or a few more."""
    everyone, peaks = np.uint64((1 << n_lanes) - 1), s.peaks
    most = simd.load(peaks, 0)
    for p in range(1, n_peaks):
        most = simd.larger(most, simd.load(peaks, p * LANES))
    unknown, least = simd.spread(LEAST_FLOAT), most
    for p in range(n_peaks):
        peak = simd.load(peaks, p * LANES)
        least = simd.choose(simd.not_below(peak, unknown) & ~simd.not_below(peak, least), peak, least)
    half, fewest, all_of_them = (
        simd.spread(np.float32(0.5)),
        simd.spread(np.int32(wanted)),
        simd.spread(np.int32(2**30)),
    )
    near = simd.spread(np.int32(wanted + wanted // 16))
    known = simd.between(_count_reaching(peaks, n_peaks, least), fewest, all_of_them)
    for _ in range(12):
        middle = simd.times_plus(least, half, simd.times(most, half))
        counts = _count_reaching(peaks, n_peaks, middle)
        enough = simd.between(counts, fewest, all_of_them)
        least, most = simd.choose(enough, middle, least), simd.choose(enough, most, middle)
        if simd.between(counts, fewest, near) & everyone == everyone:
            break
    simd.store(s.guesses, lane0, simd.choose(known & everyone, least, simd.spread(np.float32(-np.inf))))


@inline
def _count_reaching(peaks, n, level):
    counts = simd.spread(np.int32(0))
    for p in range(n):
        counts = simd.count_in(counts, simd.not_below(simd.load(peaks, p * LANES), level))
    return counts


@inline
def has_limits(s, lane0):
    """Whether any of sixteen queries can be reached at all."""
    nothing = simd.not_below(simd.load(s.limits, lane0), simd.spread(np.float32(np.inf)))
    return nothing != np.uint64((1 << LANES) - 1)


@inline
def _bound(jobs, s, at, i, errors, units, least):
    """Upper bounds of the i-th row of the block at `at`, in place of its `sums`; bits for those that reach `least`."""
    upper = simd.times(simd.spread_at(s.lengths, at + i), errors)
    sums = simd.as_floats(simd.load(s.sums, i * LANES))
    upper = simd.times_plus(sums, simd.spread_at(s.scales, at + i), upper)
    if len(jobs.priors):
        upper = simd.times_plus(simd.spread_at(s.priors, at + i), units, upper)
    simd.store(s.sums, i * LANES, upper)
    return simd.not_below(upper, least)


@inner
def find_reaching(jobs, s, words, n, lane0):
    """Lists, as `found`, which of the stretch's n rows are in reach of which of sixteen queries: so many pairs.

    A pair is the row's place in the stretch times LANES, plus the query's in the sixteen.
    """
    errors, units, uppers = simd.load(s.errors, lane0), simd.load(s.units, lane0), s.sums.view(np.float32)
    least = simd.larger(simd.load(s.limits, lane0), simd.load(s.guesses, lane0))
    n_found = np.uint64(0)
    for at in range(0, n, BLOCK):
        block = min(BLOCK, n - at)
        products(s, words, at, block, lane0)
        for i in range(0, block, TOGETHER):
            lanes = np.uint64(0)
            for j in range(TOGETHER):
                lanes |= _bound(jobs, s, at, i + j, errors, units, least) << np.uint64(j * LANES)
            lanes &= simd.load_bits(s.passing, at + i)
            while lanes:
                bit = np.uint64(i * LANES) + np.uint64(simd.lowest_bit(lanes))
                s.found[n_found], s.found_upper[n_found] = np.uint64(at * LANES) + bit, uppers[bit]
                n_found += np.uint64(1)
                lanes &= lanes - np.uint64(1)
    return np.int64(n_found)


@inner
def hold_found(jobs, work, best, s, start, n_found, q0, lane0, cap):
    """The sixteen queries hold the rows that were found for them, without excluded ones and those met before.

    The stretch begins at the place `start`. Unsigned, so that no index is checked for its sign.
    """
    one, most, excludes = np.uint64(1), np.uint64(cap), len(work.excluded_spans) > 0
    for f in range(np.uint64(n_found)):
        pair, upper = np.uint64(s.found[f]), s.found_upper[f]
        i, q = pair // np.uint64(LANES), np.uint64(lane0) + pair % np.uint64(LANES)
        place = q * most + s.n_held[q]
        row = work.rows[np.uint64(start) + i]
        s.held[place], s.upper[place] = row, upper
        s.lower[place] = upper - np.float32(2) * (s.scales[i] * s.reach[q] + s.lengths[i] * s.errors[q])
        s.n_held[q] += np.uint64(0) if upper >= s.ceilings[q] else one
        if excludes and may_be_excluded(s, q, row) and is_excluded(work, np.uint64(q0) + q, row):
            s.n_held[q] = place - q * most
        if s.n_held[q] == most:
            shrink(jobs, work, best, s, np.int64(q), q0 + np.int64(q), cap)
