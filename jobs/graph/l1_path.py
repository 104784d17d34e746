"""L1 logistic regression over links along its whole regularisation path, in one process and little memory.

The objective is the pairs' weighted log loss plus strength · Σ|weight|; the intercept is free. From the strength at
which the first link enters, each next one is a little weaker and starts from the last one's answer. A link is
looked at closely only while it may have a weight: those that the sequential strong rule names (Tibshirani et al.,
J. R. Stat. Soc. B 74, 2012, §7), and then those that break the optimality conditions, until none does. Within that
working set, Newton steps whose quadratic is solved by coordinate descent (Friedman, Hastie and Tibshirani,
J. Stat. Softw. 33, 2010, §3).

Memory: about twelve numbers of 8 bytes a pair and three a link, and of the matches only the working set's, 4 bytes
each; all matches are read from front to back, from a mapped file if need be, a few times a strength. So 10^7 pairs and
10^7 links are 1.2 GB, the working set's matches, and the page cache. Why not a library's solver: Spark's OWL-QN runs a
job an iteration, about a hundred of them a strength (14 s for 2,128 pairs and 14,819 links, where seven strengths take
0.06 s here); liblinear is as exact and nearly as fast there, but wants every match in memory at 16 bytes and more, and
starts each strength from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[Any]

# No gradient may miss its bound by more than this share of the strength: of two hires, two thousandths of one.
TOLERANCE = 1e-3
MAX_NEWTON_STEPS = 50
MAX_SWEEPS = 100
LEAST_CURVATURE = 1e-9


@dataclass(frozen=True)
class Matches:
    """Labelled pairs and the links that each carries.

    `is_hire` (n,) bool; `weight` (n,) float64, of mean 1; `offsets` (n + 1,) int64; `links` (matches,) int32, those of
    pair i at offsets[i]:offsets[i + 1], each once.
    """

    is_hire: NDArray[np.bool_]
    weight: Floats
    offsets: Ints
    links: Ints
    n_links: int

    def per_link(self, values: Floats) -> Floats:
        """(n_links,): the sum of the pairs' values over the pairs that carry the link."""
        sums = np.zeros(self.n_links)
        _add_per_link(values, self.offsets, self.links, sums)
        return sums

    def best(self, scores: Floats) -> Floats:
        """(n,): the greatest score among the pair's links; -inf for a pair without any."""
        found = np.full(len(self.weight), -np.inf)
        _best_per_pair(scores, self.offsets, self.links, found)
        return found


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
        self.working = np.zeros(0, np.int32)
        self.weights = np.zeros(0)
        self.starts, self.rows = np.zeros(1, np.int64), np.zeros(0, np.int32)

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
        """The working set becomes the links wanted and those with a weight; their pairs are gathered."""
        has_weight = self.weights != 0
        wanted[self.working[has_weight]] = True
        working = np.flatnonzero(wanted).astype(np.int32)
        weights = np.zeros(len(working))
        weights[np.searchsorted(working, self.working[has_weight])] = self.weights[has_weight]
        self.working, self.weights = working, weights
        place = np.full(self.matches.n_links, -1, np.int32)
        place[working] = np.arange(len(working), dtype=np.int32)
        counts = np.zeros(len(working) + 1, np.int64)
        _count_columns(place, self.matches.links, counts)
        self.starts = np.cumsum(counts)
        self.rows = np.empty(self.starts[-1], np.int32)
        _fill_columns(place, self.matches.offsets, self.matches.links, self.starts[:-1].copy(), self.rows)

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
            shift = _descend(self.starts, self.rows, curvature, slopes, weights, strength, TOLERANCE, MAX_SWEEPS)
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
        losses = np.logaddexp(0.0, np.where(self.matches.is_hire, -margins, margins))
        return float(self.matches.weight @ losses + strength * np.abs(weights).sum())

    def _violation(self, residuals: Floats, strength: float) -> float:
        """By how much the worst gradient, the intercept's among them, misses the optimality conditions."""
        gradients = _column_sums(self.starts, self.rows, residuals)
        off = np.where(
            self.weights != 0,
            np.abs(gradients + strength * np.sign(self.weights)),
            np.maximum(np.abs(gradients) - strength, 0),
        )
        return max(abs(float(residuals.sum())), float(off.max(initial=0.0)))


def _sigmoid(margins: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * margins))


@njit(cache=True)
def _add_per_link(values, offsets, links, sums):  # type: ignore[no-untyped-def]
    for pair in range(len(values)):
        for at in range(offsets[pair], offsets[pair + 1]):
            sums[links[at]] += values[pair]


@njit(cache=True)
def _best_per_pair(scores, offsets, links, found):  # type: ignore[no-untyped-def]
    for pair in range(len(found)):
        for at in range(offsets[pair], offsets[pair + 1]):
            found[pair] = max(found[pair], scores[links[at]])


@njit(cache=True)
def _count_columns(place, links, counts):  # type: ignore[no-untyped-def]
    """counts[c + 1] becomes the number of pairs that carry working link c."""
    for at in range(len(links)):
        column = place[links[at]]
        if column >= 0:
            counts[column + 1] += 1


@njit(cache=True)
def _fill_columns(place, offsets, links, ends, rows):  # type: ignore[no-untyped-def]
    """rows[starts[c]:starts[c + 1]] become the pairs of working link c, ascending; `ends` come as the starts."""
    for pair in range(len(offsets) - 1):
        for at in range(offsets[pair], offsets[pair + 1]):
            column = place[links[at]]
            if column >= 0:
                rows[ends[column]] = pair
                ends[column] += 1


@njit(cache=True)
def _column_sums(starts, rows, values):  # type: ignore[no-untyped-def]
    sums = np.zeros(len(starts) - 1)
    for column in range(len(sums)):
        for at in range(starts[column], starts[column + 1]):
            sums[column] += values[rows[at]]
    return sums


@njit(cache=True)
def _descend(starts, rows, curvature, slopes, weights, strength, tolerance, max_sweeps):  # type: ignore[no-untyped-def]
    """Coordinate descent on the quadratic; changes `weights` and the pairs' `slopes`; returns the intercept's move.

    Sweeps over all links and over those with a weight take turns: over all until nothing moves, with up to
    `max_sweeps` over the others in between. A move is nothing where it changes its own gradient by less than a tenth of
    what the tolerance allows.
    """
    n = len(weights)
    curves = np.zeros(n)
    for column in range(n):
        for at in range(starts[column], starts[column + 1]):
            curves[column] += curvature[rows[at]]
    total, shift, over_all = curvature.sum(), 0.0, True
    for _ in range(max_sweeps):
        move = -slopes.sum() / total
        shift += move
        for pair in range(len(slopes)):
            slopes[pair] += curvature[pair] * move
        largest = abs(move) * total
        for column in range(n):
            old = weights[column]
            if (not over_all and old == 0.0) or curves[column] == 0.0:
                continue
            slope = 0.0
            for at in range(starts[column], starts[column + 1]):
                slope += slopes[rows[at]]
            target = curves[column] * old - slope
            if target > strength:
                new = (target - strength) / curves[column]
            elif target < -strength:
                new = (target + strength) / curves[column]
            else:
                new = 0.0
            if new != old:
                weights[column] = new
                for at in range(starts[column], starts[column + 1]):
                    slopes[rows[at]] += curvature[rows[at]] * (new - old)
                largest = max(largest, abs(new - old) * curves[column])
        is_still = largest <= 0.1 * tolerance * strength
        if is_still and over_all:
            break
        over_all = is_still
    return shift
