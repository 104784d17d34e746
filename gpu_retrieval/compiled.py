"""Loops that NumPy cannot say, compiled by Numba where it is installed; `AVAILABLE` says whether.

Each has the plain NumPy way beside it where it is called. Only `final_score` decides what is returned, and it
adds in the order of `scan.final_score_bits`; what may be reordered is the float32 scan before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_retrieval.quantize import SAFE_SCORE, score_error

# Candidates a block, whose vectors (64 × 128 × 4 bytes) stay in the first cache; queries that share it.
BLOCK = 128
QUERIES = 64
# With fewer queries than this, turning a block over costs more than it saves.
FEW = 5


def _plain(*args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda function: function


try:
    from numba import get_num_threads, njit, prange

    AVAILABLE = True
except ImportError:
    njit, prange = _plain, range
    AVAILABLE = False

_score_error = njit(nogil=True, cache=True)(score_error)


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads()) if AVAILABLE else 1


@njit(parallel=True, nogil=True, cache=True)
def in_range(ranks, starts, lengths, offsets, first, last, missing, mask):
    """`mask` of cells whose rank lies in the entry's range or stands for missing."""
    for e in prange(len(starts)):
        held = ranks[starts[e] : starts[e] + lengths[e]]
        out = mask[offsets[e] : offsets[e + 1]]
        low, high = first[e], last[e]
        for i in range(len(held)):
            out[i] = ((held[i] >= low) & (held[i] <= high)) | (held[i] == missing)


@njit(nogil=True, cache=True)
def _holds(values, low, high, term):
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < term:
            low = middle + 1
        else:
            high = middle
    return low


@njit(parallel=True, nogil=True, cache=True)
def having(rows, starts, lengths, offsets, term_offsets, terms, set_offsets, values, of_entry, needed, missing, mask):
    """`mask` of cells whose row has `needed` of the entry's set of terms, or no term where `missing`."""
    for e in prange(len(starts)):
        low, high = set_offsets[of_entry[e]], set_offsets[of_entry[e] + 1]
        need, start, at = needed[e], starts[e], offsets[e]
        for i in range(lengths[e]):
            row = rows[start + i]
            begin, end = term_offsets[row], term_offsets[row + 1]
            found = 0
            for t in range(begin, end):
                term = terms[t]
                if high - low <= 8:
                    for v in range(low, high):
                        found += values[v] == term
                else:
                    place = _holds(values, low, high, term)
                    found += place < high and values[place] == term
            mask[at + i] = found >= need or (missing[e] and begin == end)


@njit(parallel=True, nogil=True, cache=True)
def draw(postings, starts, ends, of_group, offsets, rows, counts):
    """Each group's postings into `rows[offsets[g]:]`, ascending and without repeats; `counts` says how many."""
    for g in prange(len(counts)):
        out = rows[offsets[g] : offsets[g + 1]]
        n, spans = 0, 0
        for s in range(of_group[g], of_group[g + 1]):
            length = ends[s] - starts[s]
            out[n : n + length] = postings[starts[s] : ends[s]]
            n += length
            spans += length > 0
        if spans > 1:
            out.sort()
            kept = 1
            for i in range(1, n):
                if out[i] != out[kept - 1]:
                    out[kept] = out[i]
                    kept += 1
            n = kept
        counts[g] = n


@njit(parallel=True, nogil=True, cache=True)
def row_counts(mask, offsets, counts):
    """How many cells of each entry are True."""
    for e in prange(len(counts)):
        total = 0
        for held in mask[offsets[e] : offsets[e + 1]]:
            total += held
        counts[e] = total


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
def _dots(vectors, rows, queries, scores, n_queries, d):
    for i in range(len(rows)):
        vector = vectors[rows[i]]
        for q in range(n_queries):
            total = np.float32(0)
            for j in range(d):
                total += queries[q, j] * vector[j]
            scores[q * BLOCK + i] = total


@njit(nogil=True, cache=True)
def final_score(query, vector, prior, products):
    """The float32 score that is returned, summed as `scan.final_score_bits` sums; -0.0 is 0.0."""
    left = len(query)
    for j in range(left):
        products[j] = query[j] * np.float64(vector[j])
    while left > 1:
        half = left // 2
        shift = left - half
        for j in range(half):
            products[j] += products[shift + j]
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
def _kth_largest(values, n, k):
    """The k-th largest of the first n, which it reorders (Hoare's selection)."""
    low, high, at = 0, n - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if at <= j:
            high = j
        elif at >= i:
            low = i
        else:
            break
    return values[at]


@njit(nogil=True, cache=True)
def _floor32(value):
    # Below the float64 by more than the rounding to float32 could add.
    return np.float32(value - abs(value) * 1e-6 - 1e-37)


@njit(nogil=True, cache=True)
def _prune(scores, rows, n, k, error, copy):
    """Drops what cannot be among the k best, whatever the scan's error; how many are left, and the limit."""
    if n <= k:
        return n, np.float32(-np.inf)
    copy[:n] = scores[:n]
    limit = _floor32(np.float64(_kth_largest(copy, n, k)) - 2 * error)
    left = 0
    for i in range(n):
        if scores[i] >= limit:
            scores[left], rows[left] = scores[i], rows[i]
            left += 1
    return left, limit


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
        cell[0] = final_score(query, vectors[row], prior, products)
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
        copy = np.empty(cap, dtype=np.float32)
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
                _dots(vectors, rows[start : start + n], own, scores, n_queries, d)
            else:
                for i in range(n):
                    vector = vectors[rows[start + i]]
                    for j in range(d):
                        block[j * BLOCK + i] = vector[j]
                _product(block, own, scores, wide)
            for q in range(n_queries):
                if n_held[q] + n > cap:
                    for j in range(d):
                        query[j] = own[q, j]
                    left = n_held[q]
                    if safe:
                        left, limit = _prune(held_scores[q], held_rows[q], left, k, errors[q], copy)
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
                limit, at, n_now = limits[q], q * BLOCK, n_held[q]
                masked = len(mask) > 0
                cells = offsets[q0 + q] + start - first
                for i in range(n):
                    value = scores[at + i]
                    if len(priors):
                        value += priors[base + rows[start + i]]
                    if (not safe or value >= limit) and (not masked or mask[cells + i]):
                        held_scores[q, n_now] = value
                        held_rows[q, n_now] = rows[start + i]
                        n_now += 1
                n_held[q] = n_now

        for q in range(n_queries):
            left = n_held[q]
            if safe:
                left, _ = _prune(held_scores[q], held_rows[q], left, k, errors[q], copy)
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
