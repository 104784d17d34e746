"""From labelled pairs to the links that the regression keeps: mining, path and choice, in one process.

Memory: some 100 bytes a pair and 8 a term, and `Limits.memory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.figures import Figure
from jobs.graph.combinations import Labels
from jobs.graph.held_out import last_of_each
from jobs.graph.hires import KINDS
from jobs.graph.l1_path import Matches
from jobs.graph.links import LINKS, Limits, MinedLinks, mine_links
from jobs.graph.lists import Ints, Lists
from jobs.graph.meta_links import SAME, Template
from jobs.graph.quality import Penalty, Point, chosen_point, path_points

HIRE = 1  # the place of hires in KINDS, from 1
PATH_FIGURES = ("recall", "false_positives", "ratio_links", "ratio_false_positives", "held_out_loss")
FIGURE = pa.struct([("metric", pa.string()), ("label", pa.string()), ("value", pa.float64())])
SEEKER_TERM = ["field", "term"]
TERM = pa.struct([("field", pa.string()), ("term", pa.int32())])
LINK = pa.struct([*LINKS, ("quality", pa.float64()), ("is_against", pa.bool_())])
COUNTED = pa.struct([("n_hires", pa.float64()), ("n_no_hires", pa.float64())])
SAME_TERM = pa.struct([("seeker_field", pa.string()), ("job_field", pa.string()), ("term", pa.int32()), *COUNTED])
FITTED = pa.schema([("figure", FIGURE), ("hired_term", TERM), ("same_term", SAME_TERM), ("link", LINK)])
FITTED_DDL = (
    "figure struct<metric:string,label:string,value:double>, hired_term struct<field:string,term:int>, "
    "same_term struct<seeker_field:string,job_field:string,term:int,n_hires:double,n_no_hires:double>, "
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
        of_field = ((mined.metas.field(f"{side}_field").to_pylist()) for side in ("seeker", "job"))
        fields = list(zip(*of_field, strict=True))
        return [
            *[Figure("pairs", n, kind) for kind, n in zip(KINDS, n_pairs, strict=True)],
            Figure("hires_with_later_job_version", int((pairs.is_job_later & pairs.labels.is_hire).sum())),
            *[Figure("meta_links", fields.count((t.seeker, t.job)), f"{t.seeker}→{t.job}") for t in templates],
            Figure("hires_outside_templates", mined.n_outside),
            *[Figure("cut", n, what) for what, n in mined.cut.items()],
            *[Figure("support", n, str(length)) for length, n in enumerate(mined.supports, 1)],
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

    def batches(self, templates: Sequence[Template], named: Sequence[tuple[str, str]] = ()) -> Iterator[pa.RecordBatch]:
        """`FITTED`: a row is a figure, a seeker term that hires support, a term of a kept "same" link, or a link.

        Links are those kept, which have a quality; those that speak against a hire, which are marked; and candidates
        between segments that are named. The other candidates stay here: they can be tens of millions.
        """
        figures = [figure._asdict() for figure in self.figures(templates)]
        yield _rows(figure=pa.array(figures, FIGURE))
        seekers = pa.Table.from_arrays([self.mined.metas.field(f"seeker_{name}") for name in SEEKER_TERM], SEEKER_TERM)
        seekers = seekers.filter(pc.field("term") != SAME)
        yield _rows(hired_term=pa.array(seekers.group_by(SEEKER_TERM).aggregate([]).to_pylist(), TERM))
        yield _rows(same_term=pa.array(list(self.same_terms()), SAME_TERM))
        none = np.zeros(0, np.int64)
        kept, qualities, against = (
            (self.point.links, self.point.qualities, self.point.against) if self.point else [none] * 3
        )
        written = np.unique(np.concatenate([kept, against, self.mined.named(named)]))
        quality = np.full(len(written), np.nan)
        quality[np.searchsorted(written, kept)] = qualities
        is_against, start = np.isin(written, against), 0
        for links in self.mined.batches(written):
            rows = slice(start, start + len(links))
            start += len(links)
            of_path = [pa.array(quality[rows], mask=np.isnan(quality[rows])), pa.array(is_against[rows])]
            yield _rows(link=pa.StructArray.from_arrays([*links.columns, *of_path], fields=list(LINK)))

    def same_terms(self) -> Iterator[dict[str, Any]]:
        """Of each kept link of the same term, the terms that its pairs have in common: `SAME_TERM`."""
        for link in self.point.links if self.point else []:
            meta = self.mined.metas[int(self.mined.items[link, 0])].as_py()
            if meta["seeker_term"] != SAME:
                continue
            fields = {name: meta[name] for name in ("seeker_field", "job_field")}
            pairs = self.mined.carriers.take(np.array([link])).values
            own, asked = (self.pairs.terms[side, fields[f"{side}_field"]].take(pairs) for side in ("seeker", "job"))
            pair, term = own.common(asked)
            is_hire, weight = self.pairs.labels.is_hire[pairs[pair]], self.pairs.weight[pairs[pair]]
            counts = [np.bincount(term, weight * of_label) for of_label in (is_hire, ~is_hire)]
            for number in np.unique(term).tolist():
                n_hires, n_no_hires = (float(count[number].round(6)) for count in counts)
                yield fields | {"term": number, "n_hires": n_hires, "n_no_hires": n_no_hires}


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
    batches: Iterable[pa.RecordBatch],
    templates: Sequence[Template],
    limits: Limits,
    penalty: Penalty,
    named: Sequence[tuple[str, str]] = (),
) -> Iterator[pa.RecordBatch]:
    """`FITTED`, of all batches together, which have the columns of `LabelledPairs.of_table`."""
    yield from fit_links(_pairs(batches, templates), templates, limits, penalty).batches(templates, named)


def _pairs(batches: Iterable[pa.RecordBatch], templates: Sequence[Template]) -> LabelledPairs:
    terms = [(f"{side}_{field}", pa.list_(pa.int32())) for side, field in term_columns(templates)]
    schema = pa.schema([("kind", pa.int32()), ("weight", pa.float64()), ("is_job_later", pa.bool_()), *terms])
    parts = list(batches)
    return LabelledPairs.of_table(pa.Table.from_batches(parts) if parts else schema.empty_table(), templates)
