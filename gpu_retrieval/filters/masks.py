"""Clauses made into masks: (queries, jobs) bools for a tile of queries and a stretch of one segment's jobs.

Queries of the tile that give the same row share one evaluation. What is small (distinct rows, spans of
postings) is worked out on the host, what is as large as the mask on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.backend import Array
from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, TermClause, binds
from gpu_retrieval.stored.columns import lower_bound
from gpu_retrieval.stored.segments import DeviceSegment

# int64 positions held at once for one posting on its way into the mask: place, row, two bases.
BYTES_PER_POSTING = 40


class Mask:
    """A clause over one segment for a tile of queries."""

    def evaluate(self, start: int, stop: int) -> Array:
        """(queries, stop - start) bool, the caller's to change."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class _Part:
    """A clause ready to be evaluated; `binding` is (queries,) bool, None where it binds every query."""

    mask: Mask
    binding: np.ndarray | None


def prepare(where: Clause | None, n_queries: int, segment: DeviceSegment, scratch: int) -> _Part | None:
    """The clause tree over one segment for a tile of queries; None where it binds none of them."""
    if where is None:
        return None
    binding = binds(where, n_queries)
    if not binding.any():
        return None
    return _Part(_mask(where, n_queries, segment, scratch), None if binding.all() else binding)


def _mask(where: Clause, n_queries: int, segment: DeviceSegment, scratch: int) -> Mask:
    if isinstance(where, (AllOf, OneOf)):
        parts = [prepare(clause, n_queries, segment, scratch) for clause in where.clauses]
        bound = [part for part in parts if part is not None]
        return _All(bound, segment) if isinstance(where, AllOf) else _Any(bound, segment)
    if isinstance(where, Between):
        return _Range(where, n_queries, segment)
    kinds: dict[type, type[_Terms]] = {AnyOf: _Having, NoneOf: _Lacking, AllIn: _HavingAll}
    return kinds[type(where)](where, segment, scratch)


def matching(part: _Part | None, segment: DeviceSegment, start: int, stop: int) -> Array:
    """(queries, stop - start) bool, the caller's to change; None where every job passes."""
    if part is None:
        return None
    mask = part.mask.evaluate(start, stop)
    if part.binding is not None:
        mask |= segment.backend.put(~part.binding)[:, None]
    return mask


class _All(Mask):
    """AND of the parts, each true for the queries it does not bind."""

    def __init__(self, parts: list[_Part], segment: DeviceSegment) -> None:
        self.parts, self.segment = parts, segment

    def evaluate(self, start: int, stop: int) -> Array:
        mask: Array = matching(self.parts[0], self.segment, start, stop)
        for part in self.parts[1:]:
            mask &= matching(part, self.segment, start, stop)
        return mask


class _Any(Mask):
    """OR of the parts, each false for the queries it does not bind."""

    def __init__(self, parts: list[_Part], segment: DeviceSegment) -> None:
        self.parts, self.segment = parts, segment

    def evaluate(self, start: int, stop: int) -> Array:
        mask = None
        for part in self.parts:
            held = part.mask.evaluate(start, stop)
            if part.binding is not None:
                held &= self.segment.backend.put(part.binding)[:, None]
            if mask is None:
                mask = held
            else:
                mask |= held
        return mask


class _Grouped(Mask):
    """Evaluated once a distinct row, then handed to the queries that gave it."""

    def __init__(self, segment: DeviceSegment, group: np.ndarray, n_distinct: int) -> None:
        self.segment, self.backend, self.n_distinct = segment, segment.backend, n_distinct
        alone = n_distinct == len(group)
        self.group = None if alone else self.backend.put(group)

    def evaluate(self, start: int, stop: int) -> Array:
        mask = self.distinct_mask(start, stop)
        return mask if self.group is None else mask[self.group]

    def distinct_mask(self, start: int, stop: int) -> Array:
        raise NotImplementedError


