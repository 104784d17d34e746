"""The terms and numbers of jobs, laid out for filtering.

Terms are kept inverted (term -> ascending job rows), so that a query's mask is made from the postings of its
own terms and never by scanning the jobs' rows. Numbers are kept as ranks among the different values, so that
a range is two comparisons of small integers whatever the dtype, and int64 never meets float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.ragged import Ragged

# A posting is a row in 31 bits beside its term in 31 bits, one int64 to sort.
MAX_ROWS = 1 << 31


@dataclass(frozen=True, eq=False)
class TermColumn:
    """Postings of one field: `rows[starts[t]:starts[t + 1]]` are the rows that carry `terms[t]`, ascending.

    `terms` (T,) int32 ascending, `starts` (T + 1,) int64, `rows` (nnz,) int32, `missing` (n,) bool: rows
    without any term.
    """

    terms: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    missing: np.ndarray

    @classmethod
    def from_ragged(cls, ragged: Ragged) -> TermColumn:
        keys = ragged.row_numbers()
        keys |= ragged.values.astype(np.int64) << 32
        return cls._from_keys(keys, np.diff(ragged.offsets) == 0)

    @classmethod
    def _from_keys(cls, keys: np.ndarray, missing: np.ndarray) -> TermColumn:
        keys.sort()
        if (keys[1:] == keys[:-1]).any():
            keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
        per_key = keys >> 32
        firsts = np.flatnonzero(np.diff(per_key, prepend=-1))
        starts = np.append(firsts, len(keys)).astype(np.int64)
        return cls(per_key[firsts].astype(np.int32), starts, (keys & 0x7FFFFFFF).astype(np.int32), missing)

    def _keys(self, shift: int = 0) -> np.ndarray:
        keys = np.repeat(self.terms.astype(np.int64) << 32, np.diff(self.starts))
        keys |= self.rows
        keys += shift
        return keys

    def kept(self, alive: np.ndarray) -> TermColumn:
        """The column of the rows that are alive, renumbered."""
        keys = self._keys()[alive[self.rows]]
        new_rows = np.cumsum(alive, dtype=np.int64) - 1
        keys = (keys & ~np.int64(0x7FFFFFFF)) | new_rows[keys & 0x7FFFFFFF]
        return self._from_keys(keys, self.missing[alive])

    def joined(self, other: TermColumn) -> TermColumn:
        """The column of these rows followed by the other's."""
        keys = np.concatenate([self._keys(), other._keys(shift=len(self.missing))])
        return self._from_keys(keys, np.concatenate([self.missing, other.missing]))

    def postings(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the postings of each term start and end; an empty span for a term that nobody has."""
        at, (starts, lengths) = self.places(values), self.spans
        return starts[at], starts[at] + lengths[at]

    @cached_property
    def forward(self) -> tuple[np.ndarray, np.ndarray]:
        """`by_row`, made once."""
        return self.by_row()

    def by_row(self) -> tuple[np.ndarray, np.ndarray]:
        """The same the other way round, made anew: row i carries `terms[codes[offsets[i]:offsets[i + 1]]]`."""
        offsets = np.zeros(len(self.missing) + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.rows, minlength=len(self.missing)), out=offsets[1:])
        by_row = np.argsort(self.rows, kind="stable")
        return offsets, np.repeat(np.arange(len(self.terms), dtype=np.int32), np.diff(self.starts))[by_row]

    @cached_property
    def is_single(self) -> bool:
        """Each row carries exactly one term."""
        return self.is_single_or_none and not self.missing.any()

    @cached_property
    def is_single_or_none(self) -> bool:
        """No row carries two terms."""
        return len(self.rows) == len(self.missing) - np.count_nonzero(self.missing)

    @cached_property
    def single_codes(self) -> np.ndarray:
        """(n,) int32: the place in `terms` of each row's one term, after the last where it has none.

        Of a column that `is_single_or_none` only.
        """
        return self.forward[1] if self.is_single else self.code_of_row

    @cached_property
    def lists(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int32 of each row, and int32 lists: the row's one code, or as its ~ where the list of its codes begins.

        The last code of a list is there as its ~. A code is a place in `terms`, or of a row without any the one after
        the last. Made once, of a column that `can_list`.
        """
        offsets, codes = self.by_row()
        lengths = np.diff(offsets)
        has_many = lengths > 1
        listed = codes[np.repeat(has_many, lengths)]
        ends = np.cumsum(lengths[has_many])
        listed[ends - 1] = ~listed[ends - 1]
        numbers = self.code_of_row
        numbers[has_many] = ~(ends - lengths[has_many]).astype(np.int32)
        return numbers, listed

    @property
    def can_list(self) -> bool:
        """Whether an int32 says where the codes of a row begin."""
        return len(self.rows) < MAX_ROWS

    @cached_property
    def most_terms(self) -> int:
        """Terms that a row has at most."""
        return int(np.bincount(self.rows, minlength=1).max(initial=0))

    @cached_property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """(T + 1,) int64 where each term's postings start, and how many there are: one more, of none."""
        return self.starts, np.append(np.diff(self.starts), 0)

    @cached_property
    def _places(self) -> np.ndarray | None:
        """Place in `terms` of every number up to the greatest term and one more, -1 for others; None where few are."""
        if len(self.terms) == 0 or self.terms[-1] > 8 * len(self.terms) + (1 << 16):
            return None
        places = np.full(int(self.terms[-1]) + 2, -1, dtype=np.int32)
        places[self.terms] = np.arange(len(self.terms), dtype=np.int32)
        return places

    def places(self, values: np.ndarray) -> np.ndarray:
        """(values,) the place of each in `terms`, -1 for a term that nobody has."""
        if self._places is not None:
            return self._places.take(values, mode="clip")
        if len(self.terms) == 0:
            return np.full(len(values), -1, dtype=np.int64)
        at = np.minimum(self.terms.searchsorted(values), len(self.terms) - 1)
        return np.where(self.terms[at] == values, at, -1)

    @cached_property
    def in_runs(self) -> bool:
        """Rows that carry a term are neighbours, nearly all of them."""
        return bool(np.count_nonzero(self.rows[1:] != self.rows[:-1] + 1) < len(self.rows) // 8)

    @property
    def code_of_row(self) -> np.ndarray:
        """As `single_codes`, made anew."""
        codes = np.full(len(self.missing), len(self.terms), dtype=np.int32)
        codes[self.rows] = np.repeat(np.arange(len(self.terms), dtype=np.int32), np.diff(self.starts))
        return codes

    def moved(self, place: np.ndarray) -> TermColumn:
        """The column with row i as row `place[i]`."""
        missing = np.empty_like(self.missing)
        missing[place] = self.missing
        keys = np.repeat(self.terms.astype(np.int64) << 32, np.diff(self.starts)) | place[self.rows]
        return self._from_keys(keys, missing)

    def part(self, first: int, last: int) -> TermColumn:
        """The column of the rows [first, last), numbered from 0; terms that none of them carries stay."""
        begin = lower_bound(self.rows, self.starts[:-1], self.starts[1:], first)
        lengths = lower_bound(self.rows, begin, self.starts[1:], last) - begin
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.repeat(begin - starts[:-1], lengths) + np.arange(starts[-1])
        return TermColumn(self.terms, starts, self.rows[places] - np.int32(first), self.missing[first:last])

    def codes(self, sets: Ragged) -> Ragged:
        """Rows of terms as places in `terms`, still ascending; without those that nobody has."""
        at = self.places(sets.values)
        known = np.flatnonzero(at >= 0)
        if len(known) == len(at):
            return Ragged.trusted(sets.offsets, at.astype(np.int32, copy=False))
        return Ragged.trusted(np.searchsorted(known, sets.offsets).astype(np.int64), at[known].astype(np.int32))

    def carried(self, row: int, values: np.ndarray) -> np.ndarray:
        """(values,) bool: which of these terms the row carries."""
        starts, ends = self.postings(values)
        at = lower_bound(self.rows, starts, ends, row)
        inside = at < ends
        inside[inside] = self.rows[at[inside]] == row
        return inside


def lower_bound(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, value: int | np.ndarray) -> np.ndarray:
    """For each span [start, end) of ascending rows, the first place whose row is not below `value` (its own)."""
    low, high = starts.copy(), ends.copy()
    last = max(0, len(rows) - 1)
    while (open_spans := low < high).any():
        middle = (low + high) >> 1
        below = open_spans & (rows[np.minimum(middle, last)] < value)
        low = np.where(below, middle + 1, low)
        high = np.where(open_spans & ~below, middle, high)
    return low


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """One number a job: `levels` are the different values, ascending; `ranks` (n,) int32 say which a row has.

    A missing value (NaN) has rank `len(levels)`. `levels` is float64 or int64, as the caller gave the
    numbers.
    """

    levels: np.ndarray
    ranks: np.ndarray

    @cached_property
    def missing_first(self) -> np.ndarray:
        """`ranks` with -1 where a value is missing."""
        return np.where(self.ranks == len(self.levels), np.int32(-1), self.ranks)

    @classmethod
    def from_values(cls, values: np.ndarray) -> NumberColumn:
        present = values[~np.isnan(values)] if values.dtype == np.float64 else values
        levels = np.unique(present)
        # NaN sorts after every level, which is the rank that stands for missing.
        return cls(levels, np.searchsorted(levels, values).astype(np.int32))

    def values(self) -> np.ndarray:
        """(n,) float64 or int64: the numbers as they were given, NaN where missing."""
        if self.levels.dtype == np.float64:
            return np.append(self.levels, np.nan)[self.ranks]
        return self.levels[self.ranks]

    def kept(self, alive: np.ndarray) -> NumberColumn:
        """The column of the rows that are alive."""
        return NumberColumn.from_values(self.values()[alive])

    def joined(self, other: NumberColumn) -> NumberColumn:
        """The column of these rows followed by the other's."""
        return NumberColumn.from_values(np.concatenate([self.values(), other.values()]))

    def rank_range(self, lo: np.ndarray | None, hi: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 each: lowest and highest rank in a query's range; lowest > highest where it is empty.

        Without either bound the range holds the rank of the missing too.
        """
        free_lo, free_hi = _free(lo, n), _free(hi, n)
        last = len(self.levels) - 1
        first = np.zeros(n, np.int64) if lo is None else np.where(free_lo, 0, self._rank_from(lo))
        final = np.full(n, last) if hi is None else np.where(free_hi, last, self._rank_to(hi))
        return first, np.where(free_lo & free_hi, last + 1, final)

    def _rank_from(self, lo: np.ndarray) -> np.ndarray:
        bound, beyond = _as_dtype(lo, self.levels.dtype, up=True)
        return np.where(beyond, len(self.levels), np.searchsorted(self.levels, bound, side="left"))

    def _rank_to(self, hi: np.ndarray) -> np.ndarray:
        bound, beyond = _as_dtype(hi, self.levels.dtype, up=False)
        return np.where(beyond, -1, np.searchsorted(self.levels, bound, side="right") - 1)


def _free(bound: np.ndarray | None, n: int) -> np.ndarray:
    if bound is None:
        return np.ones(n, dtype=bool)
    return np.isnan(bound) if bound.dtype == np.float64 else np.zeros(n, dtype=bool)


def _as_dtype(bound: np.ndarray, dtype: np.dtype, *, up: bool) -> tuple[np.ndarray, np.ndarray]:
    """The bound in the numbers' dtype, moved inwards to the nearest value there, and where there is none.

    >>> _as_dtype(np.array([1.5, np.inf]), np.dtype("int64"), up=True)[1].tolist()
    [False, True]
    """
    none = np.zeros(len(bound), dtype=bool)
    if bound.dtype == dtype:
        return bound, none
    if dtype == np.int64:
        whole = np.ceil(bound) if up else np.floor(bound)
        above, below = whole >= 2.0**63, whole < -(2.0**63)
        inside = np.where(above | below | np.isnan(whole), 0, whole).astype(np.int64)
        limits = np.iinfo(np.int64)
        return np.where(above, limits.max, np.where(below, limits.min, inside)), above if up else below
    near = bound.astype(np.float64)
    top = near >= 2.0**63
    back = np.where(top, 0, near).astype(np.int64)
    if up:
        return np.where(~top & (back < bound), np.nextafter(near, np.inf), near), none
    return np.where(top | (back > bound), np.nextafter(near, -np.inf), near), none
