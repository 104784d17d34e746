"""From labelled pairs to the finished links of a model version, and every figure about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.graph.engine import GraphEngine
from jobs.graph.frames import held, numbered
from jobs.graph.hires import KINDS
from jobs.graph.links import Limits, MinedLinks, mine_links
from jobs.graph.meta_links import Template
from jobs.graph.quality import Penalty, link_quality, recall_and_false_positives
from jobs.graph.segments import place_links

Figure = tuple[str, str, float | None]  # metric, label, value


@dataclass(frozen=True)
class SegmentGraph:
    """`links`: the columns of `segment_links` but the version and the hires' source. None where none is kept.

    `figures`: (metric, label, value), as `run_metrics` holds them.
    """

    links: DataFrame | None
    figures: list[Figure] = field(default_factory=list)


def learn_graph(
    pairs: DataFrame, templates: Sequence[Template], limits: Limits, penalty: Penalty, engine: GraphEngine
) -> SegmentGraph:
    """The links worth keeping among those that hires support, numbered by falling quality from node_id 0.

    Ties in quality are numbered by segment. Recall and false positives are of the pairs given.
    """
    pairs = held(pairs)
    mined = mine_links(pairs, templates, limits)
    n_candidates = mined.links.count()
    kept = link_quality(mined.labels, mined.matches, n_candidates, penalty)
    n_kept = kept.count()
    recall, false_positives = recall_and_false_positives(mined.labels, mined.matches, kept)
    figures: list[Figure] = [
        *_pair_figures(pairs),
        *_template_figures(mined, templates),
        *[("cut", what, n) for what, n in mined.cut.items()],
        ("candidate_links", "", n_candidates),
        ("links", "", n_kept),
        ("recall", "", recall),
        ("false_positives", "", false_positives),
        ("graph_engine", engine.name, 1),
    ]
    if not n_kept:
        return SegmentGraph(None, figures)
    links = numbered(
        mined.links.join(kept, "link", "inner").drop("link", "n_pairs", "n_rows"),
        "node_id",
        [F.desc("quality"), "seeker_segment", "job_segment"],
    )
    placed, health = place_links(held(links), engine)
    return SegmentGraph(placed, figures + [(metric, "", value) for metric, value in health.items()])


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
