"""What each query of a search by kernels draws its jobs by, worked out with few steps of NumPy for few queries.

A filter is read as a conjunction, and a query is driven by the clause whose postings are fewest, as in `groups`. What
differs is what a GPU is indifferent to: groups are never split further, and every clause is checked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Clause, NoneOf, TermClause, each
from gpu_retrieval.cuda.rounds import TILE_QUERIES
from gpu_retrieval.ragged import numbered
from gpu_retrieval.sharing.parts import NO_DRIVER, conjuncts
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import Segment
from gpu_retrieval.task import SearchTask

# Of a job drawn, beside one of a scan: its row is listed first, and its codes do not follow the last one's. A guess.
DRAWN_COST = 1.25


@dataclass(frozen=True, eq=False)
class Looked:
    """Values of sets in a column: `codes` (values,) places in its terms, -1 for a term that nobody has; postings."""

    codes: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


class Asked:
    """The different rows of a term clause, and (queries,) int64 which of them each query gave."""

    def __init__(self, clause: TermClause) -> None:
        self.sets, self.of_query = clause.rows.distinct()
        self.sizes = np.diff(self.sets.offsets)
        self._looked: dict[TermColumn, Looked] = {}

    def look(self, column: TermColumn) -> Looked:
        """Looked up once a column for all batches of a search."""
        if column not in self._looked:
            codes, (starts, lengths) = column.places(self.sets.values), column.spans
            self._looked[column] = Looked(codes, starts[codes], lengths[codes])
        return self._looked[column]

    def entries(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in `sets.values` of these sets' terms, one set after another, and which of the sets each is of."""
        return ragged_places(self.sets.offsets, sets)


