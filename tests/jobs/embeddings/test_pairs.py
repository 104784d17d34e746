"""Pairs, windows and costs on chains small enough to write the answer down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.pairs import Chains, action_windows, applied_pairs, cost_matrix, left_pairs, right_pairs

VIEW, APPLY = CHAIN_ACTIONS.index("view"), CHAIN_ACTIONS.index("apply")


def chains_of(*chains):
    """Each chain a list of (job, action)."""
    points = [point for chain in chains for point in chain]
    return Chains(
        np.array([job for job, _ in points], dtype=np.int64),
        np.array([action for _, action in points], dtype=np.int64),
        np.cumsum([0, *(len(chain) for chain in chains)]),
    )


def test_an_apply_looks_further_back_than_a_view_and_none_across_chains():
    chains = chains_of(
        [(10, VIEW), (11, VIEW), (12, VIEW), (13, APPLY)],  # the apply sees all three, each view just one
        [(14, VIEW)],  # nothing before it
        [(15, VIEW), (15, APPLY), (16, VIEW)],  # a job is no context of itself
    )
    windows = action_windows(dict.fromkeys(CHAIN_ACTIONS, 1) | {"apply": 3})
    targets, contexts = left_pairs(chains, windows)
    jobs = chains.jobs
    assert list(zip(jobs[targets].tolist(), jobs[contexts].tolist(), strict=True)) == [
        (11, 10), (12, 11), (13, 12), (13, 11), (13, 10), (16, 15),
    ]  # fmt: skip


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=8), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_contexts_after_are_those_before_of_the_chains_read_backwards(chains, window):
    windows = action_windows(dict.fromkeys(CHAIN_ACTIONS, window))
    pairs = zip(*right_pairs(chains_of(*chains), windows), strict=True)
    expected, first = set(), 0
    for chain in chains:
        for at, (job, _) in enumerate(chain):
            for later in range(at + 1, min(at + window + 1, len(chain))):
                if chain[later][0] != job:
                    expected.add((first + at, first + later))
        first += len(chain)
    assert sorted((int(a), int(b)) for a, b in pairs) == sorted(expected)


def test_no_chains_give_no_pairs():
    targets, contexts = left_pairs(chains_of(), np.ones(5, dtype=np.int64))
    assert (len(targets), len(contexts)) == (0, 0)


points = st.tuples(st.integers(0, 3), st.integers(0, len(CHAIN_ACTIONS) - 1))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(points, min_size=1, max_size=6), max_size=5),
    st.lists(st.integers(1, 4), min_size=5, max_size=5),
)
def test_pairs_are_those_of_two_plain_loops(chains, windows):
    expected, first = [], 0
    for chain in chains:
        for at, (job, action) in enumerate(chain):
            for before in range(at - 1, max(at - windows[action], 0) - 1, -1):
                if chain[before][0] != job:
                    expected.append((first + at, first + before))
        first += len(chain)
    targets, contexts = left_pairs(chains_of(*chains), np.array(windows))
    assert list(zip(targets.tolist(), contexts.tolist(), strict=True)) == expected


def test_what_a_chain_led_to_is_context_of_what_its_window_does_not_hold():
    chains = chains_of(
        # the last application is 12; 13 has it in its window, 12 again is itself
        [(10, VIEW), (11, APPLY), (12, APPLY), (13, VIEW), (14, VIEW), (12, VIEW)],
        [(20, VIEW), (21, VIEW)],  # led to nothing
    )
    targets, contexts = applied_pairs(chains, np.ones(5, dtype=np.int64))
    jobs = chains.jobs
    assert list(zip(jobs[targets].tolist(), jobs[contexts].tolist(), strict=True)) == [(10, 12), (11, 12), (14, 12)]
    assert applied_pairs(chains_of(), np.ones(5, dtype=np.int64))[0].size == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(points, min_size=1, max_size=6), max_size=5), st.lists(st.integers(1, 4), min_size=5, max_size=5)
)
def test_no_pair_is_there_twice(chains, windows):
    made = chains_of(*chains)
    pairs = [
        pair for found in (left_pairs, applied_pairs) for pair in zip(*found(made, np.array(windows)), strict=True)
    ]
    assert len(set(pairs)) == len(pairs)


def test_costs_are_by_pair_then_by_either_action():
    matrix = cost_matrix({"*/view": 0.5, "apply/view": 3.0, "apply/*": 2.0})
    assert matrix[APPLY, VIEW] == 3.0  # named
    assert matrix[VIEW, VIEW] == 0.5  # any target after a view
    assert matrix[APPLY, APPLY] == 2.0  # an apply after anything
    assert matrix[VIEW, APPLY] == 1.0  # not named


@pytest.mark.parametrize("wrong", [{"aply/view": 2.0}, {"apply": 2.0}, {"apply/view": -1.0}])
def test_a_cost_of_no_pair_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        cost_matrix(wrong)


@pytest.mark.parametrize(
    "wrong", [{"view": 1}, dict.fromkeys([*CHAIN_ACTIONS, "aply"], 1), dict.fromkeys(CHAIN_ACTIONS, 0)]
)
def test_windows_that_are_not_one_an_action_are_refused(wrong):
    with pytest.raises(ValueError, match="expected 1 or more for each of view, save"):
        action_windows(wrong)
