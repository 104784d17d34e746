"""Links of seeker segments that no hire speaks of, from segments that hire alike.

Where job segments a and b hire from the same seeker segments, the people who are in a already, whom no link reaches,
are taken to be fit for b: the motif (s)→(a), (s)→(b) of arXiv 2402.13435's graph, asked of the graph engine. The
paper does not say how such links are weighed; here one has the mean quality of the links into b, times the share of
a's sources that b hires from too, times a discount.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.graph.engine import GraphEngine
from jobs.graph.frames import held, numbered
from jobs.graph.segments import MAX_SHARED_DEGREE, link_edges

INFERRED = "inferred"


@dataclass(frozen=True, kw_only=True)
class Inference:
    """`discount` 0 infers nothing."""

    discount: float = 0.0
    min_shared: int = 2  # seeker segments that both job segments must hire from
    max_per_segment: int = 10  # inferred links of a seeker segment, the best


def inferred_links(links: DataFrame, engine: GraphEngine, inference: Inference) -> DataFrame:
    """The inferred links beside `links`, in the same columns: no hires, and origin "inferred".

    Of a seeker segment at most `max_per_segment`, by falling quality, ties by job segment.
    """
    rows = numbered(links, "node_id", ["seeker_segment", "job_segment"])
    edges = held(link_edges(rows))
    job_parts = F.array_sort(F.array_distinct(F.transform("meta_links", _job_part)))
    jobs = held(
        edges.join(rows, "node_id", "inner")
        .groupBy(F.col("dst").alias("vertex"), F.col("job_segment").alias("segment"))
        .agg(F.count("*").alias("n_sources"), F.avg("quality").alias("quality"), F.first(job_parts).alias("parts"))
    )
    alike = engine.shared_sources(edges, MAX_SHARED_DEGREE).where(F.col("n_shared") >= inference.min_shared)
    ways = alike.select("a", "b", "n_shared").unionByName(alike.selectExpr("b AS a", "a AS b", "n_shared"))
    unreached = jobs.join(links.select(F.col("seeker_segment").alias("segment")).distinct(), "segment", "left_anti")
    here, there = (_prefixed(side, name) for side, name in ((unreached, "a"), (jobs, "b")))
    found = ways.join(here, "a", "inner").join(there, "b", "inner")
    quality = F.round(F.lit(inference.discount) * F.col("n_shared") / F.col("a_n_sources") * F.col("b_quality"), 4)
    best = Window.partitionBy("a_segment").orderBy(F.desc("quality"), "b_segment")
    return (
        found.withColumn("quality", quality)
        .withColumn("_n", F.row_number().over(best))
        .where(F.col("_n") <= inference.max_per_segment)
        .select(
            F.col("a_segment").alias("seeker_segment"),
            F.col("b_segment").alias("job_segment"),
            _meta_links().alias("meta_links"),
            F.lit(0.0).alias("n_hires"),
            F.lit(0.0).alias("n_no_hires"),
            "quality",
            F.lit(INFERRED).alias("origin"),
        )
    )


def _job_part(meta: Column) -> Column:
    return F.struct(meta["job_field"].alias("field"), meta["job_term"].alias("term"))


def _prefixed(jobs: DataFrame, name: str) -> DataFrame:
    columns = ("segment", "n_sources", "quality", "parts")
    return jobs.select(F.col("vertex").alias(name), *[F.col(c).alias(f"{name}_{c}") for c in columns])


def _meta_links() -> Column:
    """Every term of a, as the seeker's, with every term of b."""
    return F.flatten(
        F.transform(
            "a_parts",
            lambda own: F.transform(
                "b_parts",
                lambda other: F.struct(
                    own["field"].alias("seeker_field"),
                    own["term"].alias("seeker_term"),
                    other["field"].alias("job_field"),
                    other["term"].alias("job_term"),
                ),
            ),
        )
    )
