"""From labelled pairs to the links that the regression keeps: mining, path and choice, in one process.

Memory: some 100 bytes a pair and 4 a term, and what `combinations` and `l1_path` say of matches and candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.figures import Figure
from jobs.graph.combinations import Labels
from jobs.graph.held_out import last_of_each
from jobs.graph.hires import KINDS
from jobs.graph.l1_path import Matches
from jobs.graph.links import LINKS, Limits, MinedLinks, mine_links
from jobs.graph.lists import Ints, Lists
from jobs.graph.meta_links import Template
from jobs.graph.quality import Penalty, Point, chosen_point, path_points

HIRE = 1  # the place of hires in KINDS, from 1
PATH_FIGURES = ("recall", "false_positives", "ratio_links", "ratio_false_positives", "held_out_loss")
FIGURE = pa.struct([("metric", pa.string()), ("label", pa.string()), ("value", pa.float64())])
TERM = pa.struct([("field", pa.string()), ("term", pa.int32())])
LINK = pa.struct([*LINKS, ("quality", pa.float64()), ("is_against", pa.bool_())])
FITTED = pa.schema([("figure", FIGURE), ("hired_term", TERM), ("link", LINK)])
FITTED_DDL = (
    "figure struct<metric:string,label:string,value:double>, hired_term struct<field:string,term:int>, "
    "link struct<seeker_segment:string,job_segment:string,"
    "meta_links:array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>,"
    "n_hires:double,n_no_hires:double,quality:double,is_against:boolean>"
)


@dataclass(frozen=True)
class LabelledPairs:
    """In order of time, (n,) each: `kind`, the place in KINDS, from 1, `weight`, and whether the job's terms are later.

    `terms`: those of each pair, by side and field.
    """

    kind: Ints
    weight: NDArray[np.float64]
    is_job_later: NDArray[np.bool_]
    terms: Mapping[tuple[str, str], Lists]

    @staticmethod
    def of_table(rows: pa.Table, templates: Sequence[Template]) -> LabelledPairs:
        """From the columns kind, weight, is_job_later and, for each of `term_columns`, {side}_{field}."""
        kind, weight, is_job_later = (rows[name].to_numpy() for name in ("kind", "weight", "is_job_later"))
        named = {(side, field): rows[f"{side}_{field}"] for side, field in term_columns(templates)}
        terms = {name: Lists.of_arrow(column) for name, column in named.items()}
        return LabelledPairs(kind, weight, is_job_later, terms)

    @property
    def labels(self) -> Labels:
        return Labels(self.kind == HIRE, self.weight)


def term_columns(templates: Sequence[Template]) -> list[tuple[str, str]]:
    """Side and field of all terms that the templates ask for."""
    return sorted({(side, getattr(template, side)) for template in templates for side in ("seeker", "job")})


@dataclass(frozen=True)
class Fitted:
    """`points` of the path and the place of the chosen one; none where there is no link, or hires or no-hires alone."""

    pairs: LabelledPairs
    mined: MinedLinks
    matches: Matches | None
    points: list[Point]
    chosen: int | None

    @property
    def point(self) -> Point | None:
        return None if self.chosen is None else self.points[self.chosen]

    def figures(self, templates: Sequence[Template]) -> list[Figure]:
        """Recall and false positives are of the pairs learnt from.

        Among them pairs [kind], the hires whose job had no version yet and was read as its first says, and meta_links
        [seeker→job field], 0 for a template that no hire answers to. Hires that are not among the pairs had no profile
        before, or a job without terms.
        """
        pairs, mined, point = self.pairs, self.mined, self.point
        n_pairs = np.bincount(pairs.kind, minlength=len(KINDS) + HIRE)[HIRE:].tolist()
        of_field = ((mined.metas.names.field(f"{side}_field").to_pylist()) for side in ("seeker", "job"))
        fields = list(zip(*of_field, strict=True))
        return [
            *[Figure("pairs", n, kind) for kind, n in zip(KINDS, n_pairs, strict=True)],
            Figure("hires_with_later_job_version", int((pairs.is_job_later & pairs.labels.is_hire).sum())),
            *[Figure("meta_links", fields.count((t.seeker, t.job)), f"{t.seeker}→{t.job}") for t in templates],
            Figure("hires_outside_templates", mined.n_outside),
            *[Figure("cut", n, what) for what, n in mined.cut.items()],
            Figure("candidate_links", len(mined.items)),
            Figure("chosen_strength", point.strength if point else None),
            Figure("links", len(point.links) if point else 0),
            Figure("recall", point.recall if point else None),
            Figure("false_positives", point.false_positives if point else None),
            *[
                Figure(f"path_{name}", value, f"{point.strength:g}")
                for point in self.points
                for name, value in [("links", len(point.links)), *((n, getattr(point, n)) for n in PATH_FIGURES)]
            ],
        ]

    def batches(self, templates: Sequence[Template]) -> Iterator[pa.RecordBatch]:
        """`FITTED`: a row is a figure, or a seeker term that hires support, or a candidate.

        Of the candidates, those kept have a quality; those that speak against a hire are marked.
        """
        figures = [figure._asdict() for figure in self.figures(templates)]
        yield _rows(figure=pa.array(figures, FIGURE))
        names = self.mined.metas.names
        seekers = pa.Table.from_arrays([names.field("seeker_field"), names.field("seeker_term")], ["field", "term"])
        yield _rows(hired_term=pa.array(seekers.group_by(["field", "term"]).aggregate([]).to_pylist(), TERM))
        quality, is_against = np.full(len(self.mined.items), np.nan), np.zeros(len(self.mined.items), bool)
        if self.point:
            quality[self.point.links], is_against[self.point.against] = self.point.qualities, True
        start = 0
        for links in self.mined.batches():
            rows = slice(start, start + len(links))
            start += len(links)
            of_path = [pa.array(quality[rows], mask=np.isnan(quality[rows])), pa.array(is_against[rows])]
            yield _rows(link=pa.StructArray.from_arrays([*links.columns, *of_path], fields=list(LINK)))


def _rows(**column: pa.Array) -> pa.RecordBatch:
    """Rows of `FITTED` with one column."""
    ((name, values),) = column.items()
    nothing: dict[str, Any] = {field.name: pa.nulls(len(values), field.type) for field in FITTED}
    return pa.RecordBatch.from_pydict(nothing | {name: values}, schema=FITTED)


def fit_links(pairs: LabelledPairs, templates: Sequence[Template], limits: Limits, penalty: Penalty) -> Fitted:
    """The links worth keeping among those that hires support. A pair without links counts too.

    The intercept is what hires happen without any.
    """
    labels = pairs.labels
    mined = mine_links(labels, pairs.terms, templates, limits)
    if not len(mined.items) or labels.is_hire.all():
        return Fitted(pairs, mined, None, [], None)
    matches = mined.matches(labels)
    points = list(path_points(matches, penalty, last_of_each(pairs.kind)))
    return Fitted(pairs, mined, matches, points, chosen_point(points, penalty))


def fitted_batches(
    batches: Iterable[pa.RecordBatch], templates: Sequence[Template], limits: Limits, penalty: Penalty
) -> Iterator[pa.RecordBatch]:
    """`FITTED`, of all batches together, which have the columns of `LabelledPairs.of_table`."""
    parts = list(batches)
    terms = [(f"{side}_{field}", pa.list_(pa.int32())) for side, field in term_columns(templates)]
    schema = pa.schema([("kind", pa.int32()), ("weight", pa.float64()), ("is_job_later", pa.bool_()), *terms])
    rows = pa.Table.from_batches(parts) if parts else schema.empty_table()
    del parts
    yield from fit_links(LabelledPairs.of_table(rows, templates), templates, limits, penalty).batches(templates)
