"""One suite for both graph engines; the GraphFrames half is skipped without its jar."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import SettingsError, StageError
from jobs.graph import driver_graph, engines
from jobs.graph.driver_graph import DriverGraph
from jobs.graph.engine import GraphEngine, verify_communities, verify_components
from jobs.graph.engines import graph_engine, has_graphframes
from jobs.graph.igraph_engine import IgraphEngine
from jobs.graph.inferred import Inference, inferred_links

# Two blocks, each of three sources that all hire into three targets, joined by one edge; a chain; a hub.
BLOCKS = [(s, 10 + t) for s in (1, 2, 3) for t in range(3)] + [(s, 20 + t) for s in (4, 5, 6) for t in range(3)]
BRIDGE = [(3, 20)]
CHAIN = [(7, 30), (8, 30), (8, 31), (9, 31)]
HUB = [(40, 50 + t) for t in range(5)]
# Ids beyond 32 bits, the least of its component: nothing may take them for positions.
FAR = [(2**40, 2**40 + 1)]


@pytest.fixture(params=["igraph", "graphframes"])
def engine(request: pytest.FixtureRequest, spark: SparkSession) -> GraphEngine:
    if request.param == "igraph":
        return IgraphEngine()
    if not has_graphframes(spark):
        pytest.skip("GraphFrames' jar is not loaded: name it in GRAPHFRAMES_JARS")
    from jobs.graph.graphframes_engine import GraphFramesEngine

    return GraphFramesEngine()


def table(spark: SparkSession, edges: list[tuple[int, int]]) -> DataFrame:
    return spark.createDataFrame(edges, "src bigint, dst bigint")


def groups(labels: DataFrame, name: str) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for row in labels.collect():
        members.setdefault(row[name], []).append(row["id"])
    return {label: sorted(ids) for label, ids in members.items()}


def test_answers(spark: SparkSession, engine: GraphEngine) -> None:
    edges = table(spark, BLOCKS + BRIDGE + CHAIN + HUB + FAR).persist()
    assert groups(engine.components(edges), "component") == {
        1: [1, 2, 3, 4, 5, 6, 10, 11, 12, 20, 21, 22],
        7: [7, 8, 9, 30, 31],
        40: [40, 50, 51, 52, 53, 54],
        2**40: [2**40, 2**40 + 1],
    }
    assert groups(engine.communities(edges), "community") == {
        1: [1, 2, 3, 10, 11, 12],
        4: [4, 5, 6, 20, 21, 22],  # one edge between the blocks does not make them one
        7: [7, 8, 9, 30, 31],  # 8 hears 7 and 8 once each: the least
        40: [40, 50, 51, 52, 53, 54],
        2**40: [2**40, 2**40 + 1],
    }
    verify_communities(engine.components(edges), engine.communities(edges), engine.name)
    degrees = {r["id"]: r["degree"] for r in engine.degrees(edges).collect()}
    assert (degrees[3], degrees[20], degrees[30], degrees[40], degrees[50]) == (4, 4, 2, 5, 1)
    assert len(degrees) == 25
    shared = {(r.a, r.b): r.n_shared for r in engine.shared_sources(edges, max_degree=4).collect()}
    assert shared == {
        (10, 11): 3, (10, 12): 3, (11, 12): 3,
        (20, 21): 3, (20, 22): 3, (21, 22): 3,
        (10, 20): 1, (11, 20): 1, (12, 20): 1,  # through 3, which has just four targets
        (30, 31): 1,
    }  # the hub has five and is left out  # fmt: skip
    again = table(spark, [*reversed(FAR + HUB), *CHAIN, *BRIDGE, *reversed(BLOCKS)]).repartition(3)
    assert groups(engine.communities(again), "community") == groups(engine.communities(edges), "community")


def test_links_are_inferred_from_segments_that_hire_alike(spark: SparkSession, engine: GraphEngine) -> None:
    """Jobs 1 hire from seekers 5 and 6; jobs 2 from these and from 7; jobs 3 from 7 alone."""
    hired = [(5, 1, 1.0), (6, 1, 1.0), (5, 2, 2.0), (6, 2, 1.0), (7, 2, 3.0), (7, 3, 1.0), (1, 3, 1.0)]
    rows = [
        (f"o={s}", f"o={j}", [("o", s, "o", j)], 9.0, 2.0, quality, "learnt") for s, j, quality in hired
    ]  # fmt: skip
    meta = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
    columns = f"seeker_segment string, job_segment string, meta_links {meta}, n_hires double, n_no_hires double"
    links = spark.createDataFrame(rows, f"{columns}, quality double, origin string")

    def inferred(links: DataFrame, **options: float) -> dict[tuple[str, str], float]:
        found = inferred_links(links, engine, Inference(discount=0.5, **options)).collect()  # type: ignore[arg-type]
        assert {(r.origin, r.n_hires, r.n_no_hires) for r in found} <= {("inferred", 0.0, 0.0)}
        assert all(r.meta_links[0].seeker_term == int(r.seeker_segment[-1]) for r in found)
        return {(r.seeker_segment, r.job_segment): r.quality for r in found}

    # 2 has no link; of its three sources 1 hires from two, with a mean quality of 1. 1 has a link: not inferred.
    assert inferred(links) == {("o=2", "o=1"): 0.3333}
    through_one = {("o=2", "o=1"): 0.3333, ("o=2", "o=3"): 0.1667, ("o=3", "o=2"): 0.5}
    assert inferred(links, min_shared=1) == through_one, "3 has two sources, 7 and 1; 2 hires from one of them too"
    assert inferred(links, min_shared=1, max_per_segment=1) == {("o=2", "o=1"): 0.3333, ("o=3", "o=2"): 0.5}
    assert inferred(links.limit(0)) == {}


def test_wrong_components_are_refused(spark: SparkSession) -> None:
    edges = table(spark, CHAIN + FAR)
    right = IgraphEngine().components(edges)
    verify_components(edges, right, "graphframes")
    cut = right.selectExpr("id", "IF(id = 9, 9, component) AS component")
    with pytest.raises(StageError, match="expected every edge within one component"):
        verify_components(edges, cut, "igraph")
    with pytest.raises(StageError, match="expected every edge within one component"):
        verify_components(edges, right.where("id <> 9"), "igraph")
    merged = right.selectExpr("id", "7L AS component")
    with pytest.raises(StageError, match="expected 2 of them, got 1"):
        verify_components(edges, merged, "graphframes")


def test_wrong_communities_are_refused(spark: SparkSession, engine: GraphEngine) -> None:
    edges = table(spark, BLOCKS + BRIDGE + FAR)
    components, right = engine.components(edges).persist(), engine.communities(edges).persist()
    verify_communities(components, right, engine.name)
    verify_communities(components.limit(0), right.limit(0), engine.name)
    far = 2**40
    wrong = {
        "one vertex in another component's": right.selectExpr("id", f"IF(id = {far}, 1, community) AS community"),
        "all of them one": right.selectExpr("id", "1L AS community"),
        "a vertex without": right.where(f"id <> {far}"),
        "a vertex with null": right.selectExpr("id", f"IF(id = {far}, NULL, community) AS community"),
        "a vertex with two": right.unionByName(right.where("id = 3").selectExpr("id", "4L AS community")),
        "a vertex too many": right.unionByName(spark.createDataFrame([(99, 1)], "id bigint, community bigint")),
    }
    message = f"communities by {engine.name} are wrong: expected one for each of 14"
    for case, communities in wrong.items():
        print(case)
        with pytest.raises(StageError, match=message):
            verify_communities(components, communities, engine.name)


def test_igraph_refuses_what_the_driver_should_not_hold(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_graph, "MAX_DRIVER_EDGES", 3)
    assert len(DriverGraph.collect(table(spark, CHAIN[:3])).src) == 3
    with pytest.raises(StageError, match="more than 3 edges"):
        DriverGraph.collect(table(spark, CHAIN))


def test_the_engine_is_chosen_by_name(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_ENGINE", "igraph")
    assert graph_engine(spark).name == "igraph"
    monkeypatch.setenv("GRAPH_ENGINE", "igrpah")
    with pytest.raises(SettingsError, match="did you mean 'igraph'"):
        graph_engine(spark)
    for loaded, expected in ((True, "graphframes"), (False, "igraph")):
        monkeypatch.setattr(engines, "has_graphframes", lambda spark, loaded=loaded: loaded)
        for unsaid in ("auto", ""):
            monkeypatch.setenv("GRAPH_ENGINE", unsaid)
            assert graph_engine(spark).name == expected
    monkeypatch.setenv("GRAPH_ENGINE", "graphframes")
    with pytest.raises(SettingsError, match="GRAPHFRAMES_JARS"):
        graph_engine(spark)
