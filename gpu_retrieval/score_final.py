"""Final scores, from the float32 originals, and the k best of them as sorted keys (`topk`)."""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.score_state import LINE, inline, inner
from gpu_retrieval.simd import LANES
from gpu_retrieval.topk import NO_KEY

# Keys that are sorted by counting, for each, those below it: more of them go to buckets of about so many.
COUNTED, PER_BUCKET = 320, 4
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
def _buckets(s, size):
    """How many buckets of equal width the scores of the pool's keys fall in; `marks` gets each one's, the best 0.

    A single one, without marks, where the scores are too close to one another or too far apart to be divided.
    """
    halves, marks = s.halves, s.marks
    least, most = np.uint32(halves[0]), np.uint32(halves[0])
    for i in range(size):
        half = np.uint32(halves[i])
        least, most = min(least, half), max(most, half)
        # The score's own bits: `key_score`.
        marks[i] = halves[i] ^ (~(halves[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
    scores, n = marks.view(np.float32), size // PER_BUCKET + 1
    s.bits.view(np.uint32)[0] = least if least >> np.uint32(31) else least ^ np.uint32(0x7FFFFFFF)
    high = s.bits[0]
    s.bits.view(np.uint32)[0] = most if most >> np.uint32(31) else most ^ np.uint32(0x7FFFFFFF)
    width = high - s.bits[0]
    if not (width > 1e-30 and width < np.inf):
        return 1
    scale = np.float32(n - 1) / width
    for i in range(size):
        marks[i] = np.int32((high - scores[i]) * scale)
    return n


@inner
def _least_of_many(s, size, best, kept):
    """`_least` by buckets of a few keys each, and within a bucket by counting."""
    keys, halves, marks, ends, spare, spread_out = s.pool, s.halves, s.marks, s.ends, s.spare, s.spare_halves
    n_buckets = _buckets(s, size)
    if n_buckets == 1:
        marks[:size] = 0
    ends[: n_buckets + 1] = 0
    for i in range(size):
        ends[marks[i] + 1] += 1
    for i in range(n_buckets):
        ends[i + 1] += ends[i]
    # `ends` are the buckets' starts, and become their ends as they are filled.
    for i in range(size):
        at = ends[marks[i]]
        ends[marks[i]] = at + 1
        spare[at], spread_out[at] = keys[i], halves[i]
    for i in range(size, size + LANES):
        spread_out[i] = -1
    start = 0
    for end in ends[:n_buckets]:
        if start >= kept:
            break
        placed, n = 0, end - start
        for i in range(start, end if n <= COUNTED else start):
            half, before = simd.spread(spread_out[i]), start
            # What follows the bucket's keys in the last register is not below any of them.
            for j in range(start, end, LANES):
                before += simd.count_bits(simd.below_unsigned(simd.load(spread_out, j), half))
            placed += before - start
            if before < kept:
                best[before] = spare[i]
        if placed != n * (n - 1) // 2:
            # Equal scores, or too many.
            _sort(spare, start, end)
            for i in range(start, min(end, kept)):
                best[i] = spare[i]
        start = end


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
