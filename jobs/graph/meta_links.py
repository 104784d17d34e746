"""Meta links: one seeker term paired with one job term, as the templates allow; or any one term that both have.

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

from jobs.graph.combinations import Collected, Labels, Level, after
from jobs.graph.lists import Ints, Lists, ends

META_LINK = ("seeker_field", "seeker_term", "job_field", "job_term")
# Stands for the term of a meta link that any term makes which both sides have.
SAME = -1


class Template(Protocol):
    """Which field of a seeker may pair with which field of a job; with `same`, one term in both is a meta link too."""

    @property
    def seeker(self) -> str: ...
    @property
    def job(self) -> str: ...
    @property
    def same(self) -> bool: ...


@dataclass(frozen=True)
class Terms:
    """The terms that a side of each pair enters links with in a field.

    `ids` (n,): those that enough hires carry, most hires first, ties by term id; `ranks`: of each pair, its places in
    `ids`, ascending. `n_cut`: terms of hires that the limit left out.
    """

    ids: Ints
    ranks: Lists
    n_cut: int

    @property
    def by_term(self) -> Lists:
        """Of each of `ids`, the pairs that have it."""
        return self.ranks.turned(len(self.ids))


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
    it is the first that a pair with too many of them enters longer links with. Those of the same term come last.
    """

    names: pa.StructArray
    level: Level


def frequent_meta_links(
    terms: Mapping[tuple[str, str], Terms],
    sharing: Mapping[tuple[str, str], Ints],
    templates: Sequence[Template],
    labels: Labels,
    *,
    min_support: int,
    memory: int,
    threads: int = 1,
) -> tuple[MetaLinks, int]:
    """The meta links that at least so many hires carry, and how many: more than `min_support` only where these would
    not fit into `memory` bytes (see `Collected`). `terms` by side and field; `sharing`: by a seeker's and a job's field
    of a template with `same`, the pairs of which both sides have one term there.
    """
    fields = sorted({name for template in templates for name in (template.seeker, template.job)})
    sources = [*sorted({(template.seeker, template.job) for template in templates}), *sorted(sharing)]
    n_paired, collected = len(sources) - len(sharing), Collected(min_support, memory)
    for source, (seeker, job) in enumerate(sources):
        if source < n_paired:
            groups, carried = terms["seeker", seeker].by_term, terms["job", job].ranks
        else:
            groups = Lists(ends([len(sharing[seeker, job])]), sharing[seeker, job].astype(np.int32))
            carried = groups.turned(len(labels.is_hire))
        none = np.full(len(groups), -1)
        after((groups, none), carried, labels, collected, source=source, threads=threads)
    found = collected.found()
    seeker_field, job_field = (
        np.array([fields.index(pair[side]) for pair in sources])[found.source] for side in (0, 1)
    )
    same = [np.array([SAME])] * len(sharing)
    own = _ids([*(terms["seeker", seeker].ids for seeker, _ in sources[:n_paired]), *same], found.source, found.group)
    asked = _ids([*(terms["job", job].ids for _, job in sources[:n_paired]), *same], found.source, found.item)
    counts = found.counts
    order = np.lexsort((asked, job_field, own, seeker_field, counts.other_weight - counts.hire_weight, own == SAME))
    text, number = pa.array(fields, pa.string()), np.arange(len(order))
    names = pa.StructArray.from_arrays(
        [
            text.take(pa.array(seeker_field[order])), pa.array(own[order], pa.int32()),
            text.take(pa.array(job_field[order])), pa.array(asked[order], pa.int32()),
        ],
        names=META_LINK,
    )  # fmt: skip
    level = Level(number.astype(np.int32)[:, None], counts.take(order), found.pairs.take(order), number)
    return MetaLinks(names, level), collected.support


def _ids(of_source: Sequence[Ints], source: Ints, place: Ints) -> Ints:
    """(n,): the id that is at `place` of its source's."""
    return np.concatenate(of_source)[ends([len(ids) for ids in of_source])[source] + place]
