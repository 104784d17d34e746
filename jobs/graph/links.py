"""Candidate links: combinations of meta links that enough hires carry, found level by level (Apriori).

Support is monotone, and is what the levels are pruned by: a hire that carries a combination carries all its
parts, so one with too few hires has no extension with enough. The share of hires among the pairs that carry a
link is not: `mid → mid` may be outnumbered by its no-hires where `analyst, mid → engineer, mid` is not. So,
as in the paper, links whose no-hires outnumber their hires are dropped at the end, and grown from until then.

So is being telling: a combination that the same pairs carry as one of its parts says nothing that the shorter
one does not (where all are of one region, `analyst, here → engineer, here`), and nor does any extension of
it.

2^k is never made: a combination is written down for a pair only if each of its parts is frequent and telling,
a pair enters combinations with at most `max_meta_links` of its meta links, and they are at most `max_arity`
long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.graph.frames import held, numbered
from jobs.graph.hires import PAIR
from jobs.graph.meta_links import (
    META_LINK,
    Template,
    combine_terms,
    frequent_meta_links,
    itemsets,
    pair_terms,
    support_columns,
)

COUNTS = ("n_pairs", "n_rows", "n_hires", "n_no_hires")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What keeps the number of candidate links, and the work a pair can cause, bounded."""

    min_support: int = 3  # hires that a link needs
    max_arity: int = 2  # meta links that a link joins
    max_terms: int = 20  # terms a side and field, those with most hires
    max_meta_links: int = 40  # meta links that a pair's combinations are made of


@dataclass(frozen=True)
class MinedLinks:
    """`links`: one row a candidate. `matches`: seeker_id, job_id, link of each pair that carries it.

    `labels`: seeker_id, job_id, is_hire, weight of every pair; `itemsets`: the same and its `metas`, the
    meta_ids of the rows of `metas` that it carries. `cut` counts what the limits left out of hires: terms,
    and meta links kept out of combinations.
    """

    links: DataFrame
    matches: DataFrame
    labels: DataFrame
    itemsets: DataFrame
    metas: DataFrame
    cut: dict[str, int]


def mine_links(pairs: DataFrame, templates: Sequence[Template], limits: Limits) -> MinedLinks:
    """The links that at least `min_support` hires carry and whose no-hires do not outnumber their hires.

    Nor does a part of them say the same. `pairs` is as `labelled_pairs` makes it; support counts rows, the
    comparison weights. Columns of `links`: link (int from 0), seeker_segment, job_segment, meta_links,
    n_pairs, n_rows, n_hires, n_no_hires. A link is known by its two segments: of several combinations that
    read the same (two skills with two skills can be paired in several ways) there is the shortest, then the
    first by meta link.
    """
    pairs = pairs.withColumn("is_hire", F.col("kind") == "hire")
    labels = held(pairs.select(*PAIR, "is_hire", "weight"))
    bounds = {"min_support": limits.min_support, "max_terms": limits.max_terms}
    seekers = held(pair_terms(pairs, "seeker", sorted({t.seeker for t in templates}), **bounds))
    jobs = held(pair_terms(pairs, "job", sorted({t.job for t in templates}), **bounds))
    carried = combine_terms(seekers, jobs, templates)
    metas = held(frequent_meta_links(carried, labels, min_support=limits.min_support))
    sets = held(itemsets(labels, carried, metas))
    counted, matches = _levels(sets, metas, limits)
    links, spelt = _readable(counted, metas)
    return MinedLinks(
        links=links,
        matches=held(matches.join(spelt, "items", "inner").select(*PAIR, "link")),
        labels=labels,
        itemsets=sets,
        metas=metas,
        cut={
            "terms": _total(seekers.unionByName(jobs, allowMissingColumns=True).where("is_hire"), F.col("n_cut")),
            "meta_links": _total(sets.where("is_hire"), F.greatest(F.size("metas") - limits.max_meta_links, F.lit(0))),
        },
    )


