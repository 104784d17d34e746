"""One batch of queries on its way through the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_retrieval.backend import Array
from gpu_retrieval.clauses import AllIn
from gpu_retrieval.kernels import NULL, THREADS, kernels_of
from gpu_retrieval.programs import bits, n_words, program
from gpu_retrieval.quantize import encode, score_error
from gpu_retrieval.resident import STEP, padded, resident
from gpu_retrieval.rounds import TILE_QUERIES, Round, rounds
from gpu_retrieval.scan import TileQueries
from gpu_retrieval.segments import DeviceSegment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import NO_KEY, Hits

# A tensor core truncates where float32 rounds, and aligns what it adds to the greatest (Fasi et al., Numerical behavior
# of NVIDIA tensor cores, 2021): for each product of a sum, less than this share of the sum of their magnitudes.
TENSOR_CORE_ROUNDING = 2.0**-22
# Neighbouring groups that count as one where there are many more than k.
MOST_FOLD = 8
# Of the memory that a block shares between its threads, what every GPU gives without being asked.
SHARED_BYTES = 48 << 10
MOST_BLOCKS = 4096


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Queries a batch, places that one may find and keys it may keep before their order, bytes of a round."""

    batch: int
    found: int
    keys: int
    round_bytes: int


@dataclass(frozen=True, eq=False)
class Source:
    """Where a batch's rows of one segment come from: `n_places` (draws,), and what `draw` is launched with.

    `parts` hold first and last place, spans, postings, starts, codes, sets and their words, a clause each; none where
    all rows are taken.
    """

    n_places: np.ndarray
    parts: list[tuple[Any, ...]]


