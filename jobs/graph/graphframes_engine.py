"""The graph engine for graphs larger than one machine: GraphFrames. Its JVM classes must be loaded."""

from __future__ import annotations

import warnings

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.graph.engine import GraphEngine
from jobs.graph.frames import held

with warnings.catch_warnings():
    # graphframes-py's modules have invalid escapes in their docstrings
    warnings.simplefilter("ignore", SyntaxWarning)
    from graphframes import GraphFrame
    from graphframes.lib import AggregateMessages


class GraphFramesEngine(GraphEngine):
    name = "graphframes"

    def degrees(self, edges: DataFrame) -> DataFrame:
        return _graph(edges).degrees.select("id", F.col("degree").cast("bigint").alias("degree"))

    def shared_sources(self, edges: DataFrame, max_degree: int) -> DataFrame:
        n_targets = F.count("*").over(Window.partitionBy("src"))
        bounded = edges.select("src", "dst").withColumn("n", n_targets).where(F.col("n") <= max_degree).drop("n")
        motif = _graph(bounded).find("(s)-[]->(a); (s)-[]->(b)").where("a.id < b.id")
        return motif.groupBy(F.col("a.id").alias("a"), F.col("b.id").alias("b")).agg(F.count("*").alias("n_shared"))

    def _components(self, edges: DataFrame) -> DataFrame:
        # Local checkpoints: the others need a folder that all executors share. The broadcast threshold stays
        # at its default: without it (-1) nine vertices with text ids ran 1 GB out of memory.
        found = _graph(edges).connectedComponents(algorithm="two_phase", use_local_checkpoints=True)
        return found.select("id", F.col("component").alias("label"))

    def _communities(self, edges: DataFrame, max_rounds: int) -> DataFrame:
        labels = held(_vertices(edges).withColumn("label", F.col("id")))
        for _ in range(max_rounds):
            before = labels
            labels = _voted(labels, edges, "dst")
            labels = _voted(labels, edges, "src")
            moved = labels.join(before.withColumnRenamed("label", "was"), "id", "inner").where("label <> was")
            if moved.isEmpty():
                break
        return labels


def _vertices(edges: DataFrame) -> DataFrame:
    return edges.select(F.explode(F.array("src", "dst")).alias("id")).distinct()


def _graph(edges: DataFrame) -> GraphFrame:
    return GraphFrame(_vertices(edges), edges.select("src", "dst"))


def _voted(labels: DataFrame, edges: DataFrame, voter: str) -> DataFrame:
    """Each voter's commonest label at the other ends of its edges, ties to the least; others keep theirs."""
    other = AggregateMessages.src if voter == "dst" else AggregateMessages.dst
    # One aggregate only: of several Columns, classic aggregateMessages repeats the first.
    commonest = F.mode(AggregateMessages.msg, deterministic=True).alias("vote")
    to = {"sendToDst" if voter == "dst" else "sendToSrc": [other["label"]]}
    votes = GraphFrame(labels, edges.select("src", "dst")).aggregateMessages([commonest], **to)
    voted = held(labels.join(votes, "id", "left").select("id", F.coalesce("vote", "label").alias("label")))
    votes.unpersist()
    return voted
