"""The plan "kernels": jobs drawn, filtered, scored and selected by CUDA kernels, on a GPU.

Queries are taken in batches, those that draw their jobs from the same postings side by side. A query that nothing
drives is compared with all jobs, and so is every query where drawing would cost more than that. A batch goes through
rounds (`rounds`), and a round through the kernels: `draw` lists rows, `passing` checks each query's whole filter on
them, `best_of_groups` scores what passes on the tensor cores and keeps one score of 32, `limit_scores` finds a score
that every result reaches, `collect` finds the places that reach it, `limit_scores` again and `score_found` score
finally what may be among the k best, `rank_keys` orders it. Scores are never written out in full. What is scanned
errs by no more than `score_error` says, and final scores are those of `final_score_bits`: the answer is that of the
other plans, bit for bit.

Two batches are under way at a time, each on a lane of its own: the host prepares one while the device works at the
other. Where the index streams through the device (`placement`), every batch of a pass meets a tile before the next
tile comes. What the kernels do not finish (more ties than they have room for) the scan does. This code has not run on
a GPU yet: `launch` says what stands in for that, and `kernel_check` what guards it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.clauses import Clause, each
from gpu_retrieval.cuda.batch import Batch, Sizes, State
from gpu_retrieval.cuda.draws import Draws
from gpu_retrieval.cuda.launch import LANES, Kernels, kernels_of
from gpu_retrieval.cuda.part import SHARED_BYTES, search_shard
from gpu_retrieval.cuda.placement import Placement, placement_of
from gpu_retrieval.cuda.programs import fits, set_bytes
from gpu_retrieval.cuda.resident import STEP
from gpu_retrieval.cuda.rounds import TILE_QUERIES
from gpu_retrieval.plans.scan import scan_tiles
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

MOST_BATCH_QUERIES = 4096
# Of the budget, one in so many parts keeps what a pass carries from tile to tile; the others are batches' under way.
PASS_SHARE = LANES + 1
# Above this length a product of scales may overflow on its way: the scan by arrays takes such.
SAFE_LENGTH = 2.0**60


@dataclass(frozen=True)
class Shape:
    """Of filters that differ in their terms and bounds alone: whether kernels have room, bytes of a query's sets.

    Where there is one, what such filters read of the rows that stay is on the device.
    """

    fits: bool
    set_bytes: int

    @classmethod
    def of(cls, where: Clause | None, parts: Placement) -> Shape:
        key = tuple(
            (type(clause), getattr(clause, "field", len(getattr(clause, "clauses", ())))) for clause in each(where)
        )
        if key not in parts.shapes:
            parts.fetch(where)
            parts.shapes[key] = cls(fits(where), set_bytes(where, parts.hosts))
        return parts.shapes[key]


def sizes(task: SearchTask, parts: Placement, shape: Shape) -> Sizes | None:
    """What fits the budget; None where a single query does not.

    Half of a batch's share is its queries', half its rounds'. With k groups or more whose best reaches the limit, no
    more than 32 k places do but for ties; with fewer groups there are no more places than that either.
    """
    share = task.memory_budget // (PASS_SHARE if parts.n_tiles else LANES)
    k, n_rows = min(task.k, task.n_alive), max(map(len, parts.hosts))
    found = min(n_rows, 32 * k + 2048)
    keys = k + min(found, 2 * k + 1024)
    # Row and score of what is found; keys; the best so far; ids and scores; the query thrice.
    d = task.queries.shape[1]
    per_query = 8 * found + 8 * keys + 8 * k + 12 * k + 14 * (d + STEP) + 64 + shape.set_bytes
    batch = min(len(task.queries), MOST_BATCH_QUERIES, share // 2 // per_query)
    return Sizes(batch=batch, found=found, keys=keys, round_bytes=share // 2) if batch > 0 else None


def can_search(task: SearchTask, parts: Placement, shape: Shape) -> bool:
    """Whether the kernels can take this task; the scan by arrays takes every other."""
    if not shape.fits:
        return False
    d = task.queries.shape[1]
    n_steps = -(-d // STEP)
    lengths = [parts.longest, np.abs(task.queries).max(initial=0) * d]
    if task.prior is not None:
        lengths.append(np.abs(task.prior).max(initial=0))
    shared = max(TILE_QUERIES * 64 * (n_steps | 1), 8 * d) <= SHARED_BYTES
    return shared and bool(max(lengths) < SAFE_LENGTH)


def search(task: SearchTask) -> Hits:
    """The task's hits by kernels, or by the scan where they cannot."""
    if task.n_alive == 0 or len(task.queries) == 0:
        return Hits.none(len(task.queries), task.k)
    kernels = kernels_of(task.backend)
    # Lanes, and the places that tiles pass through, are one search's at a time.
    with kernels.lock:
        parts = placement_of(task)
        shape = Shape.of(task.where, parts)
        fitting = sizes(task, parts, shape)
        if fitting is None or not can_search(task, parts, shape):
            return scan_tiles(task)
        # Batches write every query's row, as far as there are jobs.
        whole = task.k <= task.n_alive
        hits = (Hits.unwritten if whole else Hits.none)(len(task.queries), task.k)
        unfinished = _Search(task, fitting, parts, kernels, hits).run()
        if len(unfinished):
            rest = scan_tiles(task.take(unfinished))
            hits.ids[unfinished], hits.scores[unfinished] = rest.ids, rest.scores
            hits.n_matches[unfinished] = rest.n_matches
    return hits


class _Search:
    """Batches on their way, and the queries that they have not finished."""

    def __init__(self, task: SearchTask, fitting: Sizes, parts: Placement, kernels: Kernels, hits: Hits) -> None:
        self.task, self.fitting, self.parts, self.kernels, self.hits = task, fitting, parts, kernels, hits
        self.draws, self.k = Draws.of(task), min(task.k, task.n_alive)
        self.under_way: list[Batch] = []
        self.unfinished: list[np.ndarray] = []
        self.n_begun = 0

    def run(self) -> np.ndarray:
        """(unfinished,) the queries left over; the others are in the hits."""
        self._fetch_shared()
        spans = list(_spans(self.draws, self.fitting.batch))
        if self.parts.n_tiles:
            per_pass = self.batches_a_pass()
            for first in range(0, len(spans), per_pass):
                self._pass(spans[first : first + per_pass])
        else:
            (shards,) = self.parts.stops(self.task.where)
            for span in spans:
                batch = self._begin(span, None)
                for shard in shards:
                    search_shard(batch, shard)
                self._finish(batch)
        self._write(0)
        return np.concatenate(self.unfinished)

    def batches_a_pass(self) -> int:
        """Batches whose keys the budget has room for until the last tile."""
        return max(1, self.task.memory_budget // PASS_SHARE // State.n_bytes(self.fitting.batch, self.k))

    def _pass(self, spans: list[tuple[int, int]]) -> None:
        """Every tile, against all of these batches before the next one."""
        lane, kept = self.kernels.lanes[0], self.kernels.kept
        kept.begin(sum(State.n_bytes(stop - start, self.k) for start, stop in spans))
        states = [State.new(lane, kept, stop - start, self.k) for start, stop in spans]
        lane.stream.synchronize()
        for number, shards in enumerate(self.parts.stops(self.task.where)):
            for span, state in zip(spans, states, strict=True):
                batch = self._begin(span, state)
                for shard in shards:
                    search_shard(batch, shard)
                if number == self.parts.n_stops - 1:
                    self._finish(batch)
            # The tile is given up for the next.
            for lane in self.kernels.lanes:
                lane.stream.synchronize()

    def _begin(self, span: tuple[int, int], state: State | None) -> Batch:
        self._write(LANES - 1)
        lane = self.kernels.lanes[self.n_begun % LANES]
        self.n_begun += 1
        with lane.stream:
            return Batch(self.task, self.fitting, self.draws, *span, self.kernels, lane, state)

    def _finish(self, batch: Batch) -> None:
        batch.finish()
        self.under_way.append(batch)

    def _write(self, n_left: int) -> None:
        """Writes the oldest batches, until so many are under way."""
        while len(self.under_way) > n_left:
            self.unfinished.append(self.under_way.pop(0).write(self.hits))

    def _fetch_shared(self) -> None:
        """Brings to the device what all batches read, before any of their streams can."""
        task = self.task
        task.order.on(task.backend)
        _ = task.device_prior, task.device_alive
        task.backend.xp.cuda.get_current_stream().synchronize()


def _spans(draws: Draws, size: int) -> Iterator[tuple[int, int]]:
    """Spans of the order, none of which has both queries that draw every job and others."""
    for first, last in ((0, draws.n_full), (draws.n_full, len(draws.order))):
        for start in range(first, last, size):
            yield start, min(start + size, last)
