"""Final scores, from the float32 originals, and the k best of them as sorted keys (`topk`)."""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd
from gpu_retrieval.loops.score_state import LINE, inline, inner
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.topk import NO_KEY

# Keys that are sorted by counting, for each, those below it: more of them go to buckets of about so many.
COUNTED, PER_BUCKET = 320, 4
# Rows that are asked for before their turn.
AHEAD = 8


@inline
def _products64(query, at, vectors, start):
    """Two of the eight registers of products of 64 components, the 32 components apart that are added first."""
    near = simd.times(simd.load_wide(query, at), simd.load_wide(vectors, start))
    return simd.plus(near, simd.times(simd.load_wide(query, at + 32), simd.load_wide(vectors, start + 32)))


@inline
def _products128(query, at, vectors, start):
    """The same of 128 components, of which those 64 apart are added first."""
    near = simd.times(simd.load_wide(query, at), simd.load_wide(vectors, start))
    near = simd.plus(near, simd.times(simd.load_wide(query, at + 64), simd.load_wide(vectors, start + 64)))
    far = simd.times(simd.load_wide(query, at + 32), simd.load_wide(vectors, start + 32))
    far = simd.plus(far, simd.times(simd.load_wide(query, at + 96), simd.load_wide(vectors, start + 96)))
    return simd.plus(near, far)


@inline
def final_score(query, vectors, left, row, prior, products):
    """The float32 score that is returned, summed as `scan.final_score_bits` sums; -0.0 is 0.0.

    `query` and `products` have 8 places more than a vector has components.
    """
    start = row * left
    if left == 64:
        # The same additions without a way through memory.
        even = simd.plus(_products64(query, 0, vectors, start), _products64(query, 16, vectors, start + 16))
        odd = simd.plus(_products64(query, 8, vectors, start + 8), _products64(query, 24, vectors, start + 24))
        return np.float32(simd.fold(simd.plus(even, odd)) + prior) + np.float32(0)
    if left == 128:
        even = simd.plus(_products128(query, 0, vectors, start), _products128(query, 16, vectors, start + 16))
        odd = _products128(query, 8, vectors, start + 8)
        odd = simd.plus(odd, _products128(query, 24, vectors, start + 24))
        return np.float32(simd.fold(simd.plus(even, odd)) + prior) + np.float32(0)
    whole = left // 8 * 8
    for j in range(0, whole, 8):
        simd.store(products, j, simd.times(simd.load_wide(query, j), simd.load_wide(vectors, start + j)))
    for j in range(whole, left):
        products[j] = np.float64(query[j]) * np.float64(vectors[start + j])
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
def key_of(bits, rank):
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


