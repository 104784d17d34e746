"""Jobs added and closed give what a rebuild gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_retrieval import Ragged
from tests.gpu_retrieval.oracle import World, answer, assert_hits, make_ask, make_world


def add(index, world: World) -> None:
    terms = {name: Ragged.from_lists(rows) for name, rows in world.terms.items()}
    index.add(world.ids, world.vectors, terms, world.numbers)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 40),
    storage=st.sampled_from(["float32", "float16", "int8"]),
)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_history_equals_a_rebuild(device, seed, n, storage):
    rng = random.Random(seed)
    world = make_world(rng, n, 3)
    current = list(range(rng.randint(0, n)))
    waiting = list(range(len(current), n))
    index = world.part(np.array(current, dtype=np.int64)).build(storage=storage, device=device)
    for _ in range(5):
        if rng.random() < 0.5:
            rng.shuffle(waiting)
            new, waiting = waiting[: rng.randint(0, 9)], waiting[9:] + waiting[:0]
            add(index, world.part(np.array(new, dtype=np.int64)))
            current += new
        else:
            gone = rng.sample(current, rng.randint(0, len(current)))
            index.remove(world.ids[np.array(gone, dtype=np.int64)])
            current = [row for row in current if row not in gone]
            # A closed job may come back: its old row must not.
            waiting += gone
        part = world.part(np.array(current, dtype=np.int64))
        np.testing.assert_array_equal(index.ids, part.ids)
        assert len(index) == len(current)
        ask = make_ask(rng, part, 3, 5)
        assert_hits(ask.search(index), answer(part, ask))


def test_a_job_that_comes_back_is_the_new_one(device):
    """Its old row is closed but still there: exclusion, ties and why_not must see the new one alone."""
    world = make_world(random.Random(5), 20, 2)
    index = world.build(device=device)
    job = world.part(np.array([7]))
    index.remove(job.ids)
    assert index.why_not(np.ones((1, 2), np.float32), None, int(job.ids[0])).reason == "unknown id"
    add(index, World(job.ids, np.array([[100, 100]], np.float32), job.terms, job.numbers))
    query = np.ones((1, 2), np.float32)
    assert index.search(query, 1).ids.tolist() == [job.ids.tolist()]
    assert index.search(query, 20, exclude=Ragged.from_lists([job.ids], "int64")).n_matches.tolist() == [19]
    assert index.ids.tolist() == [*np.delete(world.ids, 7).tolist(), int(job.ids[0])]


def test_many_small_additions_stay_few_segments(device):
    """One job at a time: segments halve in size from first to last, so 64 jobs make at most 7."""
    world = make_world(random.Random(6), 64, 2)
    index = world.part(np.arange(1)).build(device=device)
    for row in range(1, 64):
        add(index, world.part(np.array([row])))
    assert len(index._segments) <= 7
    ask = make_ask(random.Random(1), world, 5, 9)
    assert_hits(ask.search(index), answer(world, ask))


def test_closed_rows_are_dropped_in_the_end(device):
    world = make_world(random.Random(8), 10, 2)
    index = world.build(device=device)
    index.remove(world.ids[:5])
    assert sum(map(len, index._segments)) == 10
    index.remove(world.ids[5:6])
    assert sum(map(len, index._segments)) == 4 == len(index)


def test_the_caller_s_ids_are_its_own():
    ids = np.array([1, 2])
    index = make_world(random.Random(8), 0, 2).part(np.empty(0, np.int64)).build(device="cpu")
    add(index, World(ids, np.ones((2, 2), np.float32), {f: [[], []] for f in index.fields}, _numbers(2)))
    ids[0] = 2
    assert index.ids.tolist() == [1, 2]


def _numbers(n: int) -> dict[str, np.ndarray]:
    return {"salary_max": np.zeros(n), "level": np.zeros(n, np.int64)}


@pytest.mark.parametrize("removed", [[], [2]])
def test_prior_is_in_the_order_of_ids(device, removed):
    world = World(np.array([9, 2, 5]), np.zeros((3, 1), np.float32), {}, {})
    index = world.build(device=device)
    index.remove(np.array(removed, dtype=np.int64))
    index.add(np.array([1]), np.zeros((1, 1), np.float32))
    prior = np.arange(len(index), dtype=np.float32)
    hits = index.search(np.zeros((1, 1), np.float32), 4, prior=prior)
    assert hits.ids[0][: len(index)].tolist() == index.ids[::-1].tolist()
