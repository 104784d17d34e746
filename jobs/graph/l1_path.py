"""L1 logistic regression over links along its whole regularisation path, in one process and little memory.

The objective is the pairs' weighted log loss plus strength · Σ|weight|; the intercept is free. From the strength at
which the first link enters, each next one is a little weaker and starts from the last one's answer. A link is
looked at closely only while it may have a weight: those that the sequential strong rule names (Tibshirani et al.,
J. R. Stat. Soc. B 74, 2012, §7), and then those that break the optimality conditions, until none does. Within that
working set pairs that carry the same are one row (see `groups`), so that most of the work (see `newton`) does not grow
with the pairs. What does is a look, once or twice a strength, at the matches of links with more hires than the
strength, or no-hires: others can have no weight.

Memory: some 60 bytes a pair, 40 a link, and 4 a match. Why not a library's solver: Spark's OWL-QN runs a job an
iteration, about a hundred of them a strength (14 s for 2,128 pairs and 14,819 links, where seven strengths take 0.06 s
here); liblinear is as exact, but wants every match at 16 bytes and more, and starts each strength from nothing: 302 s
of a core for the path of half a million hires, where this takes 1.2 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.graph.groups import Groups
from jobs.graph.lists import Floats, Ints, Lists
from jobs.graph.newton import TOLERANCE, Model, Rows, optimum, sigmoid


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

    @cached_property
    def labelled(self) -> tuple[Floats, Floats]:
        """(n_links,) each: weight of the hires that carry the link, and of the no-hires."""
        return self.carriers.sums(self.weight * self.is_hire), self.carriers.sums(self.weight * ~self.is_hire)

    @property
    def rate(self) -> float:
        return float(np.average(self.is_hire, weights=self.weight))

    def gradients(self) -> Floats:
        """(n_links,): how the loss grows with a link's weight, where no link has any."""
        hires, others = self.labelled
        return (hires + others) * self.rate - hires

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
    return float(np.abs(matches.gradients()).max(initial=0.0))


def l1_path(matches: Matches, falling: list[float]) -> Iterator[Coefficients]:
    """The optimum at each strength, in turn. There are hires and no-hires, and the strengths fall.

    How links that the same pairs carry share their weight is not determined, but the same at every run.
    """
    fit = Fit(matches)
    for strength in falling:
        fit.move_to(strength)
        chosen = np.flatnonzero(fit.weights)
        yield Coefficients(strength, fit.intercept, fit.working[chosen], fit.weights[chosen].copy())


class Fit:
    """The state that moves along the path: the working set, ascending, its weights, and each link's gradient.

    A gradient is kept up to date while the link can have a weight at the strength.
    """

    def __init__(self, matches: Matches) -> None:
        self.matches = matches
        self.working = np.zeros(0, np.int64)
        self._model = Model(float(np.log(matches.rate / (1 - matches.rate))), np.zeros(0))
        self._groups = Groups.of(matches.carriers, len(matches.weight))
        self._rows = self._grouped()
        self._gradients = matches.gradients()
        self._strength = float(np.abs(self._gradients).max(initial=0.0))
        # no residual is larger than its pair's weight, and those of hires are negative
        self._largest = np.maximum(*matches.labelled)

    @property
    def intercept(self) -> float:
        return self._model.intercept

    @property
    def weights(self) -> Floats:
        """(working,)."""
        return self._model.weights

    @property
    def margins(self) -> Floats:
        """(n,): of each pair, log odds of a hire."""
        return self._rows.margins(self._model)[self._groups.of_pair]

    def move_to(self, strength: float) -> None:
        """To the optimum at `strength`, from that at a stronger one."""
        possible = np.flatnonzero(self._largest > strength)
        self._update(possible[self._largest[possible] <= self._strength])
        wanted = possible[np.abs(self._gradients[possible]) >= 2 * strength - self._strength]
        while True:
            self._work_on(wanted)
            self._model = optimum(self._rows, self._model, strength)
            self._update(possible)
            wanted = possible[np.abs(self._gradients[possible]) > strength * (1 + TOLERANCE)]
            wanted = np.setdiff1d(wanted, self.working)
            if not len(wanted):
                break
        self._strength = strength

    def reweighed(self, strength: float) -> Floats:
        """(n,): as `margins`, of the optimum at `strength` if only links that have a weight here may have one."""
        chosen = np.flatnonzero(self.weights)
        rows = replace(self._rows, carriers=self._rows.carriers.take(chosen))
        model = optimum(rows, Model(self.intercept, self.weights[chosen]), strength)
        return rows.margins(model)[self._groups.of_pair]

    def _update(self, links: Ints) -> None:
        """The gradients of these links."""
        p = sigmoid(self._rows.margins(self._model))
        by_label = np.column_stack([p, p - 1]).ravel()
        residuals = self.matches.weight * by_label[self._labelled_groups()]
        self._gradients[links] = self.matches.carriers.sums(residuals, links)

    def _work_on(self, wanted: Ints) -> None:
        """The working set becomes the links wanted and those with a weight."""
        has_weight = self.weights != 0
        working = np.union1d(wanted, self.working[has_weight])
        weights = np.zeros(len(working))
        weights[np.searchsorted(working, self.working[has_weight])] = self.weights[has_weight]
        self.working, self._model = working, Model(self.intercept, weights)
        self._groups = self._groups.split(working)
        self._rows = self._grouped()

    def _grouped(self) -> Rows:
        weight = np.bincount(self._labelled_groups(), self.matches.weight, 2 * len(self._groups)).astype(np.float64)
        return Rows(weight[1::2], weight[::2], self._groups.carriers(self.working))

    def _labelled_groups(self) -> Ints:
        """(n,): of each pair, twice its group, and one more for a hire."""
        return 2 * self._groups.of_pair + self.matches.is_hire


@njit(cache=True)
def _best(offsets, rows, scores, found):  # type: ignore[no-untyped-def]
    for link in range(len(scores)):
        for at in range(offsets[link], offsets[link + 1]):
            found[rows[at]] = max(found[rows[at]], scores[link])
