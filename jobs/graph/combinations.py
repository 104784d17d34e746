"""Which items pairs carry together, and how many of the pairs were hired: the counting of Apriori, without its joins.

A pair's items are numbers in ascending order. A group is all pairs that carry some combination; what comes after its
last item is counted by occurrence deliver (Uno, Kiyomi and Arimura, LCM ver. 2, FIMI 2004): each pair adds one to the
counter of each of its later items. Every combination is found in the group of its first items and in no other. None is
written down that fewer than `min_support` hires carry, nor one that as many pairs carry as one of its parts: the same
pairs do, so that it says nothing that the shorter one does not, and nor does any extension of it.

Memory: 4 bytes for each combination of each pair, twice, some 60 for each combination, and 8 for each item that the
pairs of one group carry. Of the longest the pairs are left out where no-hires outnumber hires: they can be no link, and
nothing grows from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.graph.lists import Floats, Ints, Lists, ends

ANY = np.iinfo(np.int64).max
# Pairs of combinations that a call of the compiled loop hands over at once, or those of one group.
BATCH = 1 << 22
CHUNK = 128


@dataclass(frozen=True)
class Labels:
    """(n,) each: whether the pair was hired, and its weight."""

    is_hire: NDArray[np.bool_]
    weight: Floats


@dataclass(frozen=True)
class Found:
    """`item` was found after `group`: (n,) each, ascending by group, then item. `pairs`: those that carry both.

    `counts` (n, 4): the pairs, the hires among them, weight of the hires, and of the others; weights to 6 decimals.
    """

    group: Ints
    item: Ints
    counts: Floats
    pairs: Lists


@dataclass(frozen=True)
class Level:
    """Combinations of one length, in order: `items` (n, length) int32, ascending; `counts` and `pairs` as in `Found`.

    `key` (n,) int64, ascending, is the place of the first items in the level before, and the last item.
    """

    items: Ints
    counts: Floats
    pairs: Lists
    key: Ints


def combined(single: Level, carried: Lists, labels: Labels, *, min_support: int, max_arity: int) -> list[Level]:
    """The frequent, telling combinations of 1 to `max_arity` items, a level a length.

    `single` has every item, with the counts and pairs of all that carry it; `carried` the items of each pair that are
    combined.
    """
    levels = [single]
    for arity in range(2, max_arity + 1):
        shorter = levels[-1]
        found = after(
            (shorter.pairs, shorter.items[:, -1]),
            carried,
            labels,
            min_support=min_support,
            fewer_than=(shorter.counts[:, 0], single.counts[:, 0]),
            is_last=arity == max_arity,
        )
        level = Level(
            np.column_stack([shorter.items[found.group], found.item]),
            found.counts,
            found.pairs,
            found.group * len(single.items) + found.item,
        )
        levels.append(level if arity == 2 else _telling(level, levels))
    return levels


def _telling(level: Level, shorter: Sequence[Level]) -> Level:
    """Those of which every part is telling itself, and carried by more pairs."""
    tells = np.ones(len(level.items), bool)
    for dropped in range(level.items.shape[1]):
        place = _places(np.delete(level.items, dropped, axis=1), shorter)
        tells &= (place >= 0) & (level.counts[:, 0] < shorter[-1].counts[place, 0])
    kept = np.flatnonzero(tells)
    return Level(level.items[kept], level.counts[kept], level.pairs.take(kept), level.key[kept])


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
    *,
    min_support: int,
    fewer_than: tuple[Floats, Floats] | None = None,
    is_last: bool = False,
) -> Found:
    """What at least `min_support` hires of a group carry after its last item.

    `groups`: the pairs of each, and its last item; `carried`: the items of each pair, ascending. `fewer_than`: found is
    only what fewer pairs carry than these, of the group and of the item. With `is_last` the pairs of what no-hires
    outnumber hires in are left out.
    """
    pairs, last = groups
    n_items = int(carried.values.max(initial=-1)) + 1
    of_group, of_item = fewer_than or (np.full(len(pairs), np.inf), np.full(n_items, np.inf))
    parts: list[tuple[Ints, ...]] = []
    start = 0
    while start < len(pairs):
        start, *part = _after(
            (pairs.offsets, pairs.values, last.astype(np.int32), of_group), start, (carried.offsets, carried.values),
            of_item, labels.is_hire, labels.weight, min_support, is_last, BATCH,
        )  # fmt: skip
        parts.append(tuple(part))
    shapes = ((0, np.int64), (0, np.int32), ((0, 4), float), (0, np.int64), (0, np.int32))
    nothing = tuple(np.zeros(shape, kind) for shape, kind in shapes)
    group, item, counts, lengths, values = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    # sums of fractions change with the order of the pairs
    counts[:, 2:] = counts[:, 2:].round(6)
    return Found(group, item, counts, Lists(ends(lengths), values))


@njit(cache=True)
def _after(groups, first, carried, of_item, is_hire, weight, min_support, is_last, batch):  # type: ignore[no-untyped-def]
    """Of the groups from `first` on, until a batch is full: the next group, and group, item, counts, lengths, pairs."""
    offsets, pairs, last, of_group = groups
    n_items, n_groups = len(of_item), len(offsets) - 1
    n_hires, place = np.zeros(n_items, np.int32), np.full(n_items, -1, np.int32)
    room, counts, ends = np.empty(n_items, np.int32), np.empty((n_items, 4)), np.empty(n_items, np.int64)
    n_most = np.diff(offsets).max() * np.diff(carried[0]).max() if n_groups and len(is_hire) else 0
    pair_of, item_of = np.empty(n_most, np.int32), np.empty(n_most, np.int32)
    found_group, found_item = np.empty(1024, np.int64), np.empty(1024, np.int32)
    found_counts, found_lengths = np.empty((1024, 4)), np.empty(1024, np.int64)
    found_pairs = np.empty(batch, np.int32)
    n_found = n_pairs = 0
    group = first
    while group < n_groups and n_pairs < batch:
        members = pairs[offsets[group] : offsets[group + 1]]
        n = _gathered(members, last[group], carried, weight, pair_of, item_of)
        items = room[: _hired(pair_of[:n], item_of[:n], is_hire, min_support, n_hires, room)]
        items.sort()
        if n_found + len(items) > len(found_group):
            n_room = 2 * (n_found + len(items))
            found_group, found_item = _longer(found_group, n_room), _longer(found_item, n_room)
            found_lengths = _longer(found_lengths, n_room)
            wider = np.empty((n_room, 4))
            wider[:n_found] = found_counts[:n_found]
            found_counts = wider
        n = _count(pair_of[: n if len(items) else 0], item_of, is_hire, weight, items, place, counts)
        n_more = 0
        for number in range(len(items)):
            item, n_both = items[number], int(counts[number, 0])
            ends[number] = -1
            if n_both < of_group[group] and n_both < of_item[item]:
                is_outnumbered = np.rint(counts[number, 3] * 1e6) > np.rint(counts[number, 2] * 1e6)
                n_kept = 0 if is_last and is_outnumbered else n_both
                found_group[n_found], found_item[n_found], found_lengths[n_found] = group, item, n_kept
                found_counts[n_found] = counts[number]
                n_found += 1
                ends[number] = n_pairs + n_more if n_kept else -1
                n_more += n_kept
        if n_pairs + n_more > len(found_pairs):
            found_pairs = _longer(found_pairs, n_pairs + n_more)
        n_pairs += n_more
        for at in range(n if n_more else 0):
            end = ends[item_of[at]]
            if end >= 0:
                found_pairs[end] = pair_of[at]
                ends[item_of[at]] += 1
        group += 1
    return (
        group, found_group[:n_found].copy(), found_item[:n_found].copy(), found_counts[:n_found].copy(),
        found_lengths[:n_found].copy(), found_pairs[:n_pairs].copy(),
    )  # fmt: skip


@njit(cache=True)
def _gathered(members, last, carried, weight, pair_of, item_of):  # type: ignore[no-untyped-def]
    """Writes what the members carry after `last`, in their order; returns how much that is.

    Their lists lie all over memory. One waits for each only where what is done with it decides what is read next: so a
    chunk of lists is touched first, which the processor does for many of them at once (three times as fast in all).
    """
    offsets, items = carried
    n, touched = 0, 0.0
    for start in range(0, len(members), CHUNK):
        chunk = members[start : start + CHUNK]
        for pair in chunk:
            if offsets[pair] < offsets[pair + 1]:
                touched += items[offsets[pair]] + items[offsets[pair + 1] - 1] + weight[pair]
        for pair in chunk:
            for at in range(offsets[pair + 1] - 1, offsets[pair] - 1, -1):
                if items[at] <= last:
                    break
                pair_of[n], item_of[n] = pair, items[at]
                n += 1
    return n if touched != -1.0 else 0  # n: but the compiler must not know


@njit(cache=True)
def _hired(pair_of, item_of, is_hire, min_support, n_hires, items):  # type: ignore[no-untyped-def]
    """Writes `items` that `min_support` of the hires carry; returns how many. `n_hires` is 0 before and after."""
    n = 0
    for at in range(len(pair_of)):
        if is_hire[pair_of[at]]:
            item = item_of[at]
            n_hires[item] += 1
            if n_hires[item] == min_support:
                items[n] = item
                n += 1
    for at in range(len(pair_of)):
        n_hires[item_of[at]] = 0
    return n


@njit(cache=True)
def _count(pair_of, item_of, is_hire, weight, items, place, counts):  # type: ignore[no-untyped-def]
    """Writes `counts` of the items, and of `pair_of` and `item_of` keeps what is of them, the item's place among them
    in its stead; returns how much that is. `place` is -1 before and after.
    """
    n = 0
    for number in range(len(items)):
        place[items[number]] = number
        counts[number] = 0.0
    for at in range(len(pair_of)):
        number = place[item_of[at]]
        if number >= 0:
            pair_of[n], item_of[n] = pair_of[at], number
            n += 1
            counts[number, 0] += 1
            if is_hire[pair_of[at]]:
                counts[number, 1] += 1
                counts[number, 2] += weight[pair_of[at]]
            else:
                counts[number, 3] += weight[pair_of[at]]
    place[items] = -1
    return n


@njit(cache=True)
def _longer(values, n):  # type: ignore[no-untyped-def]
    longer = np.empty(n, values.dtype)
    longer[: len(values)] = values
    return longer
