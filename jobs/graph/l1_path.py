"""L1 logistic regression over links along its whole regularisation path, in one process and little memory.

The objective is the pairs' weighted log loss plus strength · Σ|weight|; the intercept is free. From the strength at
which the first link enters, each next one is a little weaker and starts from the last one's answer. A link is
looked at closely only while it may have a weight: those that the sequential strong rule names (Tibshirani et al.,
J. R. Stat. Soc. B 74, 2012, §7), and then those that break the optimality conditions, until none does. Within that
working set, Newton steps whose quadratic is solved by coordinate descent (Friedman, Hastie and Tibshirani,
J. Stat. Softw. 33, 2010, §3).

Memory: about twelve numbers of 8 bytes a pair and three a link, and 4 bytes a match; all matches are read a few times a
strength. Why not a library's solver: Spark's OWL-QN runs a job an iteration, about a hundred of them a strength (14 s
for 2,128 pairs and 14,819 links, where seven strengths take 0.06 s here); liblinear is as exact and nearly as fast
there, but wants every match at 16 bytes and more, and starts each strength from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.graph.lists import Ints, Lists

Floats = NDArray[np.float64]

# No gradient may miss its bound by more than this share of the strength: of two hires, two thousandths of one.
TOLERANCE = 1e-3
MAX_NEWTON_STEPS = 50
MAX_SWEEPS = 100
LEAST_CURVATURE = 1e-9


@dataclass(frozen=True)
class Matches:
    """Labelled pairs and the links that they carry.

    `is_hire` (n,) bool; `weight` (n,) float64, of mean 1; `carriers`: of each link, the pairs that carry it, ascending.
    """

    is_hire: NDArray[np.bool_]
    weight: Floats
    carriers: Lists

    @property
    def n_links(self) -> int:
        return len(self.carriers)

    def per_link(self, values: Floats) -> Floats:
        """(n_links,): the sum of the pairs' values over the pairs that carry the link."""
        return _sums(self.carriers.offsets, self.carriers.values, np.arange(self.n_links), values)

    def best(self, scores: Floats) -> Floats:
        """(n,): the greatest score among the pair's links; -inf for a pair without any."""
        found = np.full(len(self.weight), -np.inf)
        _best(self.carriers.offsets, self.carriers.values, scores, found)
        return found

    def linked(self, links: Ints) -> NDArray[np.bool_]:
        """(n,): whether the pair carries one of the links."""
        is_linked = np.zeros(len(self.weight), bool)
        is_linked[self.carriers.take(links).values] = True
        return is_linked


@dataclass(frozen=True)
class Coefficients:
    """The answer at one strength: the intercept, and the weights of the links that have one, by rising link."""

    strength: float
    intercept: float
    links: Ints
    weights: Floats


def strengths(largest: float, anchor: float, weakest: float) -> list[float]:
    """`anchor` times powers of the square root of two, falling, from below `largest` to `weakest`.

    anchor is there whatever they are.

    >>> [round(strength, 2) for strength in strengths(20.0, anchor=3.0, weakest=1.5)]
    [16.97, 12.0, 8.49, 6.0, 4.24, 3.0, 2.12, 1.5]
    """
    first = max(int(np.ceil(2 * np.log2(max(largest, anchor) / anchor))) - 1, 0)
    last = max(int(np.floor(2 * np.log2(anchor / min(weakest, anchor)))), 0)
    return [float(anchor * 2.0 ** (power / 2)) for power in range(first, -last - 1, -1)]


def largest_strength(matches: Matches) -> float:
    """The strength above which no link has a weight."""
    rate = float(np.average(matches.is_hire, weights=matches.weight))
    return float(np.abs(matches.per_link(matches.weight * (rate - matches.is_hire))).max(initial=0.0))


