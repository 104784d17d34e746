"""The scoring of candidates as one loop, compiled by Numba.

Each has the plain NumPy way beside it where it is called. Only `final_score` decides what is returned, and it
adds in the order of `scan.final_score_bits`; what may be reordered is the float32 scan before it.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from gpu_retrieval.cell_loops import draw, having, in_range, pick, row_counts
from gpu_retrieval.compiled import BLOCK
from gpu_retrieval.quantize import SAFE_SCORE, score_error

__all__ = ["decode", "draw", "having", "in_range", "n_threads", "pick", "row_counts", "score"]

# With fewer queries than this, turning a block over costs more than it saves.
FEW = 5
# Of a histogram of scores.
BUCKETS = 256
# Components of a cache line.
LINE = 16

_score_error = njit(nogil=True, cache=True)(score_error)


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


@njit(nogil=True, cache=True, fastmath={"contract"})
def _product(block, queries, scores, d):
    # Unsigned places: a signed one might count from the end, and the check for that keeps the loop scalar.
    one, two, three = np.uint64(BLOCK), np.uint64(2 * BLOCK), np.uint64(3 * BLOCK)
    for q in range(0, len(queries), 4):
        at = np.uint64(q * BLOCK)
        for n in range(4 * BLOCK):
            scores[at + np.uint64(n)] = np.float32(0)
        for j in range(0, d, 4):
            row = np.uint64(j * BLOCK)
            a0, a1, a2, a3 = queries[q, j], queries[q, j + 1], queries[q, j + 2], queries[q, j + 3]
            b0, b1, b2, b3 = queries[q + 1, j], queries[q + 1, j + 1], queries[q + 1, j + 2], queries[q + 1, j + 3]
            c0, c1, c2, c3 = queries[q + 2, j], queries[q + 2, j + 1], queries[q + 2, j + 2], queries[q + 2, j + 3]
            e0, e1, e2, e3 = queries[q + 3, j], queries[q + 3, j + 1], queries[q + 3, j + 2], queries[q + 3, j + 3]
            for n in range(BLOCK):
                i = np.uint64(n)
                t0, t1, t2, t3 = block[row + i], block[row + i + one], block[row + i + two], block[row + i + three]
                scores[at + i] += (a0 * t0 + a1 * t1) + (a2 * t2 + a3 * t3)
                scores[at + i + one] += (b0 * t0 + b1 * t1) + (b2 * t2 + b3 * t3)
                scores[at + i + two] += (c0 * t0 + c1 * t1) + (c2 * t2 + c3 * t3)
                scores[at + i + three] += (e0 * t0 + e1 * t1) + (e2 * t2 + e3 * t3)


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _dots(vectors, rows, start, n, queries, scores, n_queries, d):
    for i in range(n):
        row = rows[start + i]
        for q in range(n_queries):
            total = np.float32(0)
            for j in range(d):
                total += queries[q, j] * vectors[row, j]
            scores[q * BLOCK + i] = total


@njit(nogil=True, cache=True)
def final_score(query, vectors, row, prior, products):
    """The float32 score that is returned, summed as `scan.final_score_bits` sums; -0.0 is 0.0."""
    left = len(query)
    for j in range(left):
        products[j] = query[j] * np.float64(vectors[row, j])
    while left > 1:
        half = left // 2
        shift = np.uint64(left - half)
        for n in range(half):
            place = np.uint64(n)
            products[place] += products[shift + place]
        left -= half
    return np.float32(products[0] + prior) + np.float32(0)


@njit(nogil=True, cache=True)
def _key(bits, rank):
    """`topk.score_keys` of one score."""
    wide = np.uint64(bits)
    turned = wide if wide >> np.uint64(31) else wide ^ np.uint64(0x7FFFFFFF)
    return (turned << np.uint64(32)) | np.uint64(rank)


@njit(nogil=True, cache=True)
def _key_score(key, cell):
    """`topk.key_scores` of one key; `cell` (1,) float32 is scratch."""
    turned = key >> np.uint64(32)
    cell.view(np.uint32)[0] = np.uint32(turned if turned >> np.uint64(31) else turned ^ np.uint64(0x7FFFFFFF))
    return cell[0]


@njit(nogil=True, cache=True)
def _floor32(value):
    # Below the float64 by more than the rounding to float32 could add.
    return np.float32(value - abs(value) * 1e-6 - 1e-37)


@njit(nogil=True, cache=True)
def _prune(scores, rows, q, n, k, error, counts):
    """Drops what cannot be among the k best, whatever the scan's error; how many are left, and the limit.

    A histogram gives a bound just below the k-th score, without the branches of a selection.
    """
    if n <= k:
        return n, np.float32(-np.inf)
    low, high = scores[q, 0], scores[q, 0]
    for i in range(n):
        low, high = min(low, scores[q, i]), max(high, scores[q, i])
    counts[:] = 0
    scale = np.float32((BUCKETS - 1) / (np.float64(high) - np.float64(low))) if high > low else np.float32(0)
    if not scale < np.float32(1e30):
        scale = np.float32(0)
    for i in range(n):
        counts[np.uint64((scores[q, i] - low) * scale)] += 1
    bucket, above = BUCKETS, 0
    while above < k:
        bucket -= 1
        above += counts[bucket]
    least = high
    for i in range(n):
        # What lies in this bucket or above is k or more: the k-th is no lower than the least of it.
        if np.int64((scores[q, i] - low) * scale) >= bucket:
            least = min(least, scores[q, i])
    limit = _floor32(np.float64(least) - 2 * error)
    left = 0
    for i in range(n):
        score = scores[q, i]
        scores[q, left], rows[q, left] = score, rows[q, i]
        left += score >= limit
    return left, limit


@njit(nogil=True, cache=True)
def _hold(scores, at, n, limit, safe, mask, cells, rows, start, held_scores, held_rows, q, n_held):
    """Adds the n candidates of a block that reach the limit to those in waiting; how many wait now."""
    place = np.uint64(at)
    if safe:
        reach = np.int32(0)
        for i in range(n):
            reach += np.int32(scores[place + np.uint64(i)] >= limit)
        if reach == 0:
            return n_held
    masked = len(mask) > 0
    for i in range(n):
        value = scores[place + np.uint64(i)]
        # Written in any case: a branch on the score would be guessed wrong too often.
        held_scores[q, n_held] = value
        held_rows[q, n_held] = rows[start + i]
        n_held += ((value >= limit) | (not safe)) & ((not masked) or mask[cells + i])
    return n_held


@njit(nogil=True, cache=True)
def _settle(rows, n, query, vectors, priors, ranks, base, best, n_best, pool, products, cell, bits):
    """Scores n rows for good and merges them into the `n_best` sorted keys of `best`; how many there are now."""
    k = len(best)
    pool[:n_best] = best[:n_best]
    size = n_best
    last = best[k - 1]
    for i in range(n):
        row = rows[i]
        prior = np.float64(priors[base + row]) if len(priors) else 0.0
        cell[0] = final_score(query, vectors, row, prior, products)
        key = _key(bits[0], ranks[base + row])
        if key < last:
            pool[size] = key
            size += 1
    pool[:size].sort()
    kept = min(size, k)
    best[:kept] = pool[:kept]
    return kept


@njit(parallel=True, nogil=True, cache=True)
def score(vectors, norms, rows, pieces, queries, mask, offsets, priors, largest_prior, ranks, base, cap, best, n_best):
    """Takes every candidate of every piece into `best` (queries, k), sorted, of which `n_best` are there.

    A piece is (first, last candidate in `rows`, first, last query), its queries no other piece's. `mask` is
    flat over the queries' candidates from `offsets`, empty where all pass. `priors` may be empty. `rows` count
    within the segment, `priors` and `ranks` from `base`. `cap` is a query's candidates in waiting.
    """
    k, d = best.shape[1], vectors.shape[1]
    wide = (d + 3) // 4 * 4
    for p in prange(len(pieces)):
        first, last, q0, q1 = pieces[p, 0], pieces[p, 1], pieces[p, 2], pieces[p, 3]
        n_queries = q1 - q0
        few = n_queries < FEW
        padded = (n_queries + 3) // 4 * 4
        own = np.zeros((padded, wide), dtype=np.float32)
        own[:n_queries, :d] = queries[q0:q1]
        block = np.zeros(0 if few else wide * BLOCK, dtype=np.float32)
        scores = np.empty(padded * BLOCK, dtype=np.float32)
        held_scores = np.empty((n_queries, cap), dtype=np.float32)
        held_rows = np.empty((n_queries, cap), dtype=np.int32)
        n_held = np.zeros(n_queries, dtype=np.int64)
        counts = np.empty(BUCKETS, dtype=np.int32)
        pool = np.empty(k + cap, dtype=np.uint64)
        products = np.empty(d, dtype=np.float64)
        query = np.empty(d, dtype=np.float64)
        cell = np.zeros(1, dtype=np.float32)
        bits = cell.view(np.uint32)

        norm = 0.0
        for i in range(first, last):
            norm = max(norm, norms[rows[i]])
        errors = np.empty(n_queries, dtype=np.float64)
        limits = np.full(n_queries, -np.inf, dtype=np.float32)
        safe = True
        for q in range(n_queries):
            total = 0.0
            for j in range(d):
                total += np.float64(own[q, j]) ** 2
            length = np.sqrt(total) * (1 + 1e-9)
            safe = safe and length * norm + largest_prior < SAFE_SCORE
            errors[q] = _score_error(length, norm, 0.0, largest_prior, d, 0.0)
            if n_best[q0 + q] == k:
                limits[q] = _floor32(np.float64(_key_score(best[q0 + q, k - 1], cell)) - errors[q])

        for start in range(first, last, BLOCK):
            n = min(BLOCK, last - start)
            if few:
                _dots(vectors, rows, start, n, own, scores, n_queries, d)
            else:
                # One load a cache line, none waiting for another, brings the rows in several times faster.
                touched = np.float32(0)
                for j in range(0, d, LINE):
                    for i in range(n):
                        touched = max(touched, vectors[rows[start + i], j])
                query[0] = touched
                for i in range(n):
                    row = rows[start + i]
                    for j in range(d):
                        block[j * BLOCK + i] = vectors[row, j]
                _product(block, own, scores, wide)
            for q in range(n_queries):
                if n_held[q] + n > cap:
                    for j in range(d):
                        query[j] = own[q, j]
                    left = n_held[q]
                    if safe:
                        left, limit = _prune(held_scores, held_rows, q, left, k, errors[q], counts)
                        limits[q] = max(limits[q], limit)
                    if left + BLOCK > cap - (cap - BLOCK) // 4:
                        # The scan cannot tell them apart: their final scores can.
                        n_best[q0 + q] = _settle(
                            held_rows[q], left, query, vectors, priors, ranks, base,
                            best[q0 + q], n_best[q0 + q], pool, products, cell, bits,
                        )  # fmt: skip
                        left = 0
                        if safe and n_best[q0 + q] == k:
                            kth = np.float64(_key_score(best[q0 + q, k - 1], cell))
                            limits[q] = max(limits[q], _floor32(kth - errors[q]))
                    n_held[q] = left
                if len(priors):
                    for i in range(n):
                        scores[q * BLOCK + i] += priors[base + rows[start + i]]
                n_held[q] = _hold(
                    scores, q * BLOCK, n, limits[q], safe, mask, offsets[q0 + q] + start - first,
                    rows, start, held_scores, held_rows, q, n_held[q],
                )  # fmt: skip

        for q in range(n_queries):
            left = n_held[q]
            if safe:
                left, _ = _prune(held_scores, held_rows, q, left, k, errors[q], counts)
            if left:
                for j in range(d):
                    query[j] = own[q, j]
                n_best[q0 + q] = _settle(
                    held_rows[q], left, query, vectors, priors, ranks, base,
                    best[q0 + q], n_best[q0 + q], pool, products, cell, bits,
                )  # fmt: skip


@njit(parallel=True, nogil=True, cache=True)
def decode(best, n_best, into, sorted_ids, ids, scores):
    """Sorted keys of query i into row `into[i]` of the hits."""
    for i in prange(len(best)):
        cell = np.zeros(1, dtype=np.float32)
        for j in range(n_best[i]):
            key = best[i, j]
            ids[into[i], j] = sorted_ids[np.int64(key & np.uint64(0xFFFFFFFF))]
            scores[into[i], j] = _key_score(key, cell)
