"""Term at a time: the jobs of a term met once for all queries of a batch that ask for it.

A query that shares its filter with no other brings in every job for itself, and waits for each. Queries whose filters
differ have terms in common all the same: here a block of a term's jobs is brought in once, its products with all
queries that ask for the term are made side by side, and their upper bounds kept, query after query (`term_bounds`).
They give each query a limit; the blocks are gone through again for final scores of what it leaves in reach.
The order of evaluation is Turtle and Flood's (Query evaluation: strategies and optimizations, IP&M 31(6), 1995), of
many queries at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from gpu_retrieval.loops import SOURCES, simd
from gpu_retrieval.loops.score_bounds import code_query
from gpu_retrieval.loops.score_final import ask_for, final_score, key_of, last_key, sort_in
from gpu_retrieval.loops.score_state import LINE, Best, Jobs, inline, inner, make_scratch
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.term_bounds import bound_piece, select_of
from gpu_retrieval.loops.term_state import (
    AHEAD,
    BLOCK,
    ENTRIES_AHEAD,
    ERRORS,
    REACH,
    SAFE,
    SHORT,
    SHORTS,
    SLACK,
    TRAITS,
    UNIT,
    Asking,
    Entries,
    make_room,
    room_bytes,
)
from gpu_retrieval.loops.threads import on_threads

# Queries of a thread at a time.
TOGETHER = 64
# Sums of int8 products stay within int32.
MOST_COMPONENTS = 1 << 15

__all__ = [
    "BLOCK", "MOST_COMPONENTS", "SHORTS", "TRAITS", "Asking", "Entries", "bound", "keep", "room_bytes", "score",
    "select", "take_queries",
]  # fmt: skip


@inline
def _ask_for_reached(asking, entries, place):
    """What is known of an entry's rows in reach is read soon."""
    simd.prefetch(entries.reached, 2 * np.int64(entries.by_block[place, 1]))
    simd.prefetch(entries.shorts, SHORTS * np.int64(entries.by_block[place, 2]))


@inline
def _ask_for_query(asking, entries, place):
    """An entry's query is read soon, and its keys written."""
    q = np.int64(entries.by_block[place, 0])
    for j in range(0, asking.d, LINE):
        simd.prefetch(asking.queries, q * asking.d + j)


@inner
def _bring_in_wanted(jobs, asking, entries, room, block, first, last):
    """Components, ranks and priors of the block's rows that are in reach of any entry from place `first` to `last`."""
    row0, n, d = entries.block_rows[block], entries.block_rows[block + 1] - entries.block_rows[block], asking.d
    room.wanted[:] = False
    for place in range(first, min(first + ENTRIES_AHEAD, last)):
        _ask_for_reached(asking, entries, place)
    for place in range(first, last):
        if place + ENTRIES_AHEAD < last:
            _ask_for_reached(asking, entries, place + ENTRIES_AHEAD)
        shorts = SHORTS * np.int64(entries.by_block[place, 2])
        for i in range(entries.reached[entries.by_block[place, 1], 1]):
            room.wanted[entries.shorts[shorts + i]] = True
    for i in range(min(AHEAD, n)):
        if room.wanted[i]:
            ask_for(jobs, np.int64(entries.rows[row0 + i]), d)
    for i in range(n):
        if i + AHEAD < n and room.wanted[i + AHEAD]:
            ask_for(jobs, np.int64(entries.rows[row0 + i + AHEAD]), d)
        if not room.wanted[i]:
            continue
        row = np.int64(entries.rows[row0 + i])
        whole = d // LANES * LANES
        for j in range(0, whole, LANES):
            simd.store(room.vectors, i * d + j, simd.load(jobs.vectors, row * d + j))
        for j in range(whole, d):
            room.vectors[i * d + j] = jobs.vectors[row * d + j]
        room.rank[i] = jobs.ranks[jobs.base + row]
        if len(jobs.priors):
            room.priors[i] = jobs.priors[jobs.base + row]


@inline
def _score_entry(jobs, asking, entries, room, place, keys, base):
    """Final scores of an entry's rows in reach, as keys, the batch's from `base` on."""
    q, e, d = np.int64(entries.by_block[place, 0]), np.int64(entries.by_block[place, 1]), asking.d
    shorts, n = SHORTS * np.int64(entries.by_block[place, 2]), entries.reached[e, 1]
    at = entries.reached[e, 0] - base
    if n:
        for j in range(d):
            room.wide[j] = asking.queries[q * d + j]
    for i in range(n):
        row = np.int64(entries.shorts[shorts + i])
        prior = np.float64(room.priors[row]) if len(jobs.priors) else 0.0
        room.bits[0] = final_score(room.wide, room.vectors, d, row, prior, room.products)
        keys[at + i] = key_of(room.bits.view(np.uint32)[0], room.rank[row])


