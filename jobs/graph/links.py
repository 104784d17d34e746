"""Candidate links: combinations of meta links that enough hires carry, found level by level (Apriori).

Support is monotone, and is what the levels are pruned by: a hire that carries a combination carries all its
parts, so one with too few hires has no extension with enough. The share of hires among the pairs that carry a
link is not: `mid → mid` may be outnumbered by its no-hires where `analyst, mid → engineer, mid` is not. So,
as in the paper, links whose no-hires outnumber their hires are dropped at the end, and grown from until then.

So is being telling: a combination that the same pairs carry as one of its parts says nothing that the shorter
one does not (where all are of one region, `analyst, here → engineer, here`), and nor does any extension of
it.

2^k is never made: a combination is counted only if its parts that begin alike are frequent, a pair enters combinations
with at most `max_meta_links` of its meta links, and they are at most `max_arity` long. See `combinations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.graph.combinations import GROWN_DDL, grown_of_batches
from jobs.graph.frames import held, numbered
from jobs.graph.hires import PAIR
from jobs.graph.meta_links import (
    META_LINK,
    Template,
    combine_terms,
    frequent_meta_links,
    itemsets,
    pair_terms,
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
    """`links`: one row a candidate. `matches`: pair, link, of each pair that carries it.

    `labels`: seeker_id, job_id, kind, at_ts, is_hire, weight of every pair, and `pair`, its number; `itemsets`: the
    same and its `metas`, the meta_ids of the rows of `metas` that it carries. `cut` counts what the limits left out of
    hires: terms, and meta links kept out of combinations.
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
    number = F.monotonically_increasing_id().alias("pair")
    labels = held(pairs.select(*PAIR, "kind", "at_ts", "is_hire", "weight", number))
    bounds = {"min_support": limits.min_support, "max_terms": limits.max_terms}
    seekers = held(pair_terms(pairs, "seeker", sorted({t.seeker for t in templates}), **bounds))
    jobs = held(pair_terms(pairs, "job", sorted({t.job for t in templates}), **bounds))
    carried = combine_terms(seekers, jobs, templates)
    metas = held(frequent_meta_links(carried, labels, min_support=limits.min_support))
    sets = held(itemsets(labels, carried, metas))
    grown = held(grow(sets, limits))
    links, spelt = _readable(_counted(metas, grown, limits.max_arity), metas)
    return MinedLinks(
        links=links,
        matches=held(_matches(sets, grown, spelt)),
        labels=labels,
        itemsets=sets,
        metas=metas,
        cut={
            "terms": _total(seekers.unionByName(jobs, allowMissingColumns=True).where("is_hire"), F.col("n_cut")),
            "meta_links": _total(sets.where("is_hire"), F.greatest(F.size("metas") - limits.max_meta_links, F.lit(0))),
        },
    )


def grow(sets: DataFrame, limits: Limits) -> DataFrame:
    """The frequent combinations of two meta links and more: items (ascending meta_ids), COUNTS, pairs (those of it).

    A pair goes to the group of each of its meta links, with those after it. meta_ids are ascending: those that a pair
    combines are its first.
    """
    metas = F.slice("metas", 1, limits.max_meta_links)
    rows = sets.select("pair", "is_hire", "weight", metas.alias("metas"), F.posexplode(metas).alias("place", "meta"))
    later = F.slice("metas", F.col("place") + 2, limits.max_meta_links).alias("later")
    grouped = rows.select("meta", "pair", "is_hire", "weight", later).where(F.size("later") > 0)
    bounds = (limits.min_support, limits.max_arity)
    if limits.max_arity < 2:
        grouped = grouped.limit(0)
    ordered = grouped.repartition("meta").sortWithinPartitions("meta", "pair")
    return ordered.mapInArrow(lambda batches: grown_of_batches(batches, *bounds), GROWN_DDL)


def _counted(metas: DataFrame, grown: DataFrame, max_arity: int) -> DataFrame:
    """Counts of every frequent, telling combination: items, COUNTS."""
    level = metas.select(F.array("meta_id").alias("items"), *COUNTS)
    counts = [level]
    for arity in range(2, max_arity + 1):
        level = telling(grown.where(F.size("items") == arity).drop("pairs"), level, arity)
        level = held(level) if arity < max_arity else level
        counts.append(level)
    return reduce(DataFrame.unionByName, counts)


def _matches(sets: DataFrame, grown: DataFrame, spelt: DataFrame) -> DataFrame:
    """(pair, link): every pair that carries the link, once."""
    alone = sets.select("pair", F.explode("metas").alias("meta"))
    single = spelt.where(F.size("items") == 1).select(F.col("items")[0].alias("meta"), "link")
    together = grown.select("items", "pairs").join(spelt, "items", "inner")
    return (
        alone.join(single, "meta", "inner")
        .select("pair", "link")
        .unionByName(together.select(F.explode("pairs").alias("pair"), "link"))
    )


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
