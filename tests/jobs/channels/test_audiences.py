"""Audiences against a plain reading of who should be reached."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.channels.audiences import EMPTY, AudiencePlan, audiences, partial_audiences
from tests.jobs.channels.conftest import N_JOBS

# Node 2 is of the best band, 3 and 4 of the next, 0 and 1 of the last.
BAND = {2: 0, 3: 1, 4: 1, 0: 2, 1: 2}
PROMOTED = [i for i in range(N_JOBS) if i % 6 == 0]


def seekers(n: int) -> list[dict]:
    draw = random.Random(2)
    rows = []
    for i in range(n):
        nodes = sorted(draw.sample(range(5), draw.choice([0, 1, 1, 2, 3])))
        bands = [[node for node in nodes if BAND[node] == band] for band in range(3)] if nodes else []
        acted = [draw.randrange(N_JOBS) for _ in range(draw.choice([0, 0, 1, 5]))]
        excluded = sorted({draw.choice([*PROMOTED, 7, 999]) for _ in range(draw.choice([0, 1, 4]))})
        # like the jobs', of four regions; some have none, some two
        terms = {"region": sorted(draw.sample(range(4), draw.choice([0, 1, 1, 2])))} if i % 5 else {}
        row = {"bands": bands, "clicked": acted, "applied": acted[:1], "excluded": excluded, "terms": terms}
        rows.append({"seeker_id": 10**12 + i} | row)
    draw.shuffle(rows)
    return rows


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist([row | {"terms": list(row["terms"].items())} for row in rows], schema=EMPTY.schema)


def plainly(rows: list[dict], job: int, cap: int) -> tuple[int, list[tuple[int, int]]]:
    """How many are eligible, and (seeker, node) of the first `cap`."""
    found = []
    for row in rows:
        shared = [node for band in row["bands"] for node in band if job % 7 and node == job % 5]
        if shared and job not in row["excluded"]:
            actions = len(row["clicked"]) + len(row["applied"])
            is_elsewhere = job % 4 not in row["terms"].get("region", [])
            found.append((BAND[shared[0]], is_elsewhere, -actions, row["seeker_id"], shared[0]))
    return len(found), [(seeker, node) for *_, seeker, node in sorted(found)[:cap]]


@pytest.mark.parametrize(("cap", "budget"), [(5, 1 << 20), (5, 200), (1_000, 1 << 20)])
def test_who_is_reached(inventory_uri: str, cap: int, budget: int) -> None:
    rows = seekers(80)
    whole = table(rows)
    plan = AudiencePlan(inventory=inventory_uri, cap=cap, memory_budget=max(budget, 1 << 20))
    found = [row for part in partial_audiences(whole.to_batches(max_chunksize=13), plan) for row in part.to_pylist()]
    assert [row["job_id"] for row in found] == PROMOTED, "those without anybody, too"
    assert {row["external_job_id"] for row in found} == {f"job-{i}" for i in PROMOTED}
    for row in found:
        eligible, members = plainly(rows, row["job_id"], cap)
        assert row["eligible"] == eligible
        assert [(m["seeker_id"], m["node_id"]) for m in row["members"]] == members
        assert [m["falling"] for m in row["members"]] == sorted(m["falling"] for m in row["members"])
    assert any(row["eligible"] > 5 for row in found)
    assert any(row["eligible"] == 0 for row in found)


def test_partitions_are_merged_and_named(inventory_uri: str, spark: SparkSession) -> None:
    rows = seekers(80)
    columns = (
        "seeker_id bigint, bands array<array<int>>, clicked array<bigint>, applied array<bigint>, excluded array<bigint>, "
        "terms map<string,array<int>>"
    )
    queries = spark.createDataFrame(rows, columns).repartition(3)
    names = queries.selectExpr("seeker_id", "concat('seeker-', seeker_id) AS external_seeker_id")
    plan = AudiencePlan(inventory=inventory_uri, cap=5, memory_budget=1 << 20)
    found = {row.job_id: row for row in audiences(queries, names, plan).collect()}
    assert sorted(found) == PROMOTED
    for job, row in found.items():
        eligible, members = plainly(rows, job, 5)
        assert (row.asked, row.eligible, row.returned) == (5, eligible, len(members))
        assert [(s.seeker_id, s.evidence_id) for s in row.seekers] == members
        assert all(s.external_seeker_id == f"seeker-{s.seeker_id}" for s in row.seekers)
        assert [s.score for s in row.seekers] == sorted((s.score for s in row.seekers), reverse=True)


def test_nobody_is_active(inventory_uri: str) -> None:
    plan = AudiencePlan(inventory=inventory_uri, cap=5, memory_budget=1 << 20)
    assert list(partial_audiences([], plan)) == []
    assert list(partial_audiences([EMPTY], plan)) == []
    no_nodes = table([r | {"bands": []} for r in seekers(3)]).to_batches()
    assert {row["eligible"] for part in partial_audiences(no_nodes, plan) for row in part.to_pylist()} == {0}