@inline
def floor32(value):
    # Below the float64 by more than the rounding to float32 could add.
    return np.float32(value - abs(value) * 1e-6 - 1e-37)


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
def _buckets(halves, marks, bits, size):
    """How many buckets of equal width the scores of `size` keys fall in; `marks` gets each one's, the best 0.

    A single one, without marks, where the scores are too close to one another or too far apart to be divided.
    """
    least, most = np.uint32(halves[0]), np.uint32(halves[0])
    for i in range(size):
        half = np.uint32(halves[i])
        least, most = min(least, half), max(most, half)
        # The score's own bits: `key_score`.
        marks[i] = halves[i] ^ (~(halves[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
    scores, n = marks.view(np.float32), size // PER_BUCKET + 1
    bits.view(np.uint32)[0] = least if least >> np.uint32(31) else least ^ np.uint32(0x7FFFFFFF)
    high = bits[0]
    bits.view(np.uint32)[0] = most if most >> np.uint32(31) else most ^ np.uint32(0x7FFFFFFF)
    width = high - bits[0]
    if not (width > 1e-30 and width < np.inf):
        return 1
    scale = np.float32(n - 1) / width
    for i in range(size):
        marks[i] = np.int32((high - scores[i]) * scale)
    return n


@inner
def _least_of_many(keys, halves, spare, spread_out, marks, ends, bits, size, best, kept):
    """`_least` by buckets of a few keys each, and within a bucket by counting."""
    n_buckets = _buckets(halves, marks, bits, size)
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
def _least(keys, halves, spare, spread_out, marks, ends, bits, size, best, kept):
    """The `kept` least of the `size` different keys of the pool into `best`, ascending.

    The arrays are the scratch's, one by one: a call with all of it costs more than the keys of a small query.
    """
    if size > COUNTED:
        _least_of_many(keys, halves, spare, spread_out, marks, ends, bits, size, best, kept)
        return
    placed = 0
    for i in range(size, size + LANES):
        halves[i] = -1
    for i in range(size):
        half, before = simd.spread(halves[i]), 0
        for j in range(0, size, LANES):
            before += simd.count_bits(simd.below_unsigned(simd.load(halves, j), half))
        placed += before
        spare[before] = keys[i]
    if placed == size * (size - 1) // 2:
        for i in range(kept):
            best[i] = spare[i]
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
def ask_for(jobs, row, d):
    """A row's components and rank are read soon."""
    for j in range(0, d, LINE):
        simd.prefetch(jobs.vectors, row * d + j)
    simd.prefetch(jobs.ranks, jobs.base + row)


@inline
def last_key(best, query):
    """What a query's new keys must be below."""
    k = best.k
    return best.keys[best.rows[query] * best.width + k - 1] if best.n_keys[query] == k else NO_KEY


@inline
def raise_limit(best, s, q, query):
    """What a row's upper bound must reach, from final scores alone."""
    last = last_key(best, query)
    if s.safe[q] and last != NO_KEY:
        score = np.float64(key_score(last, s.bits))
        s.limits[q] = max(s.limits[q], floor32(score * s.units[q] - s.slack[q]))


@inline
def sort_in(best, s, query):
    """Sorts the new keys in among the query's best."""
    k, n, at = best.k, best.n_keys[query], best.rows[query] * best.width
    keys = best.keys[at : at + k]
    pool, halves = s.pool, s.halves
    for i in range(n):
        pool[i], halves[i] = keys[i], np.int32(keys[i] >> np.uint64(32))
    for i in range(s.n_new[0]):
        pool[n + i], halves[n + i] = s.new[i], np.int32(s.new[i] >> np.uint64(32))
    size = n + s.n_new[0]
    kept = min(size, k)
    _least(pool, halves, s.spare, s.spare_halves, s.marks, s.ends, s.bits, size, keys, kept)
    best.n_keys[query], s.n_new[0] = kept, 0
    s.last[0] = last_key(best, query)


@inline
def _score(jobs, best, s, row, d):
    """One pair's final score, among the query's new keys if it is below the last; its components are `wide`."""
    rank = jobs.ranks[jobs.base + row]
    prior = np.float64(jobs.priors[jobs.base + row]) if len(jobs.priors) else 0.0
    s.bits[0] = final_score(s.wide, jobs.vectors, d, row, prior, s.products)
    key, n = key_of(s.bits.view(np.uint32)[0], rank), s.n_new[0]
    s.new[n] = key
    s.n_new[0] = n + (key < s.last[0])


@inner
def score_rows(jobs, work, best, s, query, held, cap):
    """Final scores of a query and the `held` rows, the best of them sorted in among its best."""
    d, i = work.queries.shape[1], 0
    for j in range(d):
        s.wide[j] = work.queries[query, j]
    s.n_new[0], s.last[0] = 0, last_key(best, query)
    for j in range(min(AHEAD, len(held))):
        ask_for(jobs, np.int64(held[j]), d)
    is_left = True
    while is_left:
        while i < len(held) and s.n_new[0] < cap:
            if i + AHEAD < len(held):
                ask_for(jobs, np.int64(held[i + AHEAD]), d)
            _score(jobs, best, s, np.int64(held[i]), d)
            i += 1
        is_left = i < len(held)
        sort_in(best, s, query)
