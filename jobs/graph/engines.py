"""Who answers: GraphFrames where its jar is loaded, else python-igraph."""

from __future__ import annotations

import os

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.errors import SettingsError, nearest
from jobs.graph.engine import GraphEngine
from jobs.graph.igraph_engine import IgraphEngine

ENGINES = ("auto", "graphframes", "igraph")


def graph_engine(spark: SparkSession) -> GraphEngine:
    """The engine that GRAPH_ENGINE names; auto, the default, is GraphFrames where its classes can be loaded.

    SettingsError where the name is unknown, or graphframes is asked for by name and cannot be loaded.
    """
    asked = os.environ.get("GRAPH_ENGINE") or "auto"
    if asked not in ENGINES:
        raise SettingsError(f"GRAPH_ENGINE: {asked!r}; {nearest(asked, ENGINES)}")
    is_loadable = asked != "igraph" and has_graphframes(spark)
    if asked == "graphframes" and not is_loadable:
        raise SettingsError(
            "GRAPH_ENGINE is graphframes, but org.graphframes.GraphFrame is on no class path: name jars in "
            "GRAPHFRAMES_JARS, or set GRAPH_ENGINE to igraph"
        )
    if not is_loadable:
        return IgraphEngine()
    # imported where it is used: without the jar nothing needs it
    from jobs.graph.graphframes_engine import GraphFramesEngine

    return GraphFramesEngine()


def has_graphframes(spark: SparkSession) -> bool:
    """Whether GraphFrames' JVM classes can be loaded in this session."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None, "the session has ended"
    loader = jvm.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass("org.graphframes.GraphFramePythonAPI")
    except Py4JJavaError:
        return False
    return True
