"""What the segment graph is asked, whoever answers.

A graph is a table of edges, `src` and `dst` both bigint, each edge once; its vertices are the ends of its
edges. Both engines give the same rows for the same edges. Communities are therefore defined here, not taken
from the libraries: igraph's label propagation is randomised, and GraphFrames' moves all vertices at once,
which on a graph with two sides swaps the sides' labels for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.errors import StageError
from jobs.graph.driver_graph import MAX_DRIVER_EDGES, DriverGraph
from jobs.graph.frames import held


class GraphEngine(ABC):
    """The questions. Labels are canonical: the least vertex id that carries the label."""

    name: str

    def components(self, edges: DataFrame) -> DataFrame:
        """Which vertices hang together, edges taken both ways: id, component.

        Verified before they are given, see `verify_components`.
        """
        found = held(canonical(self._components(edges), "component"))
        verify_components(edges, found, self.name)
        return found

    def communities(self, edges: DataFrame, max_rounds: int = 20) -> DataFrame:
        """Which vertices vote alike: id, community. Made for graphs whose edges run from one side to another.

        Every vertex starts as its own label. In a round, first each vertex with incoming edges takes the
        commonest label among their sources, then each one with outgoing edges the commonest among their
        targets; ties go to the least label. One side moves at a time, so the number of edges within a label
        never falls and the labels settle (label propagation on bipartite graphs: Barber and Clark, Phys. Rev.
        E 80, 026129); they are given as they are after `max_rounds`. On other graphs the answer is defined
        likewise but need not settle. Not verified, see `verify_communities`.
        """
        return canonical(self._communities(edges, max_rounds), "community")

    @abstractmethod
    def degrees(self, edges: DataFrame) -> DataFrame:
        """Edges at each vertex, both ways, a loop twice: id, degree (bigint)."""

    @abstractmethod
    def shared_sources(self, edges: DataFrame, max_degree: int) -> DataFrame:
        """The motif (s)→(a), (s)→(b), "segments that hire from the same segments".

        One row a pair of targets: a, b, n_shared (bigint; how many sources they share), a < b. A source with
        more than `max_degree` targets is left out: it alone would make max_degree² / 2 rows.
        """

    @abstractmethod
    def _components(self, edges: DataFrame) -> DataFrame: ...

    @abstractmethod
    def _communities(self, edges: DataFrame, max_rounds: int) -> DataFrame: ...


def canonical(labels: DataFrame, name: str) -> DataFrame:
    """`labels` (id, label) with each label replaced by the least id that carries it: id and `name`."""
    least = labels.groupBy("label").agg(F.min("id").alias(name))
    return labels.join(least, "label", "inner").select("id", name)


def verify_components(edges: DataFrame, components: DataFrame, engine: str) -> None:
    """StageError unless every vertex has one component and no edge joins two.

    That leaves a component that is really several. Up to MAX_DRIVER_EDGES edges their number is therefore
    compared with what igraph counts, unless igraph is the engine. GraphFrames has given wrong components when
    its checkpoints were lost (graphframes issue 872).
    """
    ends = [
        components.select(F.col("id").alias(end), F.col("component").alias(f"{end}_component"))
        for end in ("src", "dst")
    ]
    joined = edges.join(ends[0], "src", "left").join(ends[1], "dst", "left")
    agrees = F.coalesce(F.col("src_component") == F.col("dst_component"), F.lit(False))
    row = joined.agg(F.count("*").alias("n"), F.count(F.when(~agrees, True)).alias("n_wrong")).first()
    n_edges = edges.count()
    if row is None or row["n_wrong"] or row["n"] != n_edges:
        raise StageError(f"components by {engine} are wrong: expected every edge within one component, got {row}")
    if engine != "igraph" and n_edges <= MAX_DRIVER_EDGES:
        expected = len(DriverGraph.collect(edges).graph.connected_components(mode="weak"))
        got = components.select("component").distinct().count()
        if expected != got:
            raise StageError(f"components by {engine} are wrong: expected {expected} of them, got {got}")


def verify_communities(components: DataFrame, communities: DataFrame, engine: str) -> None:
    """StageError unless every vertex of `components` has one community, and each of these is within one component.

    A label only moves along edges. What the engine says is compared with components that are verified themselves.
    """
    joined = components.join(communities, "id", "full_outer")
    least, most = F.min("component"), F.max("component")
    is_whole = F.col("community").isNotNull() & (F.count("component") == F.count("*")) & (least == most)
    found = joined.groupBy("community").agg(is_whole.alias("is_whole"), F.count("*").alias("n"))
    total, n_wrong = F.coalesce(F.sum("n"), F.lit(0)), F.count_if(~F.col("is_whole"))
    row = found.agg(total.alias("n"), n_wrong.alias("n_wrong")).first()
    n_vertices = components.count()
    if row is None or row["n_wrong"] or row["n"] != n_vertices:
        expected = f"expected one for each of {n_vertices} vertices, within one component"
        raise StageError(f"communities by {engine} are wrong: {expected}, got {row}")
