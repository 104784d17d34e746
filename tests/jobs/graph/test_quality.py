"""Weights, curves and choice on a literal world; the path is optimal at every point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from jobs.graph.l1_path import Matches, l1_path, largest_strength, strengths
from jobs.graph.lists import Lists
from jobs.graph.quality import (
    Penalty,
    Point,
    RatioCurve,
    chosen_point,
    path_points,
    ratios,
    recall_and_false_positives,
)


def matches_of(carried: list[list[int]], is_hire: list[bool], n_links: int, weight: object = None) -> Matches:
    weights = np.ones(len(carried)) if weight is None else np.asarray(weight, float)
    return Matches(np.array(is_hire), weights / weights.mean(), Lists.of(carried).turned(n_links))


@pytest.fixture
def literal() -> Matches:
    carried = [
        [
            *([0] if i < 40 else []),  # link 0: 40 of the 50 hires, no no-hires
            1,  # everybody: says nothing
            *([2] if 30 <= i < 60 else []),  # ten hires that link 0 does not have, and ten no-hires
            *([3] if 60 <= i < 90 else []),  # no-hires alone: a negative weight
            *([4] if i == 41 else []),  # one hire, less than the penalty
        ]
        for i in range(100)
    ]
    return matches_of(carried, [i < 50 for i in range(100)], 5)


def kept_at(points: list[Point], strength: float) -> dict[int, float]:
    point = next(p for p in points if p.strength == strength)
    return dict(zip(point.links.tolist(), point.qualities.tolist(), strict=True))


def test_weights_of_a_literal_world(literal: Matches) -> None:
    points = list(path_points(literal, Penalty(strength=1.5, weakest_strength=1.0)))
    kept = kept_at(points, 1.5)
    assert set(kept) == {0, 2}
    assert kept[0] > 2
    stricter = list(path_points(literal, Penalty(strength=1.5, min_quality=kept[0])))
    assert kept_at(stricter, 1.5) == {}, "above the threshold, not at it"
    falling = [1.5 * 2 ** (power / 2) for power in range(7, -2, -1)]
    assert [p.strength for p in points] == pytest.approx(falling), "links enter at 20 hires: half of 40"
    assert kept_at(points, 12.0).keys() == {0}
    assert points[-1].against.tolist() == [3]

    assert recall_and_false_positives(literal, np.array([0])) == (pytest.approx(0.8), 0.0)
    assert recall_and_false_positives(literal, np.array([2])) == (pytest.approx(0.4), pytest.approx(1 / 3))
    assert recall_and_false_positives(literal, np.zeros(0, int)) == (0.0, None)
    heavier = replace(literal, weight=np.where(np.arange(100) < 40, 3.0, 1.0))
    assert recall_and_false_positives(heavier, np.array([0]))[0] == pytest.approx(12 / 13), "by weight"


def test_the_ratio_scorer_beside(literal: Matches) -> None:
    """Ratios: links 0 and 4 infinite, 2 two, 1 one, 3 none."""
    curve = RatioCurve.of(literal, ratios(literal))
    assert curve.n_links.tolist() == [2, 3, 4]
    assert curve.recall.tolist() == pytest.approx([0.82, 1.0, 1.0])
    assert curve.false_positives.tolist() == pytest.approx([0, 1 / 6, 0.5])
    assert curve.at(0.82) == (2, 0.0)
    assert curve.at(0.83) == (3, pytest.approx(1 / 6))
    assert curve.at(0.0) == (0, None)
    none = matches_of([[], []], [True, False], 3)
    assert RatioCurve.of(none, ratios(none)).at(0.5) == (0, None)
    assert largest_strength(none) == 0
    assert [len(p.links) for p in path_points(none, Penalty())] == [0]


def test_the_point_asked_for() -> None:
    def point(strength: float, n_links: int, recall: float, loss: float | None = None) -> Point:
        return Point(strength, np.arange(n_links), np.ones(n_links), recall, None, 0, None, np.arange(0), loss)

    path = [point(8, 0, 0.0, 0.9), point(4, 3, 0.4, 0.5), point(2, 9, 0.7, 0.50001), point(1, 20, 0.8, 0.6)]

    def chosen(**penalty: float) -> float:
        return path[chosen_point(path, Penalty(**penalty))].strength  # type: ignore[arg-type]

    assert chosen() == 4, "that of the least loss, of nearly equal ones the strongest"
    path[2] = replace(path[2], held_out_loss=0.5)
    assert chosen() == 2, "of those with the same links one that keeps them all"
    path[1] = point(4, 9, 0.7, 0.5)
    assert chosen() == 4, "the strongest of these"
    path[1] = point(4, 3, 0.4, 0.5)
    path[:] = [replace(point, held_out_loss=None) for point in path]
    assert chosen() == 1, "and the weakest where nothing is held out"
    assert (chosen(strength=4), chosen(strength=4, target_links=9), chosen(target_recall=0.1, target_links=9)) == (
        4,
        2,
        4,
    )
    assert (chosen(target_recall=0.4), chosen(target_recall=0.5), chosen(target_recall=0.9)) == (4, 2, 1)
    assert (chosen(target_links=9), chosen(target_links=8), chosen(target_links=99)) == (2, 4, 1)
    assert strengths(0.5, anchor=2.0, weakest=4.0) == [2.0], "the strength asked for is on the path, come what may"


def test_every_point_is_optimal() -> None:
    """liblinear, which solves the same problem another way, finds nothing better; ten links have a twin."""
    rng = np.random.default_rng(4)
    carried = [sorted({*rng.choice(60, rng.integers(0, 8), replace=False).tolist()}) for _ in range(400)]
    carried = [[*links, *(60 + link for link in links if link < 10)] for links in carried]
    truth = np.where(np.arange(70) % 7 == 0, 1.5, 0.0)
    is_hire = [bool(rng.random() < 1 / (1 + np.exp(1 - sum(truth[links])))) for links in carried]
    matches = matches_of(carried, is_hire, 70, rng.choice([0.5, 1.0, 2.0], 400))
    carriers = matches.carriers
    x = sparse.csc_matrix((np.ones(len(carriers.values)), carriers.values, carriers.offsets), (400, 70))
    falling = strengths(largest_strength(matches), 2.0, 0.5)
    assert len(falling) >= 4
    for found in l1_path(matches, falling):
        weights = np.zeros(70)
        weights[found.links] = found.weights

        def objective(intercept: float, weights: np.ndarray, strength: float = found.strength) -> float:
            margins = intercept + x @ weights
            losses = np.logaddexp(0, np.where(matches.is_hire, -margins, margins))
            return float(matches.weight @ losses + strength * np.abs(weights).sum())

        other = LogisticRegression(
            l1_ratio=1.0, solver="liblinear", C=1 / found.strength, intercept_scaling=1e3, tol=1e-8, max_iter=10_000
        ).fit(x, matches.is_hire, sample_weight=matches.weight)
        assert objective(found.intercept, weights) <= objective(other.intercept_[0], other.coef_[0]) + 1e-3