def _levels(sets: DataFrame, metas: DataFrame, limits: Limits) -> tuple[DataFrame, DataFrame]:
    """Counts of every frequent, telling combination (items, n_*), and which pairs carry it (pair, items)."""
    level = metas.select(F.array("meta_id").alias("items"), *COUNTS)
    label = [*PAIR, "is_hire", "weight"]
    singles = sets.select(*label, F.explode("metas").alias("meta")).select(*label, F.array("meta").alias("items"))
    # meta_ids are ascending: those that a pair combines are its first
    first = F.slice("metas", 1, limits.max_meta_links)
    rows = sets.select(*label, F.explode(first).alias("meta")).select(*label, F.array("meta").alias("items"))
    counts, carried = [level], [singles]
    for arity in range(2, limits.max_arity + 1):
        grown = grow(rows, arity)
        frequent = grown.groupBy("items").agg(*support_columns()).where(F.col("n_rows") >= limits.min_support)
        level = held(telling(frequent, level, arity))
        rows = held(grown.join(level.select("items"), "items", "left_semi"))
        counts.append(level)
        carried.append(rows)
    return reduce(DataFrame.unionByName, counts), reduce(DataFrame.unionByName, carried).select(*PAIR, "items")


def telling(frequent: DataFrame, shorter: DataFrame, arity: int) -> DataFrame:
    """The combinations that fewer pairs carry than carry any part of them; the others say what a part says.

    Who carries a combination carries its parts: as many means the same pairs. `shorter` holds the counts of
    the combinations of one item less.
    """
    parts = shorter.select(F.col("items").alias("part"), F.col("n_pairs").alias("n_part"))
    for dropped in range(1, arity + 1):
        with_part = frequent.withColumn("part", _without(dropped, arity)).join(parts, "part", "inner")
        frequent = with_part.where("n_pairs < n_part").drop("part", "n_part")
    return frequent


def _without(place: int, arity: int) -> Column:
    """`items` but the one at `place`, from 1."""
    return F.concat(F.slice("items", 1, place - 1), F.slice("items", place + 1, arity))


def grow(rows: DataFrame, arity: int) -> DataFrame:
    """The combinations of `arity` items of which the pair carries every part of one item less.

    `rows` has one row a pair and frequent combination of arity - 1: `items`, ascending. Two that differ in
    the last item alone make one; that its other parts are there too is Apriori's check.
    """
    prefix, last = F.slice("items", 1, arity - 2), F.element_at("items", -1)
    shorter = rows.withColumn("prefix", prefix).withColumn("last", last)
    others = shorter.select(*PAIR, "prefix", F.col("last").alias("next"))
    grown = (
        shorter.join(others, [*PAIR, "prefix"], "inner")
        .where(F.col("last") < F.col("next"))
        .withColumn("items", F.concat("items", F.array("next")))
        .drop("prefix", "last", "next")
    )
    parts = rows.select(*PAIR, F.col("items").alias("part"))
    for dropped in range(1, arity - 1):
        grown = grown.withColumn("part", _without(dropped, arity)).join(parts, [*PAIR, "part"], "left_semi")
    return grown.drop("part")


def _readable(counted: DataFrame, metas: DataFrame) -> tuple[DataFrame, DataFrame]:
    """The links (see `mine_links`), and items → link of the combinations that stand for one."""
    meta = F.struct(*META_LINK)
    spelt = (
        counted.withColumn("meta_id", F.explode("items"))
        .join(metas.select("meta_id", meta.alias("meta")), "meta_id", "inner")
        .groupBy("items", *COUNTS)
        .agg(F.sort_array(F.collect_list("meta")).alias("meta_links"))
        .withColumn("seeker_segment", segment("seeker"))
        .withColumn("job_segment", segment("job"))
    )
    same = Window.partitionBy("seeker_segment", "job_segment").orderBy(F.size("items"), "items")
    kept = spelt.withColumn("_n", F.row_number().over(same)).where("_n = 1 AND n_no_hires <= n_hires").drop("_n")
    links = held(numbered(kept, "link", ["seeker_segment", "job_segment"]))
    return links.drop("items"), links.select("items", "link")


def segment(side: str) -> Column:
    """A side of `meta_links` as text: its field=term parts, each once, sorted, joined by &."""
    parts = F.transform(
        "meta_links", lambda m: F.concat(m[f"{side}_field"], F.lit("="), m[f"{side}_term"].cast("string"))
    )
    return F.array_join(F.array_sort(F.array_distinct(parts)), "&")


def _total(rows: DataFrame, number: Column) -> int:
    found = rows.agg(F.coalesce(F.sum(number), F.lit(0)).alias("n")).first()
    return int(found["n"]) if found else 0
