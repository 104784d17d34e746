"""Candidate rows of groups of queries: cut into batches that fit, drawn, and checked.

A group's rows are drawn from its postings (all rows where nothing drives it), what its queries have in common
is checked on them once, then what each query asks for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.filters.cells import Cells, passing, picked
from gpu_retrieval.loops import compiled
from gpu_retrieval.sharing.costs import BYTES_PER_DRAWN
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.stored.columns import TermColumn, lower_bound
from gpu_retrieval.stored.segments import Segment
from gpu_retrieval.task import SearchTask

# Scratch of a row that is drawn, then checked or not, and of a (query, candidate) cell that is checked.
BYTES_PER_ROW, BYTES_PER_CELL = 64, 8
# Groups that are work enough for all threads, and worth rows that no cache holds until they are scored.
FEW_GROUPS = 16


@dataclass(frozen=True, eq=False)
class Batch:
    """Groups [first, last) of one driver and their queries [start, stop) of the groups' order.

    Rows [low, high) of the segment, all of them where `high` is None.
    """

    first: int
    last: int
    start: int
    stop: int
    low: int = 0
    high: int | None = None


@dataclass(frozen=True, eq=False)
class Candidates:
    """A batch's pairs of query and row, `sizes[g]` queries a group; `mask` is flat over them, None where all pass."""

    cells: Cells
    sizes: np.ndarray
    mask: np.ndarray | None

    @cached_property
    def n_matches(self) -> np.ndarray:
        """(queries,) int64: rows that pass."""
        return self.cells.lengths if self.mask is None else self.cells.counts(self.mask)


