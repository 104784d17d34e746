"""Equal rows and equal keys found by hashing, in loops compiled by Numba.

Each has the plain NumPy way beside it where it is called.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

# Values that are sorted by insertion.
FEW = 32


@njit(nogil=True, cache=True)
def _mixed(word):
    """The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every other."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(parallel=True, nogil=True, cache=True)
def order_rows(offsets, values, sizes):
    """Each row's different values, ascending, to its beginning; how many there are."""
    for row in prange(len(sizes)):
        own = values[offsets[row] : offsets[row + 1]]
        if len(own) > FEW:
            own.sort()
        else:
            for i in range(1, len(own)):
                value, at = own[i], i
                while at > 0 and own[at - 1] > value:
                    own[at] = own[at - 1]
                    at -= 1
                own[at] = value
        n = min(1, len(own))
        for i in range(1, len(own)):
            own[n] = own[i]
            n += own[i] != own[n - 1]
        sizes[row] = n


@njit(parallel=True, nogil=True, cache=True)
def hash_rows(offsets, values, hashes):
    """A hash of each row's values, in their order."""
    for row in prange(len(hashes)):
        # Places of an array of its own are known not to be negative, else nothing is done side by side.
        own = values[offsets[row] : offsets[row + 1]]
        total = np.uint64(len(own))
        # The sum of products with odd numbers of their own, which has no chain of dependent steps. Each is folded: the
        # factors are a series, so that sums of bare products would be equal wherever two sums of the values are.
        factor = np.uint64(0x9E3779B97F4A7C15)
        for i in range(len(own)):
            product = (np.uint64(own[i]) + np.uint64(1)) * factor
            total += product ^ (product >> np.uint64(32))
            factor += np.uint64(0xD1342543DE82EF96)
        hashes[row] = _mixed(total)


@njit(nogil=True, cache=True)
def number_keys(keys, firsts, numbers):
    """Equal keys by one number, in order of first appearance; where each first appears; how many there are."""
    bits = 1
    while (1 << bits) < 2 * len(keys):
        bits += 1
    table = np.full(1 << bits, -1, dtype=np.int64)
    last, n = np.uint64((1 << bits) - 1), 0
    for i in range(len(keys)):
        at = _mixed(np.uint64(keys[i])) & last
        while table[at] >= 0 and keys[firsts[table[at]]] != keys[i]:
            at = (at + np.uint64(1)) & last
        if table[at] < 0:
            table[at], firsts[n] = n, i
            n += 1
        numbers[i] = table[at]
    return n


@njit(parallel=True, nogil=True, cache=True)
def rows_differ(offsets, values, others, differs):
    """Which rows are not the same as another row of their own."""
    for row in prange(len(others)):
        own = values[offsets[row] : offsets[row + 1]]
        other = values[offsets[others[row]] : offsets[others[row] + 1]]
        different = np.int32(len(own) != len(other))
        if not different:
            for i in range(len(own)):
                different |= own[i] ^ other[i]
        differs[row] = different != 0
