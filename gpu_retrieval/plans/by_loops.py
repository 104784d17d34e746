"""Candidates of groups scored by the compiled loops, on all cores of a CPU."""

from __future__ import annotations

import numpy as np

from gpu_retrieval.filters.candidates import Batch, Candidates, Drawing
from gpu_retrieval.filters.cells import Cells
from gpu_retrieval.filters.excluded import Excluded
from gpu_retrieval.filters.side_checks import MOST_CHECKS, SideChecks
from gpu_retrieval.loops import compiled
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.stored.segments import DeviceSegment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

# Queries of a piece and the rows that are brought in for them: fewer where the budget has no room for them.
PIECES = (
    (128, 16384), (64, 8192), (64, 2048), (64, 1024), (32, 1024), (16, 1024), (16, 256), (8, 256), (4, 64),
)  # fmt: skip
# Sums of int8 products stay within int32.
MOST_COMPONENTS = 1 << 15


def can_loop(task: SearchTask) -> bool:
    """Whether the loops are there for the task's device, and the budget has room for their scratch."""
    return compiled.AVAILABLE and not task.backend.on_gpu and _piece(task) is not None


def _piece(task: SearchTask) -> tuple[int, int] | None:
    """Queries and rows that the loops take at once, for their threads' scratch to fit a quarter of the budget.

    None where nothing fits.
    """
    loops = compiled.scoring()
    if task.queries.shape[1] > MOST_COMPONENTS:
        return None
    k, d = min(task.k, max(1, task.n_alive)), task.queries.shape[1]
    for queries, stretch in PIECES:
        n_bytes = loops.scratch_bytes(queries, stretch, d, k, MOST_CHECKS) * loops.n_threads()
        if n_bytes <= task.memory_budget // 4:
            return queries, stretch
    return None


class ByLoops:
    """The best keys of the queries [start, stop) of the groups' order, kept sorted where the hits' ids go."""

    def __init__(self, task: SearchTask, groups: Groups, start: int, stop: int, hits: Hits) -> None:
        self.task, self.groups, self.start = task, groups, start
        self.loops = compiled.scoring()
        self.checks = SideChecks.of(task, groups)
        self.drawing = Drawing(task, groups, checks=not self.checks, excludes=False)
        self.excluded = None if task.exclude is None else Excluded(task)
        self.k = min(task.k, task.n_alive)
        piece = _piece(task)
        assert piece is not None
        self.most, self.stretch = piece
        self.rows = groups.order[start:stop]
        self.queries = task.queries[self.rows]
        self.hits, self.keys = hits, hits.ids.view(np.uint64).reshape(-1)
        self.n_best = np.zeros(len(self.rows), dtype=np.int64)
        self.n_matches = np.zeros(len(self.rows), dtype=np.int64)

    def enter(self, segment: DeviceSegment, base: int) -> None:
        """Goes on to a segment, whose first row is `base` in the order of ids."""
        host, task = segment.host, self.task
        self.jobs = self.loops.jobs_of(host.coarse, host.vectors, task.order.ranks, task.prior, base)
        self.asked = self.checks.asked(self.groups, self.rows, segment)
        self.excluded_rows, self.excluded_spans = np.empty(0, np.int32), np.empty((0, 2), np.int64)
        if self.excluded is not None:
            rows, spans = self.excluded.of(segment, base)
            self.excluded_rows, self.excluded_spans = rows, spans[self.rows]
            # The loops count them in.
            first, last = self.excluded_spans.T
            cells = Cells.of(rows, first, last - first, self.rows)
            self.n_matches -= self.excluded.n_passing(cells, self.groups, segment, base)

    def take_in(self, batch: Batch, found: Candidates) -> None:
        span = slice(batch.start - self.start, batch.stop - self.start)
        if not self.checks:
            self.n_matches[span] += found.n_matches
        pieces = self._pieces(found)
        if len(pieces) == 0:
            return
        work = self.loops.Work(
            self.loops.fixed(found.cells.rows),
            pieces,
            self.loops.fixed(self.queries[span]),
            *self.asked.of(span),
            np.empty(0, dtype=bool) if found.mask is None else found.mask,
            found.cells.offsets,
            self.loops.fixed(self.excluded_rows),
            self.excluded_spans[span],
        )
        best = self.loops.Best(self.keys, self.task.k, self.k, self.rows[span], self.n_best[span], self.n_matches[span])
        cap, threads = self.loops.held_rows(self.k), self.loops.n_threads()
        # No more scratch than there is work for.
        most = min(self.most, int((pieces[:, 3] - pieces[:, 2]).max()))
        block = self.loops.BLOCK
        stretch = min(self.stretch, -(-int((pieces[:, 1] - pieces[:, 0]).max()) // block) * block)
        self.loops.score(self.jobs, work, best, most, stretch, cap, threads)

    def _pieces(self, found: Candidates) -> np.ndarray:
        """(pieces, 4) int64, the costly ones first: the threads take them in turn."""
        cells, sizes = found.cells, found.sizes
        # A batch of one large group is still work for every thread.
        most = min(self.most, max(4, -(-len(cells.queries) // self.loops.n_threads())))
        per_group = -(-sizes // most)
        group_end = np.repeat(np.cumsum(sizes), per_group)
        before = np.repeat(np.cumsum(per_group) - per_group, per_group)
        first = np.repeat(np.cumsum(sizes) - sizes, per_group) + (np.arange(len(before)) - before) * most
        last = np.minimum(first + most, group_end)
        rows = cells.starts[first]
        pieces = np.stack([rows, rows + cells.lengths[first], first, last], axis=1)
        pieces = pieces[cells.lengths[first] > 0]
        return pieces[np.argsort((pieces[:, 0] - pieces[:, 1]) * (pieces[:, 3] - pieces[:, 2]), kind="stable")]

    def write(self) -> None:
        hits = self.hits
        hits.n_matches[self.rows] = self.n_matches
        self.loops.decode(self.n_best, self.rows, self.task.order.sorted_ids, hits.ids, hits.scores)
