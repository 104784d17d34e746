"""Candidate links: combinations of meta links that enough hires carry, found level by level (Apriori).

Support is monotone, and is what the levels are pruned by: a hire that carries a combination carries all its
parts, so one with too few hires has no extension with enough. The share of hires among the pairs that carry a
link is not: `mid → mid` may be outnumbered by its no-hires where `analyst, mid → engineer, mid` is not. So,
as in the paper, links whose no-hires outnumber their hires are dropped at the end, and grown from until then.

So is being telling: a combination that the same pairs carry as one of its parts says nothing that the shorter
one does not (where all are of one region, `analyst, here → engineer, here`), and nor does any extension of
it.

One term that both sides have is a meta link of its own where a template says so, and a link alone: in combinations it
would be as many links as there are terms, each time.

2^k is never made: a combination is counted only if its first items are frequent, a pair enters combinations
with at most `max_meta_links` of its meta links, and they are at most `max_arity` long. What is found of each length is
held within a share of `memory`: where it would need more, longer links, then all, need more hires (see `combinations`).
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
from jobs.graph.meta_links import META_LINK, SAME, Template, frequent_meta_links, kept_terms

ROWS_AT_ONCE = 1 << 16
MOST_PARTS = 8  # of a segment that somebody names; links join four meta links at most
NONE = np.iinfo(np.int32).max
META_LINK_TYPE = pa.struct(
    [("seeker_field", pa.string()), ("seeker_term", pa.int32()), ("job_field", pa.string()), ("job_term", pa.int32())]
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What keeps the number of candidate links, the work a pair can cause, and memory bounded."""

    min_support: int = 3  # hires that a link needs
    max_arity: int = 2  # meta links that a link joins
    max_terms: int = 20  # terms a side and field, those with most hires
    max_meta_links: int = 40  # meta links that a pair's combinations are made of
    memory: int = 4 << 30  # bytes for candidates and the pairs that carry them, an equal share a length
    threads: int = 1  # that count combinations


