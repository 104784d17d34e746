"""Pairs that carry the same of some links, as one row of a regression over these links.

Rows repeat: 1.25 million pairs that 360 links tell apart are 361 rows. A link more splits the groups in which some
carry it and some do not, for which only its carriers are read (partition refinement: Paige and Tarjan, SIAM J. Comput.
16, 1987). Where no two pairs are alike there are as many groups as pairs, and nothing is lost but the splitting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from jobs.graph.lists import Ints, Lists, ends


@dataclass(frozen=True)
class Groups:
    """`of_pair` (n,): the group of each pair; `links`: those that tell groups apart, in the order in which they came.

    Group 0 carries none. Another carries what `parent`, a group before it, does, and the link at place `last` of
    `links`: (groups,) each, all int32. A group of which all pairs were split off stays, empty.
    """

    of_pair: Ints
    links: Ints
    parent: Ints
    last: Ints

    @staticmethod
    def of(n_pairs: int) -> Groups:
        """All pairs together.

        >>> carriers = Lists.of([[0, 1, 2], [2, 3]])
        >>> groups = Groups.of(5).split(carriers, np.array([0, 1]))
        >>> groups.of_pair.tolist()
        [1, 1, 2, 3, 0]
        >>> groups.carriers(np.array([1])).values.tolist()
        [2, 3]
        """
        none = np.zeros(1, np.int32)
        return Groups(np.zeros(n_pairs, np.int32), np.zeros(0, np.int64), none, none)

    def __len__(self) -> int:
        return len(self.parent)

    def split(self, carriers: Lists, links: Ints) -> Groups:
        """Told apart by these links as well; `carriers`: of each link, the pairs that carry it."""
        new = np.setdiff1d(links, self.links)
        if not len(new):
            return self
        of_pair, room = self.of_pair.copy(), np.empty(carriers.lengths_of(new).sum(), np.int32)
        parent, last = np.concatenate([self.parent, room]), np.concatenate([self.last, room])
        known = len(self.links), len(self)
        n = _split(carriers.offsets, carriers.values, new, known, of_pair, parent, last)
        return Groups(of_pair, np.concatenate([self.links, new]), parent[:n].copy(), last[:n].copy())

    def carriers(self, links: Ints) -> Lists:
        """Of each of these links, by which groups are told apart, the groups that carry it, ascending."""
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
