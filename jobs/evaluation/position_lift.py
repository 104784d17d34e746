"""Position lift, as 58.com measures job vectors: where the next job stands when a shown list is re-ranked.

Take the list that was shown, re-rank it by cosine to the seeker's chain, and report the average position of
the job acted on, from 1. "Before" re-ranks by features alone, "after" by the job vectors; the shown order
stands beside both. Lift = (after - before) / before in percent: negative is better. Jobs of equal cosine
share the mean of the positions they take up.

Two orders to read the others beside: `random` is what chance gives, the middle of the list; `oracle`, on a
sample marketplace, orders the list by the planted truth.

Every position is averaged over the same cases: those whose job is in the list and whose chain has a job
outside of it. Jobs of the list are left out of the chain, since the view that led to an application would
else put its own job first, with any vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.figures import Figure

_ORDERS = ("random", "shown", "features", "embedding", "oracle")
_ARROW = pa.schema([("query_id", pa.int64()), *[(order, pa.float64()) for order in _ORDERS]])
_SPARK = ", ".join(["query_id bigint", *[f"{order} double" for order in _ORDERS]])

# The same product summed in another order differs in the last bits; such jobs are ties.
_DECIMALS = 9


def shown_lists(cases: DataFrame, events: DataFrame) -> DataFrame:
    """(query_id, job_ids): the impressions of the case's `list_id` to its seeker, by list position.

    A job shown twice has its first position; impressions without a position are left out. Cases without a
    list, or whose list left no impressions, have no row.
    """
    asked = F.broadcast(cases.where(F.col("list_id").isNotNull()).select("query_id", "seeker_id", "list_id"))
    impressions = events.where((F.col("action") == "impression") & F.col("list_position").isNotNull())
    places = (
        impressions.select("seeker_id", "list_id", "job_id", "list_position")
        .join(asked, ["seeker_id", "list_id"], "inner")
        .groupBy("query_id", "job_id")
        .agg(F.min("list_position").alias("position"))
    )
    ordered = F.sort_array(F.collect_list(F.struct("position", "job_id")))
    return (
        places.groupBy("query_id")
        .agg(ordered.alias("places"))
        .select("query_id", F.col("places.job_id").alias("job_ids"))
    )


def list_positions(
    cases: DataFrame,
    lists: DataFrame,
    chains: DataFrame,
    job_vectors: DataFrame,
    job_terms: DataFrame,
    truth: tuple[DataFrame, DataFrame] | None = None,
) -> DataFrame:
    """(query_id, random, shown, features, embedding, oracle): where the case's job is in its list, under each.

    `lists` is (query_id, job_ids), as shown; `chains` (query_id, job_ids). `job_vectors` is (job_id, vector),
    `job_terms` (job_id, terms map<field, array<int>>), one row a job each. A chain is the mean of its jobs'
    vectors, or of their multi-hot terms, one dimension a field and term. A job without a vector or terms, or
    with an all zero vector, has cosine 0. `truth` is as `true_vectors` gives it; without it, or for a case
    that it does not know, `oracle` is null.
    """
    asked = cases.select("query_id", "target_job_id").join(
        lists.withColumnRenamed("job_ids", "shown"), "query_id", "inner"
    )
    asked = asked.join(chains.withColumnRenamed("job_ids", "chain"), "query_id", "inner")
    asked = asked.withColumn("chain", F.array_except("chain", "shown")).where(
        F.array_contains("shown", F.col("target_job_id")) & (F.size("chain") > 0)
    )
    members = asked.select("query_id", "target_job_id", F.posexplode("shown").alias("place", "job_id")).unionByName(
        asked.select("query_id", "target_job_id", F.lit(-1).alias("place"), F.explode("chain").alias("job_id"))
    )
    codes = F.expr("flatten(transform(map_entries(terms), f -> transform(f.value, t -> xxhash64(f.key, t))))")
    described = members.join(job_vectors.select("job_id", "vector"), "job_id", "left").join(
        job_terms.select("job_id", codes.alias("codes")), "job_id", "left"
    )
    described = _with_affinity(described, truth)
    grouped = described.groupBy("query_id", "target_job_id").agg(
        F.collect_list(F.struct("place", "job_id", "vector", "codes", "affinity")).alias("members")
    )
    return grouped.select("query_id", "target_job_id", "members").mapInArrow(_positions, _SPARK)


def _with_affinity(members: DataFrame, truth: tuple[DataFrame, DataFrame] | None) -> DataFrame:
    """`members` with how well the job truly suits the case's seeker; null where that is not known."""
    if truth is None:
        return members.withColumn("affinity", F.lit(None).cast("double"))
    wants = truth[0].select("query_id", F.col("vector").alias("wanted"))
    jobs = truth[1].select("job_id", F.col("vector").alias("is"))
    affinity = F.call_function("vector_inner_product", F.col("wanted"), F.col("is")).cast("double")
    both = members.join(F.broadcast(wants), "query_id", "left").join(jobs, "job_id", "left")
    return both.withColumn("affinity", affinity).drop("wanted", "is")


