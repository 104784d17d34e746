"""The graph whose vertices are segments and whose edges are links: its health, and its fingerprint."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.graph.engine import GraphEngine, verify_communities
from jobs.graph.frames import held, numbered

# Targets of a segment beyond which it says nothing about which segments hire alike.
MAX_SHARED_DEGREE = 1000


def link_edges(links: DataFrame) -> DataFrame:
    """One edge a link: node_id, src (vertex of its seeker segment), dst (of its job segment).

    A segment is two vertices where both seekers and jobs have it: to have held a job is not to offer one.
    """
    sides = F.explode(
        F.array(
            F.struct(F.lit(0).alias("side"), F.col("seeker_segment").alias("segment")),
            F.struct(F.lit(1).alias("side"), F.col("job_segment").alias("segment")),
        )
    )
    segments = links.select(sides.alias("vertex")).select("vertex.*").distinct()
    vertices = numbered(segments, "vertex", ["side", "segment"]).withColumn("vertex", F.col("vertex").cast("bigint"))
    seekers = vertices.where("side = 0").select(F.col("segment").alias("seeker_segment"), F.col("vertex").alias("src"))
    jobs = vertices.where("side = 1").select(F.col("segment").alias("job_segment"), F.col("vertex").alias("dst"))
    joined = links.join(seekers, "seeker_segment", "inner").join(jobs, "job_segment", "inner")
    return joined.select("node_id", "src", "dst")


def place_links(links: DataFrame, engine: GraphEngine) -> tuple[DataFrame, dict[str, float]]:
    """`links` with component and community, and the graph's health in figures.

    Both ends of a link have one component; its community is its seeker segment's. `links` has at least one
    row.
    """
    edges = held(link_edges(links))
    components = engine.components(edges)
    communities = held(engine.communities(edges))
    verify_communities(components, communities, engine.name)
    health = graph_health(edges, components, communities, engine)
    ends = components.join(communities, "id", "inner").withColumnRenamed("id", "src")
    placed = edges.join(ends, "src", "inner").select("node_id", "component", "community")
    return links.join(placed, "node_id", "inner"), health


def graph_health(
    edges: DataFrame, components: DataFrame, communities: DataFrame, engine: GraphEngine
) -> dict[str, float]:
    """segments, components, largest_component_share, communities, largest_degree, alike_pairs.

    The share is of the segments; `alike_pairs` are job segments that hire from the same seeker segment.
    """
    sizes = components.groupBy("component").count()
    row = sizes.agg(F.count("*"), F.max("count"), F.sum("count")).first() or (0, 0, 1)
    degree = engine.degrees(edges).agg(F.max("degree")).first()
    return {
        "segments": row[2],
        "components": row[0],
        "largest_component_share": row[1] / row[2],
        "communities": communities.select("community").distinct().count(),
        "largest_degree": degree[0] if degree else 0,
        "alike_pairs": engine.shared_sources(edges, MAX_SHARED_DEGREE).count(),
    }


def fingerprint(links: DataFrame) -> str:
    """A hash of what the links say, whatever their order, number or model version: 32 hex digits."""
    said = ["seeker_segment", "job_segment", "n_hires", "n_no_hires", "quality", "origin", "hire_source"]
    halves = [F.coalesce(F.bit_xor(F.xxhash64(F.lit(seed), *said)), F.lit(0)) for seed in (1, 2)]
    row = links.agg(*halves).first() or (0, 0)
    return "".join(f"{half & (2**64 - 1):016x}" for half in row)
