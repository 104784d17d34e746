"""Pairs that carry the same are one row, and the regression over rows is the one over pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.graph import groups as groups_module
from jobs.graph.groups import Groups
from jobs.graph.l1_path import Fit, Matches, l1_path, largest_strength, strengths
from jobs.graph.lists import Floats, Lists
from jobs.graph.newton import Model, Rows, optimum

N_LINKS = 6


@settings(deadline=None)  # the first call compiles
@given(
    most=st.sampled_from([0.0, 0.5, 9.0]),
    carried=st.lists(st.sets(st.integers(0, N_LINKS - 1)), max_size=20),
    steps=st.lists(st.integers(0, 3), max_size=4),
)
def test_a_group_is_the_pairs_that_carry_the_same(most: float, carried: list[set[int]], steps: list[int]) -> None:
    """Whatever the order in which links come, some of them twice; the last two links tell nothing apart."""
    carriers = Lists.of([sorted(links) for links in carried]).turned(N_LINKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups_module, "MOST", most)
        groups = Groups.of(carriers, len(carried))
        for step in steps:
            groups = groups.split(np.array([3 - step, step]))
    told = {link for step in steps for link in (step, 3 - step)}
    seen = {frozenset(links & told): group for links, group in zip(carried, groups.of_pair.tolist(), strict=True)}
    if groups.is_single:
        assert sorted(groups.of_pair.tolist()) == list(range(len(groups))) == list(range(len(carried)))
    else:
        assert set(groups.links.tolist()) == told
        assert len(set(seen.values())) == len(seen)
        assert groups.of_pair.tolist() == [seen[frozenset(links & told)] for links in carried]
        assert len(groups) <= 1 + sum(len(links & told) for links in carried)
    asked = np.array(sorted(told)[::2], int)
    found = groups.carriers(asked)
    for place, link in enumerate(asked.tolist()):
        those = set(found.values[found.offsets[place] : found.offsets[place + 1]].tolist())
        assert len(those) == found.lengths[place], "each once"
        is_there = [group in those for group in groups.of_pair.tolist()]
        assert is_there == [link in links for links in carried]


def sparse_world(n_pairs: int, n_patterns: int, seed: int) -> Matches:
    """Pairs of `n_patterns` kinds, each of which carries some of 40 links; where 0, all carry different ones."""
    rng = np.random.default_rng(seed)
    x = rng.random((n_patterns or n_pairs, 40)) < 0.1
    if n_patterns:
        x = x[rng.integers(0, n_patterns, n_pairs)]
    else:
        x[:, :12] = (np.arange(n_pairs)[:, None] >> np.arange(12)) & 1
        assert len(np.unique(x, axis=0)) == n_pairs
    odds = x @ np.where(rng.random(40) < 0.3, rng.normal(0, 2, 40), 0.0) - 0.5
    is_hire = rng.random(n_pairs) < 1 / (1 + np.exp(-odds))
    weight = rng.choice([0.0, 0.5, 1.0, 2.5], n_pairs)
    return Matches(is_hire, weight / weight.mean(), Lists.of([np.flatnonzero(row).tolist() for row in x]).turned(40))


@pytest.mark.parametrize("n_patterns", [3, 30, 0])
@pytest.mark.parametrize("seed", range(3))
def test_rows_and_pairs_have_the_same_optimum(n_patterns: int, seed: int) -> None:
    """On every strength of the path, from a start without weights, and each pair by itself."""
    matches = sparse_world(1_500, n_patterns, seed)
    single = Rows(matches.weight * matches.is_hire, matches.weight * ~matches.is_hire, matches.carriers)
    falling = strengths(largest_strength(matches), 2.0, 0.5)
    assert len(falling) >= 8
    fit, is_single = Fit(matches), set()
    for found in l1_path(matches, falling):
        alone = optimum(single, Model(0.0, np.zeros(40)), found.strength)
        weights = np.zeros(40)
        weights[found.links] = found.weights

        def objective(model: Model, strength: float = found.strength) -> float:
            return single.objective(single.margins(model), model.weights, strength)

        assert objective(Model(found.intercept, weights)) == pytest.approx(objective(alone), rel=1e-6)
        fit.move_to(found.strength)
        assert fit.margins == pytest.approx(single.margins(Model(found.intercept, weights)))
        assert fit.margins == pytest.approx(single.margins(alone), abs=0.02)
        is_single.add(len(fit._rows.hires) == len(matches.weight))
        again = single_again(single, weights, found.strength / 2)
        assert fit.reweighed(found.strength / 2) == pytest.approx(again, abs=0.02)
    assert is_single == ({False} if n_patterns else {False, True}), "where all differ, rows are pairs in the end"


def single_again(single: Rows, weights: Floats, strength: float) -> Floats:
    """Margins of pairs by the links with a weight alone."""
    links = np.flatnonzero(weights)
    rows = Rows(single.hires, single.others, single.carriers.take(links))
    return rows.margins(optimum(rows, Model(0.0, np.zeros(len(links))), strength))
