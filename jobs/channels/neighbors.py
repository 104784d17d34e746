"""The open jobs nearest to each job, found once a run; and chains answered from them, as at 58.com (SOURCES 1).

What is found is kept twice: in `job_neighbors` for readers, and as arrays that a worker maps to serve chains, a
folder a shard with `ids.npy` (m,) ascending, `offsets.npy` (m + 1,), `jobs.npy` and `scores.npy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gpu_retrieval import AnyOf, Hits, Ragged, merge_hits
from jobs.artifacts import MANIFEST, local_folder
from jobs.channels.inventory import Inventory, open_inventory, shard_name, spans

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CLICK, APPLY = "click_chain", "apply_chain"
COUNTRY = "country"

# A neighbour of a chain is met as its row, job and score, once more while they are sorted.
BYTES_A_NEIGHBOR = 64

_NEIGHBOR = pa.struct([("job_id", pa.int64()), ("score", pa.float32())])
_ARROW = pa.schema([("channel", pa.string()), ("job_id", pa.int64()), ("neighbors", pa.list_(_NEIGHBOR))])
DDL = "channel string, job_id bigint, neighbors array<struct<job_id:bigint,score:float>>"


@dataclass(frozen=True, kw_only=True)
class NeighborPlan:
    """What every worker needs to find neighbours: the `n` nearest of each job."""

    inventory: str
    n: int
    memory_budget: int
    device: str
    device_memory: int = 0


def find_neighbors(jobs: DataFrame, plan: NeighborPlan, n_shards: int, folder: Path) -> DataFrame:
    """`DDL` rows, and the same as arrays below `folder`, which all executors must see; a shard a task.

    `jobs` is (job_id, terms, is_applied), one row a job; a job that was not applied to is in no apply chain.
    """

    def find(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        inventory = open_inventory(plan.inventory, plan.device, plan.device_memory)
        return shard_neighbors(table, inventory, plan, folder / shard_name(key[0].as_py()))

    country = F.coalesce(F.col("terms")[COUNTRY], F.array().cast("array<int>"))
    shard = F.pmod(F.col("job_id"), F.lit(n_shards)).cast("int")
    asked = jobs.select("job_id", country.alias(COUNTRY), "is_applied", shard.alias("shard"))
    return asked.groupBy("shard").applyInArrow(find, DDL)


def shard_neighbors(jobs: pa.Table, inventory: Inventory, plan: NeighborPlan, folder: Path) -> pa.Table:
    """The neighbours of these jobs, written to `folder` too. Jobs whose vector is all zero have none."""
    jobs = jobs.sort_by("job_id").combine_chunks()
    jobs = jobs.filter(pa.array(np.any(inventory.vectors_of(jobs["job_id"].to_numpy()) != 0, axis=1)))
    ids, countries = jobs["job_id"].to_numpy(), jobs[COUNTRY].combine_chunks()
    lengths = countries.value_lengths().to_numpy(zero_copy_only=False)
    country = Ragged(np.r_[0, np.cumsum(lengths)].astype(np.int64), countries.flatten().to_numpy())
    hits = nearest(ids, country, inventory, plan)
    found = hits.ids >= 0
    offsets = np.r_[0, np.cumsum(found.sum(axis=1))].astype(np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"ids": ids, "offsets": offsets, "jobs": hits.ids[found], "scores": hits.scores[found]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    pairs = pa.StructArray.from_arrays([pa.array(arrays["jobs"]), pa.array(arrays["scores"])], fields=list(_NEIGHBOR))
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pairs)
    clicked = pa.Table.from_arrays([pa.array([CLICK] * len(ids), pa.string()), pa.array(ids), lists], schema=_ARROW)
    applied = clicked.filter(jobs["is_applied"])
    return pa.concat_tables([clicked, applied.set_column(0, "channel", pa.array([APPLY] * len(applied), pa.string()))])


def nearest(ids: np.ndarray, country: Ragged, inventory: Inventory, plan: NeighborPlan) -> Hits:
    """The `n` open jobs nearest to each, by cosine: of its country, or of any where it has none; never itself."""
    n = min(plan.n, max(1, inventory.n_jobs))
    at_once, parts = max(1, plan.memory_budget // (24 * n)), [Hits.none(0, n)]
    for first in range(0, len(ids), at_once):
        rows = np.arange(first, min(first + at_once, len(ids)))
        own = Ragged.of_one(ids[rows])
        countries = country.take(rows)
        where = AnyOf(COUNTRY, countries, applies=np.diff(countries.offsets) > 0)
        found = [
            shard.index.search(
                inventory.vectors_of(ids[rows]),
                k=n,
                where=where,
                exclude=own,
                fingerprint=inventory.fingerprint,
                memory_budget=plan.memory_budget,
            )
            for shard in inventory.shards
        ]
        parts.append(merge_hits(found, n))
    return Hits.joined(parts)


@dataclass(frozen=True)
class Weighed:
    """Chains: row i has jobs.row(i), newest first, and for each what it counts, in `weights` (values,)."""

    jobs: Ragged
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> Weighed:
        starts = self.jobs.offsets[rows]
        return Weighed(self.jobs.take(rows), self.weights[spans(starts, self.jobs.offsets[rows + 1] - starts)])


class Neighbors:
    """A run's neighbours, mapped from its files."""

    def __init__(self, folder: Path) -> None:
        shards = sorted(path for path in folder.iterdir() if path.name.startswith("shard-"))
        self._shards = [[_mapped(shard, name) for name in ("ids", "offsets", "jobs", "scores")] for shard in shards]
        self.most = max((int(np.diff(offsets).max(initial=1)) for _, offsets, _, _ in self._shards), default=1)

    def of(self, job_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(asked, jobs, scores) by neighbour: whose it is, as a position in `job_ids`, itself, and its cosine."""
        asked, jobs, scores = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for ids, offsets, near, cosines in self._shards:
            at = np.searchsorted(ids, job_ids).clip(max=max(len(ids) - 1, 0))
            known = np.flatnonzero(ids[at] == job_ids) if len(ids) else np.empty(0, np.int64)
            starts, lengths = offsets[at[known]], offsets[at[known] + 1] - offsets[at[known]]
            places = spans(starts, lengths)
            asked.append(np.repeat(known, lengths))
            jobs.append(near[places])
            scores.append(cosines[places])
        return np.concatenate(asked), np.concatenate(jobs), np.concatenate(scores)


def merged(
    chains: Weighed,
    neighbors: Neighbors,
    passes: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prior: Callable[[np.ndarray], np.ndarray],
    is_new: Callable[[np.ndarray], np.ndarray],
    k: int,
    budget: int,
) -> tuple[Hits, Hits]:
    """The best `k` met jobs and the best `k` new ones of the neighbours of each chain's jobs.

    A job scores its cosines to the chain's jobs, each times what that job counts, in the mean: where it is a
    neighbour of all of them, that is the cosine to the chain's vector but for its length. `prior` says what is
    added to that, `passes`, of rows and job ids, which may be returned, and `is_new` which are new. `n_matches`
    counts those of a kind that pass, each once. Ties by ascending id.
    """
    longest = max(1, int(np.max(np.diff(chains.jobs.offsets), initial=0)))
    at_once = max(1, budget // (BYTES_A_NEIGHBOR * longest * neighbors.most))
    parts = [(Hits.none(0, k), Hits.none(0, k))]
    for first in range(0, len(chains.jobs), at_once):
        rows = np.arange(first, min(first + at_once, len(chains.jobs)))
        parts.append(_merged(chains.take(rows), neighbors, passes, prior, is_new, k, first))
    met, new = zip(*parts, strict=True)
    return Hits.joined(met), Hits.joined(new)


def _merged(
    chains: Weighed,
    neighbors: Neighbors,
    passes: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prior: Callable[[np.ndarray], np.ndarray],
    is_new: Callable[[np.ndarray], np.ndarray],
    k: int,
    first: int,
) -> tuple[Hits, Hits]:
    seed_row = chains.jobs.row_numbers()
    totals = np.bincount(seed_row, chains.weights, minlength=len(chains.jobs))
    asked, jobs, scores = neighbors.of(chains.jobs.values)
    rows, worth = seed_row[asked], chains.weights[asked].astype(np.float64) * scores
    kept = passes(rows + first, jobs)
    rows, jobs, worth = rows[kept], jobs[kept], worth[kept]
    # the order of a sum decides its last bits: seeds of one row are in the chain's order in any batch
    order = np.lexsort((asked[kept], jobs, rows))
    rows, jobs, worth = rows[order], jobs[order], worth[order]
    starts = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]) | (jobs[1:] != jobs[:-1])][: len(rows)])
    rows, jobs = rows[starts], jobs[starts]
    mean = np.add.reduceat(worth, starts) / totals[rows] if len(starts) else np.empty(0)
    score = (mean + prior(jobs)).astype(np.float32)
    new, n = is_new(jobs), len(chains.jobs)
    of_kind = [_best_by_row(rows[kind], jobs[kind], score[kind], n, k) for kind in (~new, new)]
    return of_kind[0], of_kind[1]


def _best_by_row(rows: np.ndarray, jobs: np.ndarray, score: np.ndarray, n: int, k: int) -> Hits:
    """The best `k` of each of `n` rows. Ties by ascending id; `rows` are ascending."""
    best = np.lexsort((jobs, -score, rows))
    place = np.arange(len(best)) - np.searchsorted(rows, rows)
    found = Hits.none(n, k)
    found.n_matches[:] = np.bincount(rows, minlength=n)
    best, at = best[place < k], (rows[place < k], place[place < k])
    found.ids[at], found.scores[at] = jobs[best], score[best]
    return found


def open_neighbors(uri: str) -> Neighbors:
    """The neighbours at `uri`, opened once a worker process."""
    folder = local_folder(uri)
    return _opened(folder, (folder / MANIFEST).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _opened(folder: Path, written_at: int) -> Neighbors:
    return Neighbors(folder)


def _mapped(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r")
