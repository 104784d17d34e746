"""Which terms a job's vector is pooled from, in integers: the same for training and for serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# A feature is its field's position and its term's id in one int64.
FIELD_BITS = 32

# A feature of one job in ten or fewer counts in full, a more frequent one less, one of all jobs nothing.
_COMMON_SHARE = 0.1


def term_fields(job_terms: DataFrame) -> list[str]:
    """The fields that occur, sorted: a field's position in this list is its part of a feature key."""
    return sorted(
        r["field"] for r in job_terms.select(F.explode(F.map_keys("terms")).alias("field")).distinct().collect()
    )


def feature_keys(fields: Sequence[str]) -> Column:
    """array<bigint> of the keys of a job's `terms`, those of fields that are not in `fields` left out."""
    if not fields:
        return F.array().cast("array<bigint>")
    no_terms = F.array().cast("array<int>")
    parts = [
        F.transform(F.coalesce(F.col("terms")[field], no_terms), _keyed(position))
        for position, field in enumerate(fields)
    ]
    return F.concat(*parts)


def _keyed(position: int) -> Callable[[Column], Column]:
    return lambda term: term.cast("bigint") + F.lit(position << FIELD_BITS)


def feature_weights(n_jobs_of_feature: NDArray[np.int64], n_jobs: int) -> NDArray[np.float32]:
    """What a feature counts in the mean: min(1, log(jobs / jobs that have it) / log(10)).

    >>> feature_weights(np.array([1, 10, 50, 100]), 100).astype(float).round(3).tolist()
    [1.0, 1.0, 0.301, 0.0]
    """
    rarity = np.log(n_jobs / np.maximum(n_jobs_of_feature, 1)) / np.log(1 / _COMMON_SHARE)
    return np.clip(rarity, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class JobRows:
    """The rows of the embedding table that each job is pooled from: its features' and, if any, its id's.

    Job j has features values[offsets[j]:offsets[j + 1]]; `offsets` is (jobs + 1,) int64, `values` int32,
    `id_rows` (jobs,) int64 with -1 for a job without an id embedding.
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]
    id_rows: NDArray[np.int64]

    def bags(self, jobs: NDArray[np.int64], keeps_id: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, offsets) of the given jobs' bags, ids only where `keeps_id` and the job has one.

        >>> rows = JobRows(np.array([0, 2, 2]), np.array([5, 6], dtype=np.int32), np.array([-1, 9]))
        >>> [array.tolist() for array in rows.bags(np.array([1, 0]), np.array([True, True]))]
        [[9, 5, 6], [0, 1, 3]]
        """
        starts, n_features = self.offsets[jobs], self.offsets[jobs + 1] - self.offsets[jobs]
        has_id = keeps_id & (self.id_rows[jobs] >= 0)
        offsets = np.concatenate([[0], np.cumsum(n_features + has_id)])
        rows = np.empty(offsets[-1], dtype=np.int64)
        is_id = np.zeros(offsets[-1], dtype=bool)
        is_id[offsets[1:][has_id] - 1] = True
        rows[is_id] = self.id_rows[jobs[has_id]]
        rows[~is_id] = self.values[ranges(starts, n_features)]
        return rows, offsets


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers starts[i] … starts[i] + lengths[i] - 1, one range after the other.

    >>> ranges(np.array([10, 0, 5]), np.array([2, 0, 3])).tolist()
    [10, 11, 5, 6, 7]
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