def ragged_places(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the values of these rows, and (places,) the position in `rows` that each is of."""
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    if len(rows) == 1:
        return np.arange(starts[0], starts[0] + lengths[0]), np.zeros(lengths[0], dtype=np.int64)
    of = np.repeat(np.arange(len(rows)), lengths)
    return np.arange(len(of)) + (starts - (np.cumsum(lengths) - lengths))[of], of


class Driver:
    """A clause that queries draw their jobs by: set s draws the terms at `places[offsets[s]:offsets[s + 1]]`."""

    def __init__(self, clause: AnyOf | AllIn, asked: Asked, hosts: list[Segment]) -> None:
        self.clause, self.asked = clause, asked
        columns = [host.terms[clause.field] for host in hosts]
        counts = asked.look(columns[0]).lengths
        for column in columns[1:]:
            counts = counts + asked.look(column).lengths
        self.offsets, self.places = asked.sets.offsets, None
        if isinstance(clause, AllIn):
            # The one term of each set that fewest jobs carry; an empty set draws nothing, and drives nobody.
            of_set = asked.sets.row_numbers()
            by_count = np.lexsort((counts, of_set))
            self.places = by_count[np.flatnonzero(np.diff(of_set, prepend=-1))]
            self.offsets = np.concatenate([[0], np.cumsum(asked.sizes > 0)])
            counts = counts[self.places]
        total = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts, out=total[1:])
        total = total[self.offsets]
        self.n_drawn = total[1:] - total[:-1]
        self.in_runs = all(column.in_runs for column in columns)

    def of_query(self) -> np.ndarray:
        """(queries,) int64: jobs that each query would draw; NO_DRIVER where the clause drives it not."""
        drawn = self.n_drawn[self.asked.of_query]
        if isinstance(self.clause, AllIn):
            drawn = np.where(self.asked.sizes[self.asked.of_query] > 0, drawn, NO_DRIVER)
        return drawn if self.clause.applies is None else np.where(self.clause.applies, drawn, NO_DRIVER)

    def entries(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Asked.entries`, of the terms that are drawn."""
        places, of = ragged_places(self.offsets, sets)
        return places if self.places is None else self.places[places], of


@dataclass(frozen=True, eq=False)
class Draws:
    """Queries in the order in which batches take them: `order` (queries,), each with its draw, ascending.

    The first `n_full` queries draw every job. Draw i is by the set `set_of[i]` of the driver `driver_of[i]`.
    `asked` holds the rows of every term clause by their identity.
    """

    order: np.ndarray
    draw: np.ndarray
    n_full: int
    drivers: list[Driver]
    driver_of: np.ndarray
    set_of: np.ndarray
    asked: dict[int, Asked]

    @classmethod
    def of(cls, task: SearchTask) -> Draws:
        n_queries, hosts = len(task.queries), [segment.host for segment in task.segments]
        asked = {id(clause.rows): Asked(clause) for clause in term_clauses(task.where)}
        drivers = list(_drivers(task.where, n_queries, asked, hosts))
        nobody = np.empty(0, dtype=np.int64)
        everything = cls(np.arange(n_queries), np.zeros(n_queries, np.int64), n_queries, [], nobody, nobody, asked)
        if not drivers:
            return everything
        n_rows = sum(map(len, hosts))
        if n_queries == 1:
            drawn = [int(driver.of_query()[0]) for driver in drivers]
            at = min(range(len(drivers)), key=lambda number: drawn[number] // (1 + drivers[number].in_runs))
            if drawn[at] * DRAWN_COST >= n_rows:
                return everything
            first = np.zeros(1, dtype=np.int64)
            return cls(first, first, 0, drivers, np.array([at]), drivers[at].asked.of_query, asked)
        counts = np.stack([driver.of_query() for driver in drivers])
        # Postings that are runs of rows are read in order.
        chosen = (counts // np.array([[1 + driver.in_runs] for driver in drivers])).argmin(axis=0)
        fewest = counts[chosen, everything.order]
        sets = np.stack([driver.asked.of_query for driver in drivers])[chosen, everything.order]
        n_sets = max(len(driver.asked.sets) for driver in drivers)
        key = np.where(fewest == NO_DRIVER, -1, chosen * n_sets + sets)
        first, draw = numbered(key)
        sizes = np.bincount(draw)
        # A tile of queries reads a job's codes once however many of them want it.
        n_read = (np.minimum(fewest[first], n_rows) * -(-sizes // TILE_QUERIES)).sum()
        if n_read * DRAWN_COST >= n_rows * -(-n_queries // TILE_QUERIES):
            return everything
        order = np.argsort(draw, kind="stable")
        n_full = int(sizes[0]) if key[first[0]] == -1 else 0
        return cls(order, draw[order], n_full, drivers, chosen[first], sets[first], asked)


def runs(ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values, and how often each is there."""
    if len(ascending) == 1:
        return ascending, np.ones(1, dtype=np.int64)
    first = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
    bounds = np.concatenate([[0], first, [len(ascending)]])
    return ascending[bounds[:-1]], np.diff(bounds)


def term_clauses(where: Clause | None) -> Iterator[TermClause]:
    for clause in each(where):
        if isinstance(clause, (AnyOf, AllIn, NoneOf)):
            yield clause


def _drivers(where: Clause | None, n_queries: int, asked: dict[int, Asked], hosts: list[Segment]) -> Iterator[Driver]:
    for part in _conjuncts(where, n_queries):
        if isinstance(part, (AnyOf, AllIn)) and not part.missing_passes:
            yield Driver(part, asked[id(part.rows)], hosts)


def _conjuncts(where: Clause | None, n_queries: int) -> Iterator[Clause]:
    """As `conjuncts`, which copies clauses, where some apply to some queries only."""
    if where is None:
        return
    if any(clause.applies is not None for clause in each(where)):
        yield from conjuncts(where, np.ones(n_queries, dtype=bool))
    elif isinstance(where, AllOf):
        for clause in where.clauses:
            yield from _conjuncts(clause, n_queries)
    else:
        yield where
