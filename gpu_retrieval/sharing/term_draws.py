"""Queries that draw their jobs by terms of one field, and what drawing them term at a time would cost.

All queries must have the AnyOf that they are driven by. Ranges are checked beside the products, and so are terms of
which a query asks any, none, or all of a few; what else a filter asks is checked by a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, TermClause
from gpu_retrieval.loops import compiled
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.sharing.parts import TermSets, conjuncts, has_one_term, is_side_check, leaves_of
from gpu_retrieval.stored.columns import TermColumn
from gpu_retrieval.stored.segments import DeviceSegment

# Of a pair of query and block of jobs, with its place in a mask; of a register of bounds, and their mask; of a query.
BYTES_PER_ENTRY, BYTES_PER_PLACE, BYTES_PER_QUERY = 80, 96, 128
# What a batch takes where the budget has more: memory that is new costs more than jobs brought in once again.
MOST_BYTES = 128 << 20
# Nanoseconds of one core, as those of `costs` and fitted with them. Of columns that are cut into blocks, once.
START_NS = 6_000_000.0
# Of a query, and of each of its k best; of a pair of query and block; of a component of a job brought in, once a batch.
QUERY_NS, RESULT_NS, ENTRY_NS, BRING_COMPONENT_NS = 3_300.0, 33.0, 380.0, 0.7
# Of a pair of query and job: for each component, where two terms may have the job, and where a mask is made.
PAIR_COMPONENT_NS, REPEAT_NS, CHECK_NS = 0.009, 6.0, 12.0
# Of a clause on terms: of a pair of query and block, and of a job brought in.
LEAF_ENTRY_NS, LEAF_NS = 90.0, 12.0


def batch_bytes(memory_budget: int) -> int:
    """What the queries of a batch may take together."""
    return min(memory_budget // 4, MOST_BYTES)


@dataclass(frozen=True, eq=False)
class TermCodes:
    """The queries' terms as places in a segment's column, whose postings are cut into blocks.

    Query q asks for the codes `sets.row(of_query[q])`. Code c has the blocks from `first_blocks[c]` to
    `first_blocks[c + 1]`; block b is `block_rows[b]` to `block_rows[b + 1]` of the postings, and `places[b]` registers
    of bounds. `n_entries` and `n_places` (queries,) are how many blocks and registers each query has.
    """

    sets: Ragged
    of_query: np.ndarray
    first_blocks: np.ndarray
    block_rows: np.ndarray
    places: np.ndarray
    n_entries: np.ndarray
    n_places: np.ndarray

    @classmethod
    def of(cls, own: TermSets, column: TermColumn) -> TermCodes:
        loops, lengths = compiled.terms(), np.diff(column.starts)
        per_term = -(-lengths // loops.BLOCK)
        first_blocks = np.concatenate([[0], np.cumsum(per_term)])
        within = np.arange(first_blocks[-1]) - np.repeat(first_blocks[:-1], per_term)
        block_rows = np.append(np.repeat(column.starts[:-1], per_term) + within * loops.BLOCK, len(column.rows))
        places = -(-np.diff(block_rows) // loops.SHORTS)
        sets, places_before = own.codes(column), np.concatenate([[0], np.cumsum(places)])[first_blocks]
        return cls(
            sets,
            own.of_query,
            first_blocks,
            block_rows,
            places.astype(np.int32),
            _sums(sets, per_term)[own.of_query],
            _sums(sets, np.diff(places_before))[own.of_query],
        )

    @cached_property
    def times_asked(self) -> np.ndarray:
        """(T,) int64: how many queries ask for each code."""
        per_set = np.bincount(self.of_query, minlength=len(self.sets))
        weights = np.repeat(per_set, np.diff(self.sets.offsets))
        return np.bincount(self.sets.values, weights, len(self.first_blocks) - 1)

    @cached_property
    def n_rows(self) -> np.ndarray:
        """(T,) int64: jobs of each code."""
        return np.diff(self.block_rows[self.first_blocks])

    def n_rows_asked(self, share: float) -> float:
        """Jobs of the codes that a share of the queries, drawn by chance, asks for."""
        return float((self.n_rows * (1 - (1 - share) ** self.times_asked)).sum())


def _sums(sets: Ragged, of_code: np.ndarray) -> np.ndarray:
    """(sets,) int64: what the codes of each have together."""
    before = np.concatenate([[0], np.cumsum(of_code[sets.values])])
    return before[sets.offsets[1:]] - before[sets.offsets[:-1]]


@dataclass(frozen=True, eq=False)
class TermDraw:
    """All queries draw their jobs by `driver`, and check `ranges` and `terms` beside the products, `left` by a mask.

    With `repeats` two terms may have the same job. `codes` are of each segment; `n_bytes` (queries,) int64 is what
    each query takes of a batch, but for its components.
    """

    driver: AnyOf
    ranges: Sequence[Between | AnyOf]
    terms: Sequence[TermClause | OneOf]
    left: Clause | None
    repeats: bool
    codes: list[TermCodes]
    n_bytes: np.ndarray

    @classmethod
    def of(cls, where: Clause | None, groups: Groups, segments: list[DeviceSegment]) -> TermDraw | None:
        """Driven by what drives most queries of the groups; None where not all have it."""
        if where is None or groups.n_undriven == len(groups.order):
            return None
        most = groups.drivers[int(np.bincount(groups.driver, np.diff(groups.starts)).argmax())]
        ranges, terms = list[Between | AnyOf](), list[TermClause | OneOf]()
        left, driver = list[Clause](), None
        for part in conjuncts(where, np.ones(len(groups.order), dtype=bool)):
            if driver is None and isinstance(part, AnyOf) and _is_same(part, most):
                driver = part
            elif isinstance(part, (AnyOf, Between)) and _is_range(part, segments):
                ranges.append(part)
            elif isinstance(part, (AnyOf, NoneOf, AllIn, OneOf)) and is_side_check(part, segments):
                terms.append(part)
            else:
                left.append(part)
        if driver is None or driver.missing_passes or driver.applies is not None:
            return None
        own, repeats = groups.sets[id(driver.rows)], not has_one_term(driver, segments)
        codes = [TermCodes.of(own, segment.host.terms[driver.field]) for segment in segments]
        n_bytes = np.full(len(groups.order), BYTES_PER_QUERY, dtype=np.int64)
        for some in codes:
            n_bytes += BYTES_PER_ENTRY * some.n_entries + BYTES_PER_PLACE * some.n_places
        return cls(driver, ranges, terms, AllOf(*left) if left else None, repeats, codes, n_bytes)

    def cost_ns(self, d: int, k: int, memory_budget: int) -> float:
        """The estimate for all queries, to be held against that of `Groups`."""
        n_batches, n_met = max(1.0, float(self.n_bytes.sum()) / batch_bytes(memory_budget)), 0
        each_ns = PAIR_COMPONENT_NS * d + (0.0 if self.left is None else CHECK_NS)
        each_ns, cost = each_ns + (REPEAT_NS if self.repeats else 0.0), START_NS
        n_leaves = sum(len(leaves_of(part)) for part in self.terms)
        for codes in self.codes:
            n_pairs = compiled.terms().SHORTS * int(codes.n_places.sum())
            cost += (ENTRY_NS + LEAF_ENTRY_NS * n_leaves) * int(codes.n_entries.sum()) + each_ns * n_pairs
            cost += (BRING_COMPONENT_NS * d + LEAF_NS * n_leaves) * n_batches * codes.n_rows_asked(1 / n_batches)
            n_met += n_pairs
        n_queries = len(self.n_bytes)
        return cost + n_queries * (QUERY_NS + RESULT_NS * min(k, n_met / max(1, n_queries)))

    @property
    def n_sharing(self) -> float:
        """How many queries ask for a job, of those jobs that any asks for."""
        n_pairs = sum(float((codes.times_asked * codes.n_rows).sum()) for codes in self.codes)
        return n_pairs / max(1.0, sum(codes.n_rows_asked(1.0) for codes in self.codes))


def _is_same(part: AnyOf, driver: AnyOf | AllIn | None) -> bool:
    """Whether the part is what the groups call their driver, whose copy applies to other queries maybe."""
    return isinstance(driver, AnyOf) and part.rows is driver.rows and part.field == driver.field


def _is_range(part: AnyOf | Between, segments: list[DeviceSegment]) -> bool:
    """A range of numbers, or of one code: a term of which jobs have one and queries ask for one."""
    if isinstance(part, AnyOf) and (part.missing_passes or (np.diff(part.rows.offsets) > 1).any()):
        return False
    return is_side_check(part, segments) and (isinstance(part, Between) or has_one_term(part, segments))
