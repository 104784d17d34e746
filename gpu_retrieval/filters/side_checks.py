"""What the scoring loops check beside the scores, for sixteen queries at once: ranges, and terms.

A clause on terms becomes a table of the field's terms, with a bit for each query that lets a row with the term pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, NoneOf, OneOf, TermClause
from gpu_retrieval.filters.cells import binding
from gpu_retrieval.loops import compiled
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.sharing.parts import TermSets, is_side_check, leaves_of
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask

ANY_RANK, MISSING_RANK = np.iinfo(np.int32).max, -1
# Ranges and fields of terms together: what the loops have room for.
MOST_CHECKS = 8
# A mask of a row is worth so many codes of a table.
CODES_PER_ROW = 128


class Asked(NamedTuple):
    """A segment's `numbers`, and what queries ask of them: as `score_state.Work` and `term_state.Asking` have them."""

    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: np.ndarray
    spans: np.ndarray
    is_none_of: np.ndarray
    is_last: np.ndarray
    lists: np.ndarray
    tables: np.ndarray

    def of(self, queries: slice) -> Asked:
        """The same for these queries."""
        low, high, spans = (np.ascontiguousarray(part[:, queries]) for part in (self.low, self.high, self.spans))
        return self._replace(low=low, high=high, spans=spans)


@dataclass(frozen=True, eq=False)
class SideChecks:
    """Clauses that every query's rows must pass; of no length where there are none, or a mask says who passes."""

    ranges: Sequence[Between | AnyOf]
    terms: Sequence[TermClause | OneOf]
    _of_rows: dict[DeviceSegment, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ranges) + len(self.terms)

    @property
    def leaves(self) -> list[TermClause]:
        """The terms' clauses, alternatives one by one."""
        return [leaf for part in self.terms for leaf in leaves_of(part)]

    @property
    def n_numbers(self) -> int:
        """Numbers a row that are read for them."""
        return len(self.ranges) + len(self.leaves)

    @classmethod
    def of(cls, task: SearchTask, groups: Groups) -> SideChecks:
        """All that the groups leave to check, where the loops can check all of it."""
        left = groups.left
        parts = left.clauses if isinstance(left, AllOf) and left.applies is None else ()
        ranges = [part for part in parts if isinstance(part, Between)]
        if not all(is_side_check(part, task.segments) for part in parts):
            return cls((), ())
        own = cls(ranges, [part for part in parts if isinstance(part, (AnyOf, NoneOf, AllIn, OneOf))])
        loops, n_codes = compiled.scoring(), max(own.n_codes(segment.host) for segment in task.segments)
        can = (
            own.n_numbers <= MOST_CHECKS
            and own.n_copied(task.segments) <= task.memory_budget // 16
            and loops.table_bytes(n_codes) * loops.n_threads() <= task.memory_budget // 16
            and n_codes <= CODES_PER_ROW * groups.n_drawn.mean()
        )
        return own if can else cls((), ())

    def n_copied(self, segments: list[DeviceSegment]) -> int:
        """Bytes of the segments' numbers and lists, at most, where they are put side by side."""
        of_rows = 4 * self.n_numbers * sum(len(segment) for segment in segments) if self.n_numbers > 1 else 0
        listed = [_listed(self.leaves, segment.host) for segment in segments]
        return of_rows + 4 * sum(len(column.rows) for some in listed if len(some) > 1 for column in some)

    def n_codes(self, segment: Segment) -> int:
        """Codes of the segment's tables."""
        return sum(len(segment.terms[leaf.field].terms) + 1 for leaf in self.leaves)

    def n_slots(self, segment: Segment) -> int:
        """Different codes that the rows of a block have, at most, in the plan "terms"."""
        columns = [segment.terms[leaf.field] for leaf in self.leaves]
        most = compiled.terms().BLOCK
        return sum(min(len(column.terms) + 1, most * max(1, column.most_terms)) for column in columns)

    def asked(self, groups: Groups, rows: np.ndarray, segment: DeviceSegment) -> Asked:
        """What the queries `rows` ask of a segment."""
        host, fixed = segment.host, compiled.scoring().fixed
        ranks, low, high = rank_ranges(self.ranges, host, rows)
        if segment not in self._of_rows:
            self._of_rows[segment] = self._side_by_side(ranks, host)
        numbers, lists = self._of_rows[segment]
        terms, spans, before = [np.empty(0, dtype=np.int32)], [np.empty((0, len(rows), 2), dtype=np.int64)], 0
        for part in self.terms:
            for leaf in leaves_of(part) if isinstance(part, OneOf) else (part,):
                sets = groups.sets[id(leaf.rows)]
                codes = _codes(leaf, sets, host.terms[leaf.field])
                spans.append(_spans(leaf, sets, codes, before, rows))
                terms.append(codes.values)
                before += len(codes.values)
            # Alternatives hold where the last of them does.
            spans[-1][:, ~binding(part, rows)] = -1
        return Asked(
            numbers=fixed(numbers),
            low=low,
            high=high,
            terms=fixed(np.concatenate(terms)),
            spans=np.concatenate(spans),
            is_none_of=np.array([isinstance(leaf, NoneOf) for leaf in self.leaves], dtype=bool),
            is_last=np.array([is_last for part in self.terms for is_last in _are_last(part)], dtype=bool),
            lists=fixed(lists),
            tables=np.cumsum([0, *(len(host.terms[leaf.field].terms) + 1 for leaf in self.leaves)]).astype(np.int64),
        )

    def _side_by_side(self, ranks: list[np.ndarray], segment: Segment) -> tuple[np.ndarray, np.ndarray]:
        """The rows' `Asked.numbers` and `lists`; neither is copied where there is but one."""
        columns, listed = [segment.terms[leaf.field] for leaf in self.leaves], _listed(self.leaves, segment)
        begins = dict(zip(listed, np.cumsum([0, *(len(column.lists[1]) for column in listed)]).tolist(), strict=False))
        numbers = ranks + [_numbers(column, begins) for column in columns]
        lists = [column.lists[1] for column in listed]
        return (
            numbers[0][None, :]
            if len(numbers) == 1
            else np.array(numbers, np.int32).reshape(len(numbers), len(segment)),
            lists[0] if len(lists) == 1 else np.concatenate([np.empty(0, dtype=np.int32), *lists]),
        )


