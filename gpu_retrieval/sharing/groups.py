"""Queries that share filters, brought together.

A filter is read as a conjunction. Each query is driven by the clause whose postings are fewest: its jobs are
drawn from them and from nowhere else. Queries drawn from the same postings form a group; a further clause
splits groups where the estimated saving in products is worth more than the drawing done over again. What is
not settled for a group as a whole is checked a query at a time, on what is left of the group's jobs.

What that saves and costs is reckoned by `costs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Clause, NoneOf, TermClause
from gpu_retrieval.ragged import Ragged, numbered
from gpu_retrieval.sharing.costs import GroupCounts, shared_ns
from gpu_retrieval.sharing.parts import (
    NO_DRIVER,
    Parts,
    TermSets,
    applies_to,
    has_one_term,
    is_side_check,
    n_lists,
    term_counts,
)
from gpu_retrieval.stored.segments import DeviceSegment

UNDRIVEN = -1
# A posting that two terms may have both, met once.
REPEAT_NS = 5.0


@dataclass(frozen=True, eq=False)
class Groups:
    """`order[starts[g]:starts[g + 1]]` are the queries of group g; the first `n_undriven` queries draw every job.

    `driver` (groups,) is the number in `drivers` of the clause drawn from, None for every job, ascending; group g
    draws from the postings of `drawn.row(drawn_by[g])`, `n_drawn[g]` in all; `drawn_by` ascends. `kept` is checked
    once a group, `left` once a query, both None where there is nothing to check. `sets` holds the different rows
    of each term clause by the identity of its rows. `cost_ns` is the estimate for all groups.
    """

    order: np.ndarray
    starts: np.ndarray
    n_undriven: int
    drivers: list[AnyOf | AllIn | None]
    driver: np.ndarray
    drawn: Ragged
    drawn_by: np.ndarray
    n_drawn: np.ndarray
    kept: Clause | None
    left: Clause | None
    sets: dict[int, TermSets]
    cost_ns: float

    def __len__(self) -> int:
        return len(self.driver)

    @property
    def n_drawn_a_query(self) -> float:
        """Jobs that a query draws, on average."""
        return float((self.n_drawn * np.diff(self.starts)).sum()) / max(1, len(self.order))


def group_queries(
    own: Parts, d: int, k: int, memory_budget: int, *, drive: bool = True, beside: bool = False
) -> Groups:
    """The queries in groups. Without `drive` all of them draw every job.

    With `beside`, whoever scores them checks what `is_side_check` is true of, for sixteen queries at once.
    """
    n_parts, n_queries = own.counts.shape
    by_query = np.full(n_queries, UNDRIVEN)
    n_drawn = np.full(n_queries, max(1, sum(len(segment) for segment in own.segments)))
    if drive and n_parts:
        driven = own.counts.min(axis=0) < NO_DRIVER
        # Postings that are runs of rows cost half of what others do: they and the rows' terms lie in order.
        nearest = (own.counts // np.where(own.in_runs, 2, 1)[:, None]).argmin(axis=0)
        by_query = np.where(driven, nearest, UNDRIVEN)
        n_drawn = np.where(driven, own.counts[nearest, np.arange(n_queries)], n_drawn)
    return _Grouping(own, by_query, n_drawn, d, k, memory_budget, beside).groups()


class _Grouping:
    """Finds which clauses are worth a split of the groups."""

    def __init__(
        self, own: Parts, by_query: np.ndarray, n_drawn: np.ndarray, d: int, k: int, memory_budget: int, beside: bool
    ) -> None:
        self.parts, self.sets, self.shares, self.segments = own.parts, own.sets, own.shares, own.segments
        self.beside = [beside and is_side_check(part, own.segments) for part in own.parts]
        self.n_listed = [n_lists(part, own.segments) for part in own.parts]
        # The last is of those that nothing drives.
        self.in_order = np.append(own.in_runs, True)
        self.by_query, self.n_drawn = by_query, n_drawn
        self.d, self.k, self.memory_budget = d, k, memory_budget
        # Most significant, so that groups of one driver lie side by side.
        self.group = numbered(by_query.astype(np.int64) - UNDRIVEN)[1]
        for number in np.unique(by_query[by_query != UNDRIVEN]):
            of_query = self.sets[id(self._terms(number).rows)].of_query
            self.group = _refined(self.group, np.where(by_query == number, of_query + 1, 0))
        self.drawn_by = self.group
        self.adopted: list[int] = []

    def _terms(self, number: int) -> TermClause:
        part = self.parts[number]
        assert isinstance(part, (AnyOf, AllIn, NoneOf))
        return part

    def groups(self) -> Groups:
        """Groups split by every clause that is worth it, the most selective first."""
        cost = self._cost(self.group, self.adopted)
        candidates = [number for number, part in enumerate(self.parts) if isinstance(part, (AnyOf, AllIn, NoneOf))]
        for number in sorted(candidates, key=lambda number: self.shares[number]):
            part = self._terms(number)
            bound = applies_to(part, len(part.rows))
            split = _refined(self.group, np.where(bound, self.sets[id(part.rows)].of_query + 1, 0))
            split_cost = self._cost(split, [*self.adopted, number])
            if split_cost < cost:
                self.group, self.adopted, cost = split, [*self.adopted, number], split_cost
        order = np.argsort(self.group, kind="stable")
        starts = np.flatnonzero(np.diff(self.group[order], prepend=-1))
        first = order[starts]
        _, drawing, drawn_by = np.unique(self.drawn_by[first], return_index=True, return_inverse=True)
        numbers, driver = np.unique(self.by_query[first], return_inverse=True)
        drivers = [None if number == UNDRIVEN else self._terms(number) for number in numbers]
        return Groups(
            order=order,
            starts=np.append(starts, len(order)),
            n_undriven=int(np.count_nonzero(self.by_query == UNDRIVEN)),
            drivers=drivers,  # type: ignore[arg-type]
            driver=driver.reshape(-1),
            drawn=self._drawn(drivers, driver.reshape(-1)[drawing], first[drawing]),
            drawn_by=drawn_by.reshape(-1),
            n_drawn=self.n_drawn[first],
            kept=self._conjunction(self.adopted),
            left=self._conjunction([number for number in range(len(self.parts)) if number not in self.adopted]),
            sets=self.sets,
            cost_ns=cost + REPEAT_NS * self._n_repeating(first[drawing]),
        )

    def _n_repeating(self, queries: np.ndarray) -> int:
        """Postings drawn by these queries, where two terms may have the same."""
        by, n = self.by_query[queries], 0
        for number in np.unique(by[by != UNDRIVEN]):
            if not has_one_term(self._terms(number), self.segments):
                n += int(self.n_drawn[queries[by == number]].sum())
        return n

    def _cost(self, group: np.ndarray, adopted: Sequence[int]) -> float:
        sizes, first = np.bincount(group), np.empty(group.max(initial=-1) + 1, dtype=np.int64)
        # Of several places the last that is written stays: the first of the group.
        first[group[::-1]] = np.arange(len(group))[::-1]
        by = self.by_query[first]
        share, own_share = np.ones(len(first)), np.ones(len(first))
        (keep_ns, n_kept, n_own, n_listed), beside = np.zeros((4, len(first))), True
        for number, is_beside in enumerate(self.beside):
            apart = by != number
            if number in adopted:
                share[apart] *= self.shares[number]
                n_kept += apart
                keep_ns += apart * shared_ns(single=has_one_term(self._terms(number), self.segments))
            elif apart.any():
                own_share[apart] *= self.shares[number]
                n_own += apart
                n_listed += apart * self.n_listed[number]
                # One part that the scoring loops cannot check, and a mask is made for all of them.
                beside &= is_beside
        counts = GroupCounts(
            sizes=sizes,
            drawn=self.n_drawn[first].astype(np.float64),
            is_first=np.diff(self.drawn_by[first], prepend=-1) != 0,
            share=share,
            keep_ns=keep_ns,
            own_share=own_share,
            n_own=n_own,
            n_listed=n_listed,
            in_order=self.in_order[by],
            beside=beside,
            n_terms=self._n_terms(adopted) if (n_kept <= 1).all() else None,
        )
        return counts.cost_ns(self.d, self.k, self.memory_budget)

    def _n_terms(self, adopted: Sequence[int]) -> int | None:
        """As in `GroupCounts`, where no group has two of the clauses to check."""
        parts = [self._terms(number) for number in adopted]
        if not all(isinstance(part, AnyOf) and not part.missing_passes for part in parts):
            return None
        if not all(has_one_term(part, self.segments) for part in parts):
            return None
        fields = [segment.host.terms[part.field] for part in parts for segment in self.segments]
        return max((len(column.terms) for column in fields), default=None)

    def _conjunction(self, numbers: list[int]) -> Clause | None:
        """These parts, without the AnyOf that a query is drawn from, which its jobs pass by origin."""
        clauses: list[Clause] = []
        for number in numbers:
            part = self.parts[number]
            drawn = self.by_query == number
            if isinstance(part, AnyOf) and drawn.any():
                applies = applies_to(part, len(part.rows)).copy()
                applies[drawn] = False
                part = replace(part, applies=applies)
            if part.applies is None or part.applies.any():
                clauses.append(part)
        return AllOf(*clauses) if clauses else None

    def _drawn(self, drivers: Sequence[TermClause | None], driver: np.ndarray, queries: np.ndarray) -> Ragged:
        rows = [Ragged.from_lists([])]
        for number, clause in enumerate(drivers):
            if clause is None:
                rows.append(Ragged(np.zeros(np.count_nonzero(driver == number) + 1, np.int64), np.empty(0, np.int32)))
                continue
            own = self.sets[id(clause.rows)]
            asked = own.sets.take(own.of_query[queries[driver == number]])
            rows.append(_rarest(clause, asked, self.segments) if isinstance(clause, AllIn) else asked)
        lengths = np.concatenate([np.diff(part.offsets) for part in rows])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(offsets, np.concatenate([part.values for part in rows]))


def _refined(group: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Groups, numbered from 0 without gaps, split by `by` (0 or more), in the order of both."""
    if len(group) == 0:
        return group
    return numbered(group * (int(by.max()) + 1) + by)[1]


def _rarest(clause: AllIn, asked: Ragged, segments: list[DeviceSegment]) -> Ragged:
    """The one term of each row (none empty) that fewest jobs carry."""
    counts = term_counts(clause.field, asked.values, segments)
    by_count = np.lexsort((counts, asked.row_numbers()))
    return Ragged.of_one(asked.values[by_count[asked.offsets[:-1]]])
