"""Segments are added best-first until enough jobs are reached, jobs of two segments counted once."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.graph.liquidity import enough_nodes


def test_best_first_until_the_target(spark: SparkSession) -> None:
    links = spark.createDataFrame(
        [(0, "a", 3.0), (1, "a", 1.0), (2, "b", 1.9), (3, "c", 1.0), (4, "d", 0.6)],  # means: a 2, b 1.9, c 1, d 0.6
        "node_id int, seeker_segment string, quality double",
    )
    open_jobs = [
        *[(job, [0]) for job in range(3)],
        *[(job, [1, 2]) for job in range(3, 6)],  # a and b have these in common
        *[(job, [3]) for job in range(6, 10)],
    ]  # nothing is open for d
    seekers = [
        (1, [0, 2, 3]),
        (2, [2, 1, 3]),
        (3, [4, 3]),  # their order is not touched
        (4, [4]),  # one that reaches nothing
    ]
    nodes = spark.createDataFrame(seekers, "seeker_id bigint, nodes array<int>")
    jobs = spark.createDataFrame(open_jobs, "job_id bigint, nodes array<int>")

    def found(target: int) -> tuple[dict[int, list[int]], dict[int, tuple[int, int]]]:
        liquidity = enough_nodes(nodes, links, jobs, target)
        reached = {r.seeker_id: (r.before, r.after) for r in liquidity.reached.collect()}
        return {r.seeker_id: r.nodes for r in liquidity.nodes.collect()}, reached

    # a reaches six, with b still six, with c ten
    assert found(6)[0] == {1: [0], 2: [1], 3: [4, 3], 4: [4]}
    kept, reached = found(7)
    assert kept == {1: [0, 2, 3], 2: [2, 1, 3], 3: [4, 3], 4: [4]}, "a and b are six jobs, not nine"
    assert reached == {1: (10, 10), 2: (10, 10), 3: (4, 4), 4: (0, 0)}
    kept, reached = found(4)
    assert kept == {1: [0], 2: [1], 3: [3], 4: [4]}, "c alone reaches four: d is not needed"
    assert reached == {1: (10, 6), 2: (10, 6), 3: (4, 4), 4: (0, 0)}
    figures = {label: value for _, value, label in enough_nodes(nodes, links, jobs, 4).figures()}
    assert (figures["before/mean"], figures["after/mean"], figures["before/p90"]) == (6.0, 4.0, 10)
    assert enough_nodes(nodes.limit(0), links, jobs, 4).figures() == []
