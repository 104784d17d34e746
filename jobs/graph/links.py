"""Candidate links: combinations of meta links that enough hires carry, found level by level (Apriori).

Support is monotone, and is what the levels are pruned by: a hire that carries a combination carries all its
parts, so one with too few hires has no extension with enough. The share of hires among the pairs that carry a
link is not: `mid → mid` may be outnumbered by its no-hires where `analyst, mid → engineer, mid` is not. So,
as in the paper, links whose no-hires outnumber their hires are dropped at the end, and grown from until then.

So is being telling: a combination that the same pairs carry as one of its parts says nothing that the shorter
one does not (where all are of one region, `analyst, here → engineer, here`), and nor does any extension of
it.

2^k is never made: a combination is counted only if its first items are frequent, a pair enters combinations
with at most `max_meta_links` of its meta links, and they are at most `max_arity` long. See `combinations`, which also
says what memory they take; all is done in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.graph.combinations import ANY, Labels, combined
from jobs.graph.l1_path import Matches
from jobs.graph.lists import Floats, Ints, Lists, ends
from jobs.graph.meta_links import META_LINK, MetaLinks, Template, frequent_meta_links, kept_terms

ROWS_AT_ONCE = 1 << 16
NONE = np.iinfo(np.int32).max
META_LINK_TYPE = pa.struct(
    [("seeker_field", pa.string()), ("seeker_term", pa.int32()), ("job_field", pa.string()), ("job_term", pa.int32())]
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What keeps the number of candidate links, and the work a pair can cause, bounded."""

    min_support: int = 3  # hires that a link needs
    max_arity: int = 2  # meta links that a link joins
    max_terms: int = 20  # terms a side and field, those with most hires
    max_meta_links: int = 40  # meta links that a pair's combinations are made of


@dataclass(frozen=True)
class MinedLinks:
    """Candidates, in order of their segments' text: no two read the same.

    `items` (n, max_arity): the meta links of each, by place in `metas`, NONE where there are fewer; `n_hires` and
    `n_no_hires` (n,): weights; `carriers`: the pairs that carry each. `cut` counts what the limits left out of hires:
    terms, and meta links kept out of combinations. `n_outside`: hires without any meta link.
    """

    items: Ints
    n_hires: Floats
    n_no_hires: Floats
    carriers: Lists
    metas: MetaLinks
    cut: dict[str, int]
    n_outside: int

    def matches(self, labels: Labels) -> Matches:
        return Matches(labels.is_hire, labels.weight / labels.weight.mean(), self.carriers)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """seeker_segment, job_segment, meta_links (by what they are), n_hires and n_no_hires of each, in order."""
        sides = [_Side.of(self.metas, side) for side in ("seeker", "job")]
        by_name = _order_by_name(self.metas.names)
        place, names = np.argsort(by_name).astype(np.int32), self.metas.names.take(pa.array(by_name))
        for start in range(0, len(self.items), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            items = self.items[rows]
            metas = _lists(np.sort(np.where(items == NONE, NONE, place[np.minimum(items, len(place) - 1)]), axis=1))
            columns = [
                *(side.text(items) for side in sides),
                pa.ListArray.from_arrays(pa.array(metas.offsets, pa.int32()), names.take(pa.array(metas.values))),
                pa.array(self.n_hires[rows]),
                pa.array(self.n_no_hires[rows]),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=LINKS)


LINKS = pa.schema(
    [
        ("seeker_segment", pa.string()),
        ("job_segment", pa.string()),
        ("meta_links", pa.list_(META_LINK_TYPE)),
        ("n_hires", pa.float64()),
        ("n_no_hires", pa.float64()),
    ]
)


def mine_links(
    labels: Labels, terms: Mapping[tuple[str, str], Lists], templates: Sequence[Template], limits: Limits
) -> MinedLinks:
    """The links that at least `min_support` hires carry and whose no-hires do not outnumber their hires.

    Nor does a part of them say the same. `terms` are those of each pair, by side and field, for all fields of the
    templates. Support counts hires, the comparison weights. A link is known by its two segments: of several
    combinations that read the same (two skills with two skills can be paired in several ways) there is the shortest,
    then the first by meta link.
    """
    bounds = {"min_support": limits.min_support, "max_terms": limits.max_terms}
    kept = {name: kept_terms(lists, labels, **bounds) for name, lists in terms.items()}
    metas = frequent_meta_links(kept, templates, labels, min_support=limits.min_support)
    carried = metas.level.pairs.turned(len(labels.is_hire))
    n_metas = carried.lengths[labels.is_hire]
    levels = combined(
        metas.level,
        carried.first(limits.max_meta_links),
        labels,
        min_support=limits.min_support,
        max_arity=limits.max_arity,
    )
    items = np.concatenate([_padded(level.items, limits.max_arity) for level in levels])
    counts = np.concatenate([level.counts for level in levels])
    first = _first_of_each(items, metas)
    first = first[counts[first, 3] <= counts[first, 2]]
    return MinedLinks(
        items=items[first],
        n_hires=counts[first, 2],
        n_no_hires=counts[first, 3],
        carriers=Lists.joined([level.pairs for level in levels]).take(first),
        metas=metas,
        cut={
            "terms": sum(side.n_cut for side in kept.values()),
            "meta_links": int(np.maximum(n_metas - limits.max_meta_links, 0).sum()),
        },
        n_outside=int((n_metas == 0).sum()),
    )


def _first_of_each(items: Ints, metas: MetaLinks) -> Ints:
    """The place of the first of each that reads the same, in order of the segments' text."""
    keys = _packed([column for side in ("seeker", "job") for column in _Side.of(metas, side).columns(items)])
    order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys[::-1])
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for key in keys:
        is_first[1:] |= key[order[1:]] != key[order[:-1]]
    return np.minimum.reduceat(order, np.flatnonzero(is_first)) if len(order) else order


