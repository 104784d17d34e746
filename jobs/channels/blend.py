"""Channels' lists made into one candidate set a seeker and flow, each candidate with its reasons.

Reciprocal-rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a candidate scores the sum, over the
channels that brought it, of weight / (rrf_k + rank). What brought a candidate is worked out for what was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from gpu_retrieval import Ragged
from jobs.channels.batches import Batch, lists_of, read_batch
from jobs.channels.inventory import NODE_FIELD, Inventory, open_inventory, spans
from jobs.channels.neighbors import APPLY, CLICK

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WHY = pa.struct([("channel", pa.string()), ("rank", pa.int32()), ("evidence_id", pa.int64())])
CANDIDATE = pa.struct(
    [
        ("job_id", pa.int64()),
        ("external_job_id", pa.string()),
        ("score", pa.float64()),
        ("why", pa.list_(WHY)),
    ]
)
BLENDED = pa.schema(
    [
        ("seeker_id", pa.int64()),
        ("flow", pa.string()),
        ("asked", pa.int32()),
        ("returned", pa.int32()),
        ("candidates", pa.list_(CANDIDATE)),
    ]
)
BLENDED_DDL = (
    "seeker_id bigint, flow string, asked int, returned int, candidates array<struct<job_id:bigint,"
    "external_job_id:string,score:double,why:array<struct<channel:string,rank:int,evidence_id:bigint>>>>"
)

# evidence_id of a term is its field's place here times 2^32, plus the term id.
EVIDENCE_FIELDS = ("occupation", "title", "region")
NO_EVIDENCE = -1

# Rows blended at once: a seeker's lists are some thousand entries of a hundred bytes while they are sorted.
ROWS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class BlendPlan:
    """What every worker needs to blend. `with_attributes`: these may have brought what a chain channel did."""

    inventory: str
    quotas: Mapping[str, int]
    weights: Mapping[str, float]
    rrf_k: float
    with_attributes: bool = False


@dataclass(frozen=True)
class Entries:
    """One channel's candidate each: `row` says of which list, `rank` is from 1."""

    row: np.ndarray
    job: np.ndarray
    channel: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class Fused:
    """Kept candidates, best first within a row, and the entries that brought each, in `order`."""

    row: np.ndarray
    job: np.ndarray
    score: np.ndarray
    why_offsets: np.ndarray
    order: np.ndarray


def fuse(entries: Entries, weights: np.ndarray, rrf_k: float, quotas: np.ndarray) -> Fused:
    """Reciprocal-rank fusion within each row, cut to the row's quota.

    A job named twice by a channel counts at its best rank. Ties go to the better best rank, then the smaller
    id; a candidate's reasons are ordered by what they add, most first.
    """
    if not len(entries.row):
        nothing = np.zeros(0, np.int64)
        return Fused(nothing, nothing, np.zeros(0), np.zeros(1, np.int64), nothing)
    added = weights[entries.channel] / (rrf_k + entries.rank)
    order = np.lexsort((entries.rank, entries.channel, entries.job, entries.row))
    row, job, channel = entries.row[order], entries.job[order], entries.channel[order]
    same_job = np.r_[False, (row[1:] == row[:-1]) & (job[1:] == job[:-1])]
    repeated = same_job & np.r_[False, channel[1:] == channel[:-1]]
    order, row, job, same_job = order[~repeated], row[~repeated], job[~repeated], same_job[~repeated]

    starts = np.flatnonzero(~same_job)
    lengths = np.diff(np.r_[starts, len(order)])
    score = np.add.reduceat(added[order], starts)
    best_rank = np.minimum.reduceat(entries.rank[order], starts)
    ranked = np.lexsort((job[starts], best_rank, -score, row[starts]))
    rows = row[starts][ranked]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
    kept = ranked[place < quotas[rows]]

    why = order[spans(starts[kept], lengths[kept])]
    whose = np.repeat(np.arange(len(kept)), lengths[kept])
    why = why[np.lexsort((entries.rank[why], -added[why], whose))]
    offsets = np.r_[0, np.cumsum(lengths[kept])]
    return Fused(row[starts][kept], job[starts][kept], score[kept], offsets, why)


