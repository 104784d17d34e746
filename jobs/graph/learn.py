"""From labelled pairs to the finished links of a model version, and every figure about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.graph.engine import GraphEngine
from jobs.graph.frames import held, numbered
from jobs.graph.hires import KINDS
from jobs.graph.inferred import Inference, inferred_links
from jobs.graph.links import Limits, MinedLinks, mine_links
from jobs.graph.meta_links import Template
from jobs.graph.quality import Penalty, link_points
from jobs.graph.segments import place_links

Figure = tuple[str, str, float | None]  # metric, label, value
SEGMENTS = ("seeker_segment", "job_segment")
PATH_FIGURES = ("recall", "false_positives", "ratio_links", "ratio_false_positives", "held_out_loss")


@dataclass(frozen=True)
class Learnt:
    """`links`: those that the regression keeps, of `candidates`, as `mine_links` makes them, with their quality.

    `against`: the segments of those that speak against a hire. `hired_terms`: field and term of the seekers' terms
    that hires support.
    `figures`: (metric, label, value), as `run_metrics` holds them.
    """

    links: DataFrame
    candidates: DataFrame
    against: DataFrame
    hired_terms: DataFrame
    figures: list[Figure] = field(default_factory=list)


def learn_links(pairs: DataFrame, templates: Sequence[Template], limits: Limits, penalty: Penalty) -> Learnt:
    """The links worth keeping among those that hires support. Recall and false positives are of the pairs given."""
    pairs = held(pairs)
    mined = mine_links(pairs, templates, limits)
    n_candidates = mined.links.count()
    points = held(link_points(mined.labels, mined.matches, n_candidates, penalty))
    figures: list[Figure] = [
        *_pair_figures(pairs),
        *_template_figures(mined, templates),
        *[("cut", what, n) for what, n in mined.cut.items()],
        ("candidate_links", "", n_candidates),
        *_path_figures(points),
    ]
    candidates = mined.links.drop("n_pairs", "n_rows")
    kept = candidates.join(points.select(F.inline("kept")), "link", "inner")
    against = candidates.join(points.select(F.explode("against").alias("link")), "link", "left_semi")
    hired_terms = mined.metas.select(
        F.col("seeker_field").alias("field"), F.col("seeker_term").alias("term")
    ).distinct()
    return Learnt(held(kept.drop("link")), candidates.drop("link"), against.select(*SEGMENTS), hired_terms, figures)


def no_links(spark: SparkSession) -> Learnt:
    """What a board with too few hires has learnt."""
    meta = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
    columns = f"seeker_segment string, job_segment string, meta_links {meta}, n_hires double, n_no_hires double"
    candidates = spark.createDataFrame([], columns)
    links, hired_terms = candidates.withColumn("quality", F.lit(0.0)), "field string, term int"
    return Learnt(links, candidates, candidates.select(*SEGMENTS), spark.createDataFrame([], hired_terms))


def finished_graph(
    links: DataFrame, engine: GraphEngine, inference: Inference
) -> tuple[DataFrame | None, list[Figure]]:
    """The links of a model version, but for the version and the hires' source, and the graph's figures.

    `links` are final but for what is inferred from them. Numbered by falling quality from node_id 0, ties by segment.
    None where there are none.
    """
    links = held(links)
    if inference.discount > 0 and not links.isEmpty():
        links = held(links.unionByName(inferred_links(links, engine, inference)))
    figures: list[Figure] = [("graph_engine", engine.name, 1)]
    origins = links.groupBy("origin").count().collect()
    figures += [("links_by_origin", row["origin"], row["count"]) for row in sorted(origins)]
    if not origins:
        return None, figures
    rows = held(numbered(links, "node_id", [F.desc("quality"), "seeker_segment", "job_segment"]))
    placed, health = place_links(rows, engine)
    return placed, figures + [(metric, "", value) for metric, value in health.items()]


def _pair_figures(pairs: DataFrame) -> list[Figure]:
    """pairs [kind], and the hires whose job had no version yet and was read as its first says.

    Hires that are not among the pairs had no profile before, or a job without terms.
    """
    late = F.count(F.when((F.col("kind") == "hire") & F.col("is_job_later"), True))
    rows = pairs.groupBy("kind").agg(F.count("*").alias("n"), late.alias("late")).collect()
    n = {row["kind"]: row["n"] for row in rows}
    n_late = sum(row["late"] for row in rows)
    return [
        *[("pairs", kind, n.get(kind, 0)) for kind in KINDS],
        ("hires_with_later_job_version", "", n_late),
    ]


def _template_figures(mined: MinedLinks, templates: Sequence[Template]) -> list[Figure]:
    """meta_links [seeker→job field], 0 for a template that no hire answers to; and hires outside them all."""
    rows = mined.metas.groupBy("seeker_field", "job_field").count().collect()
    found = {(row["seeker_field"], row["job_field"]): row["count"] for row in rows}
    outside = mined.itemsets.where("is_hire AND size(metas) = 0").count()
    per_template = [(f"{t.seeker}→{t.job}", found.get((t.seeker, t.job), 0)) for t in templates]
    return [*[("meta_links", name, n) for name, n in per_template], ("hires_outside_templates", "", outside)]


def _path_figures(points: DataFrame) -> list[Figure]:
    """Every point of the path, labelled by its strength, and the chosen one's figures."""
    rows = points.drop("kept", "against").orderBy(F.desc("strength")).collect()
    chosen = next((row for row in rows if row["is_chosen"]), None)
    figures: list[Figure] = [
        (f"path_{name}", f"{row['strength']:g}", row[column])
        for row in rows
        for name, column in (("links", "n_links"), *((same, same) for same in PATH_FIGURES))
    ]
    of_chosen: list[Figure] = [
        ("chosen_strength", "", chosen["strength"] if chosen else None),
        ("links", "", chosen["n_links"] if chosen else 0),
        ("recall", "", chosen["recall"] if chosen else None),
        ("false_positives", "", chosen["false_positives"] if chosen else None),
    ]
    return [*of_chosen, *figures]
