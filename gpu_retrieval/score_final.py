"""Final scores, from the float32 originals, and the k best of them as sorted keys (`topk`)."""

from __future__ import annotations

import numpy as np

from gpu_retrieval import simd
from gpu_retrieval.score_state import inline, inner
from gpu_retrieval.topk import NO_KEY

# Words of a cache line.
LINE = 16
# Keys that are sorted by counting, for each, those below it.
COUNTED = 320


@inline
def _products64(query, at, vectors, start):
    """Two of the eight registers of products of 64 components, the 32 components apart that are added first."""
    near = simd.times(simd.load(query, at), simd.load_wide(vectors, start + at))
    return simd.plus(near, simd.times(simd.load(query, at + 32), simd.load_wide(vectors, start + at + 32)))


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


@inner
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


@inner
def settle(jobs, query, best, n_best, held, s):
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