def _are_last(part: TermClause | OneOf) -> list[bool]:
    """Of its leaves, whether those up to it are alternatives of which one must hold."""
    n = len(leaves_of(part))
    return [not isinstance(part, OneOf)] * (n - 1) + [True]


def _spans(leaf: TermClause, own: TermSets, codes: Ragged, before: int, rows: np.ndarray) -> np.ndarray:
    """(leaves, queries, 2) where the codes begin that each query asks, and end; of an AllIn each term by itself.

    Nothing where the leaf does not bind the query, as if it asked for no term at all.
    """
    of_query = own.of_query[rows]
    first, last = before + codes.offsets[of_query], before + codes.offsets[of_query + 1]
    if not isinstance(leaf, AllIn):
        return np.where(binding(leaf, rows)[:, None], np.stack([first, last], axis=1), 0)[None]
    # A term that nobody has has no code: its place is after the last.
    place = np.arange(len(leaves_of(leaf)))[:, None]
    spans = np.stack(np.broadcast_arrays(first + place, np.minimum(first + place + 1, last)), axis=2)
    spans[place >= np.diff(own.sets.offsets)[of_query]] = -1
    return spans


def _listed(leaves: Sequence[TermClause], segment: Segment) -> list[TermColumn]:
    """The leaves' columns of which rows have several terms, each once."""
    columns = dict.fromkeys(segment.terms[leaf.field] for leaf in leaves)
    return [column for column in columns if not column.is_single_or_none]


def _numbers(column: TermColumn, begins: dict[TermColumn, int]) -> np.ndarray:
    """(n,) int32: each row's one code, or the ~ of where its list begins, the column's lists beginning as given."""
    if column not in begins:
        return column.single_codes
    numbers, before = column.lists[0], np.int32(begins[column])
    return np.where(numbers < 0, numbers - before, numbers) if before else numbers


def _codes(clause: TermClause, own: TermSets, column: TermColumn) -> Ragged:
    """The clause's sets as the column's codes, with that of a row without a term where such a row passes."""
    codes = own.codes(column)
    if isinstance(clause, NoneOf) or not clause.missing_passes:
        return codes
    passes = np.diff(own.sets.offsets) > 0
    values = np.insert(codes.values, codes.offsets[1:][passes], len(column.terms))
    return Ragged(codes.offsets + np.concatenate([[0], np.cumsum(passes)]), values)


def rank_ranges(
    clauses: Sequence[Between | AnyOf], segment: Segment, rows: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of each clause the (n,) ranks of the segment's rows, and what each of the queries `rows` lets pass.

    That is the lowest and the highest rank, (clauses, queries) int32. An AnyOf, of one term a query at most, is a range
    of the codes of the rows' one term.
    """
    ranks, (low, high) = list[np.ndarray](), np.empty((2, len(clauses), len(rows)), dtype=np.int32)
    for i, clause in enumerate(clauses):
        if isinstance(clause, AnyOf):
            column, asked = segment.terms[clause.field], clause.rows.take(rows)
            last = np.full(len(rows), -1)
            last[asked.row_numbers()] = column.places(asked.values)
            first = np.where(last < 0, ANY_RANK, last)
            ranks.append(column.single_codes)
        else:
            numbers = segment.numbers[clause.field]
            lo, hi = (None if end is None else end[rows] for end in (clause.lo, clause.hi))
            first, last = numbers.rank_range(lo, hi, len(rows))
            own = numbers.ranks
            if clause.missing_passes and hi is None:
                last = np.full(len(rows), ANY_RANK)
            elif clause.missing_passes:
                first, own = np.full(len(rows), MISSING_RANK), numbers.missing_first
            ranks.append(own)
        is_bound = binding(clause, rows)
        low[i], high[i] = np.where(is_bound, first, MISSING_RANK), np.where(is_bound, last, ANY_RANK)
    return ranks, low, high
