"""Channels against a plain reading of what each should return."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from jobs.channels.batches import read_batch
from jobs.channels.check import channel_recall
from jobs.channels.inventory import Inventory, terms_by_field
from jobs.channels.search import CHANNELS, ORGANIC, PROMOTED, SearchPlan, search_batches
from jobs.channels.sharing import share_places
from tests.jobs.channels.conftest import CLOSED_JOB, N_JOBS, is_new, plainly_shared, popularity_of

QUERY = pa.schema(
    [
        ("query_id", pa.int64()),
        ("seeker_id", pa.int64()),
        ("as_of_ts", pa.timestamp("us", tz="UTC")),
        ("clicked", pa.list_(pa.int64())),
        ("clicked_weights", pa.list_(pa.float32())),
        ("applied", pa.list_(pa.int64())),
        ("applied_weights", pa.list_(pa.float32())),
        ("terms", pa.map_(pa.string(), pa.list_(pa.int32()))),
        ("bands", pa.list_(pa.list_(pa.int32()))),
        ("excluded", pa.list_(pa.int64())),
    ]
)
CHAINS = ("clicked", "applied")
AS_OF = datetime.fromtimestamp(2_050, UTC)  # jobs 0 to 20 are posted by then


def query(query_id: int, **known) -> dict:
    nothing = {"clicked": [], "applied": [], "terms": [], "bands": [], "excluded": []}
    weights = {f"{kind}_weights": [0.5**age for age in range(len(known.get(kind, [])))] for kind in CHAINS}
    return {"query_id": query_id, "seeker_id": query_id, "as_of_ts": AS_OF} | nothing | weights | known


QUERIES = [
    query(1, clicked=[3, 4], applied=[3], terms=[("occupation", [0]), ("region", [1])], bands=[[2], [3, 4]]),
    query(2),  # nothing known: popular alone
    query(3, clicked=[CLOSED_JOB], excluded=[5, 6, 999]),  # a closed job still points somewhere; 999 is unknown
    query(4, terms=[("region", [2])], bands=[[], [1]]),  # a region is not a word for the work; no best band
    query(5, clicked=[12345], terms=[("occupation", [77])]),  # an unknown job has no vector; a term no job has
]


def plan(uri: str, **changes) -> SearchPlan:
    usual = {"k": 10, "memory_budget": 1 << 20, "device": "cpu", "at_its_time": False}
    return SearchPlan(inventory=uri, **(usual | changes))


def found(uri: str, **changes) -> dict[tuple[str, str, int], dict]:
    batch = pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0]
    rows = [row for part in search_batches([batch], plan(uri, **changes)) for row in part.to_pylist()]
    return {(row["flow"], row["channel"], row["query_id"]): row for row in rows}


def jobs(row: dict) -> list[int]:
    return [candidate["job_id"] for candidate in row["candidates"]]


def test_each_query_asks_just_the_channels_it_has_something_for(inventory_uri):
    asked = {(channel, number) for flow, channel, number in found(inventory_uri) if flow == ORGANIC}
    assert asked == {
        ("graph", 1), ("click_chain", 1), ("apply_chain", 1), ("terms", 1), ("popular", 1),
        ("popular", 2), ("click_chain", 3), ("popular", 3), ("graph", 4), ("popular", 4), ("terms", 5), ("popular", 5),
    }  # fmt: skip


def test_graph_fills_the_better_band_first_and_counts_each_job_once(inventory_uri):
    row = found(inventory_uri, k=30)[ORGANIC, "graph", 1]
    best = {i for i in range(N_JOBS - 1) if i % 7 and i % 5 == 2}
    next_best = {i for i in range(N_JOBS - 1) if i % 7 and i % 5 in (3, 4)}
    assert set(jobs(row)[: len(best)]) == best
    assert set(jobs(row)[len(best) :]) <= next_best
    assert row["eligible"] == len(best) + len(next_best)
    scores = [candidate["score"] for candidate in row["candidates"]]
    assert scores == sorted(scores, reverse=True)


def test_terms_are_filters_and_a_term_no_job_has_matches_nothing(inventory_uri):
    rows = found(inventory_uri, k=60)
    assert set(jobs(rows[ORGANIC, "terms", 1])) == {i for i in range(N_JOBS - 1) if i % 3 == 0 and i % 4 == 1}
    assert rows[ORGANIC, "terms", 5]["returned"] == 0 and rows[ORGANIC, "terms", 5]["eligible"] == 0


def test_popular_orders_by_demand_never_by_id(inventory_uri):
    expected = sorted(range(N_JOBS - 1), key=lambda i: -(i * 37 % N_JOBS))[:10]
    assert jobs(found(inventory_uri)[ORGANIC, "popular", 2]) == expected


def test_popularity_moves_the_chain_channels_and_a_job_nobody_met_has_what_is_said(inventory_uri, inventory):
    vectors = inventory.vectors_of(np.arange(N_JOBS)).astype(np.float64)
    for weight, new in ((0.0, 0.4), (0.3, 0.4), (0.3, 0.9)):
        popularity = np.array([new if is_new(job) else popularity_of(job) for job in range(N_JOBS)])
        score = vectors @ vectors[CLOSED_JOB] + weight * popularity
        expected = plainly_shared((job for job in range(N_JOBS - 1) if job not in (5, 6)), score)
        rows = found(inventory_uri, k=60, chain_popularity=weight, new_popularity=new)
        assert jobs(rows[ORGANIC, "click_chain", 3]) == expected


# 12 of the 59 open jobs are new; by score, the last of them, so that they have their share and no more
@pytest.mark.parametrize(("new_weight", "n_new"), [(0, 3), (0.25, 3), (0.5, 5), (1, 10), (2, 12)])
def test_new_jobs_have_their_share_of_a_chains_list(new_weight, n_new, inventory_uri):
    rows = found(inventory_uri, k=50, chain_popularity=9.0, new_weight=new_weight)
    for channel in ("click_chain", "apply_chain"):
        assert sum(map(is_new, jobs(rows[ORGANIC, channel, 1]))) == n_new
        assert rows[ORGANIC, channel, 1]["eligible"] == N_JOBS - 1


def test_excluded_and_closed_jobs_never_come_back(inventory_uri):
    for (_, _, number), row in found(inventory_uri, k=60).items():
        assert CLOSED_JOB not in jobs(row)
        assert number != 3 or not {5, 6} & set(jobs(row))


def test_the_promoted_flow_holds_promoted_jobs_alone(inventory_uri):
    rows = {key: row for key, row in found(inventory_uri, k=60).items() if key[0] == PROMOTED}
    assert {channel for _, channel, _ in rows} == set(CHANNELS[PROMOTED])
    assert all(job % 6 == 0 for row in rows.values() for job in jobs(row))


def test_at_its_time_a_query_sees_what_was_posted_before_it(inventory_uri):
    rows = found(inventory_uri, k=60, at_its_time=True)
    assert set(jobs(rows[ORGANIC, "popular", 2])) == set(range(21))


@pytest.mark.parametrize("changes", [{"memory_budget": 2 << 20}, {"memory_budget": 64 << 20}])
def test_memory_changes_no_answer(inventory_uri, changes):
    assert found(inventory_uri, **changes) == found(inventory_uri)


@pytest.mark.parametrize("channel", CHANNELS[ORGANIC])
def test_a_sample_searched_plainly_agrees(channel, inventory_uri, inventory):
    batch = read_batch(pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0], inventory)
    for k, new_weight, new_popularity in (
        (10, 1.0, 0.4),
        (50, 0.3, 0.0),
        (50, 0.0, 0.4),
        (55, 1.0, 0.0),
        (60, 3.0, 0.4),
    ):
        how = plan(inventory_uri, k=k, chain_popularity=0.3, new_weight=new_weight, new_popularity=new_popularity)
        shares = channel_recall(channel, batch, inventory, how)
        assert shares and all(share == 1.0 for share in shares)


def test_a_list_without_the_new_jobs_share_is_no_plain_answer(inventory_uri, inventory, monkeypatch):
    def unshared(met, new, new_weight):
        return share_places(met, new, 0.0)

    monkeypatch.setattr("jobs.channels.search.share_places", unshared)
    batch = read_batch(pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0], inventory)
    shares = channel_recall("click_chain", batch, inventory, plan(inventory_uri, k=50, chain_popularity=9.0))
    # 3 of the new jobs that have 10 places; where two jobs are excluded, one of them new, 4 of 9
    assert shares == [0.86, 0.9]


def test_chain_vectors_are_weighted_means(inventory: Inventory, inventory_uri):
    rows = [query(1, clicked=[3, 4]), query(2, clicked=[4, 3])]
    batch = read_batch(pa.Table.from_pylist(rows, schema=QUERY).to_batches()[0], inventory)
    three = inventory.vectors_of(np.array([3]))[0]
    assert batch.clicked[0] @ three > batch.clicked[1] @ three
    assert np.allclose(np.linalg.norm(batch.clicked, axis=1), 1.0)


def test_maps_become_ragged_rows_also_when_sliced():
    column = pa.array(
        [[("a", [9])], [("a", [1, 2]), ("b", [])], [], [("b", [3])]], pa.map_(pa.string(), pa.list_(pa.int32()))
    )
    ragged = terms_by_field(pa.chunked_array([column.slice(1)]), ["a", "b", "c"])
    assert [ragged["a"].row(i).tolist() for i in range(3)] == [[1, 2], [], []]
    assert [ragged["b"].row(i).tolist() for i in range(3)] == [[], [], [3]]
    assert [ragged["c"].row(i).tolist() for i in range(3)] == [[], [], []]