@dataclass(frozen=True)
class MinedLinks:
    """Candidates, in order of their segments' text: no two read the same.

    `items` (n, max_arity): the meta links of each, by place in `metas` (structs of META_LINK), NONE where there are
    fewer; `n_hires` and `n_no_hires` (n,): weights; `carriers`: the pairs that carry each. `cut` counts what the limits
    left out of hires: terms, and meta links kept out of combinations. `n_outside`: hires without any meta link.
    `supports`: the hires that a link of each length needed, the shortest first.
    """

    items: Ints
    n_hires: Floats
    n_no_hires: Floats
    carriers: Lists
    metas: pa.StructArray
    cut: dict[str, int]
    n_outside: int
    supports: list[int]

    def matches(self, labels: Labels) -> Matches:
        return Matches(labels.is_hire, labels.weight / labels.weight.mean(), self.carriers)

    def batches(self, links: Ints) -> Iterator[pa.RecordBatch]:
        """`LINKS`: seeker_segment, job_segment, meta_links (by what they are), n_hires and n_no_hires of these."""
        sides = [_Side.of(self.metas, side) for side in ("seeker", "job")]
        by_name = _order_by_name(self.metas)
        place, names = np.argsort(by_name).astype(np.int32), self.metas.take(pa.array(by_name))
        for start in range(0, len(links), ROWS_AT_ONCE):
            rows = links[start : start + ROWS_AT_ONCE]
            items = self.items[rows]
            metas = _lists(np.sort(np.where(items == NONE, NONE, place[np.minimum(items, len(place) - 1)]), axis=1))
            columns = [
                *(side.text(items) for side in sides),
                pa.ListArray.from_arrays(pa.array(metas.offsets, pa.int32()), names.take(pa.array(metas.values))),
                pa.array(self.n_hires[rows]),
                pa.array(self.n_no_hires[rows]),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=LINKS)

    def named(self, segments: Sequence[tuple[str, str]]) -> Ints:
        """The places of the candidates between these seeker and job segments; of those that there are."""
        sides = [_Side.of(self.metas, side) for side in ("seeker", "job")]
        asked = [[side.ranks(text) for side, text in zip(sides, texts, strict=True)] for texts in segments]
        places = [np.zeros(0, np.int64)]
        for start in range(0, len(self.items) if asked else 0, ROWS_AT_ONCE):
            own, wanted = (_padded(side.parts(self.items[start : start + ROWS_AT_ONCE]), MOST_PARTS) for side in sides)
            places += [start + np.flatnonzero((own == a).all(axis=1) & (wanted == b).all(axis=1)) for a, b in asked]
        return np.unique(np.concatenate(places))


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
    bounds = {"memory": limits.memory // limits.max_arity, "threads": limits.threads}
    kept = {
        name: kept_terms(lists, labels, min_support=limits.min_support, max_terms=limits.max_terms)
        for name, lists in terms.items()
    }
    n_cut = sum(side.n_cut for side in kept.values())
    same = {(template.seeker, template.job) for template in templates if template.same}
    sharing = {(own, asked): np.unique(terms["seeker", own].common(terms["job", asked])[0]) for own, asked in same}
    metas, support = frequent_meta_links(kept, sharing, templates, labels, min_support=limits.min_support, **bounds)
    del kept, sharing
    carried = metas.level.pairs.turned(len(labels.is_hire))
    n_outside = int((carried.lengths[labels.is_hire] == 0).sum())
    # they come last, so that nothing comes after them
    carried = carried.among(metas.names.field("seeker_term").to_numpy() != SAME)
    n_metas = carried.lengths[labels.is_hire]
    first_metas = carried.first(limits.max_meta_links)
    del carried
    levels, supports = combined(metas.level, first_metas, labels, support=support, max_arity=limits.max_arity, **bounds)
    names = metas.names
    del first_metas, metas
    items = np.concatenate([_padded(level.items, limits.max_arity) for level in levels])
    hires, others = (
        np.concatenate([getattr(level.counts, name) for level in levels]) for name in ("hire_weight", "other_weight")
    )
    carriers = [level.pairs for level in levels]
    del levels
    first = _first_of_each(items, names)
    first = first[others[first] <= hires[first]]
    return MinedLinks(
        items=items[first],
        n_hires=hires[first],
        n_no_hires=others[first],
        carriers=Lists.joined(carriers, first),
        metas=names,
        cut={"terms": n_cut, "meta_links": int(np.maximum(n_metas - limits.max_meta_links, 0).sum())},
        n_outside=n_outside,
        supports=supports,
    )


def _first_of_each(items: Ints, metas: pa.StructArray) -> Ints:
    """The place of the first of each that reads the same, in order of the segments' text."""
    sides = [_Side.of(metas, side) for side in ("seeker", "job")]
    starts = range(0, max(len(items), 1), ROWS_AT_ONCE)
    parts = [
        _packed([c for side in sides for c in side.columns(items[start : start + ROWS_AT_ONCE])]) for start in starts
    ]
    keys = [np.concatenate(key) for key in zip(*parts, strict=True)]
    order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys[::-1])
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for key in keys:
        in_order = key[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
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
    less than what a longer part goes on with, a digit. The part for the same term on both sides ends with *.
    """

    texts: pa.StringArray
    part: Ints

    @staticmethod
    def of(metas: pa.StructArray, side: str) -> _Side:
        field, term = (metas.field(f"{side}_{name}") for name in ("field", "term"))
        shown = pc.if_else(pc.equal(term, SAME), "*", term.cast(pa.string()))
        found = pc.binary_join_element_wise(field, shown, "=").dictionary_encode()
        order = pc.sort_indices(found.dictionary).to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order))
        return _Side(found.dictionary.take(pa.array(order)), rank[found.indices.to_numpy()])

    def parts(self, items: Ints) -> Ints:
        """(n, arity): the parts of a combination's segment, ascending, each once, then NONE."""
        parts = np.sort(np.where(items == NONE, NONE, self.part[np.minimum(items, len(self.part) - 1)]), axis=1)
        parts[:, 1:][parts[:, 1:] == parts[:, :-1]] = NONE
        return np.sort(parts, axis=1)

    def ranks(self, text: str) -> Ints:
        """(MOST_PARTS,): the parts of the segment that is written so, as `parts`; -1 for one that no candidate has."""
        found = pc.index_in(pa.array(text.split("&")), value_set=self.texts).fill_null(-1).to_numpy()
        return _padded(found[None, :MOST_PARTS], MOST_PARTS)[0]

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