def position_lift_figures(positions: DataFrame, chain: str) -> list[Figure]:
    """The mean positions over the cases of `list_positions`, their lift, and how many cases there were."""
    means = positions.agg(F.count(F.lit(1)).alias("cases"), *[F.mean(order).alias(order) for order in _ORDERS])
    row = means.collect()[0]
    before, after = row["features"], row["embedding"]
    lift = None if not row["cases"] else (after - before) / before * 100.0
    return [
        Figure("position.cases", float(row["cases"]), chain),
        *[Figure(f"position.{order}", row[order], chain) for order in _ORDERS],
        Figure("position_lift_percent", lift, chain),
    ]


def _positions(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        # a case at a time: a batch of vectors as Python floats is gigabytes
        cases = (batch.slice(i, 1).to_pylist()[0] for i in range(batch.num_rows))
        rows = [_case_positions(case["target_job_id"], case["members"]) for case in cases]
        columns = [pa.array([row[order] for row in rows], pa.float64()) for order in _ORDERS]
        yield pa.RecordBatch.from_arrays([batch.column("query_id"), *columns], schema=_ARROW)


def _case_positions(target: int, members: list[dict[str, Any]]) -> dict[str, float | None]:
    members = sorted(members, key=lambda member: (member["place"], member["job_id"]))
    chain = np.array([member["place"] < 0 for member in members])
    place = next(m["place"] for m in members if m["place"] >= 0 and m["job_id"] == target)
    vectors = _dense([member["vector"] for member in members])
    features = _multi_hot([member["codes"] or [] for member in members])
    affinities = [member["affinity"] for member in members if member["place"] >= 0]
    is_known = all(affinity is not None for affinity in affinities)
    return {
        "random": (len(affinities) + 1) / 2,
        "shown": place + 1.0,
        "features": tied_position(chain_cosines(features, chain), place),
        "embedding": tied_position(chain_cosines(vectors, chain), place),
        "oracle": tied_position(np.array(affinities), place) if is_known else None,
    }


def chain_cosines(vectors: NDArray[np.float64], chain: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cosine of each row outside the chain to the mean of the chain's; 0 where either is all zero."""
    mean, others = vectors[chain].mean(axis=0), vectors[~chain]
    norms = np.linalg.norm(others, axis=1) * np.linalg.norm(mean)
    return np.divide(others @ mean, norms, out=np.zeros(len(others)), where=norms > 0)


def tied_position(scores: NDArray[np.float64], place: int) -> float:
    """The position, from 1, of `scores[place]` by falling score; equal scores share the mean of theirs.

    >>> tied_position(np.array([0.5, 0.9, 0.5]), 0)
    2.5
    """
    rounded = scores.round(_DECIMALS)
    ahead, equal = (rounded > rounded[place]).sum(), (rounded == rounded[place]).sum()
    return float(ahead + (equal + 1) / 2)


def _dense(vectors: list[list[float] | None]) -> NDArray[np.float64]:
    dim = max((len(vector) for vector in vectors if vector is not None), default=1)
    return np.array([np.zeros(dim) if vector is None else vector for vector in vectors], np.float64)


def _multi_hot(codes: list[list[int]]) -> NDArray[np.float64]:
    """(members, distinct codes) of 0 and 1: as many columns as the case has terms."""
    known = {code: column for column, code in enumerate(sorted({code for row in codes for code in row}))}
    hot = np.zeros((len(codes), max(len(known), 1)))
    for row, mine in enumerate(codes):
        hot[row, [known[code] for code in mine]] = 1.0
    return hot
