"""Rows to read the others beside: popularity, chance, and in a simulated market the best that can be known.

Each ranks, per case, the jobs that were open at the case's instant and are not among those excluded for it.
One pass over the jobs: every partition keeps the best `k` a case in memory (cases × k), then the partitions'
best are merged. `cases` come to the driver and to every task: what bounds them bounds the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.chains.sessionize import CHAIN_ACTIONS

_CANDIDATES = "array<struct<job_id:bigint,score:float>>"
_ARROW = pa.schema(
    [
        ("query_id", pa.int64()),
        ("candidates", pa.list_(pa.struct([("score", pa.float64()), ("job_id", pa.int64())]))),
    ]
)
_SPARK = "query_id bigint, candidates array<struct<score:double,job_id:bigint>>"

# Scores of cases × jobs held at once; 8 bytes each.
_CELLS = 4_000_000

# (cases of the block, jobs of the batch) to their scores, float64
Score = Callable[[slice, pa.RecordBatch], NDArray[np.float64]]


def popular_global(cases: DataFrame, inventory: DataFrame, events: DataFrame, *, k: int, seed: int) -> DataFrame:
    """The jobs that seekers acted on most, the same for everyone: rows `popular_global` for `target_ranks`.

    `events` are those before the split, `CHAIN_ACTIONS` of them count. Jobs with equal counts, those with none
    included, follow in one seeded order, never by id. `cases` is (query_id, as_of_ts) and, where jobs are to
    be left out, exclude array<bigint>; `inventory` is (job_id, posted_ts, closed_ts), null where always open.
    """
    acted = events.where((F.col("actor") == "seeker") & F.col("action").isin(*CHAIN_ACTIONS))
    counts = acted.groupBy("job_id").agg(F.count(F.lit(1)).alias("n_actions"))
    jobs = inventory.join(counts, "job_id", "left").withColumn(
        "weight", F.coalesce("n_actions", F.lit(0)) + _unit_hash(seed, "job_id")
    )
    return _best(cases, jobs, k, "popular_global", _same_for_all)


def random_order(cases: DataFrame, inventory: DataFrame, *, k: int, seed: int) -> DataFrame:
    """Jobs in a seeded random order that each case enters at a point of its own: rows `random`.

    What chance alone finds; arguments are as of `popular_global`.
    """
    jobs = inventory.withColumn("weight", _unit_hash(seed, "job_id"))
    starts = cases.withColumn("start", _unit_hash(seed + 1, "query_id"))
    return _best(starts, jobs, k, "random", _rotated)


def oracle(cases: DataFrame, inventory: DataFrame, *, k: int) -> DataFrame:
    """The jobs by exact inner product with what the seeker truly wants: rows `oracle`.

    `cases` also has `vector`, the seeker's latent as of the case; `inventory` has `vector`, the job's. Scores
    are float64; equal ones by ascending job_id. Known only of a simulated market.
    """
    return _best(cases, inventory, k, "oracle", _inner_product)


def _unit_hash(seed: int, name: str) -> Column:
    """A seeded number in [0, 1) of the column's value."""
    return F.pmod(F.xxhash64(F.lit(seed), F.col(name)), F.lit(2**53)) / F.lit(2.0**53)


@dataclass(frozen=True)
class _Cases:
    """The cases as arrays; what is excluded for case i is `excluded[offsets[i]:offsets[i + 1]]`."""

    query_ids: NDArray[np.int64]
    as_of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    excluded: NDArray[np.int64]
    extra: NDArray[Any]

    @staticmethod
    def collect(cases: DataFrame) -> _Cases:
        wanted = [name for name in ("exclude", "start", "vector") if name in cases.columns]
        table = cases.select("query_id", "as_of_ts", *wanted).toArrow().combine_chunks()
        lists = table["exclude"].to_pylist() if "exclude" in wanted else [[]] * len(table)
        sizes = [len(jobs or ()) for jobs in lists]
        own = [table[name].to_pylist() for name in ("start", "vector") if name in wanted]
        return _Cases(
            table["query_id"].to_numpy(),
            _instants(table["as_of_ts"], 0),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.array([job for jobs in lists for job in jobs or ()], np.int64),
            np.array(own[0] if own else [], np.float64),
        )


def _same_for_all(cases: _Cases) -> Score:
    return lambda block, jobs: np.broadcast_to(_column(jobs, "weight"), (block.stop - block.start, jobs.num_rows))


def _rotated(cases: _Cases) -> Score:
    return lambda block, jobs: (_column(jobs, "weight")[None, :] + cases.extra[block, None]) % 1.0


def _inner_product(cases: _Cases) -> Score:
    return lambda block, jobs: cases.extra[block] @ _matrix(jobs).T


