"""A batch of queries against one shard of an index: what the kernels are given, and their launches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpu_retrieval.backend import Array
from gpu_retrieval.cuda.batch import Batch
from gpu_retrieval.cuda.draws import runs
from gpu_retrieval.cuda.lanes import room
from gpu_retrieval.cuda.launch import MOST_BLOCKS, NULL, THREADS
from gpu_retrieval.cuda.programs import Program
from gpu_retrieval.cuda.resident import Shard
from gpu_retrieval.cuda.rounds import BYTES_PER_PLACE, TILE_QUERIES, Round, rounds
from gpu_retrieval.stored.quantize import score_error

# A tensor core truncates where float32 rounds, and aligns what it adds to the greatest (Fasi et al., Numerical behavior
# of NVIDIA tensor cores, 2021): for each product of a sum, less than this share of the sum of their magnitudes.
TENSOR_CORE_ROUNDING = 2.0**-22
# Neighbouring groups that count as one where there are many more than k.
MOST_FOLD = 8
# Of the memory that a block shares between its threads, what every GPU gives without being asked.
SHARED_BYTES = 48 << 10
# Groups of a query above which a block of 1,024 threads looks for its limit.
MANY_GROUPS = 1 << 14


@dataclass(frozen=True)
class Drawn:
    """Places drawn by one clause, [first, last) of a batch's, and what `draw` is launched with beside."""

    first: int
    last: int
    spans: np.uint64
    n_spans: np.int32
    columns: tuple[Array | np.generic, ...]


def search_shard(batch: Batch, shard: Shard) -> None:
    """Takes the shard's rows into the batch's, after those before them."""
    with batch.lane.stream:
        Part(batch, shard).search()


