"""The strength that later hires choose: one that keeps false links out where hires are many, and true ones in else."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.graph.held_out import PATIENCE, REWEIGHED_AT, SAME_LOSS, held_out_losses, last_of_each
from jobs.graph.l1_path import Matches, l1_path
from jobs.graph.lists import Ints, Lists
from jobs.graph.quality import Penalty, Point, chosen_point, path_points

N_TRUE = 30


def world(hires_each: int, n_chance: int, seed: int = 0) -> Matches:
    """A hire in two carries one of `N_TRUE` links, a no-hire one in fifteen; links of chance have eight pairs each.

    Of these the ones are candidates that are in more hires than no-hires.
    """
    rng = np.random.default_rng(seed)
    n = 2 * 2 * hires_each * N_TRUE
    is_hire = rng.random(n) < 0.5
    true = np.where(rng.random(n) < np.where(is_hire, 0.5, 1 / 15), rng.integers(0, N_TRUE, n), -1)
    pairs = rng.integers(0, n, (n_chance, 8))
    pairs = pairs[is_hire[pairs].mean(axis=1) > 0.5]
    carried: list[set[int]] = [{link} - {-1} for link in true.tolist()]
    for number, places in enumerate(pairs.tolist()):
        for place in places:
            carried[place].add(N_TRUE + number)
    return Matches(is_hire, np.ones(n), Lists.of([[*links] for links in carried]).turned(N_TRUE + len(pairs)))


def chosen(matches: Matches) -> tuple[Point, Point]:
    """The point chosen by later hires, and the last one of the path."""
    points = list(path_points(matches, Penalty(), last_of_each((~matches.is_hire).astype(int))))
    return points[chosen_point(points, Penalty())], points[-1]


@pytest.mark.parametrize("seed", range(3))
def test_many_hires(seed: int) -> None:
    point, weakest = chosen(world(100, 20_000, seed))
    assert set(range(N_TRUE)) <= set(point.links.tolist())
    assert len(point.links) <= N_TRUE / 0.95
    assert weakest.strength == 2
    assert len(weakest.links) > 2 * N_TRUE, "where two hires were enough of old"


@pytest.mark.parametrize("seed", range(3))
def test_few_hires(seed: int) -> None:
    """Ten hires a link: at strength 4 a third of the links are found."""
    point, weakest = chosen(world(10, 100, seed))
    assert point.strength == weakest.strength == 2
    assert len(set(point.links.tolist()) & set(range(N_TRUE))) >= 0.7 * N_TRUE


def test_pairs_held_out_are_not_learnt_from() -> None:
    """As where the pairs held out, and all links but those of the strength, are taken away, and the rest fitted."""
    matches = world(20, 300)
    is_held_out = last_of_each((~matches.is_hire).astype(int))
    falling = [4.0, 2.0]
    losses = held_out_losses(matches, is_held_out, falling)
    assert losses is not None
    x = np.zeros((len(matches.weight), matches.n_links), bool)
    x[matches.carriers.values, np.repeat(np.arange(matches.n_links), matches.carriers.lengths)] = True
    for number, found in enumerate(l1_path(dense(x[~is_held_out], matches.is_hire[~is_held_out]), falling)):
        assert len(found.links) > 0
        only = x[:, found.links]
        falling_again = [s for s in (64.0, 16.0, 4.0) if s > REWEIGHED_AT] + [REWEIGHED_AT]
        *_, again = l1_path(dense(only[~is_held_out], matches.is_hire[~is_held_out]), falling_again)
        margins = again.intercept + only[is_held_out][:, again.links] @ again.weights
        loss = np.logaddexp(0, np.where(matches.is_hire[is_held_out], -margins, margins)).mean()
        assert losses[number] == pytest.approx(loss, abs=2e-3)


def dense(x: Ints, is_hire: Ints) -> Matches:
    return Matches(is_hire, np.ones(len(x)), Lists.of([np.flatnonzero(column).tolist() for column in x.T]))


def test_the_path_ends_where_it_gets_worse() -> None:
    matches = world(100, 20_000)
    falling = [16.0, 8.0, 4.0, 2.8, 2.0, 1.4, 1.0]
    losses = held_out_losses(matches, last_of_each((~matches.is_hire).astype(int)), falling)
    assert losses is not None
    assert len(losses) < len(falling)
    is_worse = losses > losses.min() * (1 + SAME_LOSS)
    assert is_worse[-PATIENCE:].all()
    assert not is_worse[-PATIENCE - 1], "no sooner"
    points = list(path_points(matches, Penalty(weakest_strength=0.5), last_of_each((~matches.is_hire).astype(int))))
    assert points[-1].strength > 0.5
    assert points[-1].held_out_loss is not None, "every point of the path has its loss"


def test_where_nothing_can_be_held_out() -> None:
    matches = world(2, 0)
    assert held_out_losses(matches, np.zeros(len(matches.weight), bool), [2.0]) is None
    assert held_out_losses(matches, matches.is_hire, [2.0]) is None, "no hires to learn from"
    assert last_of_each(np.array([1, 1, 2])).sum() == 0, "a fifth of two is none"