def _best(cases: DataFrame, jobs: DataFrame, k: int, row: str, score: Callable[[_Cases], Score]) -> DataFrame:
    """(query_id, row, candidates), the best `k` open and not excluded jobs of each case by the score."""
    asked = _Cases.collect(cases)
    scored = score(asked)

    def best_of_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = _Held(len(asked.query_ids), k)
        for batch in batches:
            for block in _blocks(len(asked.query_ids), max(1, _CELLS // (batch.num_rows + k))):
                scores = np.where(_allowed(asked, block, batch), scored(block, batch), -np.inf)
                held.offer(block, scores, batch.column("job_id").to_numpy())
        yield from held.batches(asked.query_ids)

    columns = [name for name in ("job_id", "posted_ts", "closed_ts", "weight", "vector") if name in jobs.columns]
    partial = jobs.select(*columns).mapInArrow(best_of_partition, _SPARK)
    negated = F.transform("candidates", lambda c: F.struct((-c["score"]).alias("score"), c["job_id"].alias("job_id")))
    merged = partial.groupBy("query_id").agg(F.flatten(F.collect_list(negated)).alias("all"))
    best = F.transform(
        F.slice(F.sort_array("all"), 1, k),
        lambda c: F.struct(c["job_id"].alias("job_id"), (-c["score"]).cast("float").alias("score")),
    )
    return merged.select("query_id", F.lit(row).alias("row"), best.cast(_CANDIDATES).alias("candidates"))


class _Held:
    """The best (score, job) so far of each case: -inf where there are fewer than k."""

    def __init__(self, n_cases: int, k: int) -> None:
        self.k = k
        self.scores = np.full((n_cases, k), -np.inf)
        self.jobs = np.full((n_cases, k), -1, np.int64)

    def offer(self, block: slice, scores: NDArray[np.float64], jobs: NDArray[np.int64]) -> None:
        every = np.concatenate([self.scores[block], scores], axis=1)
        ids = np.concatenate([self.jobs[block], np.broadcast_to(jobs, scores.shape)], axis=1)
        best = _first(every, ids, self.k)
        self.scores[block] = np.take_along_axis(every, best, axis=1)
        self.jobs[block] = np.take_along_axis(ids, best, axis=1)

    def batches(self, query_ids: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        for block in _blocks(len(query_ids), max(1, _CELLS // self.k)):
            kept = np.isfinite(self.scores[block])
            offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
            scores, jobs = self.scores[block][kept], self.jobs[block][kept]
            pairs = pa.StructArray.from_arrays([pa.array(scores), pa.array(jobs)], ["score", "job_id"])
            lists = pa.ListArray.from_arrays(pa.array(offsets), pairs)
            yield pa.RecordBatch.from_arrays([pa.array(query_ids[block]), lists], schema=_ARROW)


def _first(scores: NDArray[np.float64], ids: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(n, k) places of each row's k best, in no order; of scores equal at the cut, the lowest ids.

    >>> _first(np.array([[1.0, 2.0, 1.0]]), np.array([[5, 6, 4]]), 2)
    array([[1, 2]])
    """
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    cut = np.take_along_axis(scores, best, axis=1).min(axis=1, keepdims=True)
    # a partition takes any of the equal ones, and the next batch would find others held
    tied = np.flatnonzero(((scores >= cut).sum(axis=1) > k) & np.isfinite(cut[:, 0]))
    best[tied] = np.lexsort((ids[tied], -scores[tied]), axis=1)[:, :k]
    return best


def _allowed(cases: _Cases, block: slice, jobs: pa.RecordBatch) -> NDArray[np.bool_]:
    """(cases of the block, jobs) True where the job was open at the case's instant and is not excluded."""
    as_of, limits = cases.as_of[block, None], np.iinfo(np.int64)
    allowed = np.ones((block.stop - block.start, jobs.num_rows), bool)
    if "posted_ts" in jobs.schema.names:
        allowed &= _instants(jobs.column("posted_ts"), limits.min) <= as_of
    if "closed_ts" in jobs.schema.names:
        allowed &= as_of < _instants(jobs.column("closed_ts"), limits.max)
    ids = jobs.column("job_id").to_numpy()
    order = np.argsort(ids)
    excluded = cases.excluded[cases.offsets[block.start] : cases.offsets[block.stop]]
    case = np.repeat(np.arange(block.stop - block.start), np.diff(cases.offsets[block.start : block.stop + 1]))
    place = np.searchsorted(ids, excluded, sorter=order).clip(max=len(ids) - 1)
    there = ids[order[place]] == excluded
    allowed[case[there], order[place[there]]] = False
    return allowed


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


def _instants(values: Any, missing: int) -> NDArray[np.int64]:
    """Microseconds since 1970; `missing` in the place of null."""
    return values.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(missing).to_numpy()


def _column(jobs: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    return jobs.column(name).to_numpy(zero_copy_only=False)


def _matrix(jobs: pa.RecordBatch) -> NDArray[np.float64]:
    return jobs.column("vector").flatten().to_numpy().reshape(jobs.num_rows, -1).astype(np.float64)
