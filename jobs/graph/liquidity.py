"""Links enough for every seeker and no more: the best first, until they reach so many open jobs.

As in arXiv 2402.13435, §3.1: a seeker's segments are ranked by the mean quality of their links and added best-first
until the jobs that they reach, the seeker's liquidity, come to a target. Segments overlap in jobs, so that their counts
do not add up; each carries a HyperLogLog sketch of its open jobs instead, exact for few and off by some 3 % for many,
and sketches are united.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.figures import Figure

# 2^10 registers: 1 KB a segment, a standard error of 1.04 / 2^5.
LOG_REGISTERS = 10
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True)
class Liquidity:
    """`nodes`: (seeker_id, nodes) as given, less what was not needed. `reached`: seeker_id, before, after, in jobs."""

    nodes: DataFrame
    reached: DataFrame

    def figures(self) -> list[Figure]:
        """liquidity [before/p10, …, after/mean]: the distributions over seekers with a link; none without any."""
        sides = ("before", "after")
        quantiles = {
            f"{side}/{name}": F.percentile_approx(side, share) for side in sides for name, share in QUANTILES.items()
        }
        row = self.reached.agg(
            *[column.alias(name) for name, column in quantiles.items()],
            *[F.avg(side).alias(f"{side}/mean") for side in sides],
        ).first()
        assert row is not None
        return [Figure("liquidity", row[name], name) for name in row.asDict() if row[name] is not None]


def enough_nodes(nodes: DataFrame, links: DataFrame, open_nodes: DataFrame, target: int) -> Liquidity:
    """Each seeker's nodes, by segment, best mean quality first, ties by segment, until `target` jobs are reached.

    `nodes` is (seeker_id, nodes); `links` has node_id, seeker_segment and quality; `open_nodes` is (job_id, nodes) of
    the open jobs. The order of a seeker's nodes stays. Segments are broadcast, a kilobyte each.
    """
    own = links.select("node_id", "seeker_segment", "quality")
    jobs = open_nodes.select("job_id", F.explode("nodes").alias("node_id"))
    sketches = (
        jobs.join(F.broadcast(own), "node_id", "inner")
        .groupBy("seeker_segment")
        .agg(F.hll_sketch_agg("job_id", LOG_REGISTERS).alias("sketch"))
    )
    ranked = own.groupBy("seeker_segment").agg(F.avg("quality").alias("mean_quality"))
    segments = ranked.join(sketches, "seeker_segment", "left")
    each = nodes.select("seeker_id", F.posexplode("nodes").alias("place", "node_id")).join(
        F.broadcast(own.select("node_id", "seeker_segment")), "node_id", "inner"
    )
    carried = (
        each.select("seeker_id", "seeker_segment").distinct().join(F.broadcast(segments), "seeker_segment", "inner")
    )
    best_first = Window.partitionBy("seeker_id").orderBy(F.desc("mean_quality"), "seeker_segment")
    better = best_first.rowsBetween(Window.unboundedPreceding, -1)
    counted = carried.withColumn("reached", _estimate(F.hll_union_agg("sketch").over(better)))
    kept = counted.where(F.col("reached") < target)
    reached = counted.groupBy("seeker_id").agg(
        _estimate(F.hll_union_agg("sketch")).alias("before"),
        _estimate(F.hll_union_agg(F.when(F.col("reached") < target, F.col("sketch")))).alias("after"),
    )
    needed = (
        each.join(kept.select("seeker_id", "seeker_segment"), ["seeker_id", "seeker_segment"], "left_semi")
        .groupBy("seeker_id")
        .agg(F.sort_array(F.collect_list(F.struct("place", "node_id"))).alias("nodes"))
    )
    return Liquidity(needed.select("seeker_id", F.col("nodes.node_id").alias("nodes")), reached)


def _estimate(sketch: Column) -> Column:
    return F.coalesce(F.hll_sketch_estimate(sketch), F.lit(0))