class Part:
    """A batch against one shard."""

    def __init__(self, batch: Batch, shard: Shard) -> None:
        task, self.batch, self.shard, self.held = batch.task, batch, shard, shard.held
        self.lane, self.launch = batch.lane, batch.launch
        every = slice(shard.base, shard.base + len(shard))
        self.prior = NULL if task.device_prior is None else task.device_prior[every]
        self.alive = NULL if task.device_alive is None else task.device_alive[every]
        self.id_ranks = task.order.on(task.backend)[1][every]
        self.program = Program(task.where, batch.draws, batch.rows, shard, batch.lane)
        self.shut = self._shut_out(every)
        self.error = self.lane.add(self._error(every))

    def _error(self, every: slice) -> np.ndarray:
        """(queries,) float64: how far a scanned score can be from the final one."""
        batch, source, encoded = self.batch, self.held.source, self.batch.encoded
        prior = 0.0 if batch.task.prior is None else float(np.abs(batch.task.prior[every]).max(initial=0))
        rounding = batch.d * TENSOR_CORE_ROUNDING
        error = score_error(encoded.norms, source.longest, source.residual, prior, batch.d, rounding)
        return error + encoded.residuals * (source.longest + source.residual) * (1 + 1e-6)

    def _shut_out(self, every: slice) -> tuple[np.uint64, np.uint64]:
        """Each query's excluded rows of the shard, ascending: where they begin, and the rows."""
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
        return self.lane.add(starts), self.lane.add(found[order].astype(np.int32))

    def _source(self) -> tuple[np.ndarray, list[Drawn]]:
        """(draws,) places that each draws here, and the parts that they are drawn by; none where all rows are taken."""
        batch, draws = self.batch, self.batch.draws
        if batch.is_full:
            return np.array([len(self.shard)]), []
        numbers, counts = runs(draws.driver_of[batch.drawing])
        n_places, parts, first, done = np.zeros(len(batch.drawing), dtype=np.int64), [], 0, 0
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            driver, own = draws.drivers[number], slice(done, done + count)
            clause, column = driver.clause, self.shard.host.terms[driver.clause.field]
            bits, sets = self.program.bits(clause), draws.set_of[batch.drawing[own]]
            entries, of = driver.entries(sets)
            looked = driver.asked.look(column)
            lengths = looked.lengths[entries]
            upto = np.cumsum(lengths)
            n_places[own] = lengths.sum() if count == 1 else np.bincount(of, weights=lengths, minlength=count)
            spans = np.empty((len(entries), 4), dtype=np.int64)
            spans[:, 0], spans[:, 1] = first + upto - lengths, looked.starts[entries]
            spans[:, 2], spans[:, 3] = bits.places(sets)[of], looked.codes[entries]
            spans = spans[lengths > 0]
            last = first + (int(upto[-1]) if len(upto) else 0)
            # One term draws a job once, and so do several where a job has but one.
            once = driver.places is not None or column.is_single
            rows = (NULL, NULL) if once else (self.held.starts(clause.field), self.held.codes_of_rows(clause.field))
            columns = self.held.postings(clause.field), *rows, np.uint64(bits.address), np.int64(bits.n_words)
            parts.append(Drawn(first, last, self.lane.add(spans), np.int32(len(spans)), columns))
            first, done = last, done + count
        return n_places, parts

    def search(self) -> None:
        n_places, parts = self._source()
        listed, mark = not self.batch.is_full, None
        for part in rounds(self.batch.n_drawing, n_places, self.batch.sizes.round_bytes, listed=listed):
            if mark is None:
                self.lane.send()
                self.program.start(self.batch.kernels)
                mark = self.lane.mark()
            else:
                self.lane.rewind(mark)
            self._take_scratch(part, listed=listed)
            self._round(part, parts)

    def _take_scratch(self, part: Round, *, listed: bool) -> None:
        add, block, n_rows = self.lane.add, self.lane.scratch, part.stop - part.start if listed else 0
        block.begin(room(4 * part.n_words, 4 * part.n_words, BYTES_PER_PLACE * n_rows))
        self.mask, self.best = block.take(np.uint32, part.n_words), block.take(np.float32, part.n_words)
        self.rows = block.take(np.int32, n_rows) if listed else NULL
        self.tiles, self.offsets, self.counts = add(part.tiles), add(part.offsets), add(part.counts)
        self.n_found = add(np.zeros(self.batch.n, dtype=np.uint32))

    def _draw(self, part: Round, drawn: list[Drawn]) -> None:
        """Rows of the round's places."""
        for own in drawn:
            begin, end = max(own.first, part.start), min(own.last, part.stop)
            if begin < end:
                into = np.uint64(int(self.rows) + BYTES_PER_PLACE * (begin - part.start))
                grid = (min(MOST_BLOCKS, -(-(end - begin) // THREADS)),)
                counts = own.n_spans, np.int64(begin), np.int64(end - begin)
                self.launch("draw", grid, own.spans, *counts, *own.columns, into)

    def _round(self, part: Round, drawn: list[Drawn]) -> None:
        batch, held, rows, launch = self.batch, self.held, self.rows, self.launch
        self.lane.send()
        batch.keep_best()
        self._draw(part, drawn)
        tiles, n_tiles, items = self.tiles, np.int32(len(part.tiles)), (part.n_items,)
        nodes = self.program.nodes, self.program.n_nodes
        launch("passing", items, tiles, n_tiles, rows, *nodes, self.alive, *self.shut, self.mask, batch.state.n_matches)
        jobs = held.codes, held.scale, self.prior
        factors = batch.factors, batch.scale, batch.n_steps
        shared = TILE_QUERIES * 64 * (int(batch.n_steps) | 1)
        name = f"best_of_groups_{held.kind}"
        launch(name, items, tiles, n_tiles, rows, self.mask, *jobs, *factors, self.best, shared=shared)
        self._limit(part, self.best, self.offsets, self.counts, np.int64(1 << 62), MOST_FOLD)
        capacity, found = np.int64(batch.sizes.found), (self.n_found, batch.found_rows, batch.found_scores)
        numbers = batch.wide, batch.n_steps, batch.limits, capacity
        launch(f"collect_{held.kind}", items, tiles, n_tiles, rows, self.mask, self.best, *jobs, *numbers, *found)
        self._limit(part, batch.found_scores, NULL, self.n_found, capacity, 1)
        self._order(part, found, capacity)

    def _limit(
        self, part: Round, values: np.uint64, offsets: np.uint64, counts: np.uint64, capacity: np.int64, fold: int
    ) -> None:
        batch = self.batch
        first, fold_k = np.int32(part.first), (np.int32(fold), np.int32(batch.k))
        grid, block = (part.last - part.first,), 1024 if part.most_groups > MANY_GROUPS else THREADS
        given = values, offsets, counts, capacity, *fold_k, self.error, batch.state.best, first, batch.limits
        self.launch("limit_scores", grid, *given, block=block)

    def _order(self, part: Round, found: tuple[np.uint64, ...], capacity: np.int64) -> None:
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
        self.launch("rank_keys", grid, *ranked, batch.state.best, batch.state.failed)
