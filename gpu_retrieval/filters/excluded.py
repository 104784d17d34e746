"""What queries are not to be shown, as rows of a segment: the compiled loops leave them out a row at a time.

A query's list is short beside what it draws: a look where one of its rows would be held costs less than a mask over
every pair.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval.filters.cells import Cells, passing
from gpu_retrieval.loops import compiled
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.stored.segments import DeviceSegment
from gpu_retrieval.task import SearchTask


class Excluded:
    """The rows that each query of a task excludes, a segment at a time."""

    def __init__(self, task: SearchTask) -> None:
        assert task.exclude is not None
        self.task = task
        places, self._rows = task.order.find(task.exclude.values)
        self._offsets = np.searchsorted(places, task.exclude.offsets)
        self._found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, segment: DeviceSegment, base: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows int32, each query's once and ascending, and (queries, 2) where each query's begin and end.

        `base` is the segment's first row in the order of ids. Worked out once for all batches.
        """
        if base not in self._found:
            self._found[base] = self._inside(segment, base)
        return self._found[base]

    def _inside(self, segment: DeviceSegment, base: int) -> tuple[np.ndarray, np.ndarray]:
        inside = (self._rows >= base) & (self._rows < base + len(segment))
        offsets = np.concatenate([[0], np.cumsum(inside)])[self._offsets]
        rows, sizes = (self._rows[inside] - base).astype(np.int32), np.empty(len(offsets) - 1, dtype=np.int64)
        compiled.keys().order_rows(offsets, rows, sizes)
        return rows, np.stack([offsets[:-1], offsets[:-1] + sizes], axis=1)

    def n_passing(self, cells: Cells, groups: Groups, segment: DeviceSegment, base: int) -> np.ndarray:
        """(entries,) int64: how many of a query's rows, an entry of `of`'s, are open and pass all else that it asks."""
        mask = np.ones(len(cells), dtype=bool)
        if self.task.where is not None:
            mask = passing(self.task.where, cells, segment.host, groups.sets)
        if self.task.alive is not None:
            for first, last, _, part in cells.parts():
                mask[first:last] &= self.task.alive[base + part]
        return cells.counts(mask)