@inner
def _score_piece(jobs, asking, entries, room, p, first_query, last_query, key_starts, keys):
    block, first, last = entries.pieces[p, 0], entries.pieces[p, 1], entries.pieces[p, 2]
    while first < last and entries.by_block[first, 0] < first_query:
        first += 1
    while first < last and entries.by_block[last - 1, 0] >= last_query:
        last -= 1
    _bring_in_wanted(jobs, asking, entries, room, block, first, last)
    for place in range(first, min(first + ENTRIES_AHEAD, last)):
        _ask_for_query(asking, entries, place)
    for place in range(first, last):
        if place + ENTRIES_AHEAD < last:
            _ask_for_query(asking, entries, place + ENTRIES_AHEAD)
        _score_entry(jobs, asking, entries, room, place, keys, key_starts[first_query])


@inline
def _keep_best(best, s, q, found, cap):
    """Sorts keys in among a query's best."""
    i, is_left = 0, True
    s.n_new[0], s.last[0] = 0, last_key(best, q)
    while is_left:
        while i < len(found) and s.n_new[0] < cap:
            s.new[s.n_new[0]] = found[i]
            s.n_new[0] += found[i] < s.last[0]
            i += 1
        is_left = i < len(found)
        sort_in(best, s, q)


def _entries(sources: str) -> tuple[Any, ...]:
    """The loops that take other files' functions in, kept compiled on disk: see `score_groups`."""

    @njit(parallel=True, nogil=True, cache=True)
    def take_queries(jobs, queries, codes, offsets, traits):
        """Codes and traits of the (n, d) queries."""
        _ = sources
        words = (queries.shape[1] + 3) // 4
        for q in prange(len(queries)):
            unit, reach, offset, errors, slack, short, safe = code_query(
                jobs, queries, q, codes.view(np.int8), 4 * words * q, 4
            )
            trait = q * TRAITS
            offsets[q] = offset
            traits[trait + ERRORS], traits[trait + UNIT], traits[trait + SHORT] = errors, unit, short
            traits[trait + REACH], traits[trait + SLACK], traits[trait + SAFE] = reach, slack, safe

    @njit(nogil=True, cache=True)
    def bound(jobs, asking, entries, thread, threads):
        _ = sources
        room = make_room(asking.d, len(asking.numbers), asking.tables[-1], asking.n_slots)
        for p in range(thread, len(entries.pieces), threads):
            bound_piece(jobs, asking, entries, room, p)

    @njit(nogil=True, cache=True)
    def select(asking, entries, best, n_found, most_entries, most_rows, thread, threads):
        _ = sources
        gaps, bits, size = np.empty(most_entries, np.int64), np.zeros(1, np.float32), 1
        while size < 2 * most_rows:
            size *= 2
        table = np.full((size, 2), -1, dtype=np.int32)
        for start in range(thread * TOGETHER, len(best.n_keys), threads * TOGETHER):
            for q in range(start, min(start + TOGETHER, len(best.n_keys))):
                n_found[q] = select_of(asking, entries, best, q, gaps, table, bits)

    @njit(nogil=True, cache=True)
    def score(jobs, asking, entries, first_query, last_query, key_starts, keys, thread, threads):
        _ = sources
        room = make_room(asking.d, 0, 0, 0)
        for p in range(thread, len(entries.pieces), threads):
            _score_piece(jobs, asking, entries, room, p, first_query, last_query, key_starts, keys)

    @njit(nogil=True, cache=True)
    def keep(best, first_query, last_query, key_starts, keys, d, cap, thread, threads):
        _ = sources
        base, s = key_starts[first_query], make_scratch(1, LANES, d, best.k, cap, 0, 0, 0)
        for start in range(first_query + thread * TOGETHER, last_query, threads * TOGETHER):
            for q in range(start, min(start + TOGETHER, last_query)):
                _keep_best(best, s, q, keys[key_starts[q] - base : key_starts[q + 1] - base], cap)

    return take_queries, bound, select, score, keep


take_queries, _bound, _select, _score, _keep = _entries(SOURCES)


def bound(jobs: Jobs, asking: Asking, entries: Entries, threads: int) -> None:
    """Upper bounds of all entries' rows into `shorts`."""
    on_threads(_bound, threads, jobs, asking, entries)


def select(
    asking: Asking, entries: Entries, best: Best, n_found: np.ndarray, most_entries: int, most_rows: int, threads: int
) -> None:
    """Which rows are in reach, from the bounds, and how many each query has; adds up `n_matches`.

    A query has at most `most_entries`. Rows that it may meet twice it meets `most_rows` of; 0 where it does not.
    """
    on_threads(_select, threads, asking, entries, best, n_found, most_entries, most_rows)


def score(
    jobs: Jobs, asking: Asking, entries: Entries, first_query: int, last_query: int, key_starts: np.ndarray,
    keys: np.ndarray, threads: int,
) -> None:  # fmt: skip
    """Final keys of the rows in reach of the queries [first, last), whose first is at `key_starts[first]`."""
    on_threads(_score, threads, jobs, asking, entries, first_query, last_query, key_starts, keys)


def keep(
    best: Best, first_query: int, last_query: int, key_starts: np.ndarray, keys: np.ndarray, d: int, cap: int,
    threads: int,
) -> None:  # fmt: skip
    """Sorts the keys in among the queries' best."""
    on_threads(_keep, threads, best, first_query, last_query, key_starts, keys, d, cap)
