"""A sample of a run searched again, plainly: every job of every shard, in float64, without the index.

What a channel asks is written here a second time, over the jobs' own terms, so that an error in a clause, a
plan or a merge shows as a recall under 1.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gpu_retrieval import Ragged
from jobs.channels.batches import Batch, read_batch
from jobs.channels.inventory import NODE_FIELD, UNMET, Inventory, Shard, open_inventory
from jobs.channels.neighbors import APPLY, CLICK, Neighbors, Weighed, open_neighbors
from jobs.channels.search import (
    CHANNELS,
    NEIGHBORS,
    ORGANIC,
    SearchPlan,
    asks,
    pooling_of,
    prior_of,
    query_vectors,
    search_channel,
)
from jobs.channels.sharing import STRETCH

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def checked_recall(queries: DataFrame, plan: SearchPlan, n_seekers: int) -> float | None:
    """The share of the brute-force answer that the organic channels find for `n_seekers` drawn by hash.

    1.0 is what an exact index gives; None where nobody asked anything. Runs on the driver, a shard at a time.
    """
    from pyspark.sql import functions as F

    drawn = queries.orderBy(F.xxhash64("query_id"), "query_id").limit(n_seekers).toArrow()
    if not n_seekers or not drawn.num_rows:
        return None
    inventory = open_inventory(plan.inventory, "cpu")
    batch = read_batch(drawn.combine_chunks().to_batches()[0], inventory, pooling_of(inventory, plan))
    shares = [share for channel in CHANNELS[ORGANIC] for share in channel_recall(channel, batch, inventory, plan)]
    return float(np.mean(shares)) if shares else None


def channel_recall(channel: str, batch: Batch, inventory: Inventory, plan: SearchPlan) -> list[float]:
    """Per query that asks the channel: how much of the plain answer is found; equal scores count as equal."""
    asking = batch.take(np.flatnonzero(asks(channel, batch)))
    if not len(asking):
        return []
    hits = search_channel(channel, ORGANIC, asking, inventory, replace(plan, device="cpu"))
    vectors = query_vectors(channel, asking)
    neighbors = open_neighbors(plan.neighbors) if plan.chains == NEIGHBORS and channel in asking.chains else None
    shares = []
    for query in range(len(asking)):
        if neighbors is None:
            ids, scores = plain_answer(channel, asking, query, vectors[query], inventory, plan)
        else:
            ids, scores = plain_merge(asking.chains[channel], asking.excluded, query, neighbors)
            prior = prior_of(channel, inventory.popularity_of(ids), plan)
            scores = scores if prior is None else scores + prior
        wanted = min(plan.k, len(ids))
        if not wanted:
            continue
        found = hits.ids[query][hits.ids[query] >= 0]
        kinds, places = [np.ones(len(ids), bool)], [wanted]
        if channel in (CLICK, APPLY):
            is_new = inventory.popularity_of(ids) < UNMET
            kinds, places = [~is_new, is_new], plain_places(scores, is_new, plan)
        n_found = sum(plainly_found(found, ids[kind], scores[kind], n) for kind, n in zip(kinds, places, strict=True))
        shares.append(n_found / wanted)
    return shares


def plain_places(scores: np.ndarray, is_new: np.ndarray, plan: SearchPlan) -> list[int]:
    """How many of a chain channel's list are jobs that were met, and how many are new: stretch after stretch."""
    ranked = is_new[np.lexsort((is_new, -scores))]
    met, new = (np.sort(scores[kind])[::-1] for kind in (~is_new, is_new))
    counted, wanted, n_new = plan.new_weight * len(new), min(plan.k, len(scores)), 0
    for first in range(0, wanted, STRETCH):
        end = min(first + STRETCH, len(scores))
        # the i-th new one is after so many met ones that the new have no more than their share
        due = sum(i - 1 + math.ceil(i * len(met) / counted) < end for i in range(1, end + 1)) if counted else 0
        now = max(min(max(due, int(ranked[:end].sum())), len(new)), end - len(met))
        in_order = [(-score, False) for score in met[first - n_new : end - now]]
        in_order = sorted(in_order + [(-score, True) for score in new[n_new:now]])
        n_new += sum(of_new for _, of_new in in_order[: wanted - first])
    return [wanted - n_new, n_new]


def plainly_found(found: np.ndarray, ids: np.ndarray, scores: np.ndarray, n: int) -> int:
    """How many of the best `n` are found; who scores as the last of them counts as that."""
    return min(n, int(np.isin(found, ids[scores >= np.sort(scores)[-n]]).sum())) if n else 0


def plain_merge(chains: Weighed, excluded: Ragged, query: int, neighbors: Neighbors) -> tuple[np.ndarray, np.ndarray]:
    """(ids, scores) of every neighbour of the chain's jobs that is not excluded."""
    first, last = chains.jobs.offsets[query : query + 2]
    weights, worth = chains.weights[first:last], dict[int, float]()
    for job, weight in zip(chains.jobs.row(query), weights.astype(np.float64), strict=True):
        _, near, cosines = neighbors.of(np.array([job]))
        for other, cosine in zip(near.tolist(), cosines.tolist(), strict=True):
            worth[other] = worth.get(other, 0.0) + weight * cosine
    left = {job: score for job, score in worth.items() if job not in excluded.row(query)}
    scores = np.array(list(left.values())) / weights.sum(dtype=np.float64)
    return np.array(list(left), np.int64), scores.astype(np.float32)


def plain_answer(
    channel: str, batch: Batch, query: int, vector: np.ndarray, inventory: Inventory, plan: SearchPlan
) -> tuple[np.ndarray, np.ndarray]:
    """(ids, scores) of every job the channel may return; graph scores fall by 10 a band."""
    ids, scores = [], []
    for shard in inventory.shards:
        passing, score = _plainly(channel, batch, query, vector, shard, plan)
        passing &= ~np.isin(shard.ids, batch.excluded.row(query))
        ids.append(np.asarray(shard.ids)[passing])
        scores.append(score[passing])
    return np.concatenate(ids), np.concatenate(scores).astype(np.float32)


def _plainly(
    channel: str, batch: Batch, query: int, vector: np.ndarray, shard: Shard, plan: SearchPlan
) -> tuple[np.ndarray, np.ndarray]:
    at = np.searchsorted(shard.vector_ids, shard.ids)
    score = np.asarray(shard.vectors)[at].astype(np.float64) @ vector.astype(np.float64)
    passing = np.ones(len(shard.ids), bool)
    prior = prior_of(channel, shard.popularity, plan)
    if prior is not None:
        score = score + prior.astype(np.float64)
    if channel in ("click_chain", "apply_chain"):
        return passing, score
    if channel == "graph":
        band = np.full(len(shard.ids), len(batch.bands))
        for number in reversed(range(len(batch.bands))):
            band[_has_any(shard.terms[NODE_FIELD], batch.bands[number].row(query))] = number
        return band < len(batch.bands), score - 10.0 * band
    asked = {field: batch.terms[field].row(query) for field in ("region", "occupation", "title")}
    if len(asked["region"]):
        passing &= _has_any(shard.terms["region"], asked["region"])
    if channel == "terms":
        work = np.zeros(len(shard.ids), bool)
        for field in ("occupation", "title"):
            work |= _has_any(shard.terms[field], asked[field])
        passing &= work
    return passing, score


def _has_any(carried: Ragged, wanted: np.ndarray) -> np.ndarray:
    rows = np.repeat(np.arange(len(carried)), np.diff(carried.offsets))
    return np.bincount(rows[np.isin(carried.values, wanted)], minlength=len(carried)) > 0
