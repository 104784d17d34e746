"""Final scores, from the float32 originals, and the k best of them as sorted keys (`topk`)."""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.score_state import LINE, inline, inner
from gpu_retrieval.simd import LANES
from gpu_retrieval.topk import NO_KEY

# Keys that are sorted by counting, for each, those below it.
COUNTED = 320
# Rows that are asked for before their turn.
AHEAD = 8


@inline
def _products64(query, at, vectors, start):
    """Two of the eight registers of products of 64 components, the 32 components apart that are added first."""
    near = simd.times(simd.load(query, at), simd.load_wide(vectors, start + at))
    return simd.plus(near, simd.times(simd.load(query, at + 32), simd.load_wide(vectors, start + at + 32)))


@inline
def _products128(query, at, vectors, start):
    """The same of 128 components, of which those 64 apart are added first."""
    near = simd.times(simd.load(query, at), simd.load_wide(vectors, start + at))
    near = simd.plus(near, simd.times(simd.load(query, at + 64), simd.load_wide(vectors, start + at + 64)))
    far = simd.times(simd.load(query, at + 32), simd.load_wide(vectors, start + at + 32))
    far = simd.plus(far, simd.times(simd.load(query, at + 96), simd.load_wide(vectors, start + at + 96)))
    return simd.plus(near, far)


@inline
def final_score(query, vectors, left, row, prior, products):
    """The float32 score that is returned, summed as `scan.final_score_bits` sums; -0.0 is 0.0.

    `query` float64 and `products` have 8 places more than a vector has components.
    """
    start = row * left
    if left == 64:
        # The same additions without a way through memory.
        even = simd.plus(_products64(query, 0, vectors, start), _products64(query, 16, vectors, start))
        odd = simd.plus(_products64(query, 8, vectors, start), _products64(query, 24, vectors, start))
        return np.float32(simd.fold(simd.plus(even, odd)) + prior) + np.float32(0)
    if left == 128:
        even = simd.plus(_products128(query, 0, vectors, start), _products128(query, 16, vectors, start))
        odd = simd.plus(_products128(query, 8, vectors, start), _products128(query, 24, vectors, start))
        return np.float32(simd.fold(simd.plus(even, odd)) + prior) + np.float32(0)
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


@inline
def _key(bits, rank):
    """`topk.score_keys` of one score."""
    wide = np.uint64(bits)
    turned = wide if wide >> np.uint64(31) else wide ^ np.uint64(0x7FFFFFFF)
    return (turned << np.uint64(32)) | np.uint64(rank)


@inline
def key_score(key, cell):
    """`topk.key_scores` of one key; `cell` (1,) float32 is scratch."""
    turned = key >> np.uint64(32)
    cell.view(np.uint32)[0] = np.uint32(turned if turned >> np.uint64(31) else turned ^ np.uint64(0x7FFFFFFF))
    return cell[0]


@inner
def _sort(keys, start, stop):
    """keys[start:stop] by Shell's sort, in gaps of 3h + 1 (Knuth 5.2.1): Numba's own allocates."""
    gap = 1
    while 3 * gap < stop - start:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(start + gap, stop):
            key, at = keys[i], i
            while at >= start + gap and keys[at - gap] > key:
                keys[at] = keys[at - gap]
                at -= gap
            keys[at] = key
        gap //= 3


@inner
def _least_of_many(s, size, best, kept):
    """`_least` by as many buckets of scores as keys, each sorted by itself."""
    keys, halves, ends = s.pool, s.halves, s.ends
    low, high = np.uint32(halves[0]), np.uint32(halves[0])
    for i in range(size):
        low, high = min(low, np.uint32(halves[i])), max(high, np.uint32(halves[i]))
    scale = np.float64(size - 1) / max(np.float64(high) - np.float64(low), 1.0)
    ends[: size + 1] = 0
    for i in range(size):
        ends[np.int64((np.float64(np.uint32(halves[i])) - np.float64(low)) * scale) + 1] += 1
    for i in range(size):
        ends[i + 1] += ends[i]
    # `ends` are the buckets' starts, and become their ends as they are filled.
    for i in range(size):
        bucket = np.int64((np.float64(np.uint32(halves[i])) - np.float64(low)) * scale)
        s.spare[ends[bucket]] = keys[i]
        ends[bucket] += 1
    start = 0
    for end in ends[:size]:
        if start >= kept:
            break
        if end > start + 1:
            _sort(s.spare, start, end)
        start = end
    for i in range(kept):
        best[i] = s.spare[i]


@inner
def _least(s, size, best, kept):
    """The `kept` least of the `size` different keys of the pool into `best`, ascending."""
    if size > COUNTED:
        _least_of_many(s, size, best, kept)
        return
    keys, halves, placed = s.pool, s.halves, 0
    for i in range(size, size + LANES):
        halves[i] = -1
    for i in range(size):
        half, before = simd.spread(halves[i]), 0
        for j in range(0, size, LANES):
            before += simd.count_bits(simd.below_unsigned(simd.load(halves, j), half))
        placed += before
        if before < kept:
            best[before] = keys[i]
    if placed == size * (size - 1) // 2:
        return
    # Equal scores were sent to one place.
    for i in range(size, size + 8):
        keys[i] = NO_KEY
    for i in range(size):
        key, before = simd.spread(keys[i]), 0
        for j in range(0, size, 8):
            before += simd.count_bits(simd.below(simd.load(keys, j), key))
        if before < kept:
            best[before] = keys[i]


@inline
def _ask_for(jobs, row, d):
    for j in range(0, d, LINE):
        simd.prefetch(jobs.vectors, row * d + j)
    simd.prefetch(jobs.ranks, jobs.base + row)


@inner
def settle(jobs, query, best, n_best, held, s):
    """Scores `held` rows for good and merges them into the sorted keys of `best`; how many there are now."""
    d, k = len(query), len(best)
    bits, pool, halves = s.bits.view(np.uint32), s.pool, s.halves
    for j in range(d):
        s.wide[j] = query[j]
    for i in range(n_best):
        pool[i], halves[i] = best[i], np.int32(best[i] >> np.uint64(32))
    size, last = n_best, best[k - 1] if n_best == k else NO_KEY
    for i in range(min(AHEAD, len(held))):
        _ask_for(jobs, np.int64(held[i]), d)
    for i in range(len(held)):
        if i + AHEAD < len(held):
            _ask_for(jobs, np.int64(held[i + AHEAD]), d)
        row = np.int64(held[i])
        prior = np.float64(jobs.priors[jobs.base + row]) if len(jobs.priors) else 0.0
        s.bits[0] = final_score(s.wide, jobs.vectors, d, row, prior, s.products)
        key = _key(bits[0], jobs.ranks[jobs.base + row])
        pool[size], halves[size] = key, np.int32(key >> np.uint64(32))
        size += key < last
    kept = min(size, k)
    _least(s, size, best, kept)
    return kept
