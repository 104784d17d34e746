"""Plans in words, and why a job is not among a query's hits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf, describe, walk
from gpu_retrieval.plans.choice import choose_plan
from gpu_retrieval.plans.scan import final_score_bits, stretches
from gpu_retrieval.plans.tiles import tile
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import key_scores, score_keys


@dataclass(frozen=True, kw_only=True)
class WhyNot:
    """Where one job stands for one query.

    `reason` is "unknown id", "excluded", "clause" or "ranked". `clause` is the path to the clause that
    dropped it. `rank` counts from 1 among the `n_matches` eligible jobs: a search returns the job where k is
    at least `rank`.
    """

    id: int
    reason: str
    clause: str | None = None
    rank: int | None = None
    score: float | None = None
    n_matches: int | None = None

    def __str__(self) -> str:
        if self.reason == "ranked":
            place = f"{self.rank:,} of {self.n_matches:,} eligible"
            return f"job {self.id} is ranked {place}, score {self.score:.7g}"
        if self.reason == "clause":
            return f"job {self.id} is dropped by {self.clause}"
        return f"job {self.id} is " + ("in `exclude`" if self.reason == "excluded" else "not in the index")


def why_not(task: SearchTask, id: int) -> WhyNot:
    """The answer for a task of one query."""
    _, rows = task.order.find(np.array([id], dtype=np.int64))
    if task.alive is not None:
        rows = rows[task.alive[rows]]
    if len(rows) == 0:
        return WhyNot(id=id, reason="unknown id")
    if task.exclude is not None and id in task.exclude.values.tolist():
        return WhyNot(id=id, reason="excluded")
    segment, row = _locate(task.segments, int(rows[0]))
    if task.where is not None and not _passes(task.where, segment, row):
        return WhyNot(id=id, reason="clause", clause=_culprit(task.where, segment, row))
    return _ranked(task, id, int(task.order.ranks[rows[0]]))


def _locate(segments: list[DeviceSegment], row: int) -> tuple[Segment, int]:
    for segment in segments:
        if row < len(segment):
            return segment.host, row
        row -= len(segment)
    raise IndexError(f"row {row} is beyond the last segment")


def _applies(clause: Clause) -> bool:
    own = clause.applies is None or bool(clause.applies[0])
    return own and (not isinstance(clause, (AllOf, OneOf)) or any(_applies(part) for part in clause.clauses))


def _passes(clause: Clause, segment: Segment, row: int) -> bool:
    """Whether the job passes the first query's row of the clause, value by value, apart from the masks."""
    if not _applies(clause):
        return True
    if isinstance(clause, (AllOf, OneOf)):
        held = [_passes(part, segment, row) for part in clause.clauses if _applies(part)]
        return all(held) if isinstance(clause, AllOf) else any(held)
    if isinstance(clause, Between):
        return _in_range(clause, segment, row)
    asked = np.unique(clause.rows.row(0))
    column = segment.terms[clause.field]
    if isinstance(clause, NoneOf):
        return not column.carried(row, asked).any()
    if len(asked) == 0:
        return isinstance(clause, AllIn)
    if column.missing[row]:
        return clause.missing_passes
    carried = column.carried(row, asked)
    return bool(carried.any() if isinstance(clause, AnyOf) else carried.all())


def _in_range(clause: Between, segment: Segment, row: int) -> bool:
    # Python compares int with float exactly, which NumPy does not.
    lo, hi = (None if end is None or np.isnan(end[0]) else end[0].item() for end in (clause.lo, clause.hi))
    if lo is None and hi is None:
        return True
    column = segment.numbers[clause.field]
    if column.ranks[row] == len(column.levels):
        return clause.missing_passes
    value = column.levels[column.ranks[row]].item()
    return (lo is None or lo <= value) and (hi is None or value <= hi)


def _culprit(where: Clause, segment: Segment, row: int, path: str = "") -> str:
    """The path down to the first part that fails; an OR as a whole, for each of its parts fails."""
    here = f"{path} > {describe(where)}" if path else describe(where)
    if isinstance(where, AllOf):
        for part in where.clauses:
            if _applies(part) and not _passes(part, segment, row):
                return _culprit(part, segment, row, here)
    if isinstance(where, OneOf):
        parts = ", ".join(describe(part) for part in where.clauses if _applies(part))
        return f"{here} (no part holds: {parts})"
    return here