def l1_path(matches: Matches, falling: list[float]) -> Iterator[Coefficients]:
    """The optimum at each strength, in turn. There are hires and no-hires, and the strengths fall.

    How links that the same pairs carry share their weight is not determined, but the same at every run.
    """
    fit = Fit(matches)
    before = largest_strength(matches)
    for strength in falling:
        fit.move_to(strength, before)
        before = strength
        chosen = np.flatnonzero(fit.weights)
        yield Coefficients(strength, fit.intercept, fit.working[chosen], fit.weights[chosen].copy())


class Fit:
    """The state that moves along the path: weights of the working set, intercept, and each pair's margin."""

    def __init__(self, matches: Matches) -> None:
        self.matches = matches
        rate = float(np.average(matches.is_hire, weights=matches.weight))
        self.intercept = float(np.log(rate / (1 - rate)))
        self.margins = np.full(len(matches.weight), self.intercept)
        self.working = np.zeros(0, np.int64)
        self.weights = np.zeros(0)

    def move_to(self, strength: float, before: float) -> None:
        """To the optimum at `strength`, from that at `before`."""
        wanted = np.abs(self._gradients()) >= 2 * strength - before
        while True:
            self._work_on(wanted)
            self._solve(strength)
            wanted = np.abs(self._gradients()) > strength * (1 + TOLERANCE)
            wanted[self.working] = False
            if not wanted.any():
                return

    def reweighed(self, strength: float) -> Fit:
        """Another fit: the optimum at `strength` if only the links that have a weight here may have one."""
        other = copy(self)
        other._work_on(np.zeros(self.matches.n_links, bool))
        other._solve(strength)
        return other

    def _gradients(self) -> Floats:
        return self.matches.per_link(self._residuals())

    def _residuals(self) -> Floats:
        return self.matches.weight * (_sigmoid(self.margins) - self.matches.is_hire)

    def _work_on(self, wanted: NDArray[np.bool_]) -> None:
        """The working set becomes the links wanted and those with a weight."""
        has_weight = self.weights != 0
        wanted[self.working[has_weight]] = True
        working = np.flatnonzero(wanted)
        weights = np.zeros(len(working))
        weights[np.searchsorted(working, self.working[has_weight])] = self.weights[has_weight]
        self.working, self.weights = working, weights

    def _solve(self, strength: float) -> None:
        """Newton steps on the working set, each as long as it makes the objective smaller."""
        objective = self._objective(self.margins, self.weights, strength)
        for _ in range(MAX_NEWTON_STEPS):
            residuals = self._residuals()
            if self._violation(residuals, strength) <= TOLERANCE * strength:
                return
            p = _sigmoid(self.margins)
            curvature = np.maximum(self.matches.weight * p * (1 - p), LEAST_CURVATURE)
            weights, slopes = self.weights.copy(), residuals.copy()
            carriers = self.matches.carriers
            columns = (carriers.offsets, carriers.values, self.working)
            # links reach their pairs all over memory: what sweeps read is laid out in the order in which they read it
            starts, rows, pairs = _in_reading_order(*columns, len(slopes))
            read = (curvature[pairs], slopes[pairs])
            rest = curvature.sum(), slopes.sum()
            shift = _descend(starts, rows, *read, *rest, weights, strength, TOLERANCE, MAX_SWEEPS)
            slopes[pairs] = read[1]
            slopes += curvature * shift
            # what the descent added to each margin, intercept and all
            moved = (slopes - residuals) / curvature
            step = 1.0
            while True:
                margins = self.margins + step * moved
                tried = self.weights + step * (weights - self.weights)
                now = self._objective(margins, tried, strength)
                if now <= objective or step < 1e-6:
                    break
                step /= 2
            if now > objective:
                return
            has_stalled = objective - now <= 1e-12 * abs(objective)
            self.margins, self.weights, objective = margins, tried, now
            self.intercept += step * shift
            if has_stalled:
                return

    def _objective(self, margins: Floats, weights: Floats, strength: float) -> float:
        # not by @: BLAS starts threads for it, which wait longer than they work
        losses = self.matches.weight * log_losses(margins, self.matches.is_hire)
        return float(losses.sum() + strength * np.abs(weights).sum())

    def _violation(self, residuals: Floats, strength: float) -> float:
        """By how much the worst gradient, the intercept's among them, misses the optimality conditions."""
        carriers = self.matches.carriers
        gradients = _sums(carriers.offsets, carriers.values, self.working, residuals)
        off = np.where(
            self.weights != 0,
            np.abs(gradients + strength * np.sign(self.weights)),
            np.maximum(np.abs(gradients) - strength, 0),
        )
        return max(abs(float(residuals.sum())), float(off.max(initial=0.0)))


