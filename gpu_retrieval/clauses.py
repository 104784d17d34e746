"""What a query asks of a job: columnar clauses, one row a query.

What the query leaves empty decides first, then what the job lacks. For a job that carries terms 1 and 2,
a job that has none in the field, and the row that a query gives:

| clause                  | row     | job {1, 2} | job {} |
|-------------------------|---------|------------|--------|
| AnyOf                   | {}      | no         | no     |
| AnyOf                   | {1, 9}  | yes        | no     |
| AnyOf, missing_passes   | {}      | no         | no     |
| AnyOf, missing_passes   | {1, 9}  | yes        | yes    |
| AllIn                   | {}      | yes        | yes    |
| AllIn                   | {1, 9}  | no         | no     |
| AllIn, missing_passes   | {1, 9}  | no         | yes    |
| NoneOf                  | {}      | yes        | yes    |
| NoneOf                  | {1, 9}  | no         | yes    |

>>> import numpy as np
>>> from gpu_retrieval import AllIn, AnyOf, NoneOf, Ragged, TermKnnIndex
>>> index = TermKnnIndex.build(
...     np.array([10, 20]), np.ones((2, 1), np.float32), terms={"skill": Ragged.from_lists([[1, 2], []])}
... )
>>> def passing(clause, row, **options):
...     where = clause("skill", Ragged.from_lists([row]), **options)
...     ids = index.search(np.zeros((1, 1), np.float32), k=2, where=where).ids[0]
...     return ids[ids >= 0].tolist()
>>> passing(AnyOf, []), passing(AnyOf, [1, 9])
([], [10])
>>> passing(AnyOf, [], missing_passes=True), passing(AnyOf, [1, 9], missing_passes=True)
([], [10, 20])
>>> passing(AllIn, []), passing(AllIn, [1, 9]), passing(AllIn, [1, 9], missing_passes=True)
([10, 20], [], [20])
>>> passing(NoneOf, []), passing(NoneOf, [1, 9])
([10, 20], [20])
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import TypeAlias

import numpy as np

from gpu_retrieval.checks import check_array, check_known
from gpu_retrieval.ragged import Ragged, check_terms


@dataclass(frozen=True, eq=False)
class AnyOf:
    """The job has at least one of the row's terms. An empty row is false for every job.

    `applies` is (queries,) bool: where False the clause does not bind that query. With `missing_passes` a job
    without a value in the field passes a row that is not empty.
    """

    field: str
    rows: Ragged
    _: KW_ONLY
    missing_passes: bool = False
    applies: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AllIn:
    """The job has every one of the row's terms. An empty row is true for every job. Options as in `AnyOf`."""

    field: str
    rows: Ragged
    _: KW_ONLY
    missing_passes: bool = False
    applies: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class NoneOf:
    """The job has none of the row's terms; one without a value passes. `applies` as in `AnyOf`."""

    field: str
    rows: Ragged
    _: KW_ONLY
    applies: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Between:
    """The job's number lies in [lo, hi], both ends included.

    `lo` and `hi` are each (queries,) float64 or int64, or None. None, and NaN for a query, mean no bound at
    that end; without either bound every job passes. int64 and float64 are compared exactly, never by rounding
    one to the other. A job whose number is missing passes a bounded query only with `missing_passes`.
    """

    field: str
    lo: np.ndarray | None
    hi: np.ndarray | None
    _: KW_ONLY
    missing_passes: bool = False
    applies: np.ndarray | None = None


class _Composite:
    def __init__(self, *clauses: Clause, applies: np.ndarray | None = None) -> None:
        self.clauses = clauses
        self.applies = applies


class AllOf(_Composite):
    """Every part holds. With no part that applies to a query it does not bind that query."""


class OneOf(_Composite):
    """At least one of the parts that apply holds. With no part that applies it does not bind that query."""


TermClause: TypeAlias = AnyOf | AllIn | NoneOf
Leaf: TypeAlias = AnyOf | AllIn | NoneOf | Between
Clause: TypeAlias = AnyOf | AllIn | NoneOf | Between | AllOf | OneOf


def check_where(where: Clause, n_queries: int, terms: Collection[str], numbers: Collection[str]) -> None:
    """Raises unless every clause fits this many queries and names fields that exist."""
    for path, clause in walk(where):
        if not isinstance(clause, (AnyOf, AllIn, NoneOf, Between, AllOf, OneOf)):
            raise TypeError(f"{path}: expected a clause, got {type(clause).__name__}")
        if clause.applies is not None:
            check_array(f"{path} applies", clause.applies, "bool", (n_queries,))
        if isinstance(clause, Between):
            check_known("number", clause.field, numbers, hint=_other_kind(clause.field, terms, "a term field"))
            for end, bound in (("lo", clause.lo), ("hi", clause.hi)):
                if bound is not None:
                    check_array(f"{path} {end}", bound, ("float64", "int64"), (n_queries,))
        elif isinstance(clause, (AnyOf, AllIn, NoneOf)):
            check_known("field", clause.field, terms, hint=_other_kind(clause.field, numbers, "a number, see Between"))
            check_terms(path, clause.rows, n_queries)
        if isinstance(clause, (AnyOf, AllIn, Between)) and not isinstance(clause.missing_passes, bool):
            raise TypeError(f"{path} missing_passes: expected a bool, got {type(clause.missing_passes).__name__}")


def _other_kind(name: str, others: Collection[str], what: str) -> str:
    return f" ({name!r} is {what})" if name in others else ""


def describe(clause: object) -> str:
    """The clause's kind and field, as it is named in messages."""
    name = getattr(clause, "field", None)
    return f"{type(clause).__name__}({name!r})" if isinstance(name, str) else type(clause).__name__


def walk(where: Clause, path: str = "") -> Iterator[tuple[str, Clause]]:
    """Every clause of the tree, outermost first, with its path."""
    here = f"{path} > {describe(where)}" if path else f"where {describe(where)}"
    yield here, where
    if isinstance(where, _Composite):
        for clause in where.clauses:
            yield from walk(clause, here)


def each(where: Clause | None) -> Iterator[Clause]:
    """Every clause of the tree, outermost first."""
    if where is not None:
        yield where
        if isinstance(where, _Composite):
            for clause in where.clauses:
                yield from each(clause)


def depth(where: Clause | None) -> int:
    """How many clauses lie inside one another."""
    if where is None:
        return 0
    inner = [depth(clause) for clause in where.clauses] if isinstance(where, (AllOf, OneOf)) else []
    return 1 + max(inner, default=0)


def take(where: Clause, rows: np.ndarray) -> Clause:
    """The same clause for these queries only."""
    applies = None if where.applies is None else where.applies[rows]
    if isinstance(where, (AllOf, OneOf)):
        return type(where)(*(take(clause, rows) for clause in where.clauses), applies=applies)
    if isinstance(where, Between):
        lo, hi = (None if end is None else end[rows] for end in (where.lo, where.hi))
        return replace(where, lo=lo, hi=hi, applies=applies)
    return replace(where, rows=where.rows.take(rows), applies=applies)


def binds(where: Clause, n_queries: int) -> np.ndarray:
    """(queries,) bool: whether the clause says anything to that query."""
    own = np.ones(n_queries, dtype=bool) if where.applies is None else where.applies
    if isinstance(where, (AllOf, OneOf)):
        inner = np.zeros(n_queries, dtype=bool)
        for clause in where.clauses:
            inner |= binds(clause, n_queries)
        return own & inner
    return own
