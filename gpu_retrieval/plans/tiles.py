"""How a search is cut so that its scratch stays within the memory budget."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_retrieval.clauses import depth
from gpu_retrieval.task import SearchTask

# Bytes a (query, job) cell needs beside one mask a clause level: a posting count, two masks on their way, the
# score and its copy for selection, what is kept, and the places of what is kept.
BYTES_PER_CELL = 4 + 2 + 4 + 4 + 2 + 8
# Products whose output leaves the cache lose two thirds of their speed or more, so CPU tiles stay small; a
# GPU wants launches that are worth their overhead.
CPU_TILE = (256, 16_384)
GPU_TILE = (512, 131_072)
FEWEST_JOBS = 1024


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Queries and jobs a tile, pairs scored again at once, and bytes for postings and for the top-k."""

    n_queries: int
    n_jobs: int
    n_pairs: int
    posting_bytes: int
    topk_bytes: int


def tile(task: SearchTask) -> Tiling:
    """The largest tiles that fit: 3/8 of the budget for cells, 1/4 for the k best, 1/8 each for the rest.

    What is left covers the tile's queries and decoded rows. One query's k results (8 bytes each, twice) are
    the least that any search needs.
    """
    budget, d = task.memory_budget, task.queries.shape[1]
    most_queries, most_jobs = GPU_TILE if task.backend.on_gpu else CPU_TILE
    n_jobs = max(len(segment) for segment in task.segments)
    cells = budget * 3 // 8 // (BYTES_PER_CELL + depth(task.where))
    decoded = budget // 16 // (4 * d)
    jobs = max(1, min(n_jobs, most_jobs, decoded, max(FEWEST_JOBS, cells // most_queries)))
    queries = min(len(task.queries), most_queries, cells // jobs, budget // 16 // (4 * d), budget // 8 // (8 * task.k))
    return Tiling(
        n_queries=max(1, queries),
        n_jobs=jobs,
        # Two float32 rows, their float64 copies and the key's parts.
        n_pairs=max(1, min(budget // 8 // (32 * d + 96), 1 << (22 if task.backend.on_gpu else 12))),
        posting_bytes=budget // 8,
        topk_bytes=budget // 8,
    )
