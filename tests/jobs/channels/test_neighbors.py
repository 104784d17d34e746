"""Neighbours of jobs, and chains answered from them, against a plain reading of what each should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gpu_retrieval import Ragged
from jobs.artifacts import written_folder
from jobs.channels.batches import read_batch
from jobs.channels.check import channel_recall
from jobs.channels.inventory import Inventory
from jobs.channels.neighbors import (
    APPLY,
    CLICK,
    NeighborPlan,
    Neighbors,
    Weighed,
    merged,
    shard_neighbors,
)
from jobs.channels.search import NEIGHBORS, ORGANIC, PROMOTED, search_batches
from tests.jobs.channels.conftest import CLOSED_JOB, N_JOBS, plainly_shared
from tests.jobs.channels.test_search import QUERIES, QUERY, jobs, plan, query

UNKNOWN = 999
APPLIED = {3, CLOSED_JOB}


def country_of(job: int) -> list[int]:
    return [job // 30] if job % 25 else []


def asked(ids: list[int], with_country: bool = True) -> pa.Table:
    return pa.table(
        {
            "job_id": pa.array(ids, pa.int64()),
            "country": pa.array([country_of(job) if with_country else [] for job in ids], pa.list_(pa.int32())),
            "is_applied": [job in APPLIED for job in ids],
        }
    )


def write(uri: str, inventory_uri: str, inventory: Inventory, n: int, with_country: bool = True) -> list[dict]:
    """Every job's neighbours, in two shards; the rows of the table."""
    how = NeighborPlan(inventory=inventory_uri, n=n, memory_budget=1 << 20, device="cpu")
    rows = []
    with written_folder(uri) as folder:
        for shard in range(2):
            ids = [job for job in [UNKNOWN, *reversed(range(N_JOBS))] if job % 2 == shard]
            found = shard_neighbors(asked(ids, with_country), inventory, how, Path(folder) / f"shard-{shard:04d}")
            rows += found.to_pylist()
    return rows


@pytest.fixture(scope="module")
def neighbors_uri(tmp_path_factory, inventory_uri, inventory) -> str:
    uri = str(tmp_path_factory.mktemp("neighbors") / "neighbors")
    write(uri, inventory_uri, inventory, 8)
    return uri


def plainly_nearest(inventory: Inventory, job: int, n: int) -> list[int]:
    vectors = inventory.vectors_of(np.arange(N_JOBS)).astype(np.float64)
    cosine = (vectors @ vectors[job]).astype(np.float32)
    others = [o for o in range(N_JOBS) if o not in (job, CLOSED_JOB)]
    own = country_of(job)
    return sorted((o for o in others if not own or country_of(o) == own), key=lambda o: (-cosine[o], o))[:n]


def test_each_job_has_the_nearest_open_jobs_of_its_country(tmp_path, inventory_uri, inventory):
    rows = write(str(tmp_path / "n"), inventory_uri, inventory, 8)
    clicked = {row["job_id"]: [near["job_id"] for near in row["neighbors"]] for row in rows if row["channel"] == CLICK}
    # a closed job has neighbours and is nobody's; an unknown one has no vector and no row
    assert clicked == {job: plainly_nearest(inventory, job, 8) for job in range(N_JOBS)}
    applied = {row["job_id"]: [near["job_id"] for near in row["neighbors"]] for row in rows if row["channel"] == APPLY}
    assert applied == {job: clicked[job] for job in APPLIED}


def test_a_country_with_fewer_jobs_gives_what_it_has(tmp_path, inventory_uri, inventory):
    rows = write(str(tmp_path / "n"), inventory_uri, inventory, 1000)
    sizes = {row["job_id"]: len(row["neighbors"]) for row in rows if row["channel"] == CLICK}
    # of jobs 0 to 29 two have no country, of 30 to 59 one, and one is closed
    assert (sizes[1], sizes[31], sizes[CLOSED_JOB], sizes[0]) == (27, 27, 28, 58)


def by_hand(folder: Path, near: dict[int, list[tuple[int, float]]]) -> Neighbors:
    (folder / "shard-0000").mkdir(parents=True)
    flat = [pair for job in sorted(near) for pair in near[job]]
    arrays = {
        "ids": np.array(sorted(near), np.int64),
        "offsets": np.cumsum([0, *(len(near[job]) for job in sorted(near))]),
        "jobs": np.array([job for job, _ in flat], np.int64),
        "scores": np.array([score for _, score in flat], np.float32),
    }
    for name, array in arrays.items():
        np.save(folder / "shard-0000" / f"{name}.npy", array)
    return Neighbors(folder)


def no_prior(found: np.ndarray) -> np.ndarray:
    return np.zeros(len(found))


def all_met(found):
    return np.zeros(len(found), bool)


