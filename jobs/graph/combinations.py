"""Which items pairs carry together, and how many of the pairs were hired: the counting of Apriori, without its joins.

A pair's items are numbers in ascending order. A group is all pairs that carry some combination; what comes after its
last item is counted by occurrence deliver (Uno, Kiyomi and Arimura, LCM ver. 2, FIMI 2004): each pair adds one to the
counter of each of its later items. Every combination is found in the group of its first items and in no other. None is
written down that fewer than `min_support` hires carry, nor one that as many pairs carry as one of its parts: the same
pairs do, so that it says nothing that the shorter one does not, and nor does any extension of it. Nor is one of the
longest of which no-hires outnumber hires: it can be no link, and nothing grows from it.

Memory: what is found of one length is held within a bound (see `Collected`); beside it there are 8 bytes for each item
of a chunk of pairs, and some 60 for each item, a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from jobs.graph.counting import counted
from jobs.graph.lists import Floats, Ints, Lists, ends

ANY = np.iinfo(np.int64).max
# Combinations, or pairs of them, that a call of the compiled loop hands over at once, or those of one group.
BATCH = 1 << 22
# Items that are looked at together, 8 bytes each: more than the largest group of half a million hires has.
CHUNK = 1 << 24
# Parts of the groups a thread: the largest of them do not all fall to one.
PARTS = 16
# What is held for a combination and for each of its pairs until the links are chosen, at most; measured.
COMBINATION_BYTES, PAIR_BYTES = 100, 12


@dataclass(frozen=True)
class Labels:
    """(n,) each: whether the pair was hired, and its weight."""

    is_hire: NDArray[np.bool_]
    weight: Floats


@dataclass(frozen=True)
class Counts:
    """(n,) each: the pairs, the hires among them, weight of the hires, and of the others; weights to 6 decimals."""

    pairs: Ints
    hires: Ints
    hire_weight: Floats
    other_weight: Floats

    def take(self, places: Ints) -> Counts:
        return Counts(self.pairs[places], self.hires[places], self.hire_weight[places], self.other_weight[places])


@dataclass(frozen=True)
class Found:
    """`item` was found after `group` of `source`: (n,) each, ascending. `pairs`: those that carry both."""

    source: Ints
    group: Ints
    item: Ints
    counts: Counts
    pairs: Lists


@dataclass(frozen=True)
class Level:
    """Combinations of one length, in order: `items` (n, length) int32, ascending; `counts` and `pairs` as in `Found`.

    `key` (n,) int64, ascending, is the place of the first items in the level before, and the last item.
    """

    items: Ints
    counts: Counts
    pairs: Lists
    key: Ints


class Collected:
    """What is found of one length, within `memory` bytes: where all of it needs more, a combination needs more hires.

    `support`, the hires that one needs, is then the least power of √2 times what it was (rounded up) at which all that
    is found fits, in whatever order it comes: what is dropped at one support is dropped at any higher one.
    """

    def __init__(self, support: int, memory: int) -> None:
        self.support = support
        self._first, self._memory, self._raised = support, memory, 0
        self._parts: dict[tuple[int, int], tuple[Ints, Floats, Ints]] = {}
        self._lock = threading.Lock()

    def add(self, place: tuple[int, int], found: Ints, weights: Floats, pairs: Ints) -> None:
        """As `counted` finds it; `place` is the source and the first group, by which parts are put in order."""
        # sums of fractions change with the order of the pairs
        part = found, weights.round(6), pairs
        with self._lock:
            self._parts[place] = self._supported(part)
            while sum(map(_n_bytes, self._parts.values())) > self._memory:
                self._raised += 1
                self.support = int(np.ceil(self._first * 2 ** (self._raised / 2)))
                self._parts = {where: self._supported(held) for where, held in self._parts.items()}

    def _supported(self, part: tuple[Ints, Floats, Ints]) -> tuple[Ints, Floats, Ints]:
        found, weights, pairs = part
        is_kept = found[:, 3] >= self.support
        if is_kept.all():
            return part
        places = np.flatnonzero(is_kept)
        return found[places], weights[places], Lists(ends(found[:, 2]), pairs).take(places).values

    def found(self) -> Found:
        """All of it, which is held here no longer."""
        places = sorted(self._parts)
        nothing = np.zeros((0, 4), np.int32), np.zeros((0, 2)), np.zeros(0, np.int32)
        columns = [list(column) for column in zip(nothing, *(self._parts.pop(place) for place in places), strict=True)]
        source = np.repeat([0, *(source for source, _ in places)], [len(part) for part in columns[0]])
        found, weights, pairs = (_joined(column) for column in columns)
        group, item, n_pairs, n_hires = (column.copy() for column in found.T)
        del found
        counts = Counts(n_pairs, n_hires, *(column.copy() for column in weights.T))
        return Found(source.astype(np.int32), group, item, counts, Lists(ends(n_pairs), pairs))


def _joined(parts: list[Ints]) -> Ints:
    """All of them, one after the other. The list is empty after it: only one column at a time is there twice."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _n_bytes(part: tuple[Ints, Floats, Ints]) -> int:
    found, _, pairs = part
    return COMBINATION_BYTES * len(found) + PAIR_BYTES * len(pairs)


