"""A link that any one term on both sides makes, as links of the graph: one for each term that jobs have.

What it weighs is learnt from the hires of all terms together, so that a term without hires has it too. The paper has
no such links; a board with few hires has little else.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.graph.learn import FROM_SAME, SEGMENTS, Learnt
from jobs.graph.meta_links import SAME, Template


def of_each_term(learnt: Learnt, templates: Sequence[Template], job_terms: DataFrame) -> DataFrame:
    """`learnt.links`, of which one of the same term has become one a term of `job_terms`, of origin "same".

    A term's own link weighs that much more, and stays learnt; a term whose own link speaks against a hire has none.
    """
    fields = sorted({template.job for template in templates if template.same})
    if not fields:
        return learnt.links
    meta = F.col("meta_links")[0]
    own = learnt.links.where(meta["seeker_term"] != SAME)
    of_any = learnt.links.where(meta["seeker_term"] == SAME).select(
        meta["seeker_field"].alias("seeker_field"), meta["job_field"].alias("job_field"), "quality"
    )
    of_fields = F.map_filter("terms", lambda field, _: field.isin(fields))
    listed = job_terms.select(F.explode(of_fields).alias("job_field", "terms"))
    terms = listed.select("job_field", F.explode("terms").alias("term")).distinct()
    counted = of_any.join(terms, "job_field").join(learnt.same_terms, ["seeker_field", "job_field", "term"], "left")
    link = F.struct("seeker_field", F.col("term").alias("seeker_term"), "job_field", F.col("term").alias("job_term"))
    each = counted.select(
        *[F.concat(f"{side}_field", F.lit("="), "term").alias(f"{side}_segment") for side in ("seeker", "job")],
        F.array(link).alias("meta_links"),
        *[F.coalesce(name, F.lit(0.0)).alias(name) for name in ("n_hires", "n_no_hires")],
        "quality",
        F.lit(FROM_SAME).alias("origin"),
    ).join(learnt.against, list(SEGMENTS), "left_anti")
    return (
        own.unionByName(each)
        .groupBy(*SEGMENTS)
        # those of a term's own are there twice, and alike but for these two
        .agg(
            *[F.min(name).alias(name) for name in ("meta_links", "n_hires", "n_no_hires", "origin")],
            F.round(F.sum("quality"), 4).alias("quality"),
        )
    )
