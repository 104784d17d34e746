"""A filter as the kernels read it: a table of clauses, each after its parts, and the terms asked for as bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, TermClause, binds
from gpu_retrieval.cuda.draws import Asked, Draws
from gpu_retrieval.cuda.lanes import Lane
from gpu_retrieval.cuda.launch import NULL, Kernels
from gpu_retrieval.cuda.resident import Shard
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import Segment

OPS: dict[type, int] = {AnyOf: 0, NoneOf: 1, AllIn: 2, Between: 3, AllOf: 4, OneOf: 5}
# codes, starts, sets, of_query, asked, low and high of a clause that has none.
NO_LEAF = (0,) * 7
WORD = 32
# Answers wait in the bits of one word.
MOST_WAITING = 31


@dataclass(frozen=True, eq=False)
class Bits:
    """Where the sets of a clause's rows lie on the device, (sets, n_words) uint32.

    `used` are the sets that are there, ascending; None where all are, in their order.
    """

    address: int
    n_words: int
    used: np.ndarray | None

    def places(self, sets: np.ndarray) -> np.ndarray:
        """Which of those on the device these sets are."""
        return sets if self.used is None else np.searchsorted(self.used, sets)


def written(where: Clause | None) -> Iterator[tuple[Clause, Clause | None]]:
    """Every clause with the one around it, parts before the whole."""

    def below(clause: Clause, around: Clause | None) -> Iterator[tuple[Clause, Clause | None]]:
        if isinstance(clause, (AllOf, OneOf)):
            for part in clause.clauses:
                yield from below(part, clause)
        yield clause, around

    if where is not None:
        yield from below(where, None)


def fits(where: Clause | None) -> bool:
    """Whether the kernels' stack has room for the filter."""
    waiting = most = 0
    for clause, _ in written(where):
        waiting += 1 - (len(clause.clauses) if isinstance(clause, (AllOf, OneOf)) else 0)
        most = max(most, waiting)
    return most <= MOST_WAITING


def set_bytes(where: Clause | None, hosts: list[Segment]) -> int:
    """Bytes that the sets of one query take, at most."""
    clauses = [clause for clause, _ in written(where) if isinstance(clause, (AnyOf, AllIn, NoneOf))]
    per_segment = [sum(4 * n_words(host.terms[clause.field]) for clause in clauses) for host in hosts]
    return max(per_segment, default=0)


def n_words(column: TermColumn) -> int:
    return max(1, -(-len(column.terms) // WORD))


class Program:
    """The filter of these queries over one shard: `nodes` (clauses, fields) int64 on the device, `n_nodes` of them."""

    def __init__(self, where: Clause | None, draws: Draws, queries: np.ndarray, shard: Shard, lane: Lane) -> None:
        self._queries, self._shard, self._lane = queries, shard, lane
        # Queries of all that were given, where some may not be bound by a clause.
        self._asked, self._n_given = draws.asked, len(draws.order)
        clauses = list(written(where))
        self._binds_all = all(clause.applies is None and getattr(clause, "clauses", True) for clause, _ in clauses)
        self._bits: dict[tuple[int, str], Bits] = {}
        self._set_bits: list[np.ndarray] = []
        self._n_words = self._place([clause for clause, _ in clauses if isinstance(clause, (AnyOf, AllIn, NoneOf))])
        rows = [self._node(clause, around) for clause, around in clauses]
        self.n_nodes = np.int32(len(rows))
        self.nodes = lane.add(np.array(rows, dtype=np.int64)) if rows else NULL
        self._asked_bits = lane.add(np.concatenate(self._set_bits)) if self._set_bits else NULL

    def bits(self, clause: TermClause) -> Bits:
        return self._bits[id(clause.rows), clause.field]

    def start(self, kernels: Kernels) -> None:
        """Fills in the sets; before any kernel that reads the filter."""
        self._lane.fill(self._sets, 0, 4 * self._n_words)
        n = sum(map(len, self._set_bits))
        grid = (min(1024, -(-n // 256)),)
        kernels.launch("set_bits", grid, self._asked_bits, np.int64(n), self._sets)

    def _place(self, clauses: list[TermClause]) -> int:
        """Gives the sets of each clause their place; returns the words of all."""
        chosen: dict[tuple[int, str], tuple[Asked, np.ndarray | None, TermColumn]] = {}
        for clause in clauses:
            own = self._asked[id(clause.rows)]
            # Of few sets all go over: which of them these queries use need not be found out.
            used = None if len(own.sets) <= len(self._queries) else np.unique(own.of_query[self._queries])
            chosen[id(clause.rows), clause.field] = own, used, self._shard.host.terms[clause.field]
        sizes = [len(own.sets if used is None else used) * n_words(column) for own, used, column in chosen.values()]
        total = sum(sizes)
        self._lane.sets.begin(4 * max(1, total) + 256)
        self._sets = self._lane.sets.take(np.uint32, max(1, total))
        at = 0
        for (key, (own, used, column)), size in zip(chosen.items(), sizes, strict=True):
            width = n_words(column)
            codes = own.look(column).codes
            if used is None:
                of_set = own.sets.row_numbers() if len(own.sets) > 1 else 0
            else:
                entries, of_set = own.entries(used)
                codes = codes[entries]
            self._bits[key] = Bits(int(self._sets) + 4 * at, width, used)
            places = np.add(codes, WORD * width * of_set + WORD * at, dtype=np.int64)
            self._set_bits.append(places[codes >= 0])
            at += size
        return total

    def _node(self, clause: Clause, around: Clause | None) -> list[int]:
        """The fields of `Node` in kernels/filter.cu, in their order."""
        binding = 0
        if not self._binds_all:
            bound = binds(clause, self._n_given)[self._queries]
            binding = 0 if bound.all() else int(self._lane.add(bound))
        # Beside other parts of OneOf a clause that does not bind is as if it were not written; elsewhere it passes.
        op, unbound = OPS[type(clause)], int(not isinstance(around, OneOf))
        if isinstance(clause, (AllOf, OneOf)):
            return [op, len(clause.clauses), unbound, 0, 0, 0, binding, *NO_LEAF]
        missing_passes = int(not isinstance(clause, NoneOf) and clause.missing_passes)
        if isinstance(clause, Between):
            return [op, 0, unbound, missing_passes, *self._range(clause, binding)]
        return [op, 0, unbound, missing_passes, 0, *self._terms(clause, binding)]

    def _range(self, clause: Between, binding: int) -> list[int]:
        column, add = self._shard.host.numbers[clause.field], self._lane.add
        lo, hi = (None if end is None else end[self._queries] for end in (clause.lo, clause.hi))
        low, high = column.rank_range(lo, hi, len(self._queries))
        ends = int(add(low.astype(np.int32))), int(add(high.astype(np.int32)))
        return [len(column.levels), 0, binding, address(self._shard.held.ranks(clause.field)), 0, 0, 0, 0, *ends]

    def _terms(self, clause: TermClause, binding: int) -> list[int]:
        held, own, bits = self._shard.held, self._asked[id(clause.rows)], self.bits(clause)
        starts, add = held.starts(clause.field), self._lane.add
        sizes = own.sizes if bits.used is None else own.sizes[bits.used]
        return [
            bits.n_words,
            binding,
            address(held.codes_of_rows(clause.field)),
            0 if starts is None else address(starts),
            bits.address,
            int(add(bits.places(own.of_query[self._queries]).astype(np.int32))),
            int(add(sizes.astype(np.int32))),
            0,
            0,
        ]


def address(array: object) -> int:
    return int(array.data.ptr)  # type: ignore[attr-defined]