def combined(
    single: Level, carried: Lists, labels: Labels, *, support: int, max_arity: int, memory: int, threads: int = 1
) -> tuple[list[Level], list[int]]:
    """The frequent, telling combinations of 1 to `max_arity` items, a level a length; the hires that each length needs.

    `single` has every item, with the counts and pairs of all that carry it; `carried` the items of each pair that are
    combined. `memory` is for each length; see `Collected`.
    """
    levels, supports = [single], [support]
    for arity in range(2, max_arity + 1):
        shorter, collected = levels[-1], Collected(supports[-1], memory)
        after(
            (shorter.pairs, shorter.items[:, -1]),
            carried,
            labels,
            collected,
            fewer_than=(shorter.counts.pairs, single.counts.pairs),
            is_last=arity == max_arity,
            threads=threads,
        )
        level = _level(collected.found(), shorter.items, len(single.items))
        levels.append(level if arity == 2 else _telling(level, levels))
        supports.append(collected.support)
    return levels, supports


def _level(found: Found, shorter: Ints, n_items: int) -> Level:
    key = found.group.astype(np.int64) * n_items + found.item
    return Level(np.column_stack([shorter[found.group], found.item]), found.counts, found.pairs, key)


def _telling(level: Level, shorter: Sequence[Level]) -> Level:
    """Those of which every part is telling itself, and carried by more pairs."""
    tells = np.ones(len(level.items), bool)
    for dropped in range(level.items.shape[1]):
        place = _places(np.delete(level.items, dropped, axis=1), shorter)
        tells &= (place >= 0) & (level.counts.pairs < shorter[-1].counts.pairs[place])
    kept = np.flatnonzero(tells)
    return Level(level.items[kept], level.counts.take(kept), level.pairs.take(kept), level.key[kept])


def _places(items: Ints, levels: Sequence[Level]) -> Ints:
    """(n,) int64: where combinations are in their level; -1 where they are not."""
    place = items[:, 0].astype(np.int64)
    for arity in range(2, items.shape[1] + 1):
        known, asked = levels[arity - 1].key, place * len(levels[0].items) + items[:, arity - 1]
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        place = np.where(known[at] == asked, at, -1) if len(known) else np.full(len(items), -1)
    return place


def after(
    groups: tuple[Lists, Ints],
    carried: Lists,
    labels: Labels,
    collected: Collected,
    *,
    source: int = 0,
    fewer_than: tuple[Ints, Ints] | None = None,
    is_last: bool = False,
    threads: int = 1,
) -> None:
    """Collects what enough hires of a group carry after its last item.

    `groups`: the pairs of each, and its last item; `carried`: the items of each pair, ascending. `fewer_than`: found is
    only what fewer pairs carry than these, of the group and of the item. With `is_last` what no-hires outnumber hires
    in is left out.
    """
    pairs, last = groups
    n_items = int(carried.values.max(initial=-1)) + 1
    of_group, of_item = fewer_than or (np.full(len(pairs), ANY), np.full(n_items, ANY))
    # of one type always, as the loop is compiled for each that comes
    compared = pairs.offsets, pairs.values, last.astype(np.int32), of_group.astype(np.int64)
    of_item = of_item.astype(np.int64)
    longest = int(carried.lengths.max(initial=0))
    n_chunk = min(int(pairs.lengths.max(initial=0)) * longest, CHUNK) + longest

    def count(part: tuple[int, int]) -> None:
        start, end = part
        while start < end:
            next_start, found, weights, of_each = counted(
                compared, start, end, (carried.offsets, carried.values), of_item, labels.is_hire, labels.weight,
                collected.support, is_last, BATCH, n_chunk,
            )  # fmt: skip
            collected.add((source, start), found, weights, of_each)
            start = next_start

    with ThreadPoolExecutor(threads) as pool:
        # all are waited for, and the first that failed says so
        list(pool.map(count, _parts(pairs.offsets, 1 if threads == 1 else PARTS * threads)))


def _parts(offsets: Ints, n: int) -> list[tuple[int, int]]:
    """At most n ranges of the lists, with about as many values each.

    >>> _parts(np.array([0, 5, 6, 7, 10]), 2)
    [(0, 1), (1, 4)]
    """
    cuts = np.searchsorted(offsets, np.linspace(0, offsets[-1], n + 1)[1:-1])
    return list(pairwise(sorted({0, len(offsets) - 1, *cuts.tolist()})))
