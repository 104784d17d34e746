"""How job vectors order short lists: what a sweep of settings is judged by.

58.com judged its cuts by two measures (SOURCES 1): the mean position of the job that the seeker acted on, and
AUC. Both are of one list a case: those that were shown, or, on a board that shows none, the job among others
drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.embeddings.corpus import positions
from jobs.evaluation.position_lift import chain_cosines, tied_position

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ListCase:
    """Job ids: those listed, the place of the one acted on among them, and the chain, none of it listed."""

    listed: Ints
    place: int
    chain: Ints


def shown_cases(cases: DataFrame, lists: DataFrame, chains: DataFrame) -> list[ListCase]:
    """The cases whose job is in the list that was shown and whose chain has a job outside of it.

    `cases`, `lists` and `chains` are as `list_positions` takes them. They come to the driver: max_cases
    bounds them.
    """
    listed = lists.withColumnRenamed("job_ids", "listed")
    chained = chains.withColumnRenamed("job_ids", "chain")
    asked = cases.join(listed, "query_id", "inner").join(chained, "query_id", "inner").orderBy("query_id")
    return _kept(
        (row["target_job_id"], row["listed"], row["chain"])
        for row in asked.select("target_job_id", "listed", F.array_except("chain", "listed").alias("chain")).collect()
    )


def drawn_cases(cases: DataFrame, chains: DataFrame, job_ids: Ints, n: int, seed: int) -> list[ListCase]:
    """The cases with a chain, each with its job among `n` drawn from `job_ids` that it did not act on before."""
    rng = np.random.default_rng(seed)
    chained = chains.withColumnRenamed("job_ids", "chain")
    rows = cases.join(chained, "query_id", "inner").orderBy("query_id").select("target_job_id", "chain").collect()
    drawn = []
    for row in rows:
        target, chain = row["target_job_id"], [job for job in row["chain"] if job != row["target_job_id"]]
        others = np.setdiff1d(rng.choice(job_ids, n), [target, *chain])
        drawn.append((target, [target, *others.tolist()], chain))
    return _kept(drawn)


def _kept(rows) -> list[ListCase]:  # type: ignore[no-untyped-def]
    return [
        ListCase(np.array(listed), listed.index(target), np.array(chain))
        for target, listed, chain in rows
        if target in listed and chain and len(listed) > 1
    ]


def case_positions(cases: Sequence[ListCase], job_ids: Ints, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(cases, 2): the position of each case's job, from 1, by cosine to the mean of the chain; and its AUC.

    `vectors` (jobs, dim) are of `job_ids`, sorted; a job that is not there has cosine 0. AUC is the share of
    the other jobs that the case's is ahead of, ties counting half.
    """
    return np.array([_measured(case, job_ids, vectors) for case in cases]).reshape(-1, 2)


def _measured(case: ListCase, job_ids: Ints, vectors: NDArray[np.float32]) -> tuple[float, float]:
    jobs = np.concatenate([case.chain, case.listed])
    at, known = positions(job_ids, jobs)
    rows = np.where(known[:, None], vectors[at], 0.0).astype(np.float64)
    in_chain = np.arange(len(jobs)) < len(case.chain)
    position = tied_position(chain_cosines(rows, in_chain), case.place)
    return position, (len(case.listed) - position) / (len(case.listed) - 1)
