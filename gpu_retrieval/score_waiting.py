"""Rows that wait for their final score, a list a query: taken in, pruned by bounds, settled when there is no room."""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.score_bounds import floor32, settled_limit
from gpu_retrieval.score_final import settle
from gpu_retrieval.score_state import inline, inner
from gpu_retrieval.simd import LANES


@inner
def prune(s, q, cap, k):
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
    s.limits[q] = max(s.limits[q], floor32(np.float64(least) - s.slack[q]))
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


@inner
def make_room(jobs, work, best, s, q0, q, cap, k):
    """Fewer rows in waiting for a query: by their bounds or, where those cannot tell, by their final scores."""
    if s.safe[q]:
        prune(s, q, cap, k)
    n = s.n_held[q]
    if n > k + (cap - k) // 2:
        held = s.held[q * cap : q * cap + n]
        keys = best.keys[q0 + q]
        best.n_keys[q0 + q] = settle(jobs, work.queries[q0 + q], keys, best.n_keys[q0 + q], held, s)
        s.n_held[q] = 0
        if s.safe[q]:
            limit = settled_limit(keys, best.n_keys[q0 + q], np.float64(s.units[q]), s.slack[q], s.bits)
            s.limits[q] = max(s.limits[q], limit)


@inline
def hold(jobs, work, best, s, q0, start, n_found, lane0, first, cap, k):
    """Puts what is in reach to the rows in waiting."""
    words = (work.queries.shape[1] + 3) // 4
    masked = len(work.mask) > 0
    for f in range(n_found):
        at_upper = np.int64(s.found[f] >> np.uint64(LANES)) * LANES
        place = start + at_upper // LANES
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
                make_room(jobs, work, best, s, q0, q, cap, k)
            upper = s.uppers[at_upper + lane]
            at = q * cap + s.n_held[q]
            s.held[at] = row
            s.upper[at] = upper
            s.lower[at] = upper - np.float32(2) * (scale * s.reach[q] + length * s.errors[q])
            # The limit may have risen since the bounds were compared with it.
            s.n_held[q] += not upper < s.limits[q]
