"""The parts of a filter that must all hold, and what counts of postings say of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, Leaf, NoneOf, OneOf, TermClause
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import DeviceSegment

NO_DRIVER = np.iinfo(np.int64).max
# Terms that a query may ask all of for the scoring loops to check them, each by itself.
MOST_OF_ALL = 4


@dataclass(frozen=True, eq=False)
class TermSets:
    """The different rows of a term clause, and (queries,) int64: which of them each query gave."""

    sets: Ragged
    of_query: np.ndarray
    _codes: dict[TermColumn, Ragged] = field(default_factory=dict)

    def codes(self, column: TermColumn) -> Ragged:
        """The sets as the column's codes (`TermColumn.codes`), looked up once for all batches of a search."""
        if column not in self._codes:
            self._codes[column] = column.codes(self.sets)
        return self._codes[column]

    def counts(self, clause: TermClause, segments: list[DeviceSegment]) -> np.ndarray:
        """(sets,) int64: postings to draw from, the union's for AnyOf, the rarest term's for AllIn."""
        per_term = term_counts(clause.field, self.sets.values, segments)
        if isinstance(clause, AllIn):
            fewest = np.full(len(self.sets), NO_DRIVER)
            np.minimum.at(fewest, self.sets.row_numbers(), per_term)
            return fewest
        total = np.concatenate([[0], np.cumsum(per_term)])
        return total[self.sets.offsets[1:]] - total[self.sets.offsets[:-1]]


def term_counts(field: str, values: np.ndarray, segments: list[DeviceSegment]) -> np.ndarray:
    """(values,) int64: how many rows carry each term."""
    counts = np.zeros(len(values), dtype=np.int64)
    for segment in segments:
        starts, ends = segment.host.terms[field].postings(values)
        counts += ends - starts
    return counts


@dataclass(frozen=True, eq=False)
class Parts:
    """The `parts` of a filter that must all hold, and what postings' counts say of them: no job is touched.

    `sets` as in `Groups`. `counts` (parts, queries) int64 are the postings that each part draws for a query, NO_DRIVER
    where it does not drive it; `shares` (parts,) of the jobs are let pass, as far as counts say; `in_runs` (parts,)
    bool where postings are neighbours.

    Takes some hundred bytes a query and clause, beside `memory_budget`: a batch too large for that is the
    caller's to cut.
    """

    parts: list[Clause]
    sets: dict[int, TermSets]
    counts: np.ndarray
    shares: np.ndarray
    in_runs: np.ndarray
    segments: list[DeviceSegment]

    @classmethod
    def of(cls, where: Clause | None, n_queries: int, segments: list[DeviceSegment]) -> Parts:
        parts = list(conjuncts(where, np.ones(n_queries, dtype=bool))) if where is not None else []
        sets = {id(clause.rows): TermSets(*clause.rows.distinct()) for clause in _term_clauses(parts)}
        n_rows = max(1, sum(len(segment) for segment in segments))
        counts = np.full((len(parts), n_queries), NO_DRIVER)
        shares, in_runs = np.ones(len(parts)), np.zeros(len(parts), dtype=bool)
        for number, part in enumerate(parts):
            if isinstance(part, (AnyOf, AllIn, NoneOf)):
                own = sets[id(part.rows)]
                of_query = own.counts(part, segments)[own.of_query]
                lengths = np.diff(own.sets.offsets)[own.of_query]
                bound = applies_to(part, n_queries)
                shares[number] = 1 - bound.mean() * (1 - _share(part, of_query[bound] / n_rows)) if bound.any() else 1.0
                in_runs[number] = all(segment.host.terms[part.field].in_runs for segment in segments)
                if not isinstance(part, NoneOf) and not part.missing_passes:
                    drives = bound if isinstance(part, AnyOf) else bound & (lengths > 0)
                    counts[number, drives] = of_query[drives]
        return cls(parts, sets, counts, shares, in_runs, segments)


def conjuncts(where: Clause, applies: np.ndarray) -> Iterator[Clause]:
    """Parts that must all hold, each with what it applies to worked out from the AllOf around it."""
    if where.applies is not None:
        applies = applies & where.applies
    if isinstance(where, AllOf):
        for clause in where.clauses:
            yield from conjuncts(clause, applies)
    elif isinstance(where, OneOf):
        yield OneOf(*where.clauses, applies=applies)
    else:
        yield replace(where, applies=None if applies.all() else applies)


def is_side_check(part: Clause, segments: list[DeviceSegment]) -> bool:
    """Whether the scoring loops can check the part beside the scores: a range, or terms.

    Of those it may ask any, none, or all of a few; it may be a OneOf of such AnyOf.
    """
    if isinstance(part, OneOf):
        are_checks = [isinstance(clause, AnyOf) and is_side_check(clause, segments) for clause in part.clauses]
        return len(are_checks) > 0 and all(are_checks)
    if isinstance(part, AllIn) and (part.missing_passes or most_asked(part) > MOST_OF_ALL):
        return False
    if isinstance(part, (AnyOf, NoneOf, AllIn)):
        return all(segment.host.terms[part.field].can_list for segment in segments)
    # What is missing lies beyond one end of the ranks.
    return isinstance(part, Between) and (part.lo is None or part.hi is None or not part.missing_passes)


def leaves_of(part: TermClause | OneOf) -> tuple[TermClause, ...]:
    """What the loops check of a side check on terms: alternatives, or an AllIn once for each term that it may ask."""
    if isinstance(part, OneOf):
        return part.clauses  # type: ignore[return-value]
    return (part,) * (max(1, most_asked(part)) if isinstance(part, AllIn) else 1)


def most_asked(part: TermClause) -> int:
    """Terms that a query asks at most."""
    return int(np.diff(part.rows.offsets).max(initial=0))


def has_one_term(part: TermClause, segments: list[DeviceSegment]) -> bool:
    """Whether each job has one term of the clause's field, or none."""
    return all(segment.host.terms[part.field].is_single_or_none for segment in segments)


def n_lists(part: Clause, segments: list[DeviceSegment]) -> int:
    """Of a side check, the leaves on a field of which a job may have several terms."""
    if not is_side_check(part, segments) or not isinstance(part, (AnyOf, NoneOf, AllIn, OneOf)):
        return 0
    return sum(not has_one_term(leaf, segments) for leaf in leaves_of(part))


def _term_clauses(parts: Sequence[Clause]) -> Iterator[TermClause]:
    for part in parts:
        if isinstance(part, (AllOf, OneOf)):
            yield from _term_clauses(part.clauses)
        elif isinstance(part, (AnyOf, AllIn, NoneOf)):
            yield part


def applies_to(part: Leaf, n_queries: int) -> np.ndarray:
    return np.ones(n_queries, dtype=bool) if part.applies is None else part.applies


def _share(part: TermClause, found: np.ndarray) -> float:
    """Mean share of the jobs that pass, as far as counts say."""
    if len(found) == 0 or (not isinstance(part, NoneOf) and part.missing_passes):
        return 1.0
    mean = float(np.minimum(found, 1).mean())
    return 1 - mean if isinstance(part, NoneOf) else mean