def test_neighbours_of_a_chain_are_merged_by_weighted_mean(tmp_path):
    neighbors = by_hand(tmp_path, {1: [(10, 0.75), (11, 0.5)], 2: [(11, 1.0), (12, 0.25), (13, 0.25)], 3: []})
    # what 1 says counts three times what 2 says; 3 has none, 9 is unknown: both count in the mean
    chains = Weighed(
        Ragged.from_lists([[1, 2], [3, 2], [], [9]], "int64"), np.array([3.0, 1.0, 1.0, 1.0, 1.0], np.float32)
    )
    hits, none = merged(chains, neighbors, lambda rows, found: found != 10, no_prior, all_met, 2, 1 << 20)
    assert hits.ids.tolist() == [[11, 12], [11, 12], [-1, -1], [-1, -1]]
    np.testing.assert_allclose(hits.scores[:2], [[(3 * 0.5 + 1.0) / 4, 0.25 / 4], [0.5, 0.125]])
    assert hits.n_matches.tolist() == [3, 3, 0, 0]
    assert none.n_matches.tolist() == [0] * 4
    # what is popular overtakes what is a little nearer
    popular, _ = merged(
        chains, neighbors, lambda rows, found: rows == 0, lambda found: 0.25 * (found == 13), all_met, 3, 1 << 20
    )
    assert popular.ids[0].tolist() == [11, 10, 13]
    np.testing.assert_allclose(popular.scores[0], [0.625, 3 * 0.75 / 4, 0.25 / 4 + 0.25])
    second, _ = merged(chains, neighbors, lambda rows, found: rows == 1, no_prior, all_met, 2, 64)
    assert second.ids.tolist()[:2] == [[-1, -1], [11, 12]]


def test_new_jobs_are_merged_apart_by_the_same_scores(tmp_path):
    neighbors = by_hand(tmp_path, {1: [(10, 0.75), (11, 0.5)], 2: [(11, 1.0), (12, 0.25), (13, 0.25)]})
    chains = Weighed(Ragged.from_lists([[1, 2], [1]], "int64"), np.array([3.0, 1.0, 1.0], np.float32))
    met, new = merged(
        chains, neighbors, lambda rows, found: found != 12, no_prior, lambda found: found % 2 > 0, 2, 1 << 20
    )
    assert (met.ids.tolist(), new.ids.tolist()) == ([[10, -1], [10, -1]], [[11, 13], [11, -1]])
    np.testing.assert_allclose(new.scores[0], [0.625, 0.0625])
    assert (met.n_matches.tolist(), new.n_matches.tolist()) == ([1, 1], [2, 1])


def found(inventory_uri: str, neighbors_uri: str, rows=QUERIES, **changes) -> dict[tuple[str, str, int], dict]:
    batch = pa.Table.from_pylist(rows, schema=QUERY).to_batches()[0]
    how = replace(plan(inventory_uri, **{"k": 60, **changes}), neighbors=neighbors_uri)
    results = [row for part in search_batches([batch], how) for row in part.to_pylist()]
    return {(row["flow"], row["channel"], row["query_id"]): row for row in results}


def test_chains_are_served_from_neighbours_under_every_filter(inventory_uri, neighbors_uri, inventory):
    rows = found(inventory_uri, neighbors_uri, chains=NEIGHBORS)
    near = {job: plainly_nearest(inventory, job, 8) for job in range(N_JOBS)}
    assert set(jobs(rows[ORGANIC, "click_chain", 1])) == {*near[3], *near[4]}
    vectors = inventory.vectors_of(np.arange(N_JOBS)).astype(np.float64)
    assert jobs(rows[ORGANIC, "apply_chain", 1]) == plainly_shared(near[3], vectors @ vectors[3])
    others = [job for job in near[CLOSED_JOB] if job not in (5, 6)]
    assert jobs(rows[ORGANIC, "click_chain", 3]) == plainly_shared(others, vectors @ vectors[CLOSED_JOB])
    assert set(jobs(rows[PROMOTED, "click_chain", 1])) == {job for job in {*near[3], *near[4]} if job % 6 == 0}
    in_time = found(inventory_uri, neighbors_uri, chains=NEIGHBORS, at_its_time=True)
    assert set(jobs(in_time[ORGANIC, "click_chain", 1])) == {job for job in {*near[3], *near[4]} if job <= 20}
    assert all(row["returned"] == min(row["asked"], row["eligible"]) for row in rows.values())
    assert found(inventory_uri, neighbors_uri, chains=NEIGHBORS, memory_budget=64 << 20) == rows


def test_both_ways_are_asked_side_by_side(inventory_uri, neighbors_uri):
    rows = found(inventory_uri, neighbors_uri, both_ways=True)
    other = found(inventory_uri, neighbors_uri, both_ways=True, chains=NEIGHBORS)
    for chain, kind in (("click_chain", "click"), ("apply_chain", "apply")):
        assert jobs(rows[ORGANIC, f"{kind}_neighbors", 1]) == jobs(other[ORGANIC, chain, 1])
        assert jobs(other[ORGANIC, f"{kind}_vectors", 1]) == jobs(rows[ORGANIC, chain, 1])
    assert (ORGANIC, "click_vectors", 1) not in rows


def test_where_all_are_neighbours_the_order_is_that_of_the_chains_vector(tmp_path, inventory_uri, inventory):
    uri = str(tmp_path / "all")
    write(uri, inventory_uri, inventory, N_JOBS, with_country=False)
    chains = [query(1, clicked=[3, 44, 17]), query(2, clicked=[CLOSED_JOB])]
    rows = found(inventory_uri, uri, chains, both_ways=True)
    for number, chain in ((1, [3, 44, 17]), (2, [CLOSED_JOB])):
        by_vector = [job for job in jobs(rows[ORGANIC, "click_chain", number]) if job not in chain]
        assert [job for job in jobs(rows[ORGANIC, "click_neighbors", number]) if job not in chain] == by_vector


def test_a_sample_merged_plainly_agrees(inventory_uri, neighbors_uri, inventory):
    batch = read_batch(pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0], inventory)
    how = replace(plan(inventory_uri), chains=NEIGHBORS, neighbors=neighbors_uri)
    for weight in (0.0, 0.3):
        shares = channel_recall(CLICK, batch, inventory, replace(how, chain_popularity=weight))
        assert len(shares) == 2 and all(share == 1.0 for share in shares)