def _packed(columns: Sequence[tuple[Ints, int]]) -> list[Ints]:
    """(n,) int64 each, which together are in order as the columns; of each also a number that none of it reaches.

    >>> [key.tolist() for key in _packed([(np.array([1, 0]), 2), (np.array([4, 3]), 5), (np.array([0, 7]), 1 << 61)])]
    [[9, 3], [0, 7]]
    """
    keys, room = [np.zeros(len(columns[0][0]), np.int64)], 1
    for column, n in columns:
        if room * n > ANY:
            keys, room = [*keys, np.zeros(len(column), np.int64)], 1
        keys[-1] = keys[-1] * n + column
        room *= n
    return keys


@dataclass(frozen=True)
class _Side:
    """`texts`: field=term of each segment part, in order; `part` (metas,): which one each meta link has.

    Segments come in the same order by their parts as by their text: a part is followed by nothing or by &, which is
    less than what a longer part goes on with, a digit.
    """

    texts: pa.StringArray
    part: Ints

    @staticmethod
    def of(metas: MetaLinks, side: str) -> _Side:
        field, term = (metas.names.field(f"{side}_{name}") for name in ("field", "term"))
        found = pc.binary_join_element_wise(field, term.cast(pa.string()), "=").dictionary_encode()
        order = pc.sort_indices(found.dictionary).to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order))
        return _Side(found.dictionary.take(pa.array(order)), rank[found.indices.to_numpy()])

    def parts(self, items: Ints) -> Ints:
        """(n, arity): the parts of a combination's segment, ascending, each once, then NONE."""
        parts = np.sort(np.where(items == NONE, NONE, self.part[np.minimum(items, len(self.part) - 1)]), axis=1)
        parts[:, 1:][parts[:, 1:] == parts[:, :-1]] = NONE
        return np.sort(parts, axis=1)

    def columns(self, items: Ints) -> list[tuple[Ints, int]]:
        """Which together are in order as the segments' texts, as `_packed` takes them."""
        n = len(self.texts) + 1
        return [(np.where(part == NONE, 0, part + 1), n) for part in self.parts(items).T]

    def text(self, items: Ints) -> pa.StringArray:
        """The parts of each segment, joined by &."""
        parts = _lists(self.parts(items))
        texts = self.texts.take(pa.array(parts.values))
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(parts.offsets, pa.int32()), texts), "&")


def _padded(items: Ints, n: int) -> Ints:
    return np.pad(items, ((0, 0), (0, n - items.shape[1])), constant_values=NONE)


def _lists(padded: Ints) -> Lists:
    """What is not NONE of each row."""
    is_there = padded != NONE
    return Lists(ends(is_there.sum(axis=1)), padded[is_there])


def _order_by_name(names: pa.StructArray) -> Ints:
    """The places of meta links in order of what they are."""
    table = pa.Table.from_arrays([names.field(name) for name in META_LINK], names=META_LINK)
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in META_LINK]).to_numpy()
