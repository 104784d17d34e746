"""A graph's edges taken into the driver, for python-igraph."""

from __future__ import annotations

from dataclasses import dataclass

import igraph
import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import StageError

# Edges that the driver takes in: 5·10^6 of two int64 are 80 MB, and a few times that in igraph.
MAX_DRIVER_EDGES = 5_000_000

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
        ends = edges.select("src", "dst").limit(MAX_DRIVER_EDGES + 1).toPandas()
        if len(ends) > MAX_DRIVER_EDGES:
            raise StageError(
                f"the graph has more than {MAX_DRIVER_EDGES} edges, too many for igraph on the driver: "
                "set GRAPH_ENGINE to graphframes, or raise build_segment_graph.l1_strength or min_quality where "
                "its edges are links, and set train_job_embeddings.local_share to 0 where they are applications"
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
