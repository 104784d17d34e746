"""The plan "kernels": jobs drawn, filtered, scored and selected by CUDA kernels, on a GPU.

Queries are taken in batches, those that draw their jobs from the same postings side by side. A query that nothing
drives is compared with all jobs, and so is every query where drawing would cost more than that. A batch goes through
rounds (`rounds`), and a round through the kernels: `draw` lists rows, `passing` checks each query's whole filter on
them, `best_of_groups` scores what passes on the tensor cores and keeps one score of 32, `limit_scores` finds a score
that every result reaches, `collect` finds the places that reach it, `limit_scores` again and `score_found` score
finally what may be among the k best, `rank_keys` orders it. Scores are never written out in full. What is scanned
errs by no more than `score_error` says, and final scores are those of `final_score_bits`: the answer is that of the
other plans, bit for bit.

Two batches are under way at a time, each on a stream of its own: the host prepares one while the device works at the
other. What the kernels do not finish (more ties than they have room for) the scan does. This code has not run on a
GPU yet: `kernels` says what stands in for that, and `kernel_check` what guards it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.groups import Groups
from gpu_retrieval.kernel_batch import SHARED_BYTES, Batch, Sizes
from gpu_retrieval.kernels import BATCHES_UNDER_WAY, kernels_of
from gpu_retrieval.programs import fits, set_bytes
from gpu_retrieval.resident import STEP, resident
from gpu_retrieval.rounds import TILE_QUERIES
from gpu_retrieval.scan import scan_tiles
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

MOST_BATCH_QUERIES = 4096
# Of a job drawn, beside one of a scan: its row is listed first, and its codes do not follow the last one's. A guess.
DRAWN_COST = 1.25
# Above this length a product of scales may overflow on its way: the scan by arrays takes such.
SAFE_LENGTH = 2.0**60


@dataclass(frozen=True, eq=False)
class Draws:
    """Queries in the order in which batches take them: `order` (queries,), each with its draw, ascending.

    The first `n_full` queries draw every job.
    """

    order: np.ndarray
    draw: np.ndarray
    n_full: int

    @classmethod
    def of(cls, task: SearchTask, groups: Groups) -> Draws:
        draw = np.repeat(groups.drawn_by, np.diff(groups.starts))
        n_queries, n_rows = len(draw), sum(len(segment) for segment in task.segments)
        _, first, sizes = np.unique(draw, return_index=True, return_counts=True)
        n_drawn = np.repeat(groups.n_drawn, np.diff(groups.starts))[first]
        # A tile of queries reads a job's codes once however many of them want it.
        n_read = (n_drawn * -(-sizes // TILE_QUERIES)).sum()
        if DRAWN_COST * n_read >= n_rows * -(-n_queries // TILE_QUERIES):
            return cls(np.arange(n_queries), np.zeros(n_queries, dtype=np.int64), n_queries)
        return cls(groups.order, draw, groups.n_undriven)


def sizes(task: SearchTask) -> Sizes | None:
    """What fits the budget; None where a single query does not.

    Half of a batch's share is its queries', half its rounds'. With k groups or more whose best reaches the limit, no
    more than 32 k places do but for ties; with fewer groups there are no more places than that either.
    """
    share, d = task.memory_budget // BATCHES_UNDER_WAY, task.queries.shape[1]
    k, n_rows = min(task.k, task.n_alive), max(len(segment) for segment in task.segments)
    found = min(n_rows, 32 * k + 2048)
    keys = k + min(found, 2 * k + 1024)
    # Row and score of what is found; keys; the best so far; ids and scores; the query thrice.
    per_query = 8 * found + 8 * keys + 8 * k + 12 * k + 14 * (d + STEP) + 64 + set_bytes(task.where, task.segments)
    batch = min(len(task.queries), MOST_BATCH_QUERIES, share // 2 // per_query)
    return Sizes(batch=batch, found=found, keys=keys, round_bytes=share // 2) if batch > 0 else None


def can_search(task: SearchTask) -> bool:
    """Whether the kernels can take this task; the scan by arrays takes every other."""
    if not fits(task.where):
        return False
    d = task.queries.shape[1]
    n_steps = -(-d // STEP)
    lengths = [resident(segment).longest for segment in task.segments]
    lengths += [np.abs(task.queries).max(initial=0) * d]
    if task.prior is not None:
        lengths.append(np.abs(task.prior).max(initial=0))
    room = max(TILE_QUERIES * 64 * (n_steps | 1), 8 * d) <= SHARED_BYTES
    return room and bool(max(lengths) < SAFE_LENGTH)


def search(task: SearchTask) -> Hits:
    """The task's hits by kernels, or by the scan where they cannot."""
    hits = Hits.none(len(task.queries), task.k)
    if task.n_alive == 0 or len(task.queries) == 0:
        return hits
    fitting = sizes(task)
    if fitting is None or not can_search(task):
        return scan_tiles(task)
    _fetch_shared(task)
    draws, under_way, rest = Draws.of(task, task.drawing), list[Batch](), list[np.ndarray]()
    streams = kernels_of(task.backend).streams
    for number, (start, stop) in enumerate(_batches(draws, fitting.batch)):
        if len(under_way) == BATCHES_UNDER_WAY:
            rest.append(under_way.pop(0).write(hits))
        rows, draw = draws.order[start:stop], None if start < draws.n_full else draws.draw[start:stop]
        under_way.append(Batch(task, fitting, rows, draw, streams[number % BATCHES_UNDER_WAY]))
    rest += [batch.write(hits) for batch in under_way]
    unfinished = np.concatenate(rest)
    if len(unfinished):
        part = scan_tiles(task.take(unfinished))
        hits.ids[unfinished], hits.scores[unfinished], hits.n_matches[unfinished] = (
            part.ids,
            part.scores,
            part.n_matches,
        )
    return hits


def _batches(draws: Draws, size: int) -> Iterator[tuple[int, int]]:
    """Spans of the order, none of which has both queries that draw every job and others."""
    for first, last in ((0, draws.n_full), (draws.n_full, len(draws.order))):
        for start in range(first, last, size):
            yield start, min(start + size, last)


def _fetch_shared(task: SearchTask) -> None:
    """Brings to the device what all batches read, before any of their streams can."""
    for segment in task.segments:
        resident(segment).fetch(task.where)
    task.order.on(task.backend)
    _ = task.device_prior, task.device_alive
    task.backend.xp.cuda.get_current_stream().synchronize()
