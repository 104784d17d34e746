"""Clauses checked on lists of candidate rows instead of whole stretches of jobs.

`Cells` are pairs of an entry (a query, or a group by any query of it) and a row of a segment. The answer is
flat, one bool a cell, entry after entry. With Numba the two kinds of leaf are compiled loops over all cores;
without it they are NumPy over some cells at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, TermClause
from gpu_retrieval.loops import compiled
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.sharing.parts import TermSets
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import Segment

# NumPy's cells at a time, each with a few int64 of its own beside the row's terms.
CELLS_AT_ONCE = 1 << 12
NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Cells:
    """Entry e covers `rows[starts[e]:starts[e] + lengths[e]]`; `queries[e]` asks. Spans may be shared.

    What lies between spans is no row.

    `rows` int32, `starts` and `lengths` int64, `offsets` (entries + 1,) int64 where
    each entry's cells lie in the flat answer.
    """

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    queries: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, starts: np.ndarray, lengths: np.ndarray, queries: np.ndarray) -> Cells:
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(rows, starts, lengths, queries, offsets)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def per_cell(self, per_entry: np.ndarray) -> np.ndarray:
        """Each entry's value for each of its cells."""
        return np.repeat(per_entry, self.lengths)

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """(entries,) int64: cells of each entry that are True."""
        counts = np.empty(len(self.lengths), dtype=np.int64)
        if compiled.AVAILABLE:
            compiled.filters().row_counts(mask, self.offsets, counts)
        else:
            for entry in range(len(counts)):
                counts[entry] = np.count_nonzero(mask[self.offsets[entry] : self.offsets[entry + 1]])
        return counts

    def picked(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the cells that are True, entry after entry, and how many each entry has."""
        lengths = self.counts(mask)
        rows = np.empty(lengths.sum(), dtype=np.int32)
        if compiled.AVAILABLE:
            before = np.cumsum(lengths) - lengths
            compiled.filters().pick(self.rows, self.starts, self.lengths, self.offsets, mask, before, rows)
            return rows, lengths
        done = 0
        for begin, end, _, part in self.parts():
            held = part[mask[begin:end]]
            rows[done : done + len(held)] = held
            done += len(held)
        return rows, lengths

    def parts(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """First and last cell, and the entry and row of each, some cells at a time."""
        for first in range(0, len(self), CELLS_AT_ONCE):
            last = min(first + CELLS_AT_ONCE, len(self))
            cells = np.arange(first, last)
            entries = np.searchsorted(self.offsets, cells, side="right") - 1
            yield first, last, entries, self.rows[self.starts[entries] + cells - self.offsets[entries]]


def passing(where: Clause, cells: Cells, segment: Segment, sets: dict[int, TermSets]) -> np.ndarray:
    """(cells,) bool: the row passes what the entry's query asks; true where the clause does not bind it."""
    bound = binding(where, cells.queries)
    if not bound.any():
        return np.ones(len(cells), dtype=bool)
    mask = _passing(where, cells, segment, sets)
    if not bound.all():
        mask |= cells.per_cell(~bound)
    return mask


def picked(
    where: Clause | None,
    alive: np.ndarray | None,
    cells: Cells,
    segment: Segment,
    sets: dict[int, TermSets],
    *,
    in_order: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the cells that pass `where` and are `alive` (n,); where each entry's begin, and how many they are.

    With `in_order` an entry's rows stay in the order of its span.
    """
    if where is None and alive is None and cells.lengths.sum() == len(cells.rows):
        return cells.rows, cells.starts, cells.lengths
    own = None if alive is not None else _one_table(where, cells, segment)
    if own is not None:
        column, asked = segment.terms[own.field], sets[id(own.rows)]
        codes, of_entry = asked.codes(column), asked.of_query[cells.queries]
        if not in_order and (shared := _by_code(cells, column, codes, of_entry)) is not None:
            return shared
        rows, lengths = np.empty(len(cells), dtype=np.int32), np.empty(len(cells.lengths), dtype=np.int64)
        compiled.filters().keep(
            cells.rows, cells.starts, cells.lengths, cells.offsets, column.single_codes, len(column.terms) + 1,
            codes.offsets, codes.values, of_entry, rows, lengths,
        )  # fmt: skip
        return rows, cells.offsets[:-1], lengths
    mask = np.ones(len(cells), dtype=bool) if where is None else passing(where, cells, segment, sets)
    if alive is not None:
        for begin, end, _, part in cells.parts():
            mask[begin:end] &= alive[part]
    rows, lengths = cells.picked(mask)
    return rows, np.cumsum(lengths) - lengths, lengths


def _by_code(
    cells: Cells, column: TermColumn, codes: Ragged, of_entry: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows with a code of their entry's set, from spans put in the order of codes once for all entries that share one.

    None where looking at every cell costs less.
    """
    change = (np.diff(cells.starts, prepend=-1) != 0) | (np.diff(cells.lengths, prepend=-1) != 0)
    first, of_span = np.flatnonzero(change), np.cumsum(change) - 1
    starts, lengths = cells.starts[first], cells.lengths[first]
    n_codes, looked_up = len(column.terms) + 1, np.diff(codes.offsets)[of_entry].sum()
    # A row is moved for the price of four looks, a code found for that of two.
    if 4 * lengths.sum() + n_codes * len(first) + 2 * looked_up > len(cells):
        return None
    # Rows that lie in their order are brought in for half of what others cost: worth a look at all where many stay.
    carried = np.concatenate([[0], np.cumsum(np.diff(column.starts)[codes.values])])
    n_carried = (carried[codes.offsets[1:]] - carried[codes.offsets[:-1]])[of_entry]
    if 4 * (n_carried / len(column.rows) * cells.lengths).sum() > len(cells):
        return None
    filters, by_code = compiled.filters(), np.empty(len(cells.rows), dtype=np.int32)
    tables = np.zeros((len(first), n_codes + 2), dtype=np.int32)
    filters.order_by_code(cells.rows, starts, lengths, column.single_codes, by_code, tables)
    n_kept = np.empty(len(of_entry), dtype=np.int64)
    filters.count_by_code(tables, of_span, codes.offsets, codes.values, of_entry, n_kept)
    offsets = np.cumsum(n_kept) - n_kept
    kept = np.empty(n_kept.sum(), dtype=np.int32)
    filters.keep_by_code(by_code, starts, tables, of_span, codes.offsets, codes.values, of_entry, offsets, kept)
    return kept, offsets, n_kept


def _one_table(where: Clause | None, cells: Cells, segment: Segment) -> AnyOf | None:
    """The AnyOf that alone binds these entries, all of them, where no row has two of its terms; None in other cases."""
    if not compiled.AVAILABLE or where is None:
        return None
    parts = where.clauses if isinstance(where, AllOf) and where.applies is None else (where,)
    bound = [part for part in parts if binding(part, cells.queries).any()]
    if len(bound) != 1 or not binding(bound[0], cells.queries).all():
        return None
    part = bound[0]
    if not isinstance(part, AnyOf) or part.missing_passes or not segment.terms[part.field].is_single_or_none:
        return None
    # A table of all terms an entry has to be worth its making.
    return part if len(segment.terms[part.field].terms) * len(cells.lengths) <= 8 * len(cells) else None


def _passing(where: Clause, cells: Cells, segment: Segment, sets: dict[int, TermSets]) -> np.ndarray:
    if isinstance(where, AllOf):
        mask = passing(where.clauses[0], cells, segment, sets)
        for clause in where.clauses[1:]:
            mask &= passing(clause, cells, segment, sets)
        return mask
    if isinstance(where, OneOf):
        mask = np.zeros(len(cells), dtype=bool)
        for clause in where.clauses:
            bound = binding(clause, cells.queries)
            if bound.any():
                held = _passing(clause, cells, segment, sets)
                mask |= held if bound.all() else held & cells.per_cell(bound)
        return mask
    if isinstance(where, Between):
        return _in_range(where, cells, segment)
    return _having(where, cells, segment, sets[id(where.rows)])


def binding(where: Clause, queries: np.ndarray) -> np.ndarray:
    """(queries,) bool: which of these queries the clause binds."""
    own = np.ones(len(queries), dtype=bool) if where.applies is None else where.applies[queries]
    if isinstance(where, (AllOf, OneOf)):
        inner = np.zeros(len(queries), dtype=bool)
        for clause in where.clauses:
            inner |= binding(clause, queries)
        return own & inner
    return own


def _in_range(where: Between, cells: Cells, segment: Segment) -> np.ndarray:
    column = segment.numbers[where.field]
    lo, hi = (None if end is None else end[cells.queries] for end in (where.lo, where.hi))
    first, last = (ranks.astype(np.int32) for ranks in column.rank_range(lo, hi, len(cells.queries)))
    # A missing number has the rank beyond the last: -1 is no rank.
    missing = len(column.levels) if where.missing_passes else -1
    mask = np.empty(len(cells), dtype=bool)
    if compiled.AVAILABLE:
        compiled.filters().in_range(
            column.ranks, cells.rows, cells.starts, cells.lengths, cells.offsets, first, last, missing, mask
        )
        return mask
    for begin, end, entries, rows in cells.parts():
        ranks = column.ranks[rows]
        held = (ranks >= first[entries]) & (ranks <= last[entries])
        mask[begin:end] = held | (ranks == missing)
    return mask


def _having(where: TermClause, cells: Cells, segment: Segment, own: TermSets) -> np.ndarray:
    """A clause on terms as a count: so many of the row's own terms are to be found."""
    column = segment.terms[where.field]
    offsets, codes = column.forward
    asked = own.codes(column)
    of_entry = own.of_query[cells.queries]
    lengths = np.diff(own.sets.offsets)[of_entry]
    if isinstance(where, AllIn):
        needed = lengths
    elif isinstance(where, NoneOf):
        needed = np.ones(len(lengths), dtype=np.int64)
    else:
        needed = np.where(lengths > 0, 1, NEVER)
    needed = needed.astype(np.int32)
    missing = np.zeros(len(lengths), dtype=bool)
    if not isinstance(where, NoneOf) and where.missing_passes:
        missing = lengths > 0
    mask = np.empty(len(cells), dtype=bool)
    if compiled.AVAILABLE:
        compiled.filters().having(
            cells.rows, cells.starts, cells.lengths, cells.offsets,
            offsets[:0] if column.is_single else offsets, codes, len(column.terms),
            asked.offsets, asked.values, of_entry, needed, missing, mask,
        )  # fmt: skip
    else:
        # The sets as one ascending array: a look-up of (set, code) says whether the set holds the code.
        keys = (asked.row_numbers() << 32) | asked.values
        for begin, end, entries, rows in cells.parts():
            found = _found(keys, of_entry[entries], offsets[rows], offsets[rows + 1], codes)
            bare = missing[entries] & (offsets[rows] == offsets[rows + 1])
            mask[begin:end] = (found >= needed[entries]) | bare
    return np.logical_not(mask, out=mask) if isinstance(where, NoneOf) else mask


def _found(keys: np.ndarray, sets: np.ndarray, starts: np.ndarray, ends: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(cells,) int64: how many of the codes in a cell's span its set holds; one of every cell at a time."""
    found = np.zeros(len(starts), dtype=np.int64)
    if len(keys) == 0:
        return found
    for place in range(int((ends - starts).max(initial=0))):
        some = np.flatnonzero(starts + place < ends)
        asked = (sets[some] << 32) | codes[starts[some] + place]
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        found[some] += keys[at] == asked
    return found
