"""How surely each link says hire: its weight in an L1 logistic regression over all candidate links.

One feature a link, 1 where the pair carries it; the label is hire or no-hire (arXiv 2402.13435, §3.1.2). The whole
regularisation path is fitted, and at each of its points recall and false positives are counted, and beside them what
the paper's other scorer, the ratio of hires to no-hires, needs for the same recall.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from jobs.graph.held_out import held_out_losses, least
from jobs.graph.l1_path import Coefficients, Matches, l1_path, largest_strength, strengths
from jobs.graph.lists import Floats, Ints

DECIMALS = 4
# Held-out losses of the same links, weighed anew, differ by a smaller share than this.
SAME_LINKS = 1e-6


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """`strength` is in hires: the penalty is strength·|weight| beside the summed loss of the pairs.

    So a link enters where its hires exceed, by more than `strength`, those that the links already in would
    lead one to expect, however many pairs there are (a pair counts as its weight over the mean weight).
    scikit-learn's C is 1 / strength. The path has the strengths that are a power of √2 times `weakest_strength`, from
    where the first link enters. Of these the one is chosen whose links foretell best the last fifth of the pairs,
    learnt from the others (see `held_out`), of those with the same links the strongest that keeps them all; weaker ones
    are left out once they are worse, and the weakest is chosen where these cannot say. What is above 0 chooses instead:
    `target_recall`, the strongest that reaches it; else `target_links`, the weakest that keeps no more; else
    `strength`, which the path's are then a power of √2 times. Where no point reaches a target, it is the nearest: the
    weakest, and the strongest.
    """

    strength: float = 0.0
    weakest_strength: float = 2.0
    target_recall: float = 0.0
    target_links: int = 0
    min_quality: float = 0.5  # links with a weight above it are kept; 0.5 is odds of a hire 1.6 times as good


@dataclass(frozen=True)
class Point:
    """What one strength keeps: `links`, ascending, and their `qualities` (4 decimals).

    `against` are the links that speak as surely against a hire. `recall` is the share of hires linked,
    `false_positives` of linked pairs not hired, both by weight: the paper's two figures. On the pairs that the weights
    were learnt from both flatter; `evaluate_retrieval` measures on what came after. `ratio_links` and
    `ratio_false_positives` are those of the ratio scorer at no less recall. None where there is nothing to divide by.
    `held_out_loss` is None where something else chooses.
    """

    strength: float
    links: Ints
    qualities: Floats
    recall: float
    false_positives: float | None
    ratio_links: int
    ratio_false_positives: float | None
    against: Ints
    held_out_loss: float | None = None


def path_points(matches: Matches, penalty: Penalty, is_held_out: NDArray[np.bool_] | None = None) -> Iterator[Point]:
    """The points of the path, by falling strength; there are hires and no-hires.

    `is_held_out` (n,) are the pairs that choose, where the penalty leaves it to them.
    """
    anchor = penalty.strength or penalty.weakest_strength
    falling = strengths(largest_strength(matches), anchor, penalty.weakest_strength)
    ratio, losses = RatioCurve.of(matches, ratios(matches)), None
    if is_held_out is not None and not (penalty.target_recall or penalty.target_links or penalty.strength):
        losses = held_out_losses(matches, is_held_out, falling)
        falling = falling if losses is None else falling[: len(losses)]
    for number, found in enumerate(l1_path(matches, falling)):
        point = _point(matches, found, ratio, penalty.min_quality)
        yield point if losses is None else replace(point, held_out_loss=float(losses[number]))


def _point(matches: Matches, found: Coefficients, ratio: RatioCurve, min_quality: float) -> Point:
    qualities = found.weights.round(DECIMALS)
    is_kept = qualities > min_quality
    links = found.links[is_kept]
    recall, false_positives = recall_and_false_positives(matches, links)
    against = found.links[qualities < -min_quality]
    return Point(found.strength, links, qualities[is_kept], recall, false_positives, *ratio.at(recall), against)


def recall_and_false_positives(matches: Matches, links: Ints) -> tuple[float, float | None]:
    """Share of hires that carry one of the links, and share of no-hires among the pairs that do; by weight."""
    is_linked = matches.linked(links)
    linked = matches.weight[is_linked].sum()
    linked_hires = matches.weight[is_linked & matches.is_hire].sum()
    recall = linked_hires / matches.weight[matches.is_hire].sum()
    return float(recall), float((linked - linked_hires) / linked) if linked else None


def ratios(matches: Matches) -> Floats:
    """(n_links,): hires over no-hires, infinite without no-hires."""
    hires, no_hires = matches.labelled
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(no_hires > 0, hires / no_hires, np.where(hires > 0, np.inf, 0.0))


@dataclass(frozen=True)
class RatioCurve:
    """What the ratio of hires to no-hires keeps at every threshold, falling: all three (thresholds,)."""

    recall: Floats
    false_positives: Floats
    n_links: Ints

    @staticmethod
    def of(matches: Matches, scores: Floats) -> RatioCurve:
        """Of these pairs, with the links scored as given: (n_links,). Links of one score enter together."""
        best = matches.best(scores)
        order = np.argsort(-best, kind="stable")
        order = order[best[order] > -np.inf]
        falling = best[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(order) else np.zeros(0, int)
        weight, is_hire = matches.weight[order], matches.is_hire[order]
        linked, linked_hires = np.cumsum(weight)[last], np.cumsum(weight * is_hire)[last]
        n_links = len(scores) - np.searchsorted(np.sort(scores), falling[last], side="left")
        return RatioCurve(
            linked_hires / matches.weight[matches.is_hire].sum(), (linked - linked_hires) / linked, n_links
        )

    def at(self, recall: float) -> tuple[int, float | None]:
        """How many links reach that recall with the fewest, and their false positives."""
        if recall <= 0 or not len(self.recall):
            return 0, None
        # all links together are enough, but for how sums of fractions end
        place = min(int(np.searchsorted(self.recall, recall * (1 - 1e-12))), len(self.recall) - 1)
        return int(self.n_links[place]), float(self.false_positives[place])


def chosen_point(points: Sequence[Point], penalty: Penalty) -> int:
    """The place of the point that `penalty` asks for; see there."""
    if penalty.target_recall > 0:
        reached = (i for i, point in enumerate(points) if point.recall >= penalty.target_recall)
        return next(reached, len(points) - 1)
    if penalty.target_links > 0:
        return max((i for i, point in enumerate(points) if len(point.links) <= penalty.target_links), default=0)
    if penalty.strength > 0:
        return next(i for i, point in enumerate(points) if point.strength == penalty.strength)
    losses = [point.held_out_loss for point in points if point.held_out_loss is not None]
    if not losses:
        return len(points) - 1
    first = least(losses)
    # Weighed anew, their links are the same; but the strongest may shrink some of them below what is kept.
    alike = takewhile(lambda place: abs(losses[place] / losses[first] - 1) < SAME_LINKS, range(first, len(losses)))
    return max(alike, key=lambda place: (len(points[place].links), -place))
