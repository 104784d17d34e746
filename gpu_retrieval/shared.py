"""The plan "shared": jobs drawn from postings once a group of queries, so that cost follows matching pairs.

A group's rows are drawn from its postings, what its queries have in common is checked on them, then what each
query asks for itself; the vectors are gathered once and multiplied with all of the group's queries. A query
that no clause drives (it has no AnyOf or AllIn to draw from) is scanned. On the CPU with Numba the product,
the selection and the final scores are one compiled loop over pieces of groups; otherwise each group's
candidates are handed to the scan's own scoring, a group at a time, on the device of the backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gpu_retrieval import compiled
from gpu_retrieval.backend import Array
from gpu_retrieval.cells import Cells, passing
from gpu_retrieval.columns import TermColumn, lower_bound
from gpu_retrieval.quantize import Codes
from gpu_retrieval.scan import Stretch, TileQueries, scan, score_by_product
from gpu_retrieval.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.tiles import tile
from gpu_retrieval.topk import NO_KEY, Hits, TopK

# Scratch of a row that is drawn and of a (query, candidate) cell that is checked.
BYTES_PER_ROW, BYTES_PER_CELL = 64, 8


def shared(task: SearchTask) -> Hits:
    """The task's hits from groups' candidates; queries without a clause to draw from by full scan."""
    hits = Hits.none(len(task.queries), task.k)
    if task.n_alive == 0 or len(task.queries) == 0:
        return hits
    groups = task.groups
    if len(groups.rest):
        scanned = scan(task.take(groups.rest))
        hits.ids[groups.rest], hits.scores[groups.rest] = scanned.ids, scanned.scores
        hits.n_matches[groups.rest] = scanned.n_matches
    _Search(task).run(hits)
    return hits


@dataclass(frozen=True, eq=False)
class _Batch:
    """Groups [first, last) of one driver and their queries [start, stop) of the groups' order.

    Rows [low, high) of the segment, all of them where `high` is None.
    """

    first: int
    last: int
    start: int
    stop: int
    low: int = 0
    high: int | None = None


class _Search:
    """What a search by groups keeps between batches."""

    def __init__(self, task: SearchTask) -> None:
        self.task, self.groups = task, task.groups
        self.k = min(task.k, task.n_alive)
        self.max_rows = max(1, task.memory_budget // 8 // BYTES_PER_ROW)
        self.max_cells = max(1, task.memory_budget // 8 // BYTES_PER_CELL)
        self.cap = 2 * self.k + 4 * compiled.BLOCK
        can_compile = compiled.AVAILABLE and not task.backend.on_gpu
        self.piece_queries = self._piece_queries() if can_compile else 0
        self.excluded = None if task.exclude is None else _excluded_rows(task)

    def run(self, hits: Hits) -> None:
        """Fills the rows of every query that is in a group."""
        step = max(1, self.task.memory_budget // 8 // (8 * self.k))
        for start in range(0, len(self.groups.order), step):
            stop = min(start + step, len(self.groups.order))
            scores = _Compiled(self, start, stop) if self.piece_queries else _ByArrays(self, start, stop)
            base = 0
            for segment in self.task.segments:
                for batch in self._batches(start, stop, len(segment)):
                    self._search(batch, segment, base, scores, hits)
                base += len(segment)
            scores.write(hits)

    def _search(self, batch: _Batch, segment: DeviceSegment, base: int, scores: _Scores, hits: Hits) -> None:
        rows, lengths = self._candidates(batch, segment.host, base)
        sizes = np.minimum(self.groups.starts[batch.first + 1 : batch.last + 1], batch.stop)
        sizes = sizes - np.maximum(self.groups.starts[batch.first : batch.last], batch.start)
        queries = self.groups.order[batch.start : batch.stop]
        starts = np.cumsum(lengths) - lengths
        cells = Cells.of(rows, np.repeat(starts, sizes), np.repeat(lengths, sizes), queries)
        mask = None if self.groups.left is None else passing(self.groups.left, cells, segment.host, self.groups.sets)
        mask = self._without_excluded(mask, cells, base)
        n_matches = cells.lengths if mask is None else cells.counts(mask)
        hits.n_matches[queries] += n_matches
        scores.take_in(batch, segment, base, cells, sizes, mask, n_matches)

    def _candidates(self, batch: _Batch, segment: Segment, base: int) -> tuple[np.ndarray, np.ndarray]:
        """Each group's rows, ascending, alive and passing what the group shares; and how many."""
        column = segment.terms[self.groups.drivers[self.groups.driver[batch.first]].field]
        of_group = self.groups.drawn_by[batch.first : batch.last]
        numbers = np.arange(of_group[0], of_group[-1] + 1)
        asked = self.groups.drawn.take(numbers)
        starts, ends = column.postings(asked.values)
        low, high = batch.low, len(segment) if batch.high is None else batch.high
        if batch.high is not None:
            starts = lower_bound(column.rows, starts, ends, low)
            ends = lower_bound(column.rows, starts, ends, high)
        rows, begins, lengths = _draw(column, starts, ends, asked.offsets, low, high)
        queries = self.groups.order[self.groups.starts[batch.first : batch.last]]
        drawn = of_group - of_group[0]
        cells = Cells.of(rows, begins[drawn], lengths[drawn], queries)
        if self.groups.kept is None:
            mask = np.ones(len(cells), dtype=bool)
        else:
            mask = passing(self.groups.kept, cells, segment, self.groups.sets)
        if self.task.alive is not None:
            for begin, end, _, part in cells.parts():
                mask[begin:end] &= self.task.alive[base + part]
        return cells.picked(mask)

    def _without_excluded(self, mask: np.ndarray | None, cells: Cells, base: int) -> np.ndarray | None:
        if self.excluded is None or len(cells) == 0:
            return mask
        shut_out = self.excluded
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

    def _piece_queries(self) -> int:
        """Queries that the compiled loop takes at once, for its threads' scratch to fit 1/4 of the budget."""
        d = self.task.queries.shape[1]
        alone = (d + 3) * 4 * compiled.BLOCK + 4 * self.cap + 8 * (self.k + self.cap) + 16 * d + 4096
        per_query = 8 * self.cap + 4 * compiled.BLOCK + 4 * (d + 3) + 32
        fitting = (self.task.memory_budget // 4 // compiled.loops().n_threads() - alone) // per_query
        return max(0, min(compiled.QUERIES, fitting - 4))

    def _batches(self, start: int, stop: int, n_rows: int) -> Iterator[_Batch]:
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
            end = min(
                int(np.searchsorted(rows_before, rows_before[at] + self.max_rows, side="right")) - 1,
                int(np.searchsorted(cells_before, cells_before[at] + self.max_cells, side="right")) - 1,
                int(np.searchsorted(groups.driver[numbers], groups.driver[first + at], side="right")),
            )
            if end > at:
                yield _Batch(first + at, first + end, int(begins[at]), int(begins[end - 1] + sizes[end - 1]))
                at = end
            else:
                yield from self._giant(first + at, int(begins[at]), int(sizes[at]), n_rows)
                at += 1

    def _giant(self, group: int, start: int, size: int, n_rows: int) -> Iterator[_Batch]:
        n_terms = len(self.groups.drawn.row(self.groups.drawn_by[group]))
        width = max(1, min(self.max_rows, self.max_cells) // max(1, n_terms))
        most = max(1, self.max_cells // min(width * n_terms, int(self.groups.n_drawn[group]) + 1))
        for low in range(0, n_rows, width):
            for at in range(start, start + size, most):
                yield _Batch(group, group + 1, at, min(at + most, start + size), low, min(low + width, n_rows))


class _Scores:
    """The best keys of the queries [start, stop) of the groups' order."""

    def __init__(self, search: _Search, start: int, stop: int) -> None:
        self.task, self.search, self.start = search.task, search, start
        self.rows = search.groups.order[start:stop]
        self.best: Array = self.task.backend.xp.full((len(self.rows), search.k), NO_KEY, dtype=np.uint64)

    def take_in(
        self,
        batch: _Batch,
        segment: DeviceSegment,
        base: int,
        cells: Cells,
        sizes: np.ndarray,
        mask: np.ndarray | None,
        n_matches: np.ndarray,
    ) -> None:
        raise NotImplementedError

    def write(self, hits: Hits) -> None:
        raise NotImplementedError


class _Compiled(_Scores):
    """Pieces of groups in one compiled loop; keys are kept sorted. Scores the originals, whatever is scanned."""

    def __init__(self, search: _Search, start: int, stop: int) -> None:
        super().__init__(search, start, stop)
        self.n_best = np.zeros(len(self.rows), dtype=np.int64)
        prior = self.task.prior
        self.prior = np.empty(0, dtype=np.float32) if prior is None else prior
        self.largest_prior = float(np.abs(self.prior).max(initial=0))
        self.queries = self.task.queries[self.rows]

    def take_in(self, batch, segment, base, cells, sizes, mask, n_matches):  # type: ignore[no-untyped-def]
        span = slice(batch.start - self.start, batch.stop - self.start)
        compiled.loops().score(
            segment.host.vectors,
            segment.host.codes.norms,
            cells.rows,
            self._pieces(cells, sizes),
            self.queries[span],
            np.empty(0, dtype=bool) if mask is None else mask,
            cells.offsets,
            self.prior,
            self.largest_prior,
            self.task.order.ranks,
            base,
            self.search.cap,
            self.best[span],
            self.n_best[span],
        )

    def _pieces(self, cells: Cells, sizes: np.ndarray) -> np.ndarray:
        """(pieces, 4) int64, the costly ones dealt out evenly to the threads."""
        n_threads = compiled.loops().n_threads()
        # A batch of one large group is still work for every thread.
        most = min(self.search.piece_queries, max(4, -(-len(cells.queries) // n_threads)))
        per_group = -(-sizes // most)
        group_end = np.repeat(np.cumsum(sizes), per_group)
        before = np.repeat(np.cumsum(per_group) - per_group, per_group)
        first = np.repeat(np.cumsum(sizes) - sizes, per_group) + (np.arange(len(before)) - before) * most
        last = np.minimum(first + most, group_end)
        rows = cells.starts[first]
        pieces = np.stack([rows, rows + cells.lengths[first], first, last], axis=1)
        pieces = pieces[cells.lengths[first] > 0]
        by_cost = np.argsort((pieces[:, 0] - pieces[:, 1]) * (pieces[:, 3] - pieces[:, 2]), kind="stable")
        return pieces[np.concatenate([by_cost[thread::n_threads] for thread in range(n_threads)])]

    def write(self, hits):  # type: ignore[no-untyped-def]
        compiled.loops().decode(self.best, self.n_best, self.rows, self.task.order.sorted_ids, hits.ids, hits.scores)


class _ByArrays(_Scores):
    """A group's candidates as a stretch of jobs of their own, scored as the scan scores."""

    def __init__(self, search: _Search, start: int, stop: int) -> None:
        super().__init__(search, start, stop)
        self.tiling = tile(replace(self.task, memory_budget=self.task.memory_budget // 2))

    def take_in(self, batch, segment, base, cells, sizes, mask, n_matches):  # type: ignore[no-untyped-def]
        first = 0
        for size in sizes:
            for at in range(first, first + size, self.tiling.n_queries):
                if cells.lengths[first]:
                    last = min(at + self.tiling.n_queries, first + size)
                    self._score(batch.start - self.start, segment, base, cells, slice(at, last), mask)
            first += size

    def _score(
        self, shift: int, segment: DeviceSegment, base: int, cells: Cells, entries: slice, mask: np.ndarray | None
    ) -> None:
        backend, n = self.task.backend, int(cells.lengths[entries.start])
        own = slice(shift + entries.start, shift + entries.stop)
        top = TopK(backend, own.stop - own.start, self.search.k, self.tiling.topk_bytes, best=self.best[own])
        queries = TileQueries.of(backend, self.task.queries[self.rows[own]])
        rows = cells.rows[cells.starts[entries.start] :][:n]
        if mask is not None:
            mask = mask[cells.offsets[entries.start] : cells.offsets[entries.stop]].reshape(-1, n)
        for start in range(0, n, self.tiling.n_jobs):
            part = slice(start, start + self.tiling.n_jobs)
            stretch = self._stretch(
                segment, base, rows[part], None if mask is None else mask[:, part], len(queries.norms)
            )
            if stretch.n_matches.any():
                score_by_product(queries, stretch, top, self.tiling)
        top.flush()

    def _stretch(
        self, segment: DeviceSegment, base: int, rows: np.ndarray, mask: np.ndarray | None, n_queries: int
    ) -> Stretch:
        backend, host = self.task.backend, segment.host
        prior = None if self.task.prior is None else self.task.prior[base + rows]
        return Stretch(
            segment=DeviceSegment(_gathered(host, rows), backend),
            start=0,
            stop=len(rows),
            mask=None if mask is None else backend.put(np.ascontiguousarray(mask)),
            n_matches=np.full(n_queries, len(rows)) if mask is None else np.count_nonzero(mask, axis=1),
            prior=None if prior is None else backend.put(prior),
            largest_prior=0.0 if prior is None else float(np.abs(prior).max()),
            id_ranks=backend.put(self.task.order.ranks[base + rows]),
        )

    def write(self, hits):  # type: ignore[no-untyped-def]
        top = TopK(self.task.backend, len(self.rows), self.search.k, self.tiling.topk_bytes, best=self.best)
        top.write(hits, self.rows, self.task.order.sorted_ids)


def _gathered(segment: Segment, rows: np.ndarray) -> Segment:
    """These rows' originals as a segment, without terms."""
    vectors = segment.vectors[rows]
    no_scale, no_residuals = np.empty(0, dtype=np.float32), np.zeros(len(rows), dtype=np.float32)
    codes = Codes(vectors, no_scale, segment.codes.norms[rows], no_residuals)
    return Segment(ids=segment.ids[rows], vectors=vectors, codes=codes, terms={}, numbers={})


def _draw(
    column: TermColumn, starts: np.ndarray, ends: np.ndarray, of_set: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of each set's spans of postings, ascending, each once; where each set's begin, and how many."""
    before = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    offsets = before[of_set]
    if compiled.AVAILABLE:
        rows, counts = np.empty(offsets[-1], dtype=np.int32), np.empty(len(of_set) - 1, dtype=np.int64)
        compiled.loops().draw(column.rows, starts, ends, of_set, offsets, low, high, rows, counts)
        return rows, offsets[:-1], counts
    places = np.repeat(starts - before[:-1], ends - starts) + np.arange(before[-1])
    keys = np.repeat(np.arange(len(of_set) - 1) << 32, np.diff(offsets)) | column.rows[places]
    if (np.diff(of_set) > 1).any():
        keys = np.unique(keys)
    bounds = np.searchsorted(keys, np.arange(len(of_set), dtype=np.int64) << 32)
    return (keys & 0x7FFFFFFF).astype(np.int32), bounds[:-1], np.diff(bounds)


def _excluded_rows(task: SearchTask) -> np.ndarray:
    """(pairs, 2) int64: query and row to shut out, by ascending query."""
    assert task.exclude is not None
    at, rows = task.order.find(task.exclude.values)
    return np.stack([task.exclude.row_numbers()[at], rows], axis=1)