class _Terms(_Grouped):
    """The postings of the rows' terms, cut to the stretch of jobs asked for."""

    def __init__(self, clause: TermClause, segment: DeviceSegment, scratch: int) -> None:
        rows, group = clause.rows.distinct()
        super().__init__(segment, group, len(rows))
        self.field = clause.field
        self.missing_passes = not isinstance(clause, NoneOf) and clause.missing_passes
        self.lengths = np.diff(rows.offsets)
        self.row_of = rows.row_numbers()
        self.place_in_row = np.arange(len(rows.values)) - rows.offsets[self.row_of]
        self.column = segment.host.terms[clause.field]
        self.starts, self.ends = self.column.postings(rows.values)
        self.max_postings = max(1, scratch // BYTES_PER_POSTING)

    def cells(self, entries: np.ndarray, start: int, stop: int) -> Iterator[Array]:
        """Flat places in the (distinct, stop - start) mask of these entries' postings, so many at a time."""
        starts, ends = self.starts[entries], self.ends[entries]
        rows = self.column.rows
        first = starts if start == 0 else lower_bound(rows, starts, ends, start)
        last = ends if stop == len(self.segment) else lower_bound(rows, first, ends, stop)
        held = last > first
        first, counts = first[held], (last - first)[held]
        base = self.row_of[entries][held] * (stop - start) - start
        total = np.cumsum(counts)
        begin = 0
        while begin < len(counts):
            done = total[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(total, done + self.max_postings, side="right")))
            yield self._places(first[begin:end], counts[begin:end], base[begin:end])
            begin = end

    def _places(self, first: np.ndarray, counts: np.ndarray, base: np.ndarray) -> Array:
        before = np.cumsum(counts) - counts
        places = self.backend.repeat(first - before, counts)
        places += self.backend.xp.arange(len(places))
        rows = self.segment.posting_rows(self.field)[places]
        places = self.backend.repeat(base, counts)
        places += rows
        return places

    def having(self, start: int, stop: int) -> Array:
        """(distinct, jobs) bool: the job has one of the row's terms."""
        mask = self.backend.xp.zeros((self.n_distinct, stop - start), dtype=bool)
        flat = mask.reshape(-1)
        for places in self.cells(np.arange(len(self.row_of)), start, stop):
            flat[places] = True
        return mask

    def pass_missing(self, mask: Array, start: int, stop: int) -> Array:
        """The mask with jobs that have no term at all let through, where the row is not empty."""
        if self.missing_passes:
            missing = self.segment.missing_terms(self.field)[start:stop]
            mask |= self.backend.put(self.lengths > 0)[:, None] & missing[None, :]
        return mask


class _Having(_Terms):
    def distinct_mask(self, start: int, stop: int) -> Array:
        return self.pass_missing(self.having(start, stop), start, stop)


class _Lacking(_Terms):
    def distinct_mask(self, start: int, stop: int) -> Array:
        mask = self.having(start, stop)
        return self.backend.xp.logical_not(mask, out=mask)


class _HavingAll(_Terms):
    def distinct_mask(self, start: int, stop: int) -> Array:
        xp = self.backend.xp
        most = int(self.lengths.max(initial=0))
        found = xp.zeros((self.n_distinct, stop - start), dtype=xp.uint8 if most < 256 else xp.int32)
        flat = found.reshape(-1)
        # One term of every row at a time: its postings meet each cell once, so that += counts.
        for place in range(most):
            for places in self.cells(np.flatnonzero(self.place_in_row == place), start, stop):
                flat[places] += 1
        mask = found == self.backend.put(self.lengths.astype(found.dtype))[:, None]
        return self.pass_missing(mask, start, stop)


class _Range(_Grouped):
    """A range of numbers as a range of ranks."""

    def __init__(self, clause: Between, n_queries: int, segment: DeviceSegment) -> None:
        column = segment.host.numbers[clause.field]
        first, last = column.rank_range(clause.lo, clause.hi, n_queries)
        ranges, group = np.unique((first << 32) | (last + 1), return_inverse=True)
        super().__init__(segment, group.reshape(-1), len(ranges))
        if self.group is None:
            ranges = ranges[group.reshape(-1)]
        self.field = clause.field
        self.missing_rank = len(column.levels)
        self.missing_passes = clause.missing_passes
        self.first = self.backend.put((ranges >> 32).astype(np.int32))
        self.last = self.backend.put(((ranges & 0xFFFFFFFF) - 1).astype(np.int32))

    def distinct_mask(self, start: int, stop: int) -> Array:
        ranks = self.segment.ranks(self.field)[None, start:stop]
        mask = ranks >= self.first[:, None]
        mask &= ranks <= self.last[:, None]
        if self.missing_passes:
            mask |= ranks == self.missing_rank
        return mask
