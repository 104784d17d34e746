"""Recall, hit rate and reciprocal rank of ranked candidates, over seekers, with bootstrap intervals.

A case is one target (`next_action_cases`); a row is one way of ranking: a channel, their blend, a baseline.
With T(s) the cases of seeker s, r(c) the rank of case c's target among its candidates, from 1, infinite where
absent, and S the seekers that have a case:

    recall@k   = mean over s in S of |{c in T(s): r(c) <= k}| / |T(s)|
    hit_rate@k = mean over s in S of [some c in T(s) has r(c) <= k]
    mrr        = mean over s in S of (mean over c in T(s) of 1 / r(c))

Every case counts for every row: a row that has no candidates for a case missed it. Nothing is sampled among
the candidates: ranks are over whatever the row ranked. A slice has the cases whose target is cold, or warm, or
whose seeker is back from a pause, and S is then the seekers with such a case. An interval is the 2.5th to 97.5th
percentile over resamples of S with replacement, S's size each.

The ranks of all cases come to the driver, which the number of cases bounds: one row a case and row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import StageError
from jobs.figures import Figure

_INTERVAL = (0.025, 0.975)
_RESAMPLES_AT_ONCE = 100


def target_ranks(cases: DataFrame, ranked: DataFrame) -> DataFrame:
    """(query_id, row, rank), one row a case and ranking: the rank of the target, null where it is absent.

    `ranked` is (query_id, row, candidates array<struct<job_id, …>>), best first; rankings of other queries
    than the cases' are left out.
    """
    targets = F.broadcast(cases.select("query_id", "target_job_id"))
    rank = F.expr("nullif(array_position(candidates.job_id, target_job_id), 0)")
    return ranked.join(targets, "query_id", "inner").select("query_id", "row", rank.cast("int").alias("rank"))


def retrieval_figures(
    cases: DataFrame,
    ranks: DataFrame,
    cold_jobs: DataFrame,
    *,
    k: Sequence[int],
    bootstrap: int,
    seed: int,
    rows: Sequence[str] = (),
) -> list[Figure]:
    """Every figure of the module's head: a row's under its name, its slices' under `ROW|cold`, `ROW|warm` and
    `ROW|returning`.

    `cases` also has is_returning: the seeker is back from a pause. `ranks` is as of `target_ranks`; `rows` names
    rows to report even where they ranked nothing. `cold_jobs` is (job_id, is_cold); a target that is not in it is
    cold. Also `cases` and `seekers`, in all and a slice.
    The bounds of an interval are METRIC.low and METRIC.high, none with `bootstrap` 0. StageError where a
    ranking is there twice.
    """
    is_cold = F.coalesce("is_cold", F.lit(True)).alias("is_cold")
    targets = cases.select("query_id", "seeker_id", "is_returning", F.col("target_job_id").alias("job_id"))
    known = cold_jobs.join(F.broadcast(targets.select("job_id").distinct()), "job_id", "left_semi")
    table = targets.join(known, "job_id", "left").select("query_id", "seeker_id", "is_returning", is_cold).toArrow()
    found = _ranks_by_row(ranks.toArrow(), table["query_id"].to_numpy(), rows)
    seekers, cold = table["seeker_id"].to_numpy(), table["is_cold"].to_numpy()
    returning = table["is_returning"].to_numpy()
    slices = {"": np.ones(len(cold), bool), "cold": cold, "warm": ~cold, "returning": returning}
    figures = []
    for slice_name, chosen in slices.items():
        figures.append(Figure("cases", float(chosen.sum()), slice_name))
        figures.append(Figure("seekers", float(np.unique(seekers[chosen]).size), slice_name))
        for row, rank in found.items():
            label = f"{row}|{slice_name}" if slice_name else row
            per_seeker = seeker_means(seekers[chosen], rank[chosen], k)
            figures += _with_intervals(per_seeker, label, bootstrap, seed)
    return figures


def seeker_means(
    seekers: NDArray[np.int64], ranks: NDArray[np.float64], k: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Metric to one value a distinct seeker, in ascending order of seeker; ranks are infinite where absent.

    >>> seeker_means(np.array([7, 7, 8]), np.array([1.0, np.inf, 4.0]), [2])
    {'recall@2': array([0.5, 0. ]), 'hit_rate@2': array([1., 0.]), 'mrr': array([0.5 , 0.25])}
    """
    distinct, place = np.unique(seekers, return_inverse=True)
    n_cases = np.bincount(place, minlength=len(distinct))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(place, weights=values, minlength=len(distinct)) / n_cases

    recalls = {cut: mean((ranks <= cut).astype(np.float64)) for cut in k}
    means = {f"recall@{cut}": recall for cut, recall in recalls.items()}
    means |= {f"hit_rate@{cut}": (recall > 0).astype(np.float64) for cut, recall in recalls.items()}
    return means | {"mrr": mean(1.0 / ranks)}


def bootstrap_bounds(values: NDArray[np.float64], resamples: int, seed: int) -> tuple[NDArray, NDArray]:
    """The low and high bound of each column's mean, over seeded resamples of the rows of `values`, (n, m).

    The same seed draws the same rows whatever the columns, so that rows of a report are compared on like
    draws.
    """
    generator, n = np.random.default_rng(seed), len(values)
    means = []
    for first in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - first)
        means.append(generator.multinomial(n, np.full(n, 1.0 / n), size=size) @ values / n)
    low, high = np.quantile(np.concatenate(means), _INTERVAL, axis=0)
    return low, high


def _with_intervals(
    per_seeker: Mapping[str, NDArray[np.float64]], label: str, bootstrap: int, seed: int
) -> Iterator[Figure]:
    values = np.stack(list(per_seeker.values()), axis=1)
    if not len(values):
        yield from (Figure(metric, None, label) for metric in per_seeker)
        return
    for metric, mean in zip(per_seeker, values.mean(axis=0), strict=True):
        yield Figure(metric, float(mean), label)
    if bootstrap:
        for metric, low, high in zip(per_seeker, *bootstrap_bounds(values, bootstrap, seed), strict=True):
            yield Figure(f"{metric}.low", float(low), label)
            yield Figure(f"{metric}.high", float(high), label)


def _ranks_by_row(ranks: pa.Table, query_ids: NDArray[np.int64], rows: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Row to the rank of each query, in the order of `query_ids`; infinite where there is none."""
    order = np.argsort(query_ids)
    names, ids = np.array(ranks["row"].to_pylist(), object), ranks["query_id"].to_numpy()
    values = ranks["rank"].cast(pa.float64()).fill_null(np.inf).to_numpy()
    found = {}
    for row in sorted({*rows, *names}):
        mine = names == row
        _require_once(row, ids[mine])
        found[row] = np.full(len(query_ids), np.inf)
        found[row][order[np.searchsorted(query_ids, ids[mine], sorter=order)]] = values[mine]
    return found


def _require_once(row: str, query_ids: NDArray[np.int64]) -> None:
    distinct, counts = np.unique(query_ids, return_counts=True)
    if (counts > 1).any():
        first = distinct[counts > 1][0]
        raise StageError(f"ranked: expected one ranking a query, got {counts.max()} of {row}, first query_id {first}")
