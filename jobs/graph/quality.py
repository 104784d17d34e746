"""How surely each link says hire: its weight in an L1 logistic regression over all candidate links.

One feature a link, 1 where the pair carries it; the label is hire or no-hire (arXiv 2402.13435, §3.1.2). The
solver is Spark ML's OWL-QN: pairs stay on the executors as sparse rows, and the driver holds a few dozen
vectors of one double a link (10^6 links: 0.2 GB). scikit-learn's solvers need all pairs in one process.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.linalg import SparseVector, VectorUDT
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.graph.hires import PAIR

# Pairs a task: one task keeps the order in which gradients are summed, two cannot change a sum of two.
PAIRS_A_TASK = 250_000
# Iterations stop where the objective changes by less, relatively. On 12,454 pairs and 150,639 links the same 177
# were kept as at 1e-7, in 105 iterations for 125; at 1e-5 one was lost.
TOLERANCE = 1e-6
DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """`strength` is in hires: the penalty is strength·|weight| beside the summed loss of the pairs.

    So a link enters where its hires exceed, by more than `strength`, those that the links already in would
    lead one to expect, however many pairs there are (a pair counts as its weight over the mean weight).
    scikit-learn's C is 1 / strength.
    """

    strength: float = 2.0
    min_quality: float = 0.5  # links with a weight above it are kept; 0.5 is odds of a hire 1.6 times as good
    max_iterations: int = 200


def link_quality(labels: DataFrame, matches: DataFrame, n_links: int, penalty: Penalty) -> DataFrame:
    """The links whose weight is above `min_quality`: link (int), quality (to 4 decimals).

    `labels` has one row a pair: seeker_id, job_id, is_hire, weight; `matches` one a pair and link, links from
    0 to n_links - 1. A pair without links counts too: the intercept is what hires happen without any. None
    are kept where there is no link, or only hires, or only no-hires.
    """
    spark = labels.sparkSession
    classes = {row["is_hire"]: row["n"] for row in labels.groupBy("is_hire").agg(F.count("*").alias("n")).collect()}
    if n_links == 0 or len(classes) < 2:
        return spark.createDataFrame([], "link int, quality double")
    n_pairs = sum(classes.values())
    solver = LogisticRegression(
        elasticNetParam=1.0,
        regParam=penalty.strength / n_pairs,
        # a link's weight is penalised alike whether it is rare or common
        standardization=False,
        maxIter=penalty.max_iterations,
        tol=TOLERANCE,
        weightCol="weight",
    )
    features = link_features(labels, matches, n_links).repartition(-(-n_pairs // PAIRS_A_TASK), *PAIR)
    fitted = solver.fit(features.sortWithinPartitions(*PAIR))
    weights = fitted.coefficients.toArray()
    kept = [(int(link), round(float(weights[link]), DECIMALS)) for link in weights.nonzero()[0]]
    rows = [(link, quality) for link, quality in kept if quality > penalty.min_quality]
    return spark.createDataFrame(rows, "link int, quality double")


def link_features(labels: DataFrame, matches: DataFrame, n_links: int) -> DataFrame:
    """One row a pair: seeker_id, job_id, label (1.0 for a hire), weight, features (sparse, n_links wide)."""

    # Spark has no built-in from an array of indices to a sparse vector; Arrow does not carry vectors.
    @F.udf(returnType=VectorUDT(), useArrow=False)
    def ones_at(links: list[int]) -> SparseVector:
        return SparseVector(n_links, links, [1.0] * len(links))

    carried = matches.groupBy(*PAIR).agg(F.sort_array(F.collect_set("link")).alias("links"))
    none = F.array().cast("array<int>")
    return labels.join(carried, list(PAIR), "left").select(
        *PAIR,
        F.col("is_hire").cast("double").alias("label"),
        "weight",
        ones_at(F.coalesce("links", none)).alias("features"),
    )


def recall_and_false_positives(
    labels: DataFrame, matches: DataFrame, kept: DataFrame
) -> tuple[float | None, float | None]:
    """Of the kept links on these pairs: share of hires linked, and share of linked pairs not hired.

    The paper's two figures, by weight. None where there is nothing to divide by. On the pairs that the
    weights were learnt from both flatter; `evaluate_retrieval` measures on what came after.
    """
    linked = matches.join(kept.select("link"), "link", "left_semi").select(*PAIR).distinct()
    hire, weight = F.col("is_hire"), F.col("weight")
    flagged = labels.join(linked.withColumn("is_linked", F.lit(True)), list(PAIR), "left")
    is_linked = F.coalesce("is_linked", F.lit(False))
    weights = flagged.agg(
        F.sum(F.when(hire, weight)),
        F.sum(F.when(hire & is_linked, weight)),
        F.sum(F.when(is_linked, weight)),
    ).first()
    hires, linked_hires, all_linked = (total or 0.0 for total in weights or (0, 0, 0))
    recall = linked_hires / hires if hires else None
    return recall, (all_linked - linked_hires) / all_linked if all_linked else None
