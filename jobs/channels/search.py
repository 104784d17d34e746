"""Ask every channel for a batch of queries.

Each channel is one call of the index a band: its vectors, its clauses, its prior. `search_batches` is what
Spark's `mapInArrow` runs on partitions of seekers; all of it is NumPy, Arrow and `gpu_retrieval`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gpu_retrieval import AllOf, AnyOf, Between, Hits, NoneOf, OneOf, Ragged, merge_hits
from gpu_retrieval.clauses import Clause
from jobs.channels.batches import Batch, Pooling, read_batch
from jobs.channels.inventory import (
    CLOSED,
    MET_FIELD,
    NODE_FIELD,
    POSTED,
    PROMOTED_FIELD,
    UNMET,
    Inventory,
    open_inventory,
)
from jobs.channels.neighbors import APPLY, CLICK, merged, open_neighbors
from jobs.channels.sharing import share_places
from jobs.embeddings.corpus import positions
from jobs.embeddings.vectors import mapped_once

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ORGANIC, PROMOTED = "organic", "promoted"

# Beside a cosine, popularity (0 to 1) only settles what is nearly as near.
POPULARITY_WEIGHT = np.float32(0.1)

CHANNELS = {
    ORGANIC: ("graph", "click_chain", "apply_chain", "terms", "popular"),
    PROMOTED: ("graph", "click_chain", "apply_chain", "terms"),
}

# How the chain channels are answered: by the chain's vector, or from the neighbours of its jobs.
VECTORS, NEIGHBORS = "vectors", "neighbors"

RESULT = pa.schema(
    [
        ("flow", pa.string()),
        ("channel", pa.string()),
        ("query_id", pa.int64()),
        ("asked", pa.int32()),
        ("eligible", pa.int64()),
        ("returned", pa.int32()),
        ("candidates", pa.list_(pa.struct([("job_id", pa.int64()), ("score", pa.float32())]))),
    ]
)
RESULT_DDL = (
    "flow string, channel string, query_id bigint, asked int, eligible bigint, returned int, "
    "candidates array<struct<job_id:bigint,score:float>>"
)


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What every worker needs to search. `at_its_time`: queries see jobs open at their own instant.

    Beside a cosine, a chain channel counts `chain_popularity` times a job's popularity; of a job that nobody has met
    yet, that is taken to be `new_popularity`, and such jobs have their share of its list by `new_weight`
    (`share_places`). `chains` says how the chain channels are answered; with `both_ways`, the other way is asked too,
    as `click_neighbors` and `apply_neighbors`, or `click_vectors` and `apply_vectors`.
    In a chain channel's vector, a seeker's attributes count `attribute_weight` beside the chain, pooled by `model`;
    asked by neighbours, they count nothing.
    """

    inventory: str
    k: int
    memory_budget: int
    device: str
    at_its_time: bool
    flows: tuple[str, ...] = (ORGANIC, PROMOTED)
    chain_popularity: float = 0.0
    new_popularity: float = 0.0
    new_weight: float = 1.0
    chains: str = VECTORS
    neighbors: str = ""
    both_ways: bool = False
    attribute_weight: float = 0.0
    model: str = ""
    device_memory: int = 0


def search(queries: DataFrame, plan: SearchPlan) -> DataFrame:
    """One row a query, flow and channel that had something to ask; searched in the queries' own partitions."""
    return queries.mapInArrow(lambda batches: search_batches(batches, plan), RESULT_DDL)