def log_losses(margins: Floats, is_hire: NDArray[np.bool_]) -> Floats:
    """(n,): of hires and no-hires with these log odds of a hire. NumPy's logaddexp is the same, at ten times the time.

    >>> log_losses(np.array([0.0, 0.0, 800.0]), np.array([True, False, False])).round(4).tolist()
    [0.6931, 0.6931, 800.0]
    """
    signed = np.where(is_hire, -margins, margins)
    return np.maximum(signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))


def _sigmoid(margins: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * margins))


@njit(cache=True)
def _sums(offsets, rows, links, values):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(links))
    for number in range(len(links)):
        total = 0.0
        for at in range(offsets[links[number]], offsets[links[number] + 1]):
            total += values[rows[at]]
        sums[number] = total
    return sums


@njit(cache=True)
def _best(offsets, rows, scores, found):  # type: ignore[no-untyped-def]
    for link in range(len(scores)):
        for at in range(offsets[link], offsets[link + 1]):
            found[rows[at]] = max(found[rows[at]], scores[link])


@njit(cache=True)
def _in_reading_order(offsets, pairs, links, n):  # type: ignore[no-untyped-def]
    """The pairs of these links, renumbered as they first come: starts (links + 1,), numbers, and the pair of each."""
    starts = np.zeros(len(links) + 1, np.int64)
    for number in range(len(links)):
        starts[number + 1] = starts[number] + offsets[links[number] + 1] - offsets[links[number]]
    rows, number_of, read = np.empty(starts[-1], np.int32), np.full(n, -1, np.int32), np.empty(n, np.int32)
    n_read, n_rows = 0, 0
    for link in links:
        for at in range(offsets[link], offsets[link + 1]):
            pair = pairs[at]
            if number_of[pair] < 0:
                number_of[pair] = n_read
                read[n_read] = pair
                n_read += 1
            rows[n_rows] = number_of[pair]
            n_rows += 1
    return starts, rows, read[:n_read].copy()


@njit(cache=True)
def _descend(  # type: ignore[no-untyped-def]
    starts, rows, curvature, slopes, total, total_slope, weights, strength, tolerance, max_sweeps
):
    """Coordinate descent on the quadratic; changes `weights` and the pairs' `slopes`; returns the intercept's move.

    `total` and `total_slope` are the curvature and the slopes of all pairs, those without a working link too. The
    intercept's part of the slopes is left to be written.

    The intercept goes with every move to where it is best, so that the slopes sum to nothing all the time; what it adds
    to a slope is one number. Were it moved by itself once a sweep, links that together are in most hires
    would wait for it: that took three times as many sweeps. Sweeps over all links and over those with a weight take
    turns: over all until nothing moves, with up to `max_sweeps` over the others in between. A move is nothing where it
    changes its own gradient by less than a tenth of what the tolerance allows.
    """
    n = len(weights)
    curves, free = np.zeros(n), np.zeros(n)
    for column in range(n):
        for at in range(starts[column], starts[column + 1]):
            curves[column] += curvature[rows[at]]
        # what is left of it where the intercept goes along; nothing, where all pairs carry the link
        rest = 1.0 - curves[column] / total
        free[column] = curves[column] * rest if rest > 1e-9 else 0.0
    shift, over_all = -total_slope / total, True
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
