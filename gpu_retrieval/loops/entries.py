"""Pairs of a query and a block of postings, listed query after query and put in the order of blocks."""

from __future__ import annotations

from numba import njit, prange

# Entries of a block that are one thread's work at a time.
MOST_ENTRIES = 1024


@njit(parallel=True, nogil=True, cache=True)
def list_entries(set_offsets, codes, of_query, first_blocks, places_of, starts, first_places, blocks, places):
    """The blocks of the terms that the queries ask for, and where the bounds of each begin.

    Query q asks for the codes of set `of_query[q]`; its entries are from `starts[q]` on, its bounds from
    `first_places[q]`. Code c has the blocks from `first_blocks[c]` to `first_blocks[c + 1]`, `places_of` of a block.
    """
    for q in prange(len(of_query)):
        e, place = starts[q], first_places[q]
        for i in range(set_offsets[of_query[q]], set_offsets[of_query[q] + 1]):
            for block in range(first_blocks[codes[i]], first_blocks[codes[i] + 1]):
                blocks[e], places[e] = block, place
                place += places_of[block]
                e += 1
    places[len(places) - 1] = first_places[len(of_query)]


@njit(nogil=True, cache=True)
def order_entries(starts, blocks, places, ends, by_block):
    """Fills `by_block`; `ends` (blocks + 1,), zeros, are then where each block's entries end there."""
    for e in range(len(blocks)):
        ends[blocks[e] + 1] += 1
    for b in range(1, len(ends)):
        ends[b] += ends[b - 1]
    for q in range(len(starts) - 1):
        for e in range(starts[q], starts[q + 1]):
            at = ends[blocks[e]]
            by_block[at, 0], by_block[at, 1], by_block[at, 2] = q, e, places[e]
            ends[blocks[e]] = at + 1


@njit(nogil=True, cache=True)
def place_keys(starts, n_found, reached, key_starts):
    """Where each query's keys begin, and from there each of its entries'."""
    for q in range(len(n_found)):
        key_starts[q + 1] = key_starts[q] + n_found[q]
        for e in range(starts[q], starts[q + 1]):
            reached[e, 0] += key_starts[q]


@njit(nogil=True, cache=True)
def cut(ends, pieces):
    """Pieces of the blocks' entries, MOST_ENTRIES or fewer each; how many there are."""
    n, start = 0, 0
    for b in range(len(ends) - 1):
        while start < ends[b]:
            stop = min(start + MOST_ENTRIES, ends[b])
            pieces[n, 0], pieces[n, 1], pieces[n, 2] = b, start, stop
            n, start = n + 1, stop
    return n
