"""From links to the people and jobs that carry them."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

Side = Literal["seeker", "job"]
SIDES: tuple[Side, Side] = ("seeker", "job")


def assign_nodes(terms: DataFrame, links: DataFrame, entity: Side, *, max_nodes: int = 1000) -> DataFrame:
    """The node ids that each entity carries: {entity}_id, nodes (array<int>, best quality first, then by id).

    `terms` has one row an entity: {entity}_id and its terms, map<string,array<int>>; `links` has node_id,
    meta_links and quality, of one model version. An entity carries a link if it has every term of the link's
    segment on its side. One that carries none has no row; of more than `max_nodes` the best stay.

    Each segment is looked up by one of its terms, the one that fewest segments have, and its other terms are
    then checked in the row: an entity costs as many look-ups as it has terms. The segments are broadcast
    (10^6 links: a few hundred MB), so that entities move once, when their nodes are gathered.
    """
    key = f"{entity}_id"
    segments = _segments(links, entity)
    listed = terms.select(key, "terms", F.explode("terms").alias("field", "ids"))
    looked_up = listed.select(key, "terms", "field", F.explode("ids").alias("term")).join(
        F.broadcast(segments), ["field", "term"], "inner"
    )
    has_all = F.forall(
        "parts", lambda p: F.coalesce(F.array_contains(F.col("terms")[p["field"]], p["term"]), F.lit(False))
    )
    return (
        looked_up.where(has_all)
        .select(key, F.explode("ranked").alias("node"))
        .groupBy(key)
        .agg(F.slice(F.sort_array(F.collect_list("node")), 1, max_nodes).alias("nodes"))
        .select(key, F.col("nodes.node_id").alias("nodes"))
    )


def _segments(links: DataFrame, entity: Side) -> DataFrame:
    """One row a segment: field and term to look it up by, parts (all its terms), ranked (nodes, sortable)."""
    parts = F.array_sort(F.array_distinct(_parts(entity)))
    node = F.struct((-F.col("quality")).alias("falling"), "node_id")
    segments = (
        links.select(parts.alias("parts"), node.alias("node"))
        .groupBy("parts")
        .agg(F.collect_list("node").alias("ranked"))
    )
    spread = segments.select("parts", F.explode("parts").alias("part"))
    shared = spread.groupBy("part").agg(F.count("*").alias("n"))
    rarest = spread.join(shared, "part", "inner").groupBy("parts").agg(F.min(F.struct("n", "part")).alias("rarest"))
    return segments.join(rarest, "parts", "inner").select(
        F.col("rarest.part.field").alias("field"), F.col("rarest.part.term").alias("term"), "parts", "ranked"
    )


def _parts(side: str) -> Column:
    """The segment's terms on that side of `meta_links`, repeats and all: array<struct<field, term>>."""
    return F.transform(
        "meta_links", lambda m: F.struct(m[f"{side}_field"].alias("field"), m[f"{side}_term"].alias("term"))
    )