def blend(queries: DataFrame, found: DataFrame, plan: BlendPlan) -> DataFrame:
    """`BLENDED_DDL` rows, one a query and flow of the plan; `seeker_id` is the query's id."""
    lists = found.groupBy("query_id").agg(F.collect_list(F.struct("flow", "channel", "candidates")).alias("lists"))
    asked = queries.drop("seeker_id").join(lists, "query_id", "inner").withColumn("seeker_id", F.col("query_id"))
    return asked.mapInArrow(lambda batches: blend_batches(batches, plan), BLENDED_DDL)


def blend_batches(batches: Iterable[pa.RecordBatch], plan: BlendPlan) -> Iterator[pa.RecordBatch]:
    """`BLENDED` rows. A batch has the columns of a query and `lists`: array<struct<flow, channel, candidates>>."""
    inventory = open_inventory(plan.inventory, "cpu")
    for batch in batches:
        for first in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield blend_rows(batch.slice(first, ROWS_AT_ONCE), inventory, plan)


def blend_rows(rows: pa.RecordBatch, inventory: Inventory, plan: BlendPlan) -> pa.RecordBatch:
    flows, channels = list(plan.quotas), list(plan.weights)
    seekers = rows.column(rows.schema.get_field_index("seeker_id")).to_numpy()
    entries = read_entries(rows.column(rows.schema.get_field_index("lists")), flows, channels)
    quotas = np.tile(np.array([plan.quotas[flow] for flow in flows]), len(seekers))
    fused = fuse(entries, np.array([plan.weights[channel] for channel in channels]), plan.rrf_k, quotas)
    query = read_batch(rows, inventory)
    clicked, applied = (lists_of(rows.column(rows.schema.get_field_index(n)), np.int64) for n in ("clicked", "applied"))
    evidence = evidence_of(fused, entries, len(flows), channels, query, clicked, applied, inventory)
    if plan.with_attributes:
        evidence[by_attributes_alone(fused, entries, len(flows), channels, query, inventory)] = NO_EVIDENCE
    why = pa.StructArray.from_arrays(
        [
            pa.DictionaryArray.from_arrays(
                pa.array(entries.channel[fused.order].astype(np.int32)), pa.array(channels)
            ).dictionary_decode(),
            pa.array(entries.rank[fused.order].astype(np.int32)),
            pa.array(evidence),
        ],
        fields=list(WHY),
    )
    candidates = pa.StructArray.from_arrays(
        [
            pa.array(fused.job),
            pa.array(inventory.external_ids_of(fused.job), pa.string()),
            pa.array(fused.score),
            pa.ListArray.from_arrays(pa.array(fused.why_offsets.astype(np.int32)), why),
        ],
        fields=list(CANDIDATE),
    )
    returned = np.bincount(fused.row, minlength=len(quotas)).astype(np.int32)
    offsets = np.r_[0, np.cumsum(returned)].astype(np.int32)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(np.repeat(seekers, len(flows))),
            pa.array(flows * len(seekers), pa.string()),
            pa.array(quotas.astype(np.int32)),
            pa.array(returned),
            pa.ListArray.from_arrays(pa.array(offsets), candidates),
        ],
        schema=BLENDED,
    )