class Batch:
    """These queries of the task, under way on a stream from the moment that it is made.

    `draw` (queries,) ascends: the row of `groups.drawn` that each draws its jobs by; None where all take every job.
    """

    def __init__(self, task: SearchTask, sizes: Sizes, rows: np.ndarray, draw: np.ndarray | None, stream: Any) -> None:
        self.task, self.sizes, self.rows, self.stream = task, sizes, rows, stream
        self.backend, self.k = task.backend, min(task.k, task.n_alive)
        self.draws, self.n_drawing = np.unique(
            np.zeros(len(rows), np.int64) if draw is None else draw, return_counts=True
        )
        self.is_full = draw is None
        self.launch = kernels_of(self.backend).launch
        with stream:
            self._put_queries(task.queries[rows])
            self._take_scratch(len(rows))
            base, self.begun = 0, False
            for segment in task.segments:
                _Part(self, segment, base).search()
                base += len(segment)
            n_cells = self.best.size
            grid = (min(MOST_BLOCKS, -(-n_cells // THREADS)),)
            sorted_ids, _ = task.order.on(self.backend)
            self.launch("decode_keys", grid, self.best, np.int64(n_cells), sorted_ids, self.ids, self.scores)

    def _put_queries(self, queries: np.ndarray) -> None:
        put = self.backend.put
        codes = encode(queries, "float16")
        self.d, self.n_steps = queries.shape[1], np.int32(-(-queries.shape[1] // STEP))
        of_scan = TileQueries.of(self.backend, queries)
        self.queries, self.norms, self.residuals = of_scan.rows, of_scan.norms, codes.residuals.astype(np.float64)
        self.wide = self.queries if self.d % STEP == 0 else put(padded(queries))
        self.factors, self.scale = put(padded(codes.values).view(np.uint32)), put(codes.scale)

    def _take_scratch(self, n: int) -> None:
        xp, sizes = self.backend.xp, self.sizes
        self.n_matches, self.failed = xp.zeros(n, dtype=np.uint32), xp.zeros(n, dtype=np.uint8)
        self.found_rows = xp.empty((n, sizes.found), dtype=np.int32)
        self.found_scores = xp.empty((n, sizes.found), dtype=np.float32)
        self.n_keys, self.keys = xp.zeros(n, dtype=np.uint32), xp.empty((n, sizes.keys), dtype=np.uint64)
        self.best = xp.full((n, self.k), NO_KEY, dtype=np.uint64)
        self.limits = xp.empty(n, dtype=np.float32)
        self.ids, self.scores = xp.empty((n, self.k), dtype=np.int64), xp.empty((n, self.k), dtype=np.uint32)

    def keep_best(self) -> None:
        """Makes room for another round: of the keys so far, the k best stay."""
        if self.begun:
            self.keys[:, : self.k] = self.best
            self.n_keys = self.backend.xp.minimum(self.n_keys, np.uint32(self.k))
        self.begun = True

    def write(self, hits: Hits) -> np.ndarray:
        """Waits for the device and writes to the hits; returns the queries that are not finished."""
        get = self.backend.get
        with self.stream:
            ids, bits_of_scores, n_matches, failed = (
                get(array) for array in (self.ids, self.scores, self.n_matches, self.failed)
            )
        hits.ids[self.rows, : self.k], hits.scores[self.rows, : self.k] = ids, bits_of_scores.view(np.float32)
        hits.n_matches[self.rows] = n_matches
        return self.rows[failed != 0]


class _Part:
    """A batch against one segment, whose first row is `base` in the order of ids."""

    def __init__(self, batch: Batch, segment: DeviceSegment, base: int) -> None:
        task, self.batch, self.segment, self.base = batch.task, batch, segment, base
        self.backend, self.launch, self.held = batch.backend, batch.launch, resident(segment)
        every = slice(base, base + len(segment))
        self.prior = NULL if task.device_prior is None else task.device_prior[every]
        self.alive = NULL if task.device_alive is None else task.device_alive[every]
        _, ranks = task.order.on(self.backend)
        self.id_ranks = ranks[every]
        kernels, sets = kernels_of(self.backend), task.drawing.sets
        self.program = program(task.where, len(task.queries), batch.rows, sets, segment, kernels)
        self.shut_starts, self.shut_rows = self._shut_out(every)
        self.error = self.backend.put(self._error(every))

    def _error(self, every: slice) -> np.ndarray:
        """(queries,) float64: how far a scanned score can be from the final one."""
        batch, held = self.batch, self.held
        prior = 0.0 if batch.task.prior is None else float(np.abs(batch.task.prior[every]).max(initial=0))
        rounding = batch.d * TENSOR_CORE_ROUNDING
        error = score_error(batch.norms, held.longest, held.residual, prior, batch.d, rounding)
        return error + batch.residuals * (held.longest + held.residual) * (1 + 1e-6)

    def _shut_out(self, every: slice) -> tuple[Any, Any]:
        """Each query's excluded rows of the segment, ascending: where they begin, and the rows."""
        task, rows = self.batch.task, self.batch.rows
        if task.exclude is None:
            return NULL, NULL
        excluded = task.exclude.take(rows)
        at, found = task.order.find(excluded.values)
        query = excluded.row_numbers()[at]
        inside = (found >= every.start) & (found < every.stop)
        if not inside.any():
            return NULL, NULL
        query, found = query[inside], found[inside] - every.start
        order = np.lexsort((found, query))
        starts = np.searchsorted(query[order], np.arange(len(rows) + 1)).astype(np.int64)
        return self.backend.put(starts), self.backend.put(found[order].astype(np.int32))

    def _source(self) -> Source:
        batch, groups = self.batch, self.batch.task.drawing
        if batch.is_full:
            return Source(np.array([len(self.segment)]), [])
        driver = groups.driver[np.searchsorted(groups.drawn_by, batch.draws)]
        n_places, parts, first = np.zeros(len(batch.draws), dtype=np.int64), [], 0
        for number in np.unique(driver):
            clause = groups.drivers[number]
            assert clause is not None
            own = np.flatnonzero(driver == number)
            asked = groups.drawn.take(batch.draws[own])
            column = self.segment.host.terms[clause.field]
            starts, ends = column.postings(asked.values)
            lengths, of_set = ends - starts, asked.row_numbers()
            n_places[own] = np.bincount(of_set, weights=lengths, minlength=len(own)).astype(np.int64)
            places = first + np.cumsum(lengths) - lengths
            codes = np.searchsorted(column.terms, asked.values)
            spans = np.stack([places, starts, of_set, codes], axis=1)[lengths > 0].astype(np.int64)
            last = first + int(lengths.sum())
            # One term draws a job once, and so do several where a job has but one.
            once = isinstance(clause, AllIn) or column.is_single
            sets = NULL if once else bits(asked, column, self.backend, kernels_of(self.backend))
            row_starts = NULL if once else self.held.starts(clause.field)
            codes_of_rows = NULL if once else self.held.codes_of_rows(clause.field)
            postings = self.held.postings(clause.field)
            words = np.int64(n_words(column))
            parts.append((first, last, self.backend.put(spans), postings, row_starts, codes_of_rows, sets, words))
            first = last
        return Source(n_places, parts)

    def search(self) -> None:
        source = self._source()
        listed = not self.batch.is_full
        for part in rounds(self.batch.n_drawing, source.n_places, self.batch.sizes.round_bytes, listed=listed):
            self.batch.keep_best()
            self._round(part, self._drawn(part, source) if listed else NULL)

    def _drawn(self, part: Round, source: Source) -> Array:
        """(places,) int32: rows of the round's places."""
        rows = self.backend.xp.empty(part.stop - part.start, dtype=np.int32)
        for first, last, spans, *columns in source.parts:
            begin, end = max(first, part.start), min(last, part.stop)
            if begin < end:
                into = rows[begin - part.start : end - part.start]
                grid = (min(MOST_BLOCKS, -(-(end - begin) // THREADS)),)
                counts = np.int32(len(spans)), np.int64(begin), np.int64(end - begin)
                self.launch("draw", grid, spans, *counts, *columns, into)
        return rows

    def _round(self, part: Round, rows: Array | np.generic) -> None:
        batch, held, xp, put = self.batch, self.held, self.backend.xp, self.backend.put
        tiles, n_tiles, items = put(part.tiles), np.int32(len(part.tiles)), (part.n_items,)
        mask, best = xp.empty(part.n_words, dtype=np.uint32), xp.empty(part.n_words, dtype=np.float32)
        n_found = xp.zeros(len(batch.rows), dtype=np.uint32)
        nodes, n_nodes = self.program.nodes, np.int32(self.program.n_nodes)
        shut = self.shut_starts, self.shut_rows
        self.launch("passing", items, tiles, n_tiles, rows, nodes, n_nodes, self.alive, *shut, mask, batch.n_matches)
        jobs = held.codes, held.scale, self.prior
        factors = batch.factors, batch.scale, batch.n_steps
        shared = TILE_QUERIES * 64 * (int(batch.n_steps) | 1)
        name = f"best_of_groups_{held.kind}"
        self.launch(name, items, tiles, n_tiles, rows, mask, *jobs, *factors, best, shared=shared)
        self._limit(part, best, put(part.offsets), put(part.counts), np.int64(1 << 62), MOST_FOLD)
        capacity, found = np.int64(batch.sizes.found), (n_found, batch.found_rows, batch.found_scores)
        numbers = batch.wide, batch.n_steps, batch.limits, capacity
        self.launch(f"collect_{held.kind}", items, tiles, n_tiles, rows, mask, best, *jobs, *numbers, *found)
        self._limit(part, batch.found_scores, NULL, n_found, capacity, 1)
        self._order(part, found, capacity)

    def _limit(
        self, part: Round, values: Array, offsets: Array | np.generic, counts: Array, capacity: np.int64, fold: int
    ) -> None:
        batch = self.batch
        first, fold_k = np.int32(part.first), (np.int32(fold), np.int32(batch.k))
        grid, block = (part.last - part.first,), 1024 if part.counts.max() > 1 << 14 else THREADS
        given = values, offsets, counts, capacity, *fold_k, self.error, batch.best, first, batch.limits
        self.launch("limit_scores", grid, *given, block=block)

    def _order(self, part: Round, found: tuple[Array, ...], capacity: np.int64) -> None:
        batch, held = self.batch, self.held
        n_queries, first = part.last - part.first, np.int32(part.first)
        # Few queries: several blocks each, while there is something for each block.
        grid = (n_queries, max(1, min(2048 // n_queries, -(-batch.sizes.found // THREADS))))
        n_warps = max(1, min(8, SHARED_BYTES // (8 * batch.d)))
        jobs = held.originals, batch.queries, self.prior, self.id_ranks, np.int32(batch.d), first
        keys = np.int64(batch.sizes.keys), batch.n_keys, batch.keys
        shared = n_warps * 8 * batch.d
        self.launch(
            "score_found", grid, *found, capacity, batch.limits, *jobs, *keys, block=32 * n_warps, shared=shared
        )
        ranked = batch.keys, batch.n_keys, np.int64(batch.sizes.keys), found[0], capacity, np.int32(batch.k), first
        self.launch("rank_keys", grid, *ranked, batch.best, batch.failed)
