"""Whom each promoted job should reach: the index the other way round, seekers indexed and jobs asking.

A seeker is in a job's audience if they share a link of the segment graph (arXiv 2402.13435, §3.1). The better the band
of their best shared link, the earlier; within a band those of the job's region, by profile or by the jobs that they
acted on, come first: links say little of regions, as they are learnt against pairs of the same local market. Of these
the more active come first, ties by id. Who has met the job already, by what takes a job from a seeker's candidates, is
not in it. A partition of seekers is indexed at a time, so that memory is bounded by how many partitions the queries
have; the partial audiences are then merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gpu_retrieval import AllOf, AnyOf, NoneOf, Ragged, TermKnnIndex
from jobs.channels.batches import lists_of
from jobs.channels.blend import first_shared
from jobs.channels.inventory import NODE_FIELD, PROMOTED_FIELD, Inventory, open_inventory, terms_by_field

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REGION = "region"
MEMBER = pa.struct([("falling", pa.float64()), ("seeker_id", pa.int64()), ("node_id", pa.int32())])
PARTIAL = pa.schema(
    [
        ("job_id", pa.int64()),
        ("external_job_id", pa.string()),
        ("eligible", pa.int64()),
        ("members", pa.list_(MEMBER)),
    ]
)
PARTIAL_DDL = (
    "job_id bigint, external_job_id string, eligible bigint, "
    "members array<struct<falling:double,seeker_id:bigint,node_id:int>>"
)


@dataclass(frozen=True, kw_only=True)
class AudiencePlan:
    """`cap`: seekers a job reaches at most."""

    inventory: str
    cap: int
    memory_budget: int


@dataclass(frozen=True)
class Promoted:
    """The promoted open jobs, their nodes by falling quality, and their regions."""

    ids: np.ndarray
    nodes: Ragged
    regions: Ragged
    external_ids: list[str | None]


@dataclass(frozen=True)
class Seekers:
    """Each seeker's nodes, regions, prior from 0 to 1, and jobs met; `band` is every node's, 0 the best."""

    ids: np.ndarray
    nodes: Ragged
    regions: Ragged
    prior: np.ndarray
    met: Ragged
    band: np.ndarray
    n_bands: int


def audiences(queries: DataFrame, names: DataFrame, plan: AudiencePlan) -> DataFrame:
    """job_id, external_job_id, asked, eligible, returned, seekers: the columns of the table but the run.

    `names` is (seeker_id, external_seeker_id). A promoted job that shares no link with anybody has an empty audience.
    """
    from pyspark.sql import functions as F

    partial = queries.mapInArrow(lambda batches: partial_audiences(batches, plan), PARTIAL_DDL)
    best = F.slice(F.sort_array(F.flatten(F.collect_list("members"))), 1, plan.cap)
    by_job = partial.groupBy("job_id", "external_job_id")
    merged = by_job.agg(F.sum("eligible").alias("eligible"), best.alias("members"))
    member = F.struct(
        F.col("member.falling").alias("falling"),
        "seeker_id",
        "external_seeker_id",
        F.col("member.node_id").cast("bigint").alias("evidence_id"),
    )
    # merged is read once: read twice, every partition was searched twice
    named = (
        merged.select("job_id", "external_job_id", "eligible", F.explode_outer("members").alias("member"))
        .withColumn("seeker_id", F.col("member.seeker_id"))
        .join(names, "seeker_id", "left")
        .groupBy("job_id", "external_job_id", "eligible")
        .agg(F.sort_array(F.collect_list(F.when(F.col("seeker_id").isNotNull(), member))).alias("members"))
    )
    seekers = F.transform(
        "members",
        lambda m: F.struct(
            m["seeker_id"].alias("seeker_id"),
            m["external_seeker_id"].alias("external_seeker_id"),
            (-m["falling"]).alias("score"),
            m["evidence_id"].alias("evidence_id"),
        ),
    )
    return named.select(
        "job_id",
        "external_job_id",
        F.lit(plan.cap).alias("asked"),
        "eligible",
        F.size("members").alias("returned"),
        seekers.alias("seekers"),
    )


def partial_audiences(batches: Iterable[pa.RecordBatch], plan: AudiencePlan) -> Iterator[pa.RecordBatch]:
    """`PARTIAL` rows, one a promoted job, of the seekers in these batches; they have columns of a query."""
    columns = tuple(EMPTY.schema.names)
    rows = pa.Table.from_batches([batch.select(columns) for batch in batches] or [EMPTY]).combine_chunks()
    if not rows.num_rows:
        return
    promoted = promoted_jobs(open_inventory(plan.inventory, "cpu"))
    seekers = read_seekers(rows)
    # of each band, hits of the region and of elsewhere
    at_once = max(1, plan.memory_budget // (48 * plan.cap * max(seekers.n_bands, 1)))
    index = seeker_index(seekers)
    by_job = _met_by(promoted.ids, seekers)
    for first in range(0, len(promoted.ids), at_once):
        jobs = np.arange(first, min(first + at_once, len(promoted.ids)))
        yield _audience(jobs, promoted, seekers, index, by_job, plan)


EMPTY = pa.RecordBatch.from_pylist(
    [],
    schema=pa.schema(
        [
            ("seeker_id", pa.int64()),
            ("bands", pa.list_(pa.list_(pa.int32()))),
            ("clicked", pa.list_(pa.int64())),
            ("applied", pa.list_(pa.int64())),
            ("excluded", pa.list_(pa.int64())),
            ("terms", pa.map_(pa.string(), pa.list_(pa.int32()))),
        ]
    ),
)


def promoted_jobs(inventory: Inventory) -> Promoted:
    """From the index itself: whatever it would offer as promoted."""
    found = []
    for shard in inventory.shards:
        if len(shard.ids):
            where = AnyOf(PROMOTED_FIELD, Ragged.from_lists([[1]]))
            query = np.zeros((1, inventory.dim), np.float32)
            hits = shard.index.search(query, k=len(shard.ids), where=where, fingerprint=inventory.fingerprint)
            found.append(hits.ids[0][hits.ids[0] >= 0])
    ids = np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
    nodes, regions = (
        Ragged(offsets.astype(np.int64), values)
        for offsets, values in (inventory.terms_of(field, ids) for field in (NODE_FIELD, REGION))
    )
    return Promoted(ids, nodes, regions, inventory.external_ids_of(ids))


def read_seekers(rows: pa.Table) -> Seekers:
    """`rows` has the columns of `EMPTY`, one row a seeker; seekers come out by rising id, as the index has them."""
    rows = rows.sort_by("seeker_id")
    regions = terms_by_field(rows.column("terms"), [REGION])[REGION]
    arrays = {name: rows.column(name).combine_chunks() for name in rows.column_names}
    bands = arrays["bands"]
    n_lists = bands.value_lengths().to_numpy().astype(np.int64)
    inner = bands.flatten()
    place = np.arange(len(inner)) - np.repeat(np.cumsum(n_lists) - n_lists, n_lists)
    lengths = inner.value_lengths().to_numpy().astype(np.int64)
    nodes = inner.flatten().to_numpy().astype(np.int32)
    row = np.repeat(np.repeat(np.arange(len(n_lists)), n_lists), lengths)
    band = np.zeros(int(nodes.max(initial=-1)) + 1, np.int64)
    band[nodes] = np.repeat(place, lengths)
    counts = np.bincount(row, minlength=len(n_lists))
    actions = sum(arrays[name].value_lengths().to_numpy().astype(float) for name in ("clicked", "applied"))
    active = np.log1p(actions)
    return Seekers(
        arrays["seeker_id"].to_numpy(),
        Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), nodes),
        regions,
        (active / (1 + active)).astype(np.float32),
        lists_of(arrays["excluded"], np.int64),
        band,
        int(n_lists.max(initial=0)),
    )


def seeker_index(seekers: Seekers) -> TermKnnIndex:
    """Vectors say nothing here: the prior alone ranks."""
    vectors = np.zeros((len(seekers.ids), 1), np.float32)
    terms = {NODE_FIELD: seekers.nodes, REGION: seekers.regions}
    return TermKnnIndex.build(seekers.ids, vectors, terms=terms, device="cpu")


def _met_by(job_ids: np.ndarray, seekers: Seekers) -> Ragged:
    """For each job, the seekers who have met it."""
    at = np.minimum(np.searchsorted(job_ids, seekers.met.values), max(len(job_ids) - 1, 0))
    is_asked = job_ids[at] == seekers.met.values if len(job_ids) else np.zeros(len(at), bool)
    job, who = at[is_asked], seekers.ids[seekers.met.row_numbers()[is_asked]]
    order = np.argsort(job, kind="stable")
    counts = np.bincount(job, minlength=len(job_ids))
    return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), who[order])


def _audience(
    jobs: np.ndarray, promoted: Promoted, seekers: Seekers, index: TermKnnIndex, met: Ragged, plan: AudiencePlan
) -> pa.RecordBatch:
    """The jobs at these places. A seeker of band b scores from -b - 1 to -b, one of the region in the upper half."""
    nodes, regions, exclude = promoted.nodes.take(jobs), promoted.regions.take(jobs), met.take(jobs)
    bands = [_of_band(nodes, seekers.band, band) for band in range(seekers.n_bands)]
    found = Found.nothing()
    eligible = np.zeros(len(jobs), np.int64)
    for number, band in enumerate(bands):
        better = [NoneOf(NODE_FIELD, Ragged.side_by_side(bands[:number]))] if number else []
        of_band = AllOf(AnyOf(NODE_FIELD, band), *better)
        for lead, place in ((0.5, AnyOf(REGION, regions)), (0.0, NoneOf(REGION, regions))):
            hits = index.search(
                np.zeros((len(jobs), 1), np.float32),
                k=plan.cap,
                where=AllOf(of_band, place),
                exclude=exclude,
                prior=seekers.prior,
                memory_budget=plan.memory_budget,
            )
            row, at = np.nonzero(hits.ids >= 0)
            scores = hits.scores[row, at].astype(np.float64) / 2 + lead - number - 1
            found = found.and_then(row, hits.ids[row, at], scores)
            eligible += hits.n_matches
    kept = found.first(plan.cap)
    carried = seekers.nodes.take(np.searchsorted(seekers.ids, kept.seeker))
    shared = first_shared(kept.row, (carried.offsets, carried.values), nodes)
    members = pa.StructArray.from_arrays(
        [pa.array(-kept.score), pa.array(kept.seeker), pa.array(shared.astype(np.int32))], fields=list(MEMBER)
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(kept.row, minlength=len(jobs)))]).astype(np.int32)
    columns = [
        pa.array(promoted.ids[jobs]),
        pa.array([promoted.external_ids[job] for job in jobs], pa.string()),
        pa.array(eligible),
        pa.ListArray.from_arrays(pa.array(offsets), members),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PARTIAL)


@dataclass(frozen=True)
class Found:
    """Hits, one each: the asking job's row, the seeker's id, the score."""

    row: np.ndarray
    seeker: np.ndarray
    score: np.ndarray

    @staticmethod
    def nothing() -> Found:
        return Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def and_then(self, row: np.ndarray, seeker: np.ndarray, score: np.ndarray) -> Found:
        pairs = ((self.row, row), (self.seeker, seeker), (self.score, score))
        return Found(*[np.concatenate(pair) for pair in pairs])

    def first(self, cap: int) -> Found:
        """The best `cap` of each row, best first, ties by id."""
        order = np.lexsort((self.seeker, -self.score, self.row))
        row = self.row[order]
        kept = order[np.arange(len(row)) - np.searchsorted(row, row, side="left") < cap]
        return Found(self.row[kept], self.seeker[kept], self.score[kept])


def _of_band(nodes: Ragged, band: np.ndarray, number: int) -> Ragged:
    """Each row's nodes of that band; a node that no seeker has is of none."""
    is_known = nodes.values < len(band)
    kept = np.zeros(len(nodes.values), bool)
    kept[is_known] = band[nodes.values[is_known]] == number
    counts = np.bincount(nodes.row_numbers()[kept], minlength=len(nodes))
    return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), nodes.values[kept])