def read_entries(lists: pa.ListArray, flows: list[str], channels: list[str]) -> Entries:
    """The entries of every list; row = seeker's place × flows + the flow's place."""
    outer = np.diff(lists.offsets.to_numpy())
    inner = lists.flatten()
    flow, channel, candidates = (inner.field(name) for name in ("flow", "channel", "candidates"))
    lengths = np.diff(candidates.offsets.to_numpy())
    list_row = np.repeat(np.arange(len(outer)), outer) * len(flows) + _places(flow, flows)
    jobs = candidates.flatten().field("job_id").to_numpy()
    rank = np.arange(len(jobs)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    return Entries(np.repeat(list_row, lengths), jobs, np.repeat(_places(channel, channels), lengths), rank)


def _places(names: pa.Array, known: list[str]) -> np.ndarray:
    encoded = names.dictionary_encode()
    places = np.array([known.index(name) for name in encoded.dictionary.to_pylist()], np.int64)
    return places[encoded.indices.to_numpy()] if len(names) else np.zeros(0, np.int64)


def evidence_of(
    fused: Fused,
    entries: Entries,
    n_flows: int,
    channels: list[str],
    query: Batch,
    clicked: Ragged,
    applied: Ragged,
    inventory: Inventory,
) -> np.ndarray:
    """(len(fused.order),) int64: what ties each reason's job to its seeker; see the column in `schemas`."""
    whose = np.repeat(fused.row // n_flows, np.diff(fused.why_offsets))
    jobs, channel = entries.job[fused.order], entries.channel[fused.order]
    evidence = np.full(len(jobs), NO_EVIDENCE, np.int64)
    for number, name in enumerate(channels):
        at = np.flatnonzero(channel == number)
        if not at.size:
            continue
        if name == "click_chain":
            evidence[at] = nearest_acted(whose[at], jobs[at], clicked, inventory)
        elif name == "apply_chain":
            evidence[at] = nearest_acted(whose[at], jobs[at], applied, inventory)
        elif name == "graph":
            evidence[at] = first_shared(
                whose[at], inventory.terms_of(NODE_FIELD, jobs[at]), Ragged.side_by_side(query.bands)
            )
        else:
            fields = ("region",) if name == "popular" else EVIDENCE_FIELDS
            evidence[at] = shared_term(whose[at], jobs[at], fields, query, inventory)
    return evidence


def by_attributes_alone(
    fused: Fused, entries: Entries, n_flows: int, channels: list[str], query: Batch, inventory: Inventory
) -> np.ndarray:
    """(len(fused.order),) bool: reasons of a chain channel to which the chain's own vector adds nothing."""
    whose = np.repeat(fused.row // n_flows, np.diff(fused.why_offsets))
    jobs, channel = entries.job[fused.order], entries.channel[fused.order]
    alone = np.zeros(len(jobs), bool)
    for name, chains in ((CLICK, query.clicked), (APPLY, query.applied)):
        at = np.flatnonzero(channel == channels.index(name)) if name in channels else np.zeros(0, np.int64)
        alone[at] = np.sum(chains[whose[at]] * inventory.vectors_of(jobs[at]), axis=1) <= 0
    return alone


def nearest_acted(whose: np.ndarray, jobs: np.ndarray, acted: Ragged, inventory: Inventory) -> np.ndarray:
    """For each (seeker row, job): the job the seeker acted on that is nearest to it by cosine."""
    nearest = np.full(len(jobs), NO_EVIDENCE, np.int64)
    vectors, acted_vectors = inventory.vectors_of(jobs), inventory.vectors_of(acted.values)
    order = np.argsort(whose, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(whose[order])) + 1):
        first, last = acted.offsets[whose[part[0]]], acted.offsets[whose[part[0]] + 1]
        if last > first:
            best = np.argmax(vectors[part] @ acted_vectors[first:last].T, axis=1)
            nearest[part] = acted.values[first:last][best]
    return nearest


def shared_term(
    whose: np.ndarray, jobs: np.ndarray, fields: Iterable[str], query: Batch, inventory: Inventory
) -> np.ndarray:
    """For each (seeker row, job): the first field's first shared term, encoded; −1 where they share none."""
    found = np.full(len(jobs), NO_EVIDENCE, np.int64)
    for field in fields:
        term = first_shared(whose, inventory.terms_of(field, jobs), query.terms[field])
        new = (found == NO_EVIDENCE) & (term >= 0)
        found[new] = (EVIDENCE_FIELDS.index(field) << 32) + term[new]
    return found


def first_shared(whose: np.ndarray, carried: tuple[np.ndarray, np.ndarray], wanted: Ragged) -> np.ndarray:
    """For each (seeker row, job): of the values the job carries, the one first in the seeker's row; −1: none.

    `carried` is (offsets, values) of the jobs, aligned with `whose`.
    """
    offsets, values = carried
    lengths = np.diff(offsets)
    keys = (wanted.row_numbers() << 32) | wanted.values
    order = np.argsort(keys, kind="stable")
    asked = (np.repeat(whose, lengths) << 32) | values
    at = np.minimum(np.searchsorted(keys[order], asked), max(len(keys) - 1, 0))
    first = np.full(len(whose), len(keys), np.int64)
    if len(keys) and len(asked):
        hit = keys[order][at] == asked
        np.minimum.at(first, np.repeat(np.arange(len(whose)), lengths)[hit], order[at[hit]])
    found = first < len(keys)
    shared = np.full(len(whose), NO_EVIDENCE, np.int64)
    shared[found] = wanted.values[first[found]]
    return shared
