"""A filter as the kernels read it: a table of clauses, each after its parts, and the terms asked for as bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, TermClause, binds
from gpu_retrieval.columns import TermColumn
from gpu_retrieval.groups import TermSets
from gpu_retrieval.kernels import NULL, Kernels
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.resident import resident
from gpu_retrieval.segments import DeviceSegment

OPS: dict[type, int] = {AnyOf: 0, NoneOf: 1, AllIn: 2, Between: 3, AllOf: 4, OneOf: 5}
# Must match `Node` in kernels/filter.cu.
FIELDS = (
    *("op", "n_parts", "unbound", "missing_passes", "missing_rank", "n_words", "binds"),
    *("codes", "starts", "sets", "of_query", "asked", "low", "high"),
)
WORD = 32
# Answers wait in the bits of one word.
MOST_WAITING = 31


@dataclass(frozen=True, eq=False)
class Program:
    """`nodes` (clauses, fields) int64 on the device; `held` are the arrays that it points to."""

    nodes: Array
    n_nodes: int
    held: list[Array]


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


def set_bytes(where: Clause | None, segments: list[DeviceSegment]) -> int:
    """Bytes that the sets of one query take, at most."""
    clauses = [clause for clause, _ in written(where) if isinstance(clause, (AnyOf, AllIn, NoneOf))]
    per_segment = [sum(4 * n_words(segment.host.terms[clause.field]) for clause in clauses) for segment in segments]
    return max(per_segment, default=0)


def n_words(column: TermColumn) -> int:
    return max(1, -(-len(column.terms) // WORD))


def program(
    where: Clause | None,
    n_queries: int,
    queries: np.ndarray,
    sets: dict[int, TermSets],
    segment: DeviceSegment,
    kernels: Kernels,
) -> Program:
    """The filter of these of its `n_queries` queries over one segment. `sets` as in `Groups`."""
    writer = _Writer(n_queries, queries, sets, segment, kernels)
    rows = [writer.node(clause, around) for clause, around in written(where)]
    nodes = segment.backend.put(np.array(rows, dtype=np.int64)) if rows else NULL
    return Program(nodes, len(rows), writer.held)


class _Writer:
    def __init__(
        self, n_queries: int, queries: np.ndarray, sets: dict[int, TermSets], segment: DeviceSegment, kernels: Kernels
    ) -> None:
        self.n_queries, self.queries, self.sets = n_queries, queries, sets
        self.segment, self.backend, self.kernels = segment, segment.backend, kernels
        self.held: list[Array] = []

    def node(self, clause: Clause, around: Clause | None) -> list[int]:
        # Beside other parts of OneOf a clause that does not bind is as if it were not written; elsewhere it passes.
        fields = {"op": OPS[type(clause)], "unbound": int(not isinstance(around, OneOf))}
        bound = binds(clause, self.n_queries)[self.queries]
        if not bound.all():
            fields["binds"] = self._address(self.backend.put(bound))
        if isinstance(clause, (AllOf, OneOf)):
            fields["n_parts"] = len(clause.clauses)
        elif isinstance(clause, Between):
            fields |= self._range(clause)
        else:
            fields |= self._terms(clause)
        return [fields.get(name, 0) for name in FIELDS]

    def _address(self, array: Array) -> int:
        self.held.append(array)
        return int(array.data.ptr)

    def _range(self, clause: Between) -> dict[str, int]:
        column = self.segment.host.numbers[clause.field]
        lo, hi = (None if end is None else end[self.queries] for end in (clause.lo, clause.hi))
        low, high = column.rank_range(lo, hi, len(self.queries))
        return {
            "missing_passes": int(clause.missing_passes),
            "missing_rank": len(column.levels),
            "codes": self._address(resident(self.segment).ranks(clause.field)),
            "low": self._address(self.backend.put(low.astype(np.int32))),
            "high": self._address(self.backend.put(high.astype(np.int32))),
        }

    def _terms(self, clause: TermClause) -> dict[str, int]:
        on_device, column = resident(self.segment), self.segment.host.terms[clause.field]
        own = self.sets[id(clause.rows)]
        used, of_query = np.unique(own.of_query[self.queries], return_inverse=True)
        asked, starts = own.sets.take(used), on_device.starts(clause.field)
        return {
            "missing_passes": int(not isinstance(clause, NoneOf) and clause.missing_passes),
            "n_words": n_words(column),
            "codes": self._address(on_device.codes_of_rows(clause.field)),
            "starts": 0 if starts is None else self._address(starts),
            "sets": self._address(bits(asked, column, self.backend, self.kernels)),
            "of_query": self._address(self.backend.put(of_query.reshape(-1).astype(np.int32))),
            "asked": self._address(self.backend.put(np.diff(asked.offsets).astype(np.int32))),
        }


def bits(sets: Ragged, column: TermColumn, backend: Backend, kernels: Kernels) -> Array:
    """(sets, n_words) uint32: which of the column's terms each set holds."""
    words = backend.xp.zeros((len(sets), n_words(column)), dtype=np.uint32)
    codes = column.codes(sets)
    if len(codes.values):
        set_of = backend.put(codes.row_numbers().astype(np.int32))
        grid = (min(1024, -(-len(codes.values) // 256)),)
        n, width = np.int32(len(codes.values)), np.int64(words.shape[1])
        kernels.launch("set_bits", grid, set_of, backend.put(codes.values), n, width, words)
    return words
