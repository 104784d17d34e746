"""The embedded graph engine: python-igraph in the driver's memory, up to `MAX_DRIVER_EDGES` edges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import igraph
import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import StageError
from jobs.graph import engine
from jobs.graph.engine import GraphEngine

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DriverGraph:
    """The graph in the driver: vertex ids ascending, and each edge's ends as places in `ids`."""

    spark: SparkSession
    ids: Ints
    src: Ints
    dst: Ints

    @staticmethod
    def collect(edges: DataFrame) -> DriverGraph:
        """StageError where there are more than `MAX_DRIVER_EDGES` edges."""
        limit = engine.MAX_DRIVER_EDGES
        ends = edges.select("src", "dst").limit(limit + 1).toPandas()
        if len(ends) > limit:
            raise StageError(
                f"the segment graph has more than {limit} edges, too many for igraph on the driver: "
                "set GRAPH_ENGINE to graphframes, or raise build_segment_graph.l1_strength or min_quality"
            )
        both = ends[["src", "dst"]].to_numpy(dtype=np.int64).T
        ids, places = np.unique(both, return_inverse=True)
        src, dst = places.reshape(both.shape)
        return DriverGraph(edges.sparkSession, ids, src, dst)

    @property
    def graph(self) -> igraph.Graph:
        return igraph.Graph(n=len(self.ids), edges=np.column_stack([self.src, self.dst]), directed=True)

    def rows(self, **columns: npt.ArrayLike) -> DataFrame:
        """One row a vertex: id, and bigint columns in the order of `ids`."""
        frame = pd.DataFrame({"id": self.ids} | {name: np.asarray(c, dtype=np.int64) for name, c in columns.items()})
        schema = ", ".join(f"{name} bigint" for name in frame.columns)
        return self.spark.createDataFrame(frame, schema)


class IgraphEngine(GraphEngine):
    name = "igraph"

    def degrees(self, edges: DataFrame) -> DataFrame:
        held = DriverGraph.collect(edges)
        return held.rows(degree=held.graph.degree(mode="all", loops=True))

    def shared_sources(self, edges: DataFrame, max_degree: int) -> DataFrame:
        held = DriverGraph.collect(edges)
        targets = (set(found) for found in held.graph.get_adjlist(mode="out"))
        shared = Counter(
            pair for found in targets if len(found) <= max_degree for pair in combinations(sorted(found), 2)
        )
        ids = held.ids.tolist()
        rows = [(ids[a], ids[b], n) for (a, b), n in shared.items()]
        return held.spark.createDataFrame(rows, "a bigint, b bigint, n_shared bigint")

    def _components(self, edges: DataFrame) -> DataFrame:
        held = DriverGraph.collect(edges)
        return held.rows(label=held.graph.connected_components(mode="weak").membership)

    def _communities(self, edges: DataFrame, max_rounds: int) -> DataFrame:
        held = DriverGraph.collect(edges)
        labels = np.arange(len(held.ids))
        for _ in range(max_rounds):
            before = labels
            labels = _voted(labels, voters=held.dst, heard=held.src)
            labels = _voted(labels, voters=held.src, heard=held.dst)
            if np.array_equal(labels, before):
                break
        return held.rows(label=held.ids[labels])


def _voted(labels: Ints, voters: Ints, heard: Ints) -> Ints:
    """Each voter's commonest label among those it hears, an edge a voice, ties to the least; others' own.

    >>> _voted(np.array([5, 6, 6, 9]), voters=np.array([3, 3, 3, 0]), heard=np.array([0, 1, 2, 3]))
    array([9, 6, 6, 6])
    """
    votes = np.unique(np.column_stack([voters, labels[heard]]), axis=0, return_counts=True)
    (voter, label), count = votes[0].T, votes[1]
    order = np.lexsort((label, -count, voter))
    first = np.ones(len(order), dtype=bool)
    first[1:] = voter[order][1:] != voter[order][:-1]
    won = labels.copy()
    won[voter[order][first]] = label[order][first]
    return won
