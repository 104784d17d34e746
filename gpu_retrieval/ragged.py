"""Rows of different lengths, stored as two flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gpu_retrieval.checks import check_array
from gpu_retrieval.loops import compiled

LONG_ROW = 8
# Rows that are compared sooner one by one than by sorting.
FEW_ROWS = 64
# Values or keys that NumPy sorts in less time than Numba takes to load.
WORTH_HASHING = 1 << 16


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row i is `values[offsets[i]:offsets[i + 1]]`.

    `offsets` is (rows + 1,) int64: it starts at 0, never decreases and ends at `len(values)`. `values` is
    int32 (terms) or int64 (ids). Rows are read as sets: order and repeats do not matter.

    >>> rows = Ragged.from_lists([[7, 3], [], [5]])
    >>> rows.offsets.tolist(), rows.values.tolist(), len(rows)
    ([0, 2, 2, 3], [7, 3, 5], 3)
    """

    offsets: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        offsets = check_array("Ragged offsets", self.offsets, "int64", (None,))
        values = check_array("Ragged values", self.values, ("int32", "int64"), (None,))
        if len(offsets) == 0 or offsets[0] != 0:
            raise ValueError(f"Ragged offsets: expected to start at 0, got {offsets[:1].tolist()}")
        falls = offsets[1:] < offsets[:-1]
        if falls.any():
            row = int(np.argmax(falls))
            raise ValueError(
                f"Ragged offsets: expected never to decrease, row {row:,} goes from {offsets[row]:,} to "
                f"{offsets[row + 1]:,}"
            )
        if offsets[-1] != len(values):
            raise ValueError(f"Ragged offsets: expected to end at {len(values):,} values, got {offsets[-1]:,}")

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int]], dtype: str = "int32") -> Ragged:
        """One row a list. For ids pass `dtype="int64"`."""
        lists = [np.asarray(row, dtype=dtype) for row in rows]
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        offsets[1:] = np.cumsum([len(row) for row in lists], dtype=np.int64)
        return cls(offsets, np.concatenate([*lists, np.empty(0, dtype=dtype)]))

    @classmethod
    def of_one(cls, values: np.ndarray) -> Ragged:
        """Rows of one value each, of these (n,).

        >>> Ragged.of_one(np.array([7, 9])).offsets.tolist()
        [0, 1, 2]
        """
        return cls(np.arange(len(values) + 1, dtype=np.int64), values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, i: int) -> np.ndarray:
        """Row i, as it was given."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def trusted(cls, offsets: np.ndarray, values: np.ndarray) -> Ragged:
        """Without checks: what they cost is more than what a row does."""
        ragged = object.__new__(cls)
        object.__setattr__(ragged, "offsets", offsets)
        object.__setattr__(ragged, "values", values)
        return ragged

    def take(self, rows: np.ndarray) -> Ragged:
        """These rows, in this order."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        source = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged.trusted(offsets, self.values[source])

    @classmethod
    def side_by_side(cls, parts: Sequence[Ragged]) -> Ragged:
        """The same row of each part, one after the other; no rows where there is no part."""
        if not parts:
            return cls(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32))
        order = np.argsort(np.concatenate([part.row_numbers() for part in parts]), kind="stable")
        offsets = np.sum([part.offsets for part in parts], axis=0)
        return cls(offsets, np.concatenate([part.values for part in parts])[order])

    def row_numbers(self) -> np.ndarray:
        """(values,) int64: the row that each value belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def as_sets(self) -> Ragged:
        """The same rows, each ascending and without repeats. For terms (int32, not negative) only."""
        rises = self.values[1:] > self.values[:-1]
        if len(self) > 1:
            inner = self.offsets[(self.offsets > 0) & (self.offsets < len(self.values))]
            rises[inner - 1] = True
        if rises.all():
            return self
        if compiled.AVAILABLE and len(self.values) >= WORTH_HASHING:
            values, sizes = self.values.copy(), np.empty(len(self), dtype=np.int64)
            compiled.keys().order_rows(self.offsets, values, sizes)
            offsets = np.concatenate([[0], np.cumsum(sizes)])
            if offsets[-1] == len(values):
                return Ragged.trusted(self.offsets, values)
            places = np.repeat(self.offsets[:-1] - offsets[:-1], sizes) + np.arange(offsets[-1])
            return Ragged.trusted(offsets, values[places])
        keys = np.sort((self.row_numbers() << 32) | self.values)
        keys = keys[np.diff(keys, prepend=-1) != 0]
        offsets = np.searchsorted(keys, np.arange(len(self) + 1, dtype=np.int64) << 32)
        return Ragged(offsets.astype(np.int64), (keys & 0xFFFFFFFF).astype(np.int32))

    def distinct(self) -> tuple[Ragged, np.ndarray]:
        """The different rows, as sets and in order of first appearance, and (rows,) int64: which each row is."""
        # As they are written first: most rows that are the same are written alike, and need no sorting then.
        written = _written_alike(self)
        if written is not None and len(written[0]) < len(self):
            sets, of_first = self.take(written[0]).distinct()
            return sets, of_first[written[1]]
        sets = self.as_sets()
        if len(sets) <= FEW_ROWS:
            firsts, numbers = _named_alike(sets)
            return sets.take(np.array(firsts)) if len(firsts) < len(sets) else sets, np.array(numbers, dtype=np.int64)
        if (alike := _written_alike(sets)) is not None:
            return sets.take(alike[0]) if len(alike[0]) < len(sets) else sets, alike[1]
        _, first, group = np.unique(_same(sets), return_index=True, return_inverse=True)
        by_appearance = np.argsort(first, kind="stable")
        place = np.empty(len(first), dtype=np.int64)
        place[by_appearance] = np.arange(len(first))
        if len(first) == len(sets):
            return sets, np.arange(len(sets), dtype=np.int64)
        return sets.take(first[by_appearance]), place[group]


def _named_alike(sets: Ragged) -> tuple[list[int], list[int]]:
    """First of each of the different rows, and which of them each row is."""
    bounds, seen, first, numbers = sets.offsets.tolist(), dict[bytes, int](), list[int](), list[int]()
    for row, (start, stop) in enumerate(pairwise(bounds)):
        number = seen.setdefault(sets.values[start:stop].tobytes(), len(first))
        if number == len(first):
            first.append(row)
        numbers.append(number)
    return first, numbers


def _written_alike(ragged: Ragged) -> tuple[np.ndarray, np.ndarray] | None:
    """First of each of the rows that are written differently, and (rows,) int64: which of them each row is.

    None where there are too few to hash, where Numba is missing, and where two rows have one hash.
    """
    if not compiled.AVAILABLE or len(ragged.values) < WORTH_HASHING:
        return None
    loops, n = compiled.keys(), len(ragged)
    hashes, differs = np.empty(n, dtype=np.uint64), np.empty(n, dtype=bool)
    firsts, numbers = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    loops.hash_rows(ragged.offsets, ragged.values, hashes)
    firsts = firsts[: loops.number_keys(hashes, firsts, numbers)]
    loops.rows_differ(ragged.offsets, ragged.values, firsts[numbers], differs)
    return None if differs.any() else (firsts, numbers)


def numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each different key (int64) first appears, by ascending key, and (keys,) int64: which of them each is."""
    if not compiled.AVAILABLE or len(keys) < WORTH_HASHING:
        _, firsts, numbers = np.unique(keys, return_index=True, return_inverse=True)
        return firsts, numbers.reshape(-1)
    firsts, numbers = np.empty(len(keys), dtype=np.int64), np.empty(len(keys), dtype=np.int64)
    firsts = firsts[: compiled.keys().number_keys(keys, firsts, numbers)]
    order = np.argsort(keys[firsts])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return firsts[order], place[numbers]


