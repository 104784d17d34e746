"""How surely each link says hire: its weight in an L1 logistic regression over all candidate links.

One feature a link, 1 where the pair carries it; the label is hire or no-hire (arXiv 2402.13435, §3.1.2). The whole
regularisation path is fitted, and at each of its points recall and false positives are counted, and beside them what
the paper's other scorer, the ratio of hires to no-hires, needs for the same recall. One task does it, fed with a row
a pair in batches, which it spills to a file: nothing comes to the driver but the links kept and a row a point, and
`l1_path` says what the task holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.graph.held_out import held_out_losses, last_of_each, least
from jobs.graph.l1_path import Coefficients, Floats, Ints, Matches, l1_path, largest_strength, strengths

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DECIMALS = 4
HIRE = 1  # the place of hires in KINDS, from 1
KEPT = pa.struct([("link", pa.int32()), ("quality", pa.float64())])
POINT = pa.schema(
    [
        ("strength", pa.float64()),
        ("n_links", pa.int32()),
        ("recall", pa.float64()),
        ("false_positives", pa.float64()),
        ("ratio_links", pa.int32()),
        ("ratio_false_positives", pa.float64()),
        ("held_out_loss", pa.float64()),
        ("is_chosen", pa.bool_()),
        ("kept", pa.list_(KEPT)),
        ("against", pa.list_(pa.int32())),
    ]
)
POINT_DDL = (
    "strength double, n_links int, recall double, false_positives double, ratio_links int, "
    "ratio_false_positives double, held_out_loss double, is_chosen boolean, "
    "kept array<struct<link:int,quality:double>>, against array<int>"
)


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """`strength` is in hires: the penalty is strength·|weight| beside the summed loss of the pairs.

    So a link enters where its hires exceed, by more than `strength`, those that the links already in would
    lead one to expect, however many pairs there are (a pair counts as its weight over the mean weight).
    scikit-learn's C is 1 / strength. The path has the strengths that are a power of √2 times `weakest_strength`, from
    where the first link enters. Of these the one is chosen whose links foretell best the last fifth of the pairs,
    learnt from the others (see `held_out`), and weaker ones are left out once they are worse; the weakest is chosen
    where these cannot say. What is above 0 chooses instead:
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


def link_points(labels: DataFrame, matches: DataFrame, n_links: int, penalty: Penalty) -> DataFrame:
    """`POINT_DDL`, one row a point of the path; only the chosen point's row has its links.

    `labels` has one row a pair: seeker_id, job_id, pair (its number), kind, at_ts, weight; `matches` one a pair and
    link: pair, link, links from 0 to n_links - 1. A pair without links counts too: the intercept is what hires happen
    without any. No point is there where there is no link, or only hires, or only no-hires.
    """
    from pyspark.sql import functions as F

    from jobs.graph.hires import KINDS, PAIR

    carried = matches.groupBy("pair").agg(F.sort_array(F.collect_list("link")).alias("links"))
    none = F.array().cast("array<int>")
    number = F.array_position(F.array(*map(F.lit, KINDS)), F.col("kind")).cast("int")
    rows = labels.join(carried, "pair", "left").select(
        *PAIR, "at_ts", number.alias("kind"), "weight", F.coalesce("links", none).alias("links")
    )
    # one task, in order of time; and of nothing else's making: sums of fractions change with the order
    return (
        rows.repartition(1)
        .sortWithinPartitions("at_ts", *PAIR)
        .select("kind", "weight", "links")
        .mapInArrow(lambda batches: points_of_batches(batches, n_links, penalty), POINT_DDL)
    )


def points_of_batches(batches: Iterable[pa.RecordBatch], n_links: int, penalty: Penalty) -> Iterator[pa.RecordBatch]:
    """One batch, of `POINT` rows.

    A batch has the columns kind (int: the place in KINDS, from 1), weight and links (list of int), by time.
    """
    with tempfile.TemporaryFile() as spilled:
        parts = []
        for batch in batches:
            kind, weight, links = batch.columns
            links.flatten().to_numpy().astype(np.int32, copy=False).tofile(spilled)
            lengths = links.value_lengths().to_numpy().astype(np.int32)
            parts.append((kind.to_numpy(), weight.to_numpy(), lengths))
        if not parts:
            return
        kinds, weights, lengths = (np.concatenate(column) for column in zip(*parts, strict=True))
        hired = kinds == HIRE
        if n_links == 0 or hired.all() or not hired.any():
            return
        spilled.flush()
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        # a file of no bytes cannot be mapped
        mapped = np.memmap(spilled, np.int32, "r") if offsets[-1] else np.zeros(0, np.int32)
        matches = Matches(hired, weights / weights.mean(), offsets, np.asarray(mapped), n_links)
        points = list(path_points(matches, penalty, last_of_each(kinds)))
    yield _as_batch(points, chosen_point(points, penalty))


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
    is_kept = np.full(matches.n_links, -np.inf)
    is_kept[links] = 1.0
    is_linked = matches.best(is_kept) > 0
    linked = matches.weight[is_linked].sum()
    linked_hires = matches.weight[is_linked & matches.is_hire].sum()
    recall = linked_hires / matches.weight[matches.is_hire].sum()
    return float(recall), float((linked - linked_hires) / linked) if linked else None


def ratios(matches: Matches) -> Floats:
    """(n_links,): hires over no-hires, infinite without no-hires."""
    hires = matches.per_link(matches.weight * matches.is_hire)
    no_hires = matches.per_link(matches.weight * ~matches.is_hire)
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
    return least(losses) if losses else len(points) - 1


def _as_batch(points: Sequence[Point], chosen: int) -> pa.RecordBatch:
    kept = points[chosen]
    nothing: list[dict[str, object]] = []
    links = [
        {"link": link, "quality": quality}
        for link, quality in zip(kept.links.tolist(), kept.qualities.tolist(), strict=True)
    ]
    rows = [
        {
            "strength": point.strength,
            "n_links": len(point.links),
            "recall": point.recall,
            "false_positives": point.false_positives,
            "ratio_links": point.ratio_links,
            "ratio_false_positives": point.ratio_false_positives,
            "held_out_loss": point.held_out_loss,
            "is_chosen": number == chosen,
            "kept": links if number == chosen else nothing,
            "against": kept.against.tolist() if number == chosen else nothing,
        }
        for number, point in enumerate(points)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=POINT)
