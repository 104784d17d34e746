"""Vectors of jobs, old and new, from a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from jobs.embeddings.features import feature_keys
from jobs.embeddings.model_files import Model, load_model
from jobs.errors import LakeError

SCHEMA = "job_id bigint, vector array<float>, is_cold boolean"
_ARROW = pa.schema([("job_id", pa.int64()), ("vector", pa.list_(pa.float32())), ("is_cold", pa.bool_())])


def job_vectors(job_terms: DataFrame, model_path: str) -> DataFrame:
    """(job_id, vector, is_cold) of each row of `job_terms`, which has one a job.

    A vector is of unit length, or all zero where the model knows neither the job nor one of its terms. A cold
    job has none of its own behaviour in the model: its terms alone make its vector.
    """
    model = load_model(model_path)
    # The path and the fingerprint, not the model: a worker process maps the files once and keeps them.
    path, fingerprint, fields = model_path, model.fingerprint, model.fields

    def vectors_of(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        mapped = mapped_once(path, fingerprint)
        for batch in batches:
            yield _vectors(mapped, batch)

    return job_terms.select("job_id", feature_keys(fields).alias("features")).mapInArrow(vectors_of, SCHEMA)


# A worker process serves several runs in turn; two models cover the one before and the one after.
@lru_cache(maxsize=2)
def mapped_once(path: str, fingerprint: str) -> Model:
    """The model of that fingerprint, loaded once a process. LakeError where the files are another's."""
    model = load_model(path)
    if model.fingerprint != fingerprint:
        raise LakeError(f"{path}: expected the model {fingerprint[:12]}, found {model.fingerprint[:12]}")
    return model


def _vectors(model: Model, batch: pa.RecordBatch) -> pa.RecordBatch:
    job_ids = batch["job_id"].to_numpy(zero_copy_only=False)
    lengths = batch["features"].value_lengths().to_numpy(zero_copy_only=False)
    keys = batch["features"].flatten().to_numpy(zero_copy_only=False)
    vectors, is_cold = model.vectors(job_ids, keys, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
    ends = np.arange(len(job_ids) + 1, dtype=np.int32) * model.dim
    lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(vectors.ravel()))
    return pa.RecordBatch.from_arrays([batch["job_id"], lists, pa.array(is_cold)], schema=_ARROW)
