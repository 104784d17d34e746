"""Candidates of groups scored as the scan scores: by arrays, on the device of the backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpu_retrieval.backend import Array
from gpu_retrieval.filters.candidates import Batch, Candidates, Drawing
from gpu_retrieval.plans.scan import Stretch, TileQueries, score_by_product
from gpu_retrieval.plans.tiles import tile
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.stored.quantize import Codes
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import NO_KEY, Hits, TopK


class ByArrays:
    """The best keys of the queries [start, stop) of the groups' order.

    A group's candidates are a stretch of jobs of their own.
    """

    def __init__(self, task: SearchTask, groups: Groups, start: int, stop: int, hits: Hits) -> None:
        self.task, self.start, self.hits = task, start, hits
        self.drawing = Drawing(task, groups, checks=True, excludes=True)
        self.k = min(task.k, task.n_alive)
        self.rows = groups.order[start:stop]
        self.best: Array = task.backend.xp.full((len(self.rows), self.k), NO_KEY, dtype=np.uint64)
        self.tiling = tile(replace(task, memory_budget=task.memory_budget // 2))
        self.n_matches = np.zeros(len(self.rows), dtype=np.int64)

    def enter(self, segment: DeviceSegment, base: int) -> None:
        """Goes on to a segment, whose first row is `base` in the order of ids."""
        self.segment, self.base = segment, base

    def take_in(self, batch: Batch, found: Candidates) -> None:
        self.n_matches[batch.start - self.start : batch.stop - self.start] += found.n_matches
        first = 0
        for size in found.sizes:
            for at in range(first, first + size, self.tiling.n_queries):
                if found.cells.lengths[first]:
                    last = min(at + self.tiling.n_queries, first + size)
                    self._score(batch.start - self.start, found, slice(at, last))
            first += size

    def _score(self, shift: int, found: Candidates, entries: slice) -> None:
        backend, cells, mask = self.task.backend, found.cells, found.mask
        n = int(cells.lengths[entries.start])
        own = slice(shift + entries.start, shift + entries.stop)
        top = TopK(backend, own.stop - own.start, self.k, self.tiling.topk_bytes, best=self.best[own])
        queries = TileQueries.of(backend, self.task.queries[self.rows[own]])
        rows = cells.rows[cells.starts[entries.start] :][:n]
        if mask is not None:
            mask = mask[cells.offsets[entries.start] : cells.offsets[entries.stop]].reshape(-1, n)
        for start in range(0, n, self.tiling.n_jobs):
            part = slice(start, start + self.tiling.n_jobs)
            stretch = self._stretch(rows[part], None if mask is None else mask[:, part], len(queries.norms))
            if stretch.n_matches.any():
                score_by_product(queries, stretch, top, self.tiling)
        top.flush()

    def _stretch(self, rows: np.ndarray, mask: np.ndarray | None, n_queries: int) -> Stretch:
        backend = self.task.backend
        prior = None if self.task.prior is None else self.task.prior[self.base + rows]
        return Stretch(
            segment=DeviceSegment(_gathered(self.segment.host, rows), backend),
            start=0,
            stop=len(rows),
            mask=None if mask is None else backend.put(np.ascontiguousarray(mask)),
            n_matches=np.full(n_queries, len(rows)) if mask is None else np.count_nonzero(mask, axis=1),
            prior=None if prior is None else backend.put(prior),
            largest_prior=0.0 if prior is None else float(np.abs(prior).max()),
            id_ranks=backend.put(self.task.order.ranks[self.base + rows]),
        )

    def write(self) -> None:
        self.hits.n_matches[self.rows] = self.n_matches
        top = TopK(self.task.backend, len(self.rows), self.k, self.tiling.topk_bytes, best=self.best)
        top.write(self.hits, self.rows, self.task.order.sorted_ids)


def _gathered(segment: Segment, rows: np.ndarray) -> Segment:
    """These rows' originals as a segment, without terms."""
    vectors = segment.vectors[rows]
    no_scale, no_residuals = np.empty(0, dtype=np.float32), np.zeros(len(rows), dtype=np.float32)
    codes = Codes(vectors, no_scale, segment.codes.norms[rows], no_residuals)
    return Segment(
        given=np.arange(len(rows)), ids=segment.ids[rows], vectors=vectors, codes=codes, terms={}, numbers={}
    )
