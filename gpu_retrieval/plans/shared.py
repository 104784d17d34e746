"""The plan "shared": jobs drawn from postings once a group of queries, so that cost follows matching pairs.

A group's candidates (`candidates`) are scored together: on the CPU with Numba by compiled loops over pieces of
groups (`by_loops`), otherwise a group at a time as the scan scores, on the device of the backend
(`by_arrays`). A query that no clause drives (it has no AnyOf or AllIn to draw from) is compared with every
job: by the loops as a group that draws them all, otherwise by the scan.
"""

from __future__ import annotations

from gpu_retrieval.plans.by_arrays import ByArrays
from gpu_retrieval.plans.by_loops import ByLoops, can_loop
from gpu_retrieval.plans.scan import scan_tiles
from gpu_retrieval.sharing.groups import Groups
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

# Pairs of query and job that arrays score in less time than Numba takes to load.
WORTH_LOADING = 1 << 22


def shared(task: SearchTask) -> Hits:
    """The task's hits from groups' candidates."""
    return _search(task, task.groups)


def scan(task: SearchTask) -> Hits:
    """The task's hits from every job: drawn in full by the compiled loops, or tile by tile."""
    n_pairs = len(task.queries) * sum(len(segment) for segment in task.segments)
    return _search(task, task.undriven) if n_pairs >= WORTH_LOADING and can_loop(task) else scan_tiles(task)


def _search(task: SearchTask, groups: Groups) -> Hits:
    if task.n_alive == 0 or len(task.queries) == 0:
        return Hits.none(len(task.queries), task.k)
    by_loops = can_loop(task)
    # The loops write every row of theirs, which are all.
    hits = Hits.unwritten(len(task.queries), task.k) if by_loops else Hits.none(len(task.queries), task.k)
    n_scanned = 0 if by_loops else groups.n_undriven
    if n_scanned:
        rest = groups.order[:n_scanned]
        scanned = scan_tiles(task.take(rest))
        hits.ids[rest], hits.scores[rest], hits.n_matches[rest] = scanned.ids, scanned.scores, scanned.n_matches
    # The loops copy a query, the arrays keep its best keys.
    bytes_per_query = 4 * task.queries.shape[1] + 64 if by_loops else 8 * min(task.k, task.n_alive)
    step = max(1, task.memory_budget // 8 // bytes_per_query)
    for start in range(n_scanned, len(groups.order), step):
        stop = min(start + step, len(groups.order))
        scores = (ByLoops if by_loops else ByArrays)(task, groups, start, stop, hits)
        base = 0
        for segment in task.segments:
            scores.enter(segment, base)
            for batch in scores.drawing.batches(start, stop, segment.host):
                scores.take_in(batch, scores.drawing.candidates(batch, segment.host, base))
            base += len(segment)
        scores.write()
    return hits
