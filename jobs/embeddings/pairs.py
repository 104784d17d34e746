"""Training pairs of a chain: each action with those before it (58.com's left-wise positives, SOURCES 1).

Or, as an option, with those before and after it, as word2vec has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jobs.chains.sessionize import APPLY_ACTIONS, CHAIN_ACTIONS

Ints = NDArray[np.int64]

_APPLIED = [CHAIN_ACTIONS.index(action) for action in APPLY_ACTIONS]


@dataclass(frozen=True)
class Chains:
    """Chains back to back: chain c holds points offsets[c] up to offsets[c + 1].

    `jobs` is (n,) int64, `actions` (n,) int64 positions in `CHAIN_ACTIONS`, `offsets` (chains + 1,) int64. Where
    they are known, chain c's seeker did not want refused[refused_offsets[c]:refused_offsets[c + 1]]; with
    `refused_by_point`, c is a point: what its seeker did not want when they acted so.
    """

    jobs: Ints
    actions: Ints
    offsets: Ints
    refused: Ints | None = None
    refused_offsets: Ints | None = None
    refused_by_point: bool = False

    @cached_property
    def chain_of_point(self) -> Ints:
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def left_pairs(chains: Chains, windows: Ints) -> tuple[Ints, Ints]:
    """(target, context) points: each point with up to windows[action of the target] points just before it.

    Grouped by target, the nearest context first. A job is no context of itself.

    >>> chains = Chains(np.array([7, 8, 9, 7, 5]), np.array([0, 0, 2, 0, 0]), np.array([0, 3, 5]))
    >>> [array.tolist() for array in left_pairs(chains, np.array([1, 1, 2, 2, 2]))]
    [[1, 2, 2, 4], [0, 1, 0, 3]]
    """
    points = np.arange(len(chains.jobs))
    before = points - chains.offsets[chains.chain_of_point]
    n_contexts = np.minimum(before, windows[chains.actions])
    targets = np.repeat(points, n_contexts)
    steps = np.arange(len(targets)) - np.repeat(np.cumsum(n_contexts) - n_contexts, n_contexts)
    contexts = targets - 1 - steps
    differ = chains.jobs[targets] != chains.jobs[contexts]
    return targets[differ], contexts[differ]


def right_pairs(chains: Chains, windows: Ints) -> tuple[Ints, Ints]:
    """(target, context) points: each point with up to windows[action of the target] points just after it.

    >>> chains = Chains(np.array([7, 8, 9, 7, 5]), np.array([0, 0, 2, 0, 0]), np.array([0, 3, 5]))
    >>> [array.tolist() for array in right_pairs(chains, np.array([1, 1, 2, 2, 2]))]
    [[3, 1, 0], [4, 2, 1]]
    """
    n = len(chains.jobs)
    backwards = Chains(chains.jobs[::-1], chains.actions[::-1], n - chains.offsets[::-1])
    targets, contexts = left_pairs(backwards, windows)
    return n - 1 - targets, n - 1 - contexts


def applied_pairs(chains: Chains, windows: Ints, both_sides: bool = False) -> tuple[Ints, Ints]:
    """(target, context) points: each point with its chain's last application, beyond what `left_pairs` has.

    With `both_sides`, beyond what `right_pairs` has too.

    What a chain led to is context of all of it, before and after, as the booked listing is at Airbnb (Grbovic and
    Cheng 2018, §3.2). A chain without an application has none; a job is no context of itself.

    >>> chains = Chains(np.array([7, 8, 9, 5]), np.array([0, 2, 0, 0]), np.array([0, 3, 4]))
    >>> [array.tolist() for array in applied_pairs(chains, np.array([1, 1, 1, 1, 1]))]
    [[0], [1]]
    """
    points = np.arange(len(chains.jobs))
    if not len(points):
        return points, points
    applied = np.where(np.isin(chains.actions, _APPLIED), points, -1)
    context = np.maximum.reduceat(applied, chains.offsets[:-1])[chains.chain_of_point]
    in_window = ((context < points) | both_sides) & (np.abs(points - context) <= windows[chains.actions])
    wanted = (context >= 0) & ~in_window & (chains.jobs != chains.jobs[context])
    return points[wanted], context[wanted]


def action_windows(by_action: Mapping[str, int]) -> Ints:
    """The window of each of `CHAIN_ACTIONS`. ValueError where one has none, or another action has.

    >>> action_windows({"view": 5, "save": 5, "apply": 20, "call": 20, "message": 20}).tolist()
    [5, 5, 20, 20, 20]
    """
    if set(by_action) != set(CHAIN_ACTIONS) or min(by_action.values()) < 1:
        raise ValueError(f"windows {dict(by_action)}: expected 1 or more for each of {', '.join(CHAIN_ACTIONS)}")
    return np.array([by_action[action] for action in CHAIN_ACTIONS], dtype=np.int64)


def cost_matrix(costs: Mapping[str, float]) -> NDArray[np.float32]:
    """What a positive counts, by action of the target (row) and of the context; 1 where nothing is said.

    Keys are target/context, `*` for any; a key without `*` goes before one with it. ValueError names a wrong
    key.

    >>> cost_matrix({"apply/*": 2.0, "apply/view": 3.0})[CHAIN_ACTIONS.index("apply")].tolist()
    [3.0, 2.0, 2.0, 2.0, 2.0]
    """
    matrix = np.ones((len(CHAIN_ACTIONS), len(CHAIN_ACTIONS)), dtype=np.float32)
    for key in sorted(costs, key=lambda key: -key.count("*")):
        target, _, context = key.partition("/")
        if not {target, context} <= {*CHAIN_ACTIONS, "*"}:
            raise ValueError(f"cost {key!r}: expected target/context, each * or one of {', '.join(CHAIN_ACTIONS)}")
        if costs[key] < 0:
            raise ValueError(f"cost {key!r}: expected at least 0, got {costs[key]}")
        matrix[_place(target), _place(context)] = costs[key]
    return matrix


def _place(action: str) -> slice:
    if action == "*":
        return slice(None)
    at = CHAIN_ACTIONS.index(action)
    return slice(at, at + 1)
