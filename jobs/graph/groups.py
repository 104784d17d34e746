"""Pairs that carry the same of some links, as one row of a regression over these links.

Rows repeat: 1.25 million pairs that 360 links tell apart are 361 rows. A link more splits the groups in which some
carry it and some do not, for which only its carriers are read (partition refinement: Paige and Tarjan, SIAM J. Comput.
16, 1987). Where hardly two pairs are alike, each is a row of its own again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from jobs.graph.lists import Ints, Lists, ends

# Groups a pair, above which pairs stay by themselves: where all differ there are as many groups as matches, most empty,
# and the path took fourteen times as long.
MOST = 0.5


@dataclass(frozen=True)
class Groups:
    """`of_pair` (n,): the group of each pair; `links`: those that tell groups apart, in the order in which they came.

    Group 0 carries none. Another carries what `parent`, a group before it, does, and the link at place `last` of
    `links`: (groups,) each, all int32. A group of which all pairs were split off stays, empty. With `is_single` each
    pair is a group, numbered as the groups were. `pairs`: of each link, the pairs that carry it.
    """

    pairs: Lists
    of_pair: Ints
    links: Ints
    parent: Ints
    last: Ints
    is_single: bool = False

    @staticmethod
    def of(pairs: Lists, n_pairs: int) -> Groups:
        """All pairs together.

        >>> groups = Groups.of(Lists.of([[0, 1, 2], [2, 3]]), 8).split(np.array([0, 1]))
        >>> groups.of_pair.tolist()
        [1, 1, 2, 3, 0, 0, 0, 0]
        >>> groups.carriers(np.array([1])).values.tolist()
        [2, 3]
        """
        none = np.zeros(1, np.int32)
        return Groups(pairs, np.zeros(n_pairs, np.int32), np.zeros(0, np.int64), none, none)

    def __len__(self) -> int:
        return len(self.of_pair) if self.is_single else len(self.parent)

    def split(self, links: Ints) -> Groups:
        """Told apart by these links as well."""
        new = np.setdiff1d(links, self.links)
        if self.is_single or not len(new):
            return self
        of_pair, room = self.of_pair.copy(), np.empty(self.pairs.lengths_of(new).sum(), np.int32)
        parent, last = np.concatenate([self.parent, room]), np.concatenate([self.last, room])
        known = len(self.links), len(self)
        n = _split(self.pairs.offsets, self.pairs.values, new, known, of_pair, parent, last)
        if n > MOST * len(of_pair):
            place = np.empty(len(of_pair), np.int32)
            place[np.argsort(of_pair, kind="stable")] = np.arange(len(of_pair))
            return replace(self, of_pair=place, is_single=True)
        links = np.concatenate([self.links, new])
        return replace(self, of_pair=of_pair, links=links, parent=parent[:n].copy(), last=last[:n].copy())

    def carriers(self, links: Ints) -> Lists:
        """Of each of these links, by which groups are told apart, the groups that carry it."""
        if self.is_single:
            pairs = self.pairs.take(links)
            return Lists(pairs.offsets, self.of_pair[pairs.values])
        column = np.full(len(self.links), -1, np.int32)
        order = np.argsort(self.links)
        column[order[np.searchsorted(self.links, links, sorter=order)]] = np.arange(len(links))
        offsets = ends(_counted(self.parent, self.last, column, len(links)))
        values = np.empty(offsets[-1], np.int32)
        _carriers(self.parent, self.last, column, offsets[:-1].copy(), values)
        return Lists(offsets, values)


@njit(cache=True)
def _split(offsets, pairs, links, known, of_pair, parent, last):  # type: ignore[no-untyped-def]
    """Writes all but `offsets`, `pairs` and `links`; returns how many groups there are then."""
    n_links, n = known
    part, split_by = np.empty(len(parent), np.int32), np.full(len(parent), -1, np.int32)
    for number in range(len(links)):
        for at in range(offsets[links[number]], offsets[links[number] + 1]):
            group = of_pair[pairs[at]]
            if split_by[group] != number:
                split_by[group], part[group] = number, n
                parent[n], last[n] = group, n_links + number
                n += 1
            of_pair[pairs[at]] = part[group]
    return n


@njit(cache=True)
def _counted(parent, last, column, n_columns):  # type: ignore[no-untyped-def]
    counts = np.zeros(n_columns, np.int64)
    for group in range(len(parent)):
        above = group
        while above > 0:
            if column[last[above]] >= 0:
                counts[column[last[above]]] += 1
            above = parent[above]
    return counts


@njit(cache=True)
def _carriers(parent, last, column, into, groups):  # type: ignore[no-untyped-def]
    for group in range(len(parent)):
        above = group
        while above > 0:
            found = column[last[above]]
            if found >= 0:
                groups[into[found]] = group
                into[found] += 1
            above = parent[above]
