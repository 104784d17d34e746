"""The hires behind a link: those whose two sides had all of its terms at the time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.graph.hires import with_terms

Part = tuple[str, int]  # field and term id


def evidence(
    hires: DataFrame, seeker_terms: DataFrame, job_terms: DataFrame, seeker: Iterable[Part], job: Iterable[Part]
) -> DataFrame:
    """The `hires` (seeker_id, job_id, hired_ts, …) that carry the link of these segments, with both sides' terms."""
    moments = hires.withColumn("at_ts", F.col("hired_ts"))
    found = with_terms(moments, seeker_terms, job_terms)
    return found.where(_has_all("seeker_terms", seeker) & _has_all("job_terms", job)).drop("at_ts")


def _has_all(terms: str, parts: Iterable[Part]) -> Column:
    held = [
        F.coalesce(F.array_contains(F.try_element_at(terms, F.lit(field)), term), F.lit(False)) for field, term in parts
    ]
    return reduce(and_, held, F.lit(True))
