"""From labelled pairs to the finished links of a model version, and every figure about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.figures import Figure
from jobs.graph.engine import GraphEngine
from jobs.graph.fit import FITTED_DDL, fitted_batches, term_columns
from jobs.graph.frames import held, numbered
from jobs.graph.hires import KINDS, PAIR
from jobs.graph.inferred import Inference, inferred_links
from jobs.graph.links import Limits
from jobs.graph.meta_links import Template
from jobs.graph.quality import Penalty
from jobs.graph.segments import place_links

SEGMENTS = ("seeker_segment", "job_segment")
LEARNT, FROM_SAME = "learnt", "same"


@dataclass(frozen=True)
class Learnt:
    """`links`: those that the regression keeps, with quality and origin; `candidates`: these and those that were named.

    Both have seeker_segment, job_segment, meta_links, n_hires, n_no_hires. `against`: the segments of candidates that
    speak against a hire. `hired_terms`: field and term of the seekers' terms that hires support. `same_terms`: of each
    link kept of the same term, seeker_field, job_field, term, n_hires and n_no_hires of the terms in its pairs.
    """

    links: DataFrame
    candidates: DataFrame
    against: DataFrame
    hired_terms: DataFrame
    same_terms: DataFrame
    figures: list[Figure]

    @staticmethod
    def of(fitted: DataFrame) -> Learnt:
        """From rows of `FITTED_DDL`."""
        links = fitted.where("link IS NOT NULL").select("link.*")
        figures = fitted.where("figure IS NOT NULL").select("figure.*").collect()
        return Learnt(
            links.where("quality IS NOT NULL").drop("is_against").withColumn("origin", F.lit(LEARNT)),
            links.drop("quality", "is_against"),
            links.where("is_against").select(*SEGMENTS),
            fitted.where("hired_term IS NOT NULL").select("hired_term.*"),
            fitted.where("same_term IS NOT NULL").select("same_term.*"),
            [Figure(row["metric"], row["value"], row["label"]) for row in figures],
        )


def learn_links(
    pairs: DataFrame,
    templates: Sequence[Template],
    limits: Limits,
    penalty: Penalty,
    named: Sequence[tuple[str, str]] = (),
) -> Learnt:
    """The links worth keeping among those that hires support, of pairs as `labelled_pairs` makes them.

    One task learns them: counted, a pair is a few numbers, and Spark's joins around that were most of the work. `named`
    are segments, of which it also says what candidates there are.
    """

    def fitted(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return fitted_batches(parts, templates, limits, penalty, named)

    learnt = Learnt.of(held(rows_by_time(pairs, templates).mapInArrow(fitted, FITTED_DDL)))
    if learnt.figures:
        return learnt
    # where there are no pairs, Spark starts no task
    return Learnt.of(pairs.sparkSession.createDataFrame(pa.Table.from_batches(fitted([]))))


def rows_by_time(pairs: DataFrame, templates: Sequence[Template]) -> DataFrame:
    """One partition, in order of time, of what `LabelledPairs.of_table` reads."""
    kind = F.array_position(F.array(*map(F.lit, KINDS)), F.col("kind")).cast("int")
    none = F.array().cast("array<int>")
    terms = [
        F.coalesce(F.try_element_at(f"{side}_terms", F.lit(field)), none).alias(f"{side}_{field}")
        for side, field in term_columns(templates)
    ]
    rows = pairs.select("at_ts", *PAIR, kind.alias("kind"), "weight", "is_job_later", *terms)
    return rows.repartition(1).sortWithinPartitions("at_ts", *PAIR).drop("at_ts", *PAIR)


def no_links(spark: SparkSession) -> Learnt:
    """What a board with too few hires has learnt."""
    return Learnt.of(spark.createDataFrame([], FITTED_DDL))


def without_same(links: DataFrame) -> DataFrame:
    """The links but those that any term on both sides makes, one for each term."""
    return links.where(F.col("origin") != FROM_SAME)


def finished_graph(
    links: DataFrame, engine: GraphEngine, inference: Inference
) -> tuple[DataFrame | None, list[Figure]]:
    """The links of a model version, but for the version and the hires' source, and the graph's figures.

    `links` are final but for what is inferred from them. Numbered by falling quality from node_id 0, ties by segment.
    None where there are none.
    """
    links = held(links)
    if inference.discount > 0 and not links.isEmpty():
        # what all terms have in common says of none which segments hire alike
        links = held(links.unionByName(inferred_links(without_same(links), engine, inference)))
    figures: list[Figure] = [Figure("graph_engine", 1, engine.name)]
    origins = links.groupBy("origin").count().collect()
    figures += [Figure("links_by_origin", row["count"], row["origin"]) for row in sorted(origins)]
    if not origins:
        return None, figures
    rows = held(numbered(links, "node_id", [F.desc("quality"), "seeker_segment", "job_segment"]))
    placed, health = place_links(rows, engine)
    return placed, figures + [Figure(metric, value) for metric, value in health.items()]
