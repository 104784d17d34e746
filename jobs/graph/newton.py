"""L1 logistic regression over a few links at one strength: Newton steps, each solved by coordinate descent.

Friedman, Hastie and Tibshirani, J. Stat. Softw. 33, 2010, §3. A row is any number of pairs that carry the same links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.graph.lists import Floats, Lists

# No gradient may miss its bound by more than this share of the strength: of two hires, two thousandths of one.
TOLERANCE = 1e-3
MAX_NEWTON_STEPS = 50
MAX_SWEEPS = 100
LEAST_CURVATURE = 1e-9


@dataclass(frozen=True)
class Rows:
    """`hires` and `others` (n,): weight of the row's pairs that were hired, and of those that were not.

    `carriers`: of each link, the rows that carry it. A row that weighs nothing is allowed.
    """

    hires: Floats
    others: Floats
    carriers: Lists

    def margins(self, model: Model) -> Floats:
        """(n,): log odds of a hire."""
        margins = np.full(len(self.hires), model.intercept)
        _add(self.carriers.offsets, self.carriers.values, model.weights, margins)
        return margins

    def residuals(self, p: Floats) -> Floats:
        """(n,): what the loss grows by with the margin, where a hire is as likely as `p` (n,)."""
        return (self.hires + self.others) * p - self.hires

    def objective(self, margins: Floats, weights: Floats, strength: float) -> float:
        # not by @: BLAS starts threads for it, which wait longer than they work
        losses = self.hires * log_losses(margins, True) + self.others * log_losses(margins, False)
        return float(losses.sum() + strength * np.abs(weights).sum())

    def violation(self, residuals: Floats, weights: Floats, strength: float) -> float:
        """By how much the worst gradient, the intercept's among them, misses the optimality conditions."""
        gradients = self.carriers.sums(residuals)
        off = np.where(
            weights != 0, np.abs(gradients + strength * np.sign(weights)), np.maximum(np.abs(gradients) - strength, 0)
        )
        return max(abs(float(residuals.sum())), float(off.max(initial=0.0)))


@dataclass(frozen=True)
class Model:
    """The intercept and the links' weights (links,)."""

    intercept: float
    weights: Floats


def optimum(rows: Rows, model: Model, strength: float) -> Model:
    """From `model`, by Newton steps, each as long as it makes the objective smaller."""
    margins = rows.margins(model)
    objective = rows.objective(margins, model.weights, strength)
    for _ in range(MAX_NEWTON_STEPS):
        p = sigmoid(margins)
        residuals = rows.residuals(p)
        if rows.violation(residuals, model.weights, strength) <= TOLERANCE * strength:
            break
        curvature = np.maximum((rows.hires + rows.others) * p * (1 - p), LEAST_CURVATURE)
        weights, slopes = model.weights.copy(), residuals.copy()
        columns = (rows.carriers.offsets, rows.carriers.values)
        shift = _descend(*columns, curvature, slopes, weights, strength, TOLERANCE, MAX_SWEEPS)
        # what the descent added to each margin, intercept and all
        moved = (slopes - residuals) / curvature + shift
        step = 1.0
        while True:
            tried = model.weights + step * (weights - model.weights)
            now = rows.objective(margins + step * moved, tried, strength)
            if now <= objective or step < 1e-6:
                break
            step /= 2
        if now > objective:
            break
        has_stalled = objective - now <= 1e-12 * abs(objective)
        model, margins, objective = Model(model.intercept + step * shift, tried), margins + step * moved, now
        if has_stalled:
            break
    return model


def log_losses(margins: Floats, is_hire: NDArray[np.bool_] | bool) -> Floats:
    """(n,): of hires and no-hires with these log odds of a hire. NumPy's logaddexp is the same, at ten times the time.

    >>> log_losses(np.array([0.0, 0.0, 800.0]), np.array([True, False, False])).round(4).tolist()
    [0.6931, 0.6931, 800.0]
    """
    signed = np.where(is_hire, -margins, margins)
    return np.maximum(signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))


def sigmoid(margins: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * margins))


@njit(cache=True)
def _add(offsets, rows, weights, margins):  # type: ignore[no-untyped-def]
    for column in range(len(weights)):
        if weights[column] != 0.0:
            for at in range(offsets[column], offsets[column + 1]):
                margins[rows[at]] += weights[column]


@njit(cache=True)
def _descend(  # type: ignore[no-untyped-def]
    starts, rows, curvature, slopes, weights, strength, tolerance, max_sweeps
):
    """Coordinate descent on the quadratic; changes `weights` and the rows' `slopes`; returns the intercept's move.

    The intercept's part of the slopes is left to be written.

    The intercept goes with every move to where it is best, so that the slopes sum to nothing all the time; what it adds
    to a slope is one number. Were it moved by itself once a sweep, links that together are in most hires
    would wait for it: that took three times as many sweeps. Sweeps over all links and over those with a weight take
    turns: over all until nothing moves, with up to `max_sweeps` over the others in between. A move is nothing where it
    changes its own gradient by less than a tenth of what the tolerance allows.
    """
    n, total = len(weights), curvature.sum()
    curves, free = np.zeros(n), np.zeros(n)
    for column in range(n):
        for at in range(starts[column], starts[column + 1]):
            curves[column] += curvature[rows[at]]
        # what is left of it where the intercept goes along; nothing, where all rows carry the link
        rest = 1.0 - curves[column] / total
        free[column] = curves[column] * rest if rest > 1e-9 else 0.0
    shift, over_all = -slopes.sum() / total, True
    for _ in range(max_sweeps):
        largest = 0.0
        for column in range(n):
            old = weights[column]
            if (not over_all and old == 0.0) or free[column] == 0.0:
                continue
            start, end = starts[column], starts[column + 1]
            slope = shift * curves[column]
            for at in range(start, end):
                slope += slopes[rows[at]]
            target = free[column] * old - slope
            if target > strength:
                new = (target - strength) / free[column]
            elif target < -strength:
                new = (target + strength) / free[column]
            else:
                new = 0.0
            if new != old:
                weights[column] = new
                for at in range(start, end):
                    slopes[rows[at]] += curvature[rows[at]] * (new - old)
                shift -= curves[column] / total * (new - old)
                largest = max(largest, abs(new - old) * free[column])
        is_still = largest <= 0.1 * tolerance * strength
        if is_still and over_all:
            break
        over_all = is_still
    return shift
