"""The compiled loops of `combinations`: which items come after a group's last one, and in how many of its pairs.

A group's pairs are gone through in chunks of what they carry, so that no group, however large, needs more memory than
another; one that fits into a chunk is gone through once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

AHEAD = 128


@njit(cache=True, nogil=True)
def counted(groups, first, end, carried, of_item, is_hire, weight, support, is_last, batch, n_chunk):  # type: ignore[no-untyped-def]
    """Of the groups from `first` to `end`, until a batch is full: the next group, and what is found in them.

    That is (n, 4) int32, group, item, pairs and hires; (n, 2), weight of the hires and of the others; (n + 1,) int64,
    where the pairs of each begin; and the pairs. `n_chunk`: more than any pair carries.
    """
    offsets, pairs, last, of_group = groups
    n_items = len(of_item)
    n_hires, place = np.zeros(n_items, np.int32), np.full(n_items, -1, np.int32)
    touched, counts, ends = np.empty(n_items, np.int32), np.empty((n_items, 4)), np.empty(n_items, np.int64)
    pair_of, item_of = np.empty(n_chunk, np.int32), np.empty(n_chunk, np.int32)
    found, found_weight = np.empty((1024, 4), np.int32), np.empty((1024, 2))
    found_pairs = np.empty(1 << 16, np.int32)
    n_found = n_pairs = 0
    group = first
    while group < end and n_pairs < batch and n_found < batch:
        members = pairs[offsets[group] : offsets[group + 1]]
        n_touched = at = n = 0
        while at < len(members):
            is_whole = at == 0
            at, n = _gathered(members, at, last[group], carried, weight, pair_of, item_of)
            is_whole = is_whole and at == len(members)
            n_touched = _add_hires(pair_of[:n], item_of, is_hire, n_hires, touched, n_touched)
        items = touched[: _frequent(n_hires, touched[:n_touched], support)]
        if len(items):
            items.sort()
            for number in range(len(items)):
                place[items[number]] = number
                counts[number] = 0.0
            at = 0
            while at < len(members):
                if is_whole:
                    at = len(members)
                else:
                    at, n = _gathered(members, at, last[group], carried, weight, pair_of, item_of)
                n = _numbered(pair_of[:n], item_of, place)
                _add(pair_of[:n], item_of, is_hire, weight, counts)
            found = _room(found, n_found + len(items))
            found_weight = _room(found_weight, n_found + len(items))
            n_more = 0
            for number in range(len(items)):
                item, n_both = items[number], int(counts[number, 0])
                is_outnumbered = np.rint(counts[number, 3] * 1e6) > np.rint(counts[number, 2] * 1e6)
                ends[number] = -1
                if n_both < of_group[group] and n_both < of_item[item] and not (is_last and is_outnumbered):
                    found[n_found, 0], found[n_found, 1] = group, item
                    found[n_found, 2], found[n_found, 3] = n_both, int(counts[number, 1])
                    found_weight[n_found] = counts[number, 2:]
                    ends[number] = n_pairs + n_more
                    n_found += 1
                    n_more += n_both
            found_pairs = _room(found_pairs, n_pairs + n_more)
            n_pairs += n_more
            at = 0 if n_more else len(members)
            while at < len(members):
                if is_whole:
                    at = len(members)
                else:
                    at, n = _gathered(members, at, last[group], carried, weight, pair_of, item_of)
                    n = _numbered(pair_of[:n], item_of, place)
                _write(pair_of[:n], item_of, ends, found_pairs)
            place[items] = -1
        group += 1
    return group, found[:n_found].copy(), found_weight[:n_found].copy(), found_pairs[:n_pairs].copy()


@njit(cache=True, nogil=True)
def _gathered(members, at, last, carried, weight, pair_of, item_of):  # type: ignore[no-untyped-def]
    """Writes what the members from place `at` on carry after `last`, in their order, until there is no room.

    Returns the next place, and how much that is. The lists lie all over memory. One waits for each only where what is
    done with it decides what is read next: so some are touched first, which the processor does for many of them at once
    (three times as fast in all).
    """
    offsets, items = carried
    n, touched = 0, 0.0
    while at < len(members):
        some = members[at : at + AHEAD]
        for pair in some:
            if offsets[pair] < offsets[pair + 1]:
                touched += items[offsets[pair]] + items[offsets[pair + 1] - 1] + weight[pair]
        for pair in some:
            if n + offsets[pair + 1] - offsets[pair] > len(item_of):
                return at, n
            for place in range(offsets[pair + 1] - 1, offsets[pair] - 1, -1):
                if items[place] <= last:
                    break
                pair_of[n], item_of[n] = pair, items[place]
                n += 1
            at += 1
    return at, n if touched != -1.0 else 0  # n: but the compiler must not know


@njit(cache=True, nogil=True)
def _add_hires(pair_of, item_of, is_hire, n_hires, touched, n_touched):  # type: ignore[no-untyped-def]
    """Adds to the hires of each item, and the items new among them to `touched`; returns how many there are."""
    for at in range(len(pair_of)):
        if is_hire[pair_of[at]]:
            item = item_of[at]
            if n_hires[item] == 0:
                touched[n_touched] = item
                n_touched += 1
            n_hires[item] += 1
    return n_touched


@njit(cache=True, nogil=True)
def _frequent(n_hires, touched, support):  # type: ignore[no-untyped-def]
    """Puts those that `support` hires carry first, and returns how many; their hires are 0 again."""
    n = 0
    for item in touched:
        if n_hires[item] >= support:
            touched[n] = item
            n += 1
        n_hires[item] = 0
    return n


@njit(cache=True, nogil=True)
def _numbered(pair_of, item_of, place):  # type: ignore[no-untyped-def]
    """Keeps what is of items that have a place, in their stead that; returns how much."""
    n = 0
    for at in range(len(pair_of)):
        number = place[item_of[at]]
        if number >= 0:
            pair_of[n], item_of[n] = pair_of[at], number
            n += 1
    return n


@njit(cache=True, nogil=True)
def _add(pair_of, item_of, is_hire, weight, counts):  # type: ignore[no-untyped-def]
    for at in range(len(pair_of)):
        pair, number = pair_of[at], item_of[at]
        counts[number, 0] += 1
        if is_hire[pair]:
            counts[number, 1] += 1
            counts[number, 2] += weight[pair]
        else:
            counts[number, 3] += weight[pair]


@njit(cache=True, nogil=True)
def _write(pair_of, item_of, ends, pairs):  # type: ignore[no-untyped-def]
    for at in range(len(pair_of)):
        end = ends[item_of[at]]
        if end >= 0:
            pairs[end] = pair_of[at]
            ends[item_of[at]] += 1


@njit(cache=True, nogil=True)
def _room(values, n):  # type: ignore[no-untyped-def]
    """`values`, or a longer array that begins with them and has room for n."""
    if n <= len(values):
        return values
    longer = np.empty((2 * n, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer
