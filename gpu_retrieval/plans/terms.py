"""The plan "terms": a term's jobs are met once for all queries of a batch that ask for it (`score_terms`).

For queries whose filters differ and have terms in common, as lists of skills and titles do: their groups would be of
one query each, which brings in every job for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpu_retrieval.filters.cells import Cells, passing
from gpu_retrieval.filters.excluded import Excluded
from gpu_retrieval.filters.side_checks import SideChecks
from gpu_retrieval.loops import compiled
from gpu_retrieval.plans.shared import shared
from gpu_retrieval.sharing.term_draws import TermCodes, TermDraw, batch_bytes
from gpu_retrieval.stored.quantize import Coarse, on_lines
from gpu_retrieval.stored.segments import DeviceSegment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

# Of a block of a column's postings; of a job in reach.
BYTES_PER_BLOCK, KEY_BYTES = 24, 8


def search(task: SearchTask) -> Hits:
    """The task's hits; those of the plan "shared" where this one cannot be had, or the budget has no room for it."""
    draw = task.term_draw
    return ByTerms(task, draw).search() if draw is not None and task.n_alive and has_room(task, draw) else shared(task)


def has_room(task: SearchTask, draw: TermDraw) -> bool:
    """Whether the budget has room for what threads and columns take, and for the query that takes most."""
    loops, scoring, d, k = compiled.terms(), compiled.scoring(), task.queries.shape[1], min(task.k, task.n_alive)
    checks, hosts = SideChecks(draw.ranges, draw.terms), [segment.host for segment in task.segments]
    n_codes, n_slots = (max(map(of, hosts)) for of in (checks.n_codes, checks.n_slots))
    room_bytes = loops.room_bytes(d, checks.n_numbers, n_codes, n_slots)
    of_threads = scoring.n_threads() * (scoring.scratch_bytes(1, 0, d, k, 0) + room_bytes)
    of_columns = checks.n_copied(task.segments)
    of_columns += BYTES_PER_BLOCK * max(len(codes.block_rows) for codes in draw.codes)
    most = int(draw.n_bytes.max()) + 5 * d
    return d <= loops.MOST_COMPONENTS and max(4 * of_threads, 8 * of_columns, 16 * most) <= task.memory_budget


class ByTerms:
    """A search; its buffers are used again by every batch."""

    def __init__(self, task: SearchTask, draw: TermDraw) -> None:
        self.task, self.draw, self.checks = task, draw, SideChecks(draw.ranges, draw.terms)
        self.loops, self.scoring = compiled.terms(), compiled.scoring()
        self.k = min(task.k, task.n_alive)
        self.excluded = None if task.exclude is None else Excluded(task)
        self.hits = Hits.unwritten(len(task.queries), task.k)
        self.hits.n_matches[:] = 0
        self.n_keys = np.zeros(len(task.queries), dtype=np.int64)
        self.shorts, self.keys = np.empty(0, dtype=np.int16), np.empty(0, dtype=np.uint64)

    def search(self) -> Hits:
        n_bytes = self.draw.n_bytes + 5 * self.task.queries.shape[1]
        before = np.concatenate([[0], np.cumsum(n_bytes)])
        for start, stop in _spans(before, batch_bytes(self.task.memory_budget)):
            base = 0
            for segment, codes in zip(self.task.segments, self.draw.codes, strict=True):
                self._take_in(segment, codes, base, start, stop)
                base += len(segment)
        rows = np.arange(len(n_bytes))
        self.scoring.decode(self.n_keys, rows, self.task.order.sorted_ids, self.hits.ids, self.hits.scores)
        return self.hits

    def _take_in(self, segment: DeviceSegment, codes: TermCodes, base: int, start: int, stop: int) -> None:
        """The queries [start, stop) and a segment, whose first row is `base` in the order of ids."""
        loops, task, threads = self.loops, self.task, self.scoring.n_threads()
        jobs = self.scoring.jobs_of(segment.host.coarse, segment.host.vectors, task.order.ranks, task.prior, base)
        asking = self._asking(jobs, segment, start, stop)
        entries = self._entries(segment, codes, base, start, stop)
        loops.bound(jobs, asking, entries, threads)
        n, span = stop - start, slice(start, stop)
        best = self.scoring.Best(
            self.hits.ids.view(np.uint64).reshape(-1), task.k, self.k, np.arange(start, stop), self.n_keys[span],
            self.hits.n_matches[span],
        )  # fmt: skip
        most_rows = loops.SHORTS * int(codes.n_places[span].max()) if self.draw.repeats else 0
        n_found, key_starts = np.empty(n, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
        loops.select(asking, entries, best, n_found, int(codes.n_entries[span].max()), most_rows, threads)
        compiled.entries().place_keys(entries.starts, n_found, entries.reached, key_starts)
        cap = self.scoring.held_rows(self.k)
        for first, last in _spans(key_starts, batch_bytes(task.memory_budget) // 2 // KEY_BYTES):
            n_new = int(key_starts[last] - key_starts[first])
            if len(self.keys) < n_new:
                self.keys = np.empty(n_new, dtype=np.uint64)
            loops.score(jobs, asking, entries, first, last, key_starts, self.keys, threads)
            loops.keep(best, first, last, key_starts, self.keys, asking.d, cap, threads)

    def _asking(self, jobs: Any, segment: DeviceSegment, start: int, stop: int) -> Any:
        """`score_terms.Asking` of the queries [start, stop)."""
        loops, task, d = self.loops, self.task, self.task.queries.shape[1]
        n = stop - start
        queries = on_lines((n, d), np.float32)
        queries[:] = task.queries[start:stop]
        codes, traits = on_lines((n * Coarse.words(d),), np.int32), on_lines((n * loops.TRAITS,), np.float32)
        offsets = np.empty(n, dtype=np.int32)
        loops.take_queries(jobs, queries, codes, offsets, traits)
        asked = self.checks.asked(task.groups, np.arange(start, stop), segment)
        return loops.Asking(
            queries.reshape(-1), d, codes, offsets, traits, *asked, self.checks.n_slots(segment.host),
            np.empty(0, dtype=bool) if task.alive is None else task.alive,
        )  # fmt: skip

    def _entries(self, segment: DeviceSegment, codes: TermCodes, base: int, start: int, stop: int) -> Any:
        """`score_terms.Entries` of the queries [start, stop)."""
        loops, span, n_blocks = compiled.entries(), slice(start, stop), len(codes.places)
        starts = np.concatenate([[0], np.cumsum(codes.n_entries[span])])
        first_places = np.concatenate([[0], np.cumsum(codes.n_places[span])])
        n = int(starts[-1])
        blocks, places = np.empty(n, dtype=np.int32), np.empty(n + 1, dtype=np.int32)
        loops.list_entries(
            codes.sets.offsets, codes.sets.values, codes.of_query[span], codes.first_blocks, codes.places, starts,
            first_places, blocks, places,
        )  # fmt: skip
        ends, by_block = np.zeros(n_blocks + 1, dtype=np.int64), np.empty((n, 3), dtype=np.int32)
        loops.order_entries(starts, blocks, places, ends, by_block)
        pieces = np.empty((min(n_blocks, n) + n // loops.MOST_ENTRIES + 1, 3), dtype=np.int64)
        n_shorts = self.loops.SHORTS * int(first_places[-1])
        if len(self.shorts) < n_shorts:
            self.shorts = np.empty(n_shorts, dtype=np.int16)
        rows = segment.host.terms[self.draw.driver.field].rows
        queries = np.repeat(np.arange(start, stop), codes.n_entries[span])
        mask, cells = self._mask(segment, codes, blocks, queries)
        excluded, spans = np.empty(0, dtype=np.int32), np.empty((0, 2), dtype=np.int64)
        if self.excluded is not None:
            excluded, spans = self.excluded.of(segment, base)
        return self.loops.Entries(
            starts, blocks, places, np.empty((n, 2), dtype=np.int32), by_block, pieces[: loops.cut(ends, pieces)],
            self.scoring.fixed(rows), codes.block_rows, np.empty((n_blocks, 2), dtype=np.float32), self.shorts, mask,
            cells, self.scoring.fixed(excluded), np.ascontiguousarray(spans[span]),
        )  # fmt: skip

    def _mask(
        self, segment: DeviceSegment, codes: TermCodes, blocks: np.ndarray, queries: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is not checked beside the products, flat over the rows of the entries, and where each entry's begin."""
        nothing = np.empty(0, dtype=bool), np.empty(0, dtype=np.int64)
        if self.draw.left is None:
            return nothing
        rows, first = segment.host.terms[self.draw.driver.field].rows, codes.block_rows[blocks]
        cells = Cells.of(rows, first, codes.block_rows[blocks + 1] - first, queries)
        return passing(self.draw.left, cells, segment.host, self.task.groups.sets), cells.offsets


def _spans(before: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """First and last of neighbours that take `most` or less together, one alone where it takes more.

    `before` (n + 1,) is what is taken before each.
    """
    start = 0
    while start < len(before) - 1:
        stop = int(np.searchsorted(before, before[start] + most, side="right")) - 1
        yield start, max(stop, start + 1)
        start = max(stop, start + 1)