def search_batches(batches: Iterable[pa.RecordBatch], plan: SearchPlan) -> Iterator[pa.RecordBatch]:
    """`RESULT` rows, one a query, flow and channel that had something to ask."""
    inventory = open_inventory(plan.inventory, plan.device, plan.device_memory)
    # a hit is an id and a score, met twice while shards are merged, and ten numbers while kinds share a list
    at_once = max(1, plan.memory_budget // (128 * plan.k))
    for batch in batches:
        for first in range(0, batch.num_rows, at_once):
            rows = batch.slice(first, at_once)
            yield from search_batch(read_batch(rows, inventory, pooling_of(inventory, plan)), inventory, plan)


def pooling_of(inventory: Inventory, plan: SearchPlan) -> Pooling | None:
    """How attributes are pooled: by the model of the inventory's vectors, else LakeError; None where they are not."""
    if not (plan.attribute_weight and inventory.fingerprint):
        return None
    return Pooling(mapped_once(plan.model, inventory.fingerprint), plan.attribute_weight)


def search_batch(batch: Batch, inventory: Inventory, plan: SearchPlan) -> Iterator[pa.RecordBatch]:
    for flow in plan.flows:
        for channel in asked_channels(flow, plan):
            known = replace(batch, attributes=None) if by_neighbors(channel, plan) else batch
            rows = np.flatnonzero(asks(_served(channel), known))
            if rows.size:
                asking = batch.take(rows)
                hits = search_channel(channel, flow, asking, inventory, plan)
                yield result_rows(flow, channel, asking.query_ids, hits, plan.k)


def asked_channels(flow: str, plan: SearchPlan) -> tuple[str, ...]:
    other = NEIGHBORS if plan.chains == VECTORS else VECTORS
    return (*CHANNELS[flow], *((f"click_{other}", f"apply_{other}") if plan.both_ways else ()))


def _served(channel: str) -> str:
    """The channel itself, or the chain channel that it answers another way."""
    kind, _, way = channel.partition("_")
    return f"{kind}_chain" if way in (VECTORS, NEIGHBORS) else channel


def by_neighbors(channel: str, plan: SearchPlan) -> bool:
    way = channel.rpartition("_")[2]
    return way == NEIGHBORS or (way == "chain" and plan.chains == NEIGHBORS)


def asks(channel: str, batch: Batch) -> np.ndarray:
    """(q,) bool: the queries that have what the channel needs: a chain or attributes, a node, a word for the work."""
    if channel in (CLICK, APPLY):
        return np.any(query_vectors(channel, batch) != 0, axis=1)
    if channel == "terms":
        return batch.has("occupation") | batch.has("title")
    if channel == "graph":
        return sum((np.diff(band.offsets) for band in batch.bands), np.zeros(len(batch), np.int64)) > 0
    return np.ones(len(batch), bool)


def query_vectors(channel: str, batch: Batch) -> np.ndarray:
    """(q, d): what the channel ranks by. A row of zeros ranks by popularity alone."""
    if channel in (CLICK, APPLY):
        return batch.with_attributes(batch.clicked if channel == CLICK else batch.applied)
    return np.zeros_like(batch.clicked) if channel == "popular" else batch.interest


def bands_of(channel: str, batch: Batch) -> list[list[Clause]]:
    """The channel's own clauses, one list a band: of a chain channel the jobs that were met, and the new ones."""
    if channel == "terms":
        return [[_region(batch), _work(batch)]]
    if channel == "popular":
        return [[_region(batch)]]
    if channel in (CLICK, APPLY):
        # by terms, whose jobs are drawn: of a range, either search would look at all jobs
        return [[_of_all(MET_FIELD, value, len(batch))] for value in (1, 0)]
    return _node_bands(batch.bands) if channel == "graph" else [[]]


def _region(batch: Batch) -> Clause:
    return AnyOf("region", batch.terms["region"], applies=batch.has("region"))


def _work(batch: Batch) -> Clause:
    return OneOf(*[AnyOf(field, batch.terms[field], applies=batch.has(field)) for field in ("occupation", "title")])


def _node_bands(bands: list[Ragged]) -> list[list[Clause]]:
    """A node of this band and none of a better one, so that no job is counted twice."""
    better = [Ragged.side_by_side(bands[:number]) for number in range(len(bands))]
    return [
        [AnyOf(NODE_FIELD, band), *([NoneOf(NODE_FIELD, better[number])] if number else [])]
        for number, band in enumerate(bands)
    ]


def _of_all(field: str, value: int, n: int) -> Clause:
    """What n queries ask alike."""
    return AnyOf(field, Ragged.of_one(np.full(n, value, np.int32)))


def _open_at(batch: Batch) -> list[Clause]:
    """Posted before the query's instant and not closed by it; a job without the time passes."""
    return [
        Between(POSTED, None, np.nextafter(batch.as_of_s, -np.inf), missing_passes=True),
        Between(CLOSED, np.nextafter(batch.as_of_s, np.inf), None, missing_passes=True),
    ]


def prior_of(channel: str, popularity: np.ndarray, plan: SearchPlan) -> np.ndarray | None:
    """What the channel adds to the cosine of jobs of these popularities; None for nothing."""
    if channel not in (CLICK, APPLY):
        return np.asarray(popularity * POPULARITY_WEIGHT)
    if not plan.chain_popularity:
        return None
    known = np.where(popularity < UNMET, np.float32(plan.new_popularity), popularity)
    return np.asarray(known * np.float32(plan.chain_popularity))


def _prior_of(inventory: Inventory, plan: SearchPlan, jobs: np.ndarray) -> np.ndarray:
    prior = prior_of(CLICK, inventory.popularity_of(jobs), plan)
    return np.zeros(len(jobs), np.float32) if prior is None else prior


def _passes(batch: Batch, flow: str, inventory: Inventory, plan: SearchPlan) -> Callable[..., np.ndarray]:
    """(rows, jobs) → bool: what the flow, `_open_at` and the exclusions ask, of single open jobs."""
    known, code = np.unique(batch.excluded.values, return_inverse=True)
    excluded = np.sort(batch.excluded.row_numbers() * len(known) + code)

    def passes(rows: np.ndarray, jobs: np.ndarray) -> np.ndarray:
        at, is_met = positions(known, jobs)
        fine = ~(is_met & positions(excluded, rows * len(known) + at)[1])
        if flow == PROMOTED:
            fine &= np.diff(inventory.terms_of(PROMOTED_FIELD, jobs)[0]) > 0
        if plan.at_its_time:
            posted, closed = inventory.times_of(jobs).T
            fine &= ~(posted >= batch.as_of_s[rows]) & ~(closed <= batch.as_of_s[rows])
        return fine

    return passes


def search_channel(channel: str, flow: str, batch: Batch, inventory: Inventory, plan: SearchPlan) -> Hits:
    """The channel's answer over all shards. Of a graph's several bands, band b scores within (−b − 1, −b)."""
    asked_by_neighbors, channel = by_neighbors(channel, plan), _served(channel)
    if asked_by_neighbors:
        return share_places(*_merged_by_kind(batch, channel, flow, inventory, plan), plan.new_weight)
    found = [_searched(channel, own, flow, batch, inventory, plan) for own in bands_of(channel, batch)]
    if channel in (CLICK, APPLY):
        met, new = found
        return share_places(met, new, plan.new_weight)
    if len(found) > 1:
        found = [Hits(hits.ids, _band_scores(hits, number), hits.n_matches) for number, hits in enumerate(found)]
    return reduce(partial(_appended, k=plan.k), found)


def _merged_by_kind(batch: Batch, channel: str, flow: str, inventory: Inventory, plan: SearchPlan) -> tuple[Hits, Hits]:
    return merged(
        batch.chains[channel],
        open_neighbors(plan.neighbors),
        _passes(batch, flow, inventory, plan),
        partial(_prior_of, inventory, plan),
        lambda jobs: inventory.popularity_of(jobs) < UNMET,
        plan.k,
        plan.memory_budget,
    )


def _searched(channel: str, own: list[Clause], flow: str, batch: Batch, inventory: Inventory, plan: SearchPlan) -> Hits:
    """The best of all shards under a band's clauses and those of every channel."""
    shared = [_of_all(PROMOTED_FIELD, 1, len(batch))] if flow == PROMOTED else []
    shared += _open_at(batch) if plan.at_its_time else []
    vectors = query_vectors(channel, batch)
    parts = [
        shard.index.search(
            vectors,
            k=plan.k,
            where=AllOf(*own, *shared) if own or shared else None,
            exclude=batch.excluded,
            prior=prior_of(channel, shard.popularity, plan),
            fingerprint=inventory.fingerprint,
            memory_budget=plan.memory_budget,
        )
        for shard in inventory.shards
    ]
    return merge_hits(parts, plan.k)


def _band_scores(hits: Hits, number: int) -> np.ndarray:
    """Scores squeezed into (−number − 1, −number), order kept; −inf where there is no hit."""
    with np.errstate(over="ignore"):
        squeezed = 1.0 / (1.0 + np.exp(-hits.scores.astype(np.float64))) - 1.0 - number
    return np.where(hits.ids >= 0, squeezed, -np.inf).astype(np.float32)


def _appended(first: Hits, second: Hits, k: int) -> Hits:
    """`second` after `first`, row by row, cut to k; the empty places of `first` are filled."""
    ids = np.concatenate([first.ids, second.ids], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = np.argsort(ids < 0, axis=1, kind="stable")[:, :k]
    rows = np.arange(len(ids))[:, None]
    return Hits(ids[rows, order], scores[rows, order], first.n_matches + second.n_matches)


def result_rows(flow: str, channel: str, query_ids: np.ndarray, hits: Hits, k: int) -> pa.RecordBatch:
    n, found = len(query_ids), hits.ids >= 0
    returned = found.sum(axis=1).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(returned)]).astype(np.int32)
    pairs = pa.StructArray.from_arrays([pa.array(hits.ids[found]), pa.array(hits.scores[found])], ["job_id", "score"])
    columns = [
        pa.array([flow] * n),
        pa.array([channel] * n),
        pa.array(query_ids),
        pa.array(np.full(n, k, np.int32)),
        pa.array(hits.n_matches),
        pa.array(returned),
        pa.ListArray.from_arrays(pa.array(offsets), pairs),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RESULT)