def _same(sets: Ragged) -> np.ndarray:
    """(rows,) int64 that is equal where the rows are."""
    lengths = np.diff(sets.offsets)
    group = lengths.copy()
    n_groups = int(lengths.max(initial=0)) + 1
    # Short rows split their group one value at a time; a row with many values is looked up as a whole.
    for place in range(min(n_groups - 1, LONG_ROW)):
        rows = np.flatnonzero((lengths > place) & (lengths <= LONG_ROW))
        keys = (group[rows] << 32) | sets.values[sets.offsets[rows] + place]
        values, inverse = np.unique(keys, return_inverse=True)
        group[rows] = n_groups + inverse
        n_groups += len(values)
    seen: dict[bytes, int] = {}
    for row in np.flatnonzero(lengths > LONG_ROW).tolist():
        group[row] = n_groups + seen.setdefault(sets.row(row).tobytes(), len(seen))
    return group


def check_terms(name: str, ragged: object, n_rows: int) -> Ragged:
    """The ragged, when it has this many rows of int32 terms, none of them negative."""
    if not isinstance(ragged, Ragged):
        raise TypeError(f"{name}: expected a Ragged, got {type(ragged).__name__}")
    if ragged.values.dtype != np.int32:
        raise TypeError(f"{name}: expected int32 terms, got {ragged.values.dtype}")
    if len(ragged) != n_rows:
        raise ValueError(f"{name}: expected {n_rows:,} rows, got {len(ragged):,}")
    if ragged.values.size and ragged.values.min() < 0:
        at = int(np.argmax(ragged.values < 0))
        row = int(np.searchsorted(ragged.offsets, at, side="right")) - 1
        raise ValueError(f"{name}: expected terms of 0 or more, row {row:,} holds {ragged.values[at]}")
    return ragged
