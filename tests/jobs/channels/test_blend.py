"""Fusion against a plain reading of the formula, and reasons against the jobs' own terms and vectors."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_retrieval import Ragged
from jobs.channels.blend import BlendPlan, Entries, blend_batches, first_shared, fuse
from jobs.channels.search import search_batches
from tests.jobs.channels.conftest import CLOSED_JOB
from tests.jobs.channels.test_search import QUERIES, QUERY, plan

WEIGHTS = {"graph": 1.0, "click_chain": 1.0, "apply_chain": 1.0, "terms": 0.5, "popular": 0.1}


def fused(entries: list[tuple[int, int, int, int]], quotas: list[int], rrf_k: float = 60.0):
    row, job, channel, rank = (np.array(column, np.int64) for column in zip(*entries, strict=True))
    return fuse(Entries(row, job, channel, rank), np.array([1.0, 0.5]), rrf_k, np.array(quotas))


def test_a_job_of_two_channels_is_there_once_with_both_reasons():
    answer = fused([(0, 7, 0, 1), (0, 8, 0, 2), (0, 8, 1, 1)], quotas=[5])
    assert answer.job.tolist() == [8, 7]
    assert answer.score.tolist() == pytest.approx([1 / 62 + 0.5 / 61, 1 / 61])
    assert np.diff(answer.why_offsets).tolist() == [2, 1]
    assert answer.order.tolist() == [1, 2, 0]  # what adds most comes first


def test_equal_scores_go_to_the_better_rank_then_the_smaller_id():
    # 0.5 / (0 + 1) = 1 / (0 + 2): job 9 at rank 1 of the lighter channel, job 4 at rank 2 of the heavier
    answer = fused([(0, 4, 0, 2), (0, 9, 1, 1), (0, 3, 0, 2)], quotas=[5], rrf_k=0.0)
    assert answer.job.tolist() == [9, 3, 4]


def test_quotas_cut_each_row_apart_and_nothing_is_an_answer():
    answer = fused([(0, 1, 0, 1), (0, 2, 0, 2), (1, 1, 0, 1), (1, 2, 0, 2)], quotas=[1, 2])
    assert list(zip(answer.row.tolist(), answer.job.tolist(), strict=True)) == [(0, 1), (1, 1), (1, 2)]
    nothing = np.zeros(0, np.int64)
    assert fuse(Entries(nothing, nothing, nothing, nothing), np.ones(1), 60.0, np.array([3])).job.size == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 1), st.integers(1, 9)), min_size=1),
    st.integers(1, 4),
)
def test_fusion_is_the_formula(entries, quota):
    best: dict[tuple[int, int, int], int] = {}
    for row, job, channel, rank in entries:
        best[row, job, channel] = min(rank, best.get((row, job, channel), 99))
    scores: dict[int, dict[int, list[float]]] = defaultdict(dict)
    for (row, job, channel), rank in sorted(best.items()):
        score, least = scores[row].get(job, [0.0, 99])
        scores[row][job] = [score + (1.0, 0.5)[channel] / (60 + rank), min(least, rank)]
    expected = [
        (row, job)
        for row in sorted(scores)
        for job in sorted(scores[row], key=lambda j: (-round(scores[row][j][0], 12), scores[row][j][1], j))[:quota]
    ]
    answer = fused(entries, quotas=[quota] * 3)
    assert list(zip(answer.row.tolist(), answer.job.tolist(), strict=True)) == expected


def test_the_first_shared_value_is_the_first_of_the_seekers_row():
    wanted = Ragged.from_lists([[5, 2, 9], [], [1]])
    carried = Ragged.from_lists([[2, 9], [9, 5], [5], [7], []])
    whose = np.array([0, 0, 1, 2, 0])
    assert first_shared(whose, (carried.offsets, carried.values), wanted).tolist() == [2, 5, -1, -1, -1]


def blended(uri: str, with_attributes: bool = False, **changes) -> dict[tuple[int, str], dict]:
    batch = pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0]
    found = [row for part in search_batches([batch], plan(uri, **changes)) for row in part.to_pylist()]
    lists = {row["query_id"]: [] for row in QUERIES}
    for row in found:
        lists[row["query_id"]].append({name: row[name] for name in ("flow", "channel", "candidates")})
    with_lists = [row | {"lists": lists[row["query_id"]]} for row in QUERIES]
    candidate = pa.struct([("job_id", pa.int64()), ("score", pa.float32())])
    entry = pa.struct([("flow", pa.string()), ("channel", pa.string()), ("candidates", pa.list_(candidate))])
    asked = pa.Table.from_pylist(with_lists, schema=QUERY.append(pa.field("lists", pa.list_(entry))))
    quotas = {"organic": 20, "promoted": 5}
    blend = BlendPlan(inventory=uri, quotas=quotas, weights=WEIGHTS, rrf_k=60.0, with_attributes=with_attributes)
    whole = asked.combine_chunks().to_batches()[0]
    # a batch cut off from a longer one: its arrays do not start at 0
    rows = [row for part in blend_batches([whole.slice(1), whole.slice(0, 1)], blend) for row in part.to_pylist()]
    return {(row["seeker_id"], row["flow"]): row for row in rows}


@pytest.fixture(scope="module")
def sets(inventory_uri) -> dict[tuple[int, str], dict]:
    return blended(inventory_uri)


def test_every_seeker_and_flow_has_a_row_with_its_quota(sets):
    assert set(sets) == {(row["query_id"], flow) for row in QUERIES for flow in ("organic", "promoted")}
    for (_, flow), row in sets.items():
        assert row["asked"] == {"organic": 20, "promoted": 5}[flow]
        assert row["returned"] == len(row["candidates"]) <= row["asked"]
        ids = [candidate["job_id"] for candidate in row["candidates"]]
        assert len(set(ids)) == len(ids) and CLOSED_JOB not in ids
        assert all(candidate["external_job_id"] == f"job-{candidate['job_id']}" for candidate in row["candidates"])


def test_reasons_name_what_ties_the_job_to_the_seeker(sets):
    query = {row["query_id"]: row for row in QUERIES}
    seen = set()
    for (seeker, _), row in sets.items():
        for candidate in row["candidates"]:
            for why in candidate["why"]:
                job, evidence = candidate["job_id"], why["evidence_id"]
                seen.add(why["channel"])
                if why["channel"] == "graph":
                    assert evidence == job % 5 and job % 7
                elif why["channel"] == "click_chain":
                    assert evidence in query[seeker]["clicked"]
                elif why["channel"] == "apply_chain":
                    assert evidence in query[seeker]["applied"]
                elif why["channel"] == "terms":
                    assert evidence == job % 3  # occupation is field 0
                elif evidence >= 0:
                    assert evidence == (2 << 32) + job % 4
    assert seen == set(WEIGHTS)
