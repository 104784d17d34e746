"""The embedded graph engine: python-igraph in the driver's memory, up to `driver_graph.MAX_DRIVER_EDGES` edges."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
from pyspark.sql import DataFrame

from jobs.graph.driver_graph import DriverGraph, Ints
from jobs.graph.engine import GraphEngine


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
