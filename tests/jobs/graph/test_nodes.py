"""Nodes by join equal nodes by comparing every segment with every entity."""

from __future__ import annotations

import random

from pyspark.sql import DataFrame, SparkSession

from jobs.graph.nodes import assign_nodes

LINKS = (
    "node_id int, quality double, "
    "meta_links array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
)
Meta = tuple[str, int, str, int]


def links_of(spark: SparkSession, metas: dict[int, tuple[float, list[Meta]]]) -> DataFrame:
    return spark.createDataFrame([(n, q, m) for n, (q, m) in metas.items()], LINKS)


def nodes_of(found: DataFrame, entity: str) -> dict[int, list[int]]:
    rows = found.collect()
    assert len({r[f"{entity}_id"] for r in rows}) == len(rows), "one row an entity"
    return {r[f"{entity}_id"]: r["nodes"] for r in rows}


def test_assignment_equals_brute_force(spark: SparkSession) -> None:
    draw = random.Random(5)
    metas = {
        node: (
            draw.choice([0.5, 1.0, 1.5]),  # ties, to be broken by node id
            sorted(
                {(draw.choice("ab"), draw.randrange(3), draw.choice("bc"), draw.randrange(3)) for _ in range(arity)}
            ),
        )
        for node, arity in enumerate([1, 1, 2, 2, 2, 3, 3, 3] * 4)
    }
    links = links_of(spark, metas)  # type: ignore[arg-type]
    for entity, fields, place in (("seeker", "ab", 0), ("job", "bc", 2)):
        terms = {
            i: {f: sorted(draw.sample(range(3), draw.randint(1, 3))) for f in fields if draw.random() < 0.7}
            for i in range(40)
        }
        expected = {}
        for i, held in terms.items():
            matched = [
                (-quality, node)
                for node, (quality, meta_links) in metas.items()
                if all(m[place + 1] in held.get(m[place], []) for m in meta_links)  # type: ignore[call-overload]
            ]
            if matched:
                expected[i] = [node for _, node in sorted(matched)]
        assert 5 < len(expected) < 40, "some carry links and some none"
        frame = spark.createDataFrame(list(terms.items()), f"{entity}_id bigint, terms map<string, array<int>>")
        found = nodes_of(assign_nodes(frame, links, entity), entity)  # type: ignore[arg-type]
        assert found == expected
        best = nodes_of(assign_nodes(frame, links, entity, max_nodes=2), entity)  # type: ignore[arg-type]
        assert best == {i: nodes[:2] for i, nodes in expected.items()}


def test_a_segment_needs_all_its_terms(spark: SparkSession) -> None:
    links = links_of(spark, {7: (1.0, [("occupation", 1, "occupation", 2), ("level", 5, "level", 5)])})
    terms = [
        (1, {"occupation": [1, 9], "level": [4, 5]}),  # both, among others
        (2, {"occupation": [1]}),  # no level
        (3, {"occupation": [1], "level": [4]}),  # another level
        (4, {"occupation": [5], "level": [1]}),  # the terms of the other field
        (5, {}),
    ]
    seekers = spark.createDataFrame(terms, "seeker_id bigint, terms map<string, array<int>>")
    assert nodes_of(assign_nodes(seekers, links, "seeker"), "seeker") == {1: [7]}
    assert assign_nodes(seekers, links.limit(0), "seeker").isEmpty()