def _ranked(task: SearchTask, id: int, id_rank: int) -> WhyNot:
    """Rank by counting the eligible jobs that come before."""
    own = np.concatenate(list(_eligible_keys(task, id_rank)))[0]
    n_before = n_matches = 0
    for keys in _eligible_keys(task):
        n_before += int(np.count_nonzero(keys < own))
        n_matches += len(keys)
    score = float(key_scores(np.array([own]))[0])
    return WhyNot(id=id, reason="ranked", rank=n_before + 1, score=score, n_matches=n_matches)


def _eligible_keys(task: SearchTask, id_rank: int | None = None) -> Iterator[np.ndarray]:
    """Keys of the jobs eligible for the task's one query, some at a time; of one job alone where named."""
    xp, tiling = task.backend.xp, tile(task)
    queries = task.backend.put(task.queries)
    for stretch in stretches(task, np.arange(1), tiling):
        n_jobs = stretch.stop - stretch.start
        jobs = xp.arange(n_jobs) if stretch.mask is None else xp.flatnonzero(stretch.mask)
        if id_rank is not None:
            jobs = jobs[stretch.id_ranks[jobs] == id_rank]
        for start in range(0, len(jobs), tiling.n_pairs):
            part = jobs[start : start + tiling.n_pairs]
            bits = final_score_bits(task.backend, queries, xp.zeros_like(part), stretch, part)
            yield task.backend.get(score_keys(xp, bits, stretch.id_ranks[part]))


def n_queries(where: Clause) -> int:
    """Queries that a filter has rows for, read from its first clause that says so."""
    for _, clause in walk(where):
        if isinstance(clause, (AnyOf, AllIn, NoneOf)):
            return len(clause.rows)
        ends = [clause.lo, clause.hi] if isinstance(clause, Between) else []
        for rows in (*ends, getattr(clause, "applies", None)):
            if rows is not None:
                return len(rows)
    return 0


def explain(task: SearchTask) -> str:
    """The plan with its reason, and a line a clause: rows, distinct rows, postings a query."""
    segments, n_jobs, where, d = task.segments, task.n_alive, task.where, task.queries.shape[1]
    name, reason = choose_plan("auto", task)
    lines = [
        f"plan {name}: {reason}",
        f"{n_jobs:,} jobs in {len(segments)} segment(s), {d} components, scan of {segments[0].host.storage}",
    ]
    if where is None:
        return "\n".join([*lines, "no filter: every job is eligible"])
    lines.append(f"filters of {len(task.queries):,} queries:")
    for path, clause in walk(where):
        indent = "  " * (path.count(" > ") + 1)
        lines.append(f"{indent}{describe(clause)}{_counts(clause, segments, n_jobs)}")
    return "\n".join(lines)


def _counts(clause: Clause, segments: list[DeviceSegment], n_jobs: int) -> str:
    bound = "" if clause.applies is None else f"; applies to {np.count_nonzero(clause.applies):,} queries"
    if isinstance(clause, (AllOf, OneOf)):
        return f": {len(clause.clauses)} parts{bound}"
    if isinstance(clause, Between):
        return f": {_mean_in_range(clause, segments):,.1f} jobs in range a query{bound}"
    rows, _ = clause.rows.distinct()
    postings = np.zeros(len(clause.rows.values), dtype=np.int64)
    for segment in segments:
        starts, ends = segment.host.terms[clause.field].postings(clause.rows.values)
        postings += ends - starts
    mean = int(postings.sum()) / max(1, len(clause.rows))
    return (
        f": {len(rows):,} distinct rows, {len(clause.rows.values):,} terms of which "
        f"{np.count_nonzero(postings == 0):,} nobody has, {mean:,.1f} postings a query "
        f"of {n_jobs:,} jobs{bound}"
    )


def _mean_in_range(clause: Between, segments: list[DeviceSegment]) -> float:
    n = n_queries(clause)
    if n == 0:
        return 0.0
    total = 0
    for segment in segments:
        column = segment.host.numbers[clause.field]
        below = np.zeros(len(column.levels) + 2, dtype=np.int64)
        np.cumsum(np.bincount(column.ranks, minlength=len(column.levels) + 1), out=below[1:])
        first, last = column.rank_range(clause.lo, clause.hi, n)
        total += int(np.maximum(below[last + 1] - below[first], 0).sum())
    return total / n
