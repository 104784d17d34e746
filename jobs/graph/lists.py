"""Lists of int32 of different lengths, in two arrays; turned round and taken with no memory but the answer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lists:
    """List i is `values[offsets[i]:offsets[i + 1]]`: (n + 1,) int64 from 0, and int32.

    >>> carried = Lists.of([[0, 2], [], [2]])
    >>> by_value = carried.turned(3)
    >>> by_value.offsets.tolist(), by_value.values.tolist()
    ([0, 1, 1, 3], [0, 0, 2])
    >>> by_value.take(np.array([2, 1])).offsets.tolist(), carried.first(1).values.tolist()
    ([0, 2, 2], [0, 2])
    """

    offsets: Ints
    values: Ints

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Lists:
        return Lists(
            ends([len(row) for row in rows]), np.fromiter((value for row in rows for value in row), dtype=np.int32)
        )

    @staticmethod
    def of_arrow(column: pa.ChunkedArray | pa.Array) -> Lists:
        """A list column without nulls."""
        values = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        parts = [part.flatten().to_numpy(zero_copy_only=False) for part in values.chunks]
        lengths = [part.value_lengths().to_numpy(zero_copy_only=False) for part in values.chunks]
        nothing = np.zeros(0, np.int32)
        return Lists(ends(np.concatenate([nothing, *lengths])), np.concatenate([nothing, *parts]))

    @staticmethod
    def joined(parts: Sequence[Lists], places: Ints) -> Lists:
        """The lists at these places of all parts, one after the other, in that order.

        >>> Lists.joined([Lists.of([[1], [2, 3]]), Lists.of([[4, 5]])], np.array([2, 0])).values.tolist()
        [4, 5, 1]
        """
        first = ends([len(part) for part in parts])
        offsets = ends(np.concatenate([part.lengths for part in parts])[places])
        values = np.empty(offsets[-1], np.int32)
        for part, start, end in zip(parts, first[:-1], first[1:], strict=True):
            rows = np.flatnonzero((places >= start) & (places < end))
            _take(part.offsets, part.values, places[rows] - start, offsets[rows], values)
        return Lists(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def lengths_of(self, places: Ints) -> Ints:
        return self.offsets[places + 1] - self.offsets[places]

    def sums(self, values: Floats, places: Ints | None = None) -> Floats:
        """(places,): of those lists, or of all, the sum of what `values` has at their values."""
        return _sums(self.offsets, self.values, np.arange(len(self)) if places is None else places, values)

    def take(self, places: Ints) -> Lists:
        """Those lists, in that order."""
        offsets = ends(self.lengths_of(places))
        values = np.empty(offsets[-1], np.int32)
        _take(self.offsets, self.values, places, offsets[:-1], values)
        return Lists(offsets, values)

    def first(self, n: int) -> Lists:
        """At most the first n values of each."""
        lengths = self.lengths
        if lengths.max(initial=0) <= n:
            return self
        place = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        return Lists(ends(np.minimum(lengths, n)), self.values[place < n])

    def among(self, is_wanted: NDArray[np.bool_]) -> Lists:
        """Without the values that are not wanted: (values,) bool.

        >>> Lists.of([[0, 2], [1]]).among(np.array([True, False, True])).values.tolist()
        [0, 2]
        """
        if is_wanted.all():
            return self
        is_kept = is_wanted[self.values]
        return Lists(ends(is_kept)[self.offsets], self.values[is_kept])

    def common(self, others: Lists) -> tuple[Ints, Ints]:
        """(n,) each: the place, ascending, and a value that both have there; lists have each value once.

        >>> place, value = Lists.of([[0, 2], [], [1], [4]]).common(Lists.of([[2, 5, 0], [], [3, 0], [4]]))
        >>> place.tolist(), value.tolist()
        ([0, 0, 3], [0, 2, 4])
        """
        found = np.empty((min(len(self.values), len(others.values)), 2), np.int32)
        n = _common((self.offsets, self.values), (others.offsets, others.values), found)
        return found[:n, 0], found[:n, 1]

    def turned(self, n: int) -> Lists:
        """(n lists): of each value below n, the lists that have it, ascending."""
        offsets = ends(np.bincount(self.values, minlength=n))
        values = np.empty(len(self.values), np.int32)
        _turn(self.offsets, self.values, offsets[:-1].copy(), values)
        return Lists(offsets, values)


def ends(lengths: Sequence[int] | Ints) -> Ints:
    """(n + 1,) int64: 0, and where each of n lists ends.

    >>> ends([2, 0, 1]).tolist()
    [0, 2, 2, 3]
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


@njit(cache=True)
def _sums(offsets, lists, places, values):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(places))
    for number in range(len(places)):
        total = 0.0
        for at in range(offsets[places[number]], offsets[places[number] + 1]):
            total += values[lists[at]]
        sums[number] = total
    return sums


@njit(cache=True)
def _take(offsets, values, places, into, taken):  # type: ignore[no-untyped-def]
    for number in range(len(places)):
        start = offsets[places[number]]
        for at in range(offsets[places[number] + 1] - start):
            taken[into[number] + at] = values[start + at]


@njit(cache=True)
def _turn(offsets, values, into, turned):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1]):
            turned[into[values[at]]] = row
            into[values[at]] += 1


@njit(cache=True)
def _common(some, others, found):  # type: ignore[no-untyped-def]
    (offsets, values), (other_offsets, other_values) = some, others
    n = 0
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1]):
            for other in range(other_offsets[row], other_offsets[row + 1]):
                if values[at] == other_values[other]:
                    found[n, 0], found[n, 1] = row, values[at]
                    n += 1
    return n
