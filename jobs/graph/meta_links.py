"""Meta links: one seeker term paired with one job term, as the templates allow.

A pair of a seeker with m and a job with n terms in a template's fields has m·n meta links there. Two bounds
keep that small: a side keeps at most `max_terms` of its terms in a field, those with most hires, and only
meta links with enough hires of their own go on. What a bound cut is counted per pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.graph.frames import numbered
from jobs.graph.hires import PAIR

META_LINK = ("seeker_field", "seeker_term", "job_field", "job_term")


class Template(Protocol):
    """Which field of a seeker may pair with which field of a job."""

    @property
    def seeker(self) -> str: ...
    @property
    def job(self) -> str: ...


def pair_terms(pairs: DataFrame, side: str, fields: Sequence[str], *, min_support: int, max_terms: int) -> DataFrame:
    """The terms that a side of each pair enters links with: one row a pair and field.

    Columns: seeker_id, job_id, is_hire, {side}_field, terms (most hires first, ties by term id) and n_cut.
    Only terms that at least `min_support` hires carry on that side: no link with another can have more.
    """
    entries = pairs.select(*PAIR, "is_hire", F.explode(f"{side}_terms").alias("field", "ids")).where(
        F.col("field").isin(*fields)
    )
    carried = entries.select(*PAIR, "is_hire", "field", F.explode("ids").alias("term"))
    support = (
        carried.where("is_hire").groupBy("field", "term").agg(F.count("*").alias("n")).where(F.col("n") >= min_support)
    )
    ranked = F.sort_array(F.collect_list(F.struct((-F.col("n")).alias("n"), "term")))
    return (
        carried.join(support, ["field", "term"], "inner")
        .groupBy(*PAIR, "is_hire", F.col("field").alias(f"{side}_field"))
        .agg(ranked.alias("ranked"))
        .select(
            *PAIR,
            "is_hire",
            f"{side}_field",
            F.slice("ranked.term", 1, max_terms).alias("terms"),
            F.greatest(F.size("ranked") - max_terms, F.lit(0)).alias("n_cut"),
        )
    )


def combine_terms(seekers: DataFrame, jobs: DataFrame, templates: Sequence[Template]) -> DataFrame:
    """Every meta link of every pair, from the `pair_terms` of both sides: seeker_id, job_id and META_LINK."""
    allowed = seekers.sparkSession.createDataFrame(
        sorted({(t.seeker, t.job) for t in templates}), "seeker_field string, job_field string"
    )
    return (
        seekers.select(*PAIR, "seeker_field", F.col("terms").alias("seeker_terms"))
        .join(F.broadcast(allowed), "seeker_field", "inner")
        .join(jobs.select(*PAIR, "job_field", F.col("terms").alias("job_terms")), [*PAIR, "job_field"], "inner")
        .withColumn("seeker_term", F.explode("seeker_terms"))
        .withColumn("job_term", F.explode("job_terms"))
        .select(*PAIR, *META_LINK)
    )


def frequent_meta_links(carried: DataFrame, labels: DataFrame, *, min_support: int) -> DataFrame:
    """The meta links that at least `min_support` hires carry, one row each, with an int meta_id from 0.

    Columns: meta_id, META_LINK, n_pairs and n_rows (all pairs and hires, each counted once), n_hires and
    n_no_hires (weights). Numbered by falling n_hires - n_no_hires, then by what they are: what makes hires
    likelier comes first, and it is the first that a pair with too many of them enters links with.
    """
    counted = (
        carried.join(labels, list(PAIR), "inner")
        .groupBy(*META_LINK)
        .agg(*support_columns())
        .where(F.col("n_rows") >= min_support)
    )
    return numbered(counted, "meta_id", [(F.col("n_no_hires") - F.col("n_hires")).asc(), *META_LINK])


def support_columns() -> list[Column]:
    """n_pairs and n_rows (pairs, hires) and n_hires and n_no_hires (weights, to 6 decimals) of a group."""
    weight, hire = F.col("weight"), F.col("is_hire")
    return [
        F.count("*").alias("n_pairs"),
        F.sum(hire.cast("int")).alias("n_rows"),
        # sums of fractions change with the order in which tasks end
        F.round(F.sum(F.when(hire, weight).otherwise(0.0)), 6).alias("n_hires"),
        F.round(F.sum(F.when(hire, 0.0).otherwise(weight)), 6).alias("n_no_hires"),
    ]


def itemsets(labels: DataFrame, carried: DataFrame, metas: DataFrame) -> DataFrame:
    """One row a pair, of those without any meta link too: labels' columns and `metas`, ascending meta_ids."""
    numbered_metas = metas.select("meta_id", *META_LINK)
    sets = (
        carried.join(numbered_metas, list(META_LINK), "inner")
        .groupBy(*PAIR)
        .agg(F.sort_array(F.collect_list("meta_id")).alias("metas"))
    )
    none = F.array().cast("array<int>")
    return labels.join(sets, list(PAIR), "left").withColumn("metas", F.coalesce("metas", none))
