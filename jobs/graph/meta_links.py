"""Meta links: one seeker term paired with one job term, as the templates allow.

A pair of a seeker with m and a job with n terms in a template's fields has m·n meta links there. Two bounds
keep that small: a side keeps at most `max_terms` of its terms in a field, those with most hires, and only
meta links with enough hires of their own are written down. What the first bound cut is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from jobs.graph.combinations import Labels, Level, after
from jobs.graph.lists import Ints, Lists, ends

META_LINK = ("seeker_field", "seeker_term", "job_field", "job_term")


class Template(Protocol):
    """Which field of a seeker may pair with which field of a job."""

    @property
    def seeker(self) -> str: ...
    @property
    def job(self) -> str: ...


@dataclass(frozen=True)
class Terms:
    """The terms that a side of each pair enters links with in a field.

    `ids` (n,): those that enough hires carry, most hires first, ties by term id; `ranks`: of each pair, its places in
    `ids`, ascending. `n_cut`: terms of hires that the limit left out.
    """

    ids: Ints
    ranks: Lists
    n_cut: int


def kept_terms(terms: Lists, labels: Labels, *, min_support: int, max_terms: int) -> Terms:
    """Of each pair's `terms`, each once, those that `min_support` hires have (no link with another can have more).

    At most `max_terms` of them, those with most hires.
    """
    n_hires = np.bincount(terms.take(np.flatnonzero(labels.is_hire)).values)
    ids = np.flatnonzero(n_hires >= min_support)
    ids = ids[np.lexsort((ids, -n_hires[ids]))]
    rank = np.full(int(terms.values.max(initial=0)) + 1, -1, np.int32)
    rank[ids] = np.arange(len(ids))
    ranks = rank[terms.values]
    is_kept = ranks >= 0
    # turned twice, lists are in order, however long they are
    found = Lists(ends(is_kept)[terms.offsets], ranks[is_kept]).turned(len(ids)).turned(len(terms))
    n_cut = np.maximum(found.lengths - max_terms, 0)[labels.is_hire].sum()
    return Terms(ids, found.first(max_terms), int(n_cut))


@dataclass(frozen=True)
class MetaLinks:
    """`names`: struct array of META_LINK (n,); `level`: their counts and the pairs that carry each.

    They are in order of falling n_hires - n_no_hires, then by what they are: what makes hires likelier comes first, and
    it is the first that a pair with too many of them enters longer links with.
    """

    names: pa.StructArray
    level: Level


def frequent_meta_links(
    terms: Mapping[tuple[str, str], Terms], templates: Sequence[Template], labels: Labels, *, min_support: int
) -> MetaLinks:
    """The meta links that at least `min_support` hires carry; `terms` by side and field."""
    columns: list[tuple[Ints, ...]] = []
    pairs: list[Lists] = []
    fields = sorted({name for template in templates for name in (template.seeker, template.job)})
    for seeker, job in sorted({(template.seeker, template.job) for template in templates}):
        left, right = terms["seeker", seeker], terms["job", job]
        groups = left.ranks.turned(len(left.ids))
        found = after((groups, np.full(len(groups), -1)), right.ranks, labels, min_support=min_support)
        n, both = len(found.item), (left.ids[found.group], right.ids[found.item])
        columns.append((np.full(n, fields.index(seeker)), np.full(n, fields.index(job)), *both, found.counts))
        pairs.append(found.pairs)
    seeker_field, job_field, own, asked, counts = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((asked, job_field, own, seeker_field, counts[:, 3] - counts[:, 2]))
    text, number = pa.array(fields, pa.string()), np.arange(len(order))
    names = pa.StructArray.from_arrays(
        [
            text.take(pa.array(seeker_field[order])), pa.array(own[order], pa.int32()),
            text.take(pa.array(job_field[order])), pa.array(asked[order], pa.int32()),
        ],
        names=META_LINK,
    )  # fmt: skip
    carriers = Lists.joined(pairs).take(order)
    return MetaLinks(names, Level(number.astype(np.int32)[:, None], counts[order], carriers, number))
