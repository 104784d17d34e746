"""Chains and jobs as integers on disk: Spark writes them, training streams them.

Nothing is held whole but what the model itself is as large as: job ids, counts, and memory-mapped features.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.artifacts import opened_store
from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.features import JobRows, feature_keys, feature_weights
from jobs.embeddings.markets import term_market
from jobs.embeddings.pairs import Chains
from jobs.embeddings.sampling import NO_MARKET

CHAINS_A_FILE = 1_000_000
JOBS_A_BATCH = 65_536


def encode_chains(chains: DataFrame, until: datetime) -> DataFrame:
    """(chain_id, jobs array<bigint>, actions array<int>): chains of two or more actions before `until`."""
    # A chain belongs to the date on which it starts, and may go on after `until`.
    seen = F.filter("actions", lambda point: point["event_ts"] < F.lit(until))
    known = F.array(*(F.lit(action) for action in CHAIN_ACTIONS))
    points = chains.select("chain_id", seen.alias("points")).where(F.size("points") >= 2)
    return points.select(
        "chain_id",
        F.transform("points", lambda point: point["job_id"]).alias("jobs"),
        F.transform("points", lambda point: (F.array_position(known, point["action"]) - 1).cast("int")).alias(
            "actions"
        ),
    )


def encode_jobs(
    job_terms: DataFrame,
    fields: list[str],
    encoded_chains: DataFrame,
    market_fields: list[str],
    markets: DataFrame | None = None,
) -> DataFrame:
    """(job_id, n_actions, features array<bigint>, market bigint) of each job with terms or in a chain, by id.

    `job_terms` is a row a job; `fields` gives features their keys. `market` is one value per combination of
    the first terms of `market_fields`; of a job that lacks one of them that of `markets` (job_id, market), else -1.
    """
    counts = (
        encoded_chains.select(F.explode("jobs").alias("job_id")).groupBy("job_id").agg(F.count("*").alias("n_actions"))
    )
    features, market = feature_keys(fields).alias("features"), term_market(market_fields).alias("market")
    jobs = job_terms.select("job_id", features, market).join(counts, "job_id", "full_outer")
    market = F.coalesce("market", F.lit(NO_MARKET))
    if markets is not None:
        jobs = jobs.join(markets.withColumnRenamed("market", "other_market"), "job_id", "left")
        market = F.when(market == NO_MARKET, F.coalesce("other_market", F.lit(NO_MARKET))).otherwise(market)
    return jobs.select(
        "job_id",
        F.coalesce("n_actions", F.lit(0)).alias("n_actions"),
        F.coalesce("features", F.array().cast("array<bigint>")).alias("features"),
        market.cast("bigint").alias("market"),
    ).orderBy("job_id")


def write_corpus(
    chains: DataFrame,
    until: datetime,
    job_terms: DataFrame,
    fields: list[str],
    market_fields: list[str],
    uri: str,
    refused: DataFrame | None = None,
    markets: DataFrame | None = None,
) -> int:
    """Write both below `uri`, replacing what is there; returns how many chains there are.

    `refused` is as of `refused_jobs` or `passed_over_by_action`, where training learns from it; `markets` as of
    `community_markets`, where it draws local negatives.
    """
    encoded = encode_chains(chains, until).persist()
    n_chains = encoded.count()
    written = encoded
    if refused is not None:
        if refused.schema["refused"].dataType.simpleString() == "array<array<bigint>>":
            # a list an action; those at and after `until` are the last, and are not written
            left = F.slice("refused", F.lit(1), F.size("jobs"))
        else:
            left = F.coalesce("refused", F.array().cast("array<bigint>"))
        written = encoded.join(refused, "chain_id", "left").withColumn("refused", left)
    # Files and order must not depend on how many tasks there were: the order of training follows them.
    n_files = 1 + n_chains // CHAINS_A_FILE
    ordered = written.repartition(n_files, "chain_id").sortWithinPartitions("chain_id")
    ordered.write.mode("overwrite").parquet(f"{uri}/chains")
    encode_jobs(job_terms, fields, encoded, market_fields, markets).write.mode("overwrite").parquet(f"{uri}/jobs")
    encoded.unpersist()
    return n_chains


@dataclass(frozen=True)
class JobCorpus:
    """The jobs that training knows. Arrays are by job, in order of `job_ids` (jobs,) int64."""

    job_ids: NDArray[np.int64]
    n_actions: NDArray[np.int64]
    markets: NDArray[np.int64]
    rows: JobRows
    feature_keys: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def has_id(self) -> NDArray[np.bool_]:
        return self.rows.id_rows >= 0


def read_jobs(uri: str, *, min_feature_jobs: int, min_job_actions: int, scratch: Path) -> JobCorpus:
    """The jobs below `uri`; the rows of their features are memory-mapped from `scratch`.

    Table rows are the features that `min_feature_jobs` jobs have, by key, then the ids of the jobs with
    `min_job_actions`, by id.
    """
    ids, actions, markets, lengths = [], [], [], []
    keys_path = scratch / "keys.bin"
    with open(keys_path, "wb") as file:
        for batch in _batches(f"{uri}/jobs", JOBS_A_BATCH):
            ids.append(batch["job_id"].to_numpy())
            actions.append(batch["n_actions"].to_numpy())
            markets.append(batch["market"].to_numpy())
            lengths.append(batch["features"].value_lengths().to_numpy())
            batch["features"].flatten().to_numpy().tofile(file)
    job_ids, n_actions = np.concatenate(ids), np.concatenate(actions)
    keys = np.memmap(keys_path, np.int64, "r") if os.path.getsize(keys_path) else np.empty(0, np.int64)
    vocabulary, n_jobs_of = _frequent(keys, min_feature_jobs)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    offsets, values = _known_rows(keys, offsets, vocabulary, scratch / "rows.bin")
    has_id = n_actions >= min_job_actions
    id_rows = np.where(has_id, len(vocabulary) + np.cumsum(has_id) - 1, -1)
    weights = np.concatenate([feature_weights(n_jobs_of, len(job_ids)), np.ones(has_id.sum(), np.float32)])
    rows = JobRows(offsets, values, id_rows)
    return JobCorpus(job_ids, n_actions, np.concatenate(markets), rows, vocabulary, weights)


def _frequent(keys: NDArray[np.int64], least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The keys that occur `least` times, sorted, and how often; read in pieces."""
    found, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for start in range(0, len(keys), 1 << 24):
        piece, n_piece = np.unique(keys[start : start + (1 << 24)], return_counts=True)
        found, inverse = np.unique(np.concatenate([found, piece]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([counts, n_piece])).astype(np.int64)
    return found[counts >= least], counts[counts >= least]


def _known_rows(
    keys: NDArray[np.int64], offsets: NDArray[np.int64], vocabulary: NDArray[np.int64], path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and rows of the features that are in the vocabulary, the rows mapped from `path`."""
    n_known = np.zeros(len(offsets) - 1, np.int64)
    with open(path, "wb") as file:
        for start in range(0, len(n_known), JOBS_A_BATCH):
            piece = offsets[start : start + JOBS_A_BATCH + 1]
            rows, known = positions(vocabulary, keys[piece[0] : piece[-1]])
            n_known[start : start + JOBS_A_BATCH] = segment_sums(known, piece - piece[0])
            rows[known].astype(np.int32).tofile(file)
    values = np.memmap(path, np.int32, "r") if os.path.getsize(path) else np.empty(0, np.int32)
    return np.concatenate([[0], np.cumsum(n_known)]), values


def segment_sums(values: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many are true from each offset up to the next.

    >>> segment_sums(np.array([True, True, False]), np.array([0, 2, 2, 3])).tolist()
    [2, 0, 0]
    """
    return np.diff(np.concatenate([[0], np.cumsum(values)])[offsets])


def positions(ordered: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each wanted value is in a sorted array, and whether it is there at all.

    >>> [array.tolist() for array in positions(np.array([3, 5]), np.array([5, 4, 9]))]
    [[1, 1, 1], [True, False, False]]
    """
    if not len(ordered):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return at, ordered[at] == wanted


def chain_batches(
    uri: str, job_ids: NDArray[np.int64], chains_a_batch: int, rank: int = 0, size: int = 1
) -> Iterator[Chains]:
    """The chains below `uri`, always in the same order, jobs as positions in `job_ids`.

    Of each batch, part `rank` of `size`.
    """
    for whole in _batches(f"{uri}/chains", chains_a_batch):
        first, last = (whole.num_rows * (rank + more) // size for more in (0, 1))
        batch = whole.slice(first, last - first)
        lengths = batch["jobs"].value_lengths().to_numpy()
        jobs, _ = positions(job_ids, batch["jobs"].flatten().to_numpy())
        actions = batch["actions"].flatten().to_numpy().astype(np.int64)
        refused = _refused(batch["refused"], job_ids) if "refused" in batch.schema.names else (None, None, False)
        yield Chains(jobs, actions, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), *refused)


def _refused(refused: pa.ListArray, job_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """(jobs, offsets, by point) of a list a chain, or one a point; a job that training does not know is left out."""
    by_point = pa.types.is_list(refused.type.value_type)
    refused = refused.flatten() if by_point else refused
    jobs, is_known = positions(job_ids, refused.flatten().to_numpy())
    offsets = np.concatenate([[0], np.cumsum(refused.value_lengths().to_numpy(), dtype=np.int64)])
    n_known = np.concatenate([[0], np.cumsum(segment_sums(is_known, offsets), dtype=np.int64)])
    return jobs[is_known], n_known, by_point


def _batches(uri: str, rows: int) -> Iterator[pa.RecordBatch]:
    store, folder = opened_store(uri)
    files = store.get_file_info(fs.FileSelector(folder))
    # Spark numbers its files by partition.
    for path in sorted(file.path for file in files if file.path.endswith(".parquet")):
        with store.open_input_file(path) as file:
            yield from pq.ParquetFile(file).iter_batches(rows)


def remove_corpus(uri: str) -> None:
    store, folder = opened_store(uri)
    store.delete_dir(folder)