class Drawing:
    """Draws the candidates of a task's groups.

    `checks` and `excludes` are False where someone else checks what is left, and leaves out what is excluded.
    """

    def __init__(self, task: SearchTask, groups: Groups, *, checks: bool, excludes: bool) -> None:
        self.task, self.groups = task, groups
        self.left = groups.left if checks else None
        self.excluded = excluded_rows(task) if excludes and task.exclude is not None else None
        self.max_rows = self.max_drawn = max(1, task.memory_budget // 8 // BYTES_PER_ROW)
        if groups.kept is None and task.alive is None and compiled.AVAILABLE:
            self.max_drawn = max(1, task.memory_budget // 8 // BYTES_PER_DRAWN)
        self.max_cells = max(1, task.memory_budget // 8 // BYTES_PER_CELL)
        if self.left is None and self.excluded is None:
            # A cell takes nothing: a batch of one group has as many as it likes.
            self.max_cells = 1 << 62

    def batches(self, start: int, stop: int, segment: Segment) -> Iterator[Batch]:
        """Groups of one driver, as many as fit; one that does not, alone, by some queries and rows at a time."""
        groups = self.groups
        first = int(np.searchsorted(groups.starts, start, side="right")) - 1
        last = int(np.searchsorted(groups.starts, stop, side="left"))
        numbers = np.arange(first, last)
        begins = np.maximum(groups.starts[numbers], start)
        sizes = np.minimum(groups.starts[numbers + 1], stop) - begins
        rows_before = np.concatenate([[0], np.cumsum(groups.n_drawn[numbers] + 1)])
        cells_before = np.concatenate([[0], np.cumsum((groups.n_drawn[numbers] + 1) * sizes)])
        at = 0
        while at < len(numbers):
            rows_end, drawn_end = (
                int(np.searchsorted(rows_before, rows_before[at] + most, side="right")) - 1
                for most in (self.max_rows, self.max_drawn)
            )
            end = min(
                max(rows_end, min(drawn_end, at + FEW_GROUPS)),
                int(np.searchsorted(cells_before, cells_before[at] + self.max_cells, side="right")) - 1,
                int(np.searchsorted(groups.driver[numbers], groups.driver[first + at], side="right")),
            )
            if end > at:
                yield Batch(first + at, first + end, int(begins[at]), int(begins[end - 1] + sizes[end - 1]))
                at = end
            else:
                yield from self._giant(first + at, int(begins[at]), int(sizes[at]), segment)
                at += 1

    def _giant(self, group: int, start: int, size: int, segment: Segment) -> Iterator[Batch]:
        """Halves of the segment, and halves of those, until what is drawn from each fits; of that, some queries."""
        most, spans = min(self.max_drawn, self.max_cells), self._spans(group, segment)
        waiting = [(0, len(segment))]
        while waiting:
            low, high = waiting.pop()
            n_drawn = high - low if spans is None else _n_within(*spans, low, high)
            if n_drawn > most and high - low > 1:
                middle = (low + high) // 2
                waiting += [(middle, high), (low, middle)]
            elif n_drawn:
                step = max(1, self.max_cells // n_drawn)
                for at in range(start, start + size, step):
                    yield Batch(group, group + 1, at, min(at + step, start + size), low, high)

    def _spans(self, group: int, segment: Segment) -> tuple[TermColumn, np.ndarray, np.ndarray] | None:
        """The column that drives the group, and where its terms' postings start and end; None where nothing does."""
        driver = self.groups.drivers[self.groups.driver[group]]
        if driver is None:
            return None
        column = segment.terms[driver.field]
        return column, *column.postings(self.groups.drawn.row(self.groups.drawn_by[group]))

    def candidates(self, batch: Batch, segment: Segment, base: int) -> Candidates:
        """The batch's rows of a segment whose first row is `base` in the order of ids."""
        groups = self.groups
        rows, starts, lengths = self._shared_rows(batch, segment, base)
        sizes = np.minimum(groups.starts[batch.first + 1 : batch.last + 1], batch.stop)
        sizes = sizes - np.maximum(groups.starts[batch.first : batch.last], batch.start)
        queries = groups.order[batch.start : batch.stop]
        cells = Cells.of(rows, np.repeat(starts, sizes), np.repeat(lengths, sizes), queries)
        mask = None if self.left is None else passing(self.left, cells, segment, groups.sets)
        return Candidates(cells, sizes, without_excluded(self.excluded, mask, cells, base))

    def _shared_rows(self, batch: Batch, segment: Segment, base: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, alive and passing what the group shares; where each group's begin, and how many."""
        groups = self.groups
        of_group = groups.drawn_by[batch.first : batch.last]
        rows, begins, lengths = self._drawn(batch, of_group, segment)
        drawn = of_group - of_group[0]
        queries = groups.order[groups.starts[batch.first : batch.last]]
        cells = Cells.of(rows, begins[drawn], lengths[drawn], queries)
        alive = None if self.task.alive is None else self.task.alive[base : base + len(segment)]
        # Exclusions are looked up in ascending rows.
        return picked(groups.kept, alive, cells, segment, groups.sets, in_order=self.excluded is not None)

    def _drawn(self, batch: Batch, of_group: np.ndarray, segment: Segment) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of each set of terms that the batch draws from, where each set's begin, and how many."""
        driver = self.groups.drivers[self.groups.driver[batch.first]]
        low, high = batch.low, len(segment) if batch.high is None else batch.high
        if driver is None:
            return np.arange(low, high, dtype=np.int32), np.array([0]), np.array([high - low])
        column = segment.terms[driver.field]
        asked = self.groups.drawn.take(np.arange(of_group[0], of_group[-1] + 1))
        starts, ends = column.postings(asked.values)
        if batch.high is not None:
            starts, ends = _within(column, starts, ends, batch.low, batch.high)
        # Exclusions are looked up in ascending rows; nothing else minds their order.
        in_order = self.excluded is not None
        return _draw(column, starts, ends, asked.offsets, low, high, in_order=in_order)


def without_excluded(
    shut_out: np.ndarray | None, mask: np.ndarray | None, cells: Cells, base: int
) -> np.ndarray | None:
    """The mask of the cells, whose rows ascend within an entry, without the pairs `shut_out` (`excluded_rows`)."""
    if shut_out is None or len(cells) == 0:
        return mask
    first = np.searchsorted(shut_out[:, 0], cells.queries, side="left")
    counts = np.searchsorted(shut_out[:, 0], cells.queries, side="right") - first
    entries = np.repeat(np.arange(len(counts)), counts)
    at = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(len(entries))
    rows = shut_out[at, 1] - base
    starts, ends = cells.starts[entries], cells.starts[entries] + cells.lengths[entries]
    places = lower_bound(cells.rows, starts, ends, rows)
    found = places < ends
    found[found] = cells.rows[places[found]] == rows[found]
    if not found.any():
        return mask
    if mask is None:
        mask = np.ones(len(cells), dtype=bool)
    mask[(cells.offsets[entries] + places - starts)[found]] = False
    return mask


def _within(
    column: TermColumn, starts: np.ndarray, ends: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of each span of postings whose rows lie in [low, high)."""
    if not compiled.AVAILABLE:
        return tuple(lower_bound(column.rows, starts, ends, row) for row in (low, high))  # type: ignore[return-value]
    first, last = np.empty((2, len(starts)), dtype=np.int64)
    for row, places in ((low, first), (high, last)):
        compiled.filters().first_places(column.rows, starts, ends, row, places)
    return first, last


def _n_within(column: TermColumn, starts: np.ndarray, ends: np.ndarray, low: int, high: int) -> int:
    """How many postings those are."""
    first, last = _within(column, starts, ends, low, high)
    return int((last - first).sum())


def _draw(
    column: TermColumn,
    starts: np.ndarray,
    ends: np.ndarray,
    of_set: np.ndarray,
    low: int,
    high: int,
    *,
    in_order: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of each set's spans of postings, each once, ascending where `in_order`.

    Also where each set's begin, and how many.
    """
    before = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    offsets = before[of_set]
    if compiled.AVAILABLE:
        rows, counts = np.empty(offsets[-1], dtype=np.int32), np.empty(len(of_set) - 1, dtype=np.int64)
        compiled.filters().draw(
            column.rows, starts, ends, of_set, offsets, low, high, column.is_single_or_none, in_order, rows, counts
        )
        return rows, offsets[:-1], counts
    places = np.repeat(starts - before[:-1], ends - starts) + np.arange(before[-1])
    keys = np.repeat(np.arange(len(of_set) - 1) << 32, np.diff(offsets)) | column.rows[places]
    if (np.diff(of_set) > 1).any():
        keys = np.unique(keys)
    bounds = np.searchsorted(keys, np.arange(len(of_set), dtype=np.int64) << 32)
    return (keys & 0x7FFFFFFF).astype(np.int32), bounds[:-1], np.diff(bounds)


def excluded_rows(task: SearchTask) -> np.ndarray:
    """(pairs, 2) int64: query and row to shut out, by ascending query."""
    assert task.exclude is not None
    at, rows = task.order.find(task.exclude.values)
    return np.stack([task.exclude.row_numbers()[at], rows], axis=1)
