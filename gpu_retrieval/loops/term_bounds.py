"""Upper bounds of a term's jobs with all queries that ask for it, and which of them they leave in reach.

The bounds are those of `score_bounds`, with a job a lane, as int16 in units of what the query could score at most.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval.loops import simd, simd_int8
from gpu_retrieval.loops.score_final import floor32, key_score, last_key
from gpu_retrieval.loops.score_rows import ask_for_lists, place_of
from gpu_retrieval.loops.score_state import LINE, inline, inner
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.term_state import (
    AHEAD,
    ANYTHING,
    BLOCK,
    ENTRIES_AHEAD,
    ERRORS,
    MOST,
    NOTHING,
    REACH,
    SAFE,
    SHORT,
    SHORTS,
    SLACK,
    TRAITS,
    UNIT,
    WORDS,
)
from gpu_retrieval.topk import NO_KEY


@inline
def _ask_for_codes(jobs, asking, row, words):
    for j in range(0, words, LINE):
        simd.prefetch(jobs.coarse, row * words + j)
    simd.prefetch(jobs.bounds, 2 * row)
    for r in range(len(asking.numbers)):
        simd.prefetch(asking.numbers[r], row)


@inner
def _bring_in(jobs, asking, entries, room, block):
    """A block's rows, sixteen to a register, with what their bounds need; how many there are."""
    first, words = entries.block_rows[block], (asking.d + 3) // 4
    n = entries.block_rows[block + 1] - first
    widest, longest = np.float32(0), np.float32(0)
    room.open[:] = 0
    for i in range(min(AHEAD, n)):
        _ask_for_codes(jobs, asking, np.int64(entries.rows[first + i]), words)
    for i in range(n):
        if i + AHEAD < n:
            _ask_for_codes(jobs, asking, np.int64(entries.rows[first + i + AHEAD]), words)
        row = np.int64(entries.rows[first + i])
        at, into = row * words, i // LANES * words * LANES + i % LANES
        for j in range(words):
            room.codes[into + j * LANES] = jobs.coarse[at + j]
        room.scales[i], room.lengths[i] = jobs.bounds[2 * row], jobs.bounds[2 * row + 1]
        widest, longest = max(widest, room.scales[i]), max(longest, room.lengths[i])
        if len(jobs.priors):
            room.priors[i] = jobs.priors[jobs.base + row]
        for r in range(len(asking.numbers)):
            room.numbers[r * BLOCK + i] = asking.numbers[r, row]
        ask_for_lists(asking, row)
        is_open = len(asking.alive) == 0 or asking.alive[jobs.base + row]
        room.open[i // LANES] |= np.uint64(is_open) << np.uint64(i % LANES)
    entries.widths[block, 0], entries.widths[block, 1] = widest, longest
    return n


@inner
def _note_codes(asking, room, n):
    """Which of the block's n rows have each code of terms."""
    for i in range(room.n_used[0]):
        room.slots[room.used[i]] = -1
    room.n_used[0] = 0
    for field in range(len(asking.spans)):
        numbers, first = (len(asking.low) + field) * BLOCK, asking.tables[field]
        for i in range(n):
            at = np.int64(room.numbers[numbers + i])
            if at >= 0:
                _note_code(room, first + at, i)
                continue
            at = ~at
            while asking.lists[at] >= 0:
                _note_code(room, first + asking.lists[at], i)
                at += 1
            _note_code(room, first + ~asking.lists[at], i)


@inline
def _note_code(room, code, i):
    slot = np.int64(room.slots[code])
    if slot < 0:
        slot = room.n_used[0]
        room.slots[code], room.used[slot], room.n_used[0] = slot, code, slot + 1
        for word in range(WORDS):
            room.having[slot * WORDS + word] = 0
    room.having[slot * WORDS + i // 64] |= np.uint64(1) << np.uint64(i % 64)


@inner
def _let_by_terms(asking, room, q):
    """Which of the block's rows the query's terms let pass, into `let`."""
    every = ~np.uint64(0)
    a0 = a1 = a2 = a3 = every
    e0 = e1 = e2 = e3 = np.uint64(0)
    for field in range(len(asking.spans)):
        first, last, codes = asking.spans[field, q, 0], asking.spans[field, q, 1], asking.tables[field]
        h0 = h1 = h2 = h3 = every if first < 0 else np.uint64(0)
        for i in range(first if first >= 0 else last, last):
            slot = WORDS * np.int64(room.slots[codes + asking.terms[i]])
            if slot >= 0:
                h0, h1 = h0 | room.having[slot], h1 | room.having[slot + 1]
                h2, h3 = h2 | room.having[slot + 2], h3 | room.having[slot + 3]
        if asking.is_none_of[field] and first >= 0:
            h0, h1, h2, h3 = ~h0, ~h1, ~h2, ~h3
        e0, e1, e2, e3 = e0 | h0, e1 | h1, e2 | h2, e3 | h3
        if asking.is_last[field]:
            a0, a1, a2, a3 = a0 & e0, a1 & e1, a2 & e2, a3 & e3
            e0 = e1 = e2 = e3 = np.uint64(0)
    room.let[0], room.let[1], room.let[2], room.let[3] = a0, a1, a2, a3


@inner
def _passing(asking, entries, room, q, e, n, group):
    """Which of sixteen rows pass what the query asks, as bits."""
    at, passing = group * LANES, np.uint64(0xFFFF)
    if len(asking.spans):
        passing &= room.let[at // 64] >> np.uint64(at % 64)
    for r in range(len(asking.low)):
        low, high = simd.spread(asking.low[r, q]), simd.spread(asking.high[r, q])
        passing &= simd.between(simd.load(room.numbers, r * BLOCK + at), low, high)
    for i in range(min(LANES, n - at) if len(entries.mask) else 0):
        passing &= ~(np.uint64(not entries.mask[entries.cells[e] + at + i]) << np.uint64(i))
    return passing


@inline
def _keep_bounds(jobs, asking, entries, room, q, e, place, n, group, sums):
    """Writes sixteen rows' upper bounds from their sums with a query, NOTHING where one does not pass."""
    at, trait, traits = group * LANES, q * TRAITS, asking.traits
    upper = simd.times(simd.load(room.lengths, at), simd.spread_at(traits, trait + ERRORS))
    upper = simd.times_plus(simd.as_floats(sums), simd.load(room.scales, at), upper)
    if len(jobs.priors):
        upper = simd.times_plus(simd.load(room.priors, at), simd.spread_at(traits, trait + UNIT), upper)
    passing = room.open[group]
    if len(asking.numbers) or len(entries.mask):
        passing &= _passing(asking, entries, room, q, e, n, group)
    bounds = simd.times(upper, simd.spread_at(traits, trait + SHORT))
    bounds = simd.larger(bounds, simd.spread(np.float32(ANYTHING)))
    bounds = simd.choose(passing, bounds, simd.spread(np.float32(2 * NOTHING)))
    simd.store_shorts(entries.shorts, place + at, bounds)


@inline
def _meet(jobs, asking, entries, room, q, e, place, n):
    """Bounds of the block's n rows with a query."""
    words, groups, group = (asking.d + 3) // 4, (n + SHORTS - 1) // SHORTS * 2, 0
    step, offset = words * LANES, simd.spread_at(asking.offsets, q)
    while groups - group >= 4:
        t0 = t1 = t2 = t3 = offset
        for j in range(words):
            right, at = simd.spread_at(asking.codes, q * words + j), group * step + j * LANES
            t0 = simd_int8.dot4(t0, simd.load(room.codes, at), right)
            t1 = simd_int8.dot4(t1, simd.load(room.codes, at + step), right)
            t2 = simd_int8.dot4(t2, simd.load(room.codes, at + 2 * step), right)
            t3 = simd_int8.dot4(t3, simd.load(room.codes, at + 3 * step), right)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group, t0)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group + 1, t1)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group + 2, t2)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group + 3, t3)
        group += 4
    if group < groups:
        t0 = t1 = offset
        for j in range(words):
            right, at = simd.spread_at(asking.codes, q * words + j), group * step + j * LANES
            t0 = simd_int8.dot4(t0, simd.load(room.codes, at), right)
            t1 = simd_int8.dot4(t1, simd.load(room.codes, at + step), right)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group, t0)
        _keep_bounds(jobs, asking, entries, room, q, e, place, n, group + 1, t1)


@inline
def _ask_for_bounds(asking, entries, place, n, words):
    """An entry's query is read soon, and its bounds written."""
    q, shorts = np.int64(entries.by_block[place, 0]), SHORTS * np.int64(entries.by_block[place, 2])
    simd.prefetch(asking.traits, q * TRAITS)
    simd.prefetch(asking.offsets, q)
    for j in range(0, words, LINE):
        simd.prefetch(asking.codes, q * words + j)
    for j in range(0, n, SHORTS):
        simd.prefetch(entries.shorts, shorts + j)


@inner
def bound_piece(jobs, asking, entries, room, p):
    block, first, last = entries.pieces[p, 0], entries.pieces[p, 1], entries.pieces[p, 2]
    n, words = _bring_in(jobs, asking, entries, room, block), (asking.d + 3) // 4
    if len(asking.spans):
        _note_codes(asking, room, n)
    for place in range(first, min(first + ENTRIES_AHEAD, last)):
        _ask_for_bounds(asking, entries, place, n, words)
    for place in range(first, last):
        if place + ENTRIES_AHEAD < last:
            _ask_for_bounds(asking, entries, place + ENTRIES_AHEAD, n, words)
        q, e = np.int64(entries.by_block[place, 0]), np.int64(entries.by_block[place, 1])
        if len(asking.spans):
            _let_by_terms(asking, room, q)
        _meet(jobs, asking, entries, room, q, e, SHORTS * np.int64(entries.by_block[place, 2]), n)


@inner
def _leave_out(entries, q):
    """A row that the query is not to be shown has no bound; the rows of a block ascend."""
    for e in range(entries.starts[q], entries.starts[q + 1]):
        first, stop = entries.block_rows[entries.blocks[e]], entries.block_rows[entries.blocks[e] + 1]
        for i in range(entries.excluded_spans[q, 0], entries.excluded_spans[q, 1]):
            at = place_of(entries.rows, first, stop, entries.excluded[i])
            if at < stop and entries.rows[at] == entries.excluded[i]:
                entries.shorts[SHORTS * np.int64(entries.places[e]) + at - first] = NOTHING


@inner
def _drop_repeats(entries, q, table, stamp):
    """A row that several terms of a query have stays where it is met first."""
    last = np.uint64(len(table) - 1)
    for e in range(entries.starts[q], entries.starts[q + 1]):
        first, place = entries.block_rows[entries.blocks[e]], SHORTS * np.int64(entries.places[e])
        for i in range(entries.block_rows[entries.blocks[e] + 1] - first):
            if entries.shorts[place + i] == NOTHING:
                continue
            row = entries.rows[first + i]
            at = ((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & last
            while table[at, 1] == stamp and table[at, 0] != row:
                at = (at + np.uint64(1)) & last
            if table[at, 1] == stamp:
                entries.shorts[place + i] = NOTHING
            else:
                table[at, 0], table[at, 1] = row, stamp


@inline
def _n_from(entries, q, level, gaps):
    """How many of a query's rows have a lower bound of `level` or more."""
    n, e0 = 0, entries.starts[q]
    for e in range(e0, entries.starts[q + 1]):
        least = max(level + gaps[e - e0], ANYTHING)
        if least <= MOST:
            for place in range(entries.places[e], entries.places[e + 1]):
                n += simd.count_bits(simd.shorts_from(entries.shorts, SHORTS * np.int64(place), np.int16(least)))
    return n


@inner
def _limit(asking, entries, q, k, gaps):
    """What an int16 bound must reach for its row to be among the query's k best, for all that lower bounds say."""
    trait, traits, e0, widest_gap = q * TRAITS, asking.traits, entries.starts[q], 0
    short = np.float64(traits[trait + SHORT])
    for e in range(e0, entries.starts[q + 1]):
        widest, longest = entries.widths[entries.blocks[e], 0], entries.widths[entries.blocks[e], 1]
        gap = np.float64(traits[trait + REACH]) * widest + np.float64(traits[trait + ERRORS]) * longest
        # Twice the bound, and what rounding to an int16 could add.
        gaps[e - e0] = np.int64(min(np.ceil(2 * gap * short * (1 + 1e-5)) + 2, 100_000.0))
        widest_gap = max(widest_gap, gaps[e - e0])
    # At least k rows have `low` or more, fewer have `high`.
    low, high = ANYTHING - widest_gap, MOST + 1
    while high - low > 1:
        middle = (low + high) >> 1
        n = _n_from(entries, q, middle, gaps)
        if n >= k:
            low = middle
            if n <= k + k // 16:
                break
        else:
            high = middle
    slack = np.ceil(np.float64(traits[trait + SLACK]) * short)
    return max(low - 3 - np.int64(min(slack, 100_000.0)), ANYTHING)


@inner
def _limit_of_last(asking, best, q, bits):
    """The same for all that the query's k best say, which are from other rows."""
    last = last_key(best, q)
    if last == NO_KEY:
        return ANYTHING
    trait, traits = q * TRAITS, asking.traits
    score = np.float64(key_score(last, bits))
    limit = floor32(score * traits[trait + UNIT] - traits[trait + SLACK])
    return np.int64(max(np.floor(np.float64(limit) * traits[trait + SHORT]) - 2, np.float64(ANYTHING)))


@inner
def _keep_in_reach(entries, q, limit):
    """Leaves, of each of a query's entries, the places of the rows in reach; how many there are in all."""
    n = 0
    for e in range(entries.starts[q], entries.starts[q + 1]):
        first, found = SHORTS * np.int64(entries.places[e]), 0
        for at in range(first, SHORTS * np.int64(entries.places[e + 1]), SHORTS):
            lanes = simd.shorts_from(entries.shorts, at, np.int16(limit))
            while lanes:
                # Behind what is still to be read.
                entries.shorts[first + found] = np.int16(at - first + simd.lowest_bit(lanes))
                found += 1
                lanes &= lanes - np.uint64(1)
        entries.reached[e, 0], entries.reached[e, 1] = n, found
        n += found
    return n


@inner
def select_of(asking, entries, best, q, gaps, table, bits):
    """One query's rows in reach, and how many they are; adds up its matches."""
    if len(entries.excluded_spans):
        _leave_out(entries, q)
    if len(table) > 1:
        _drop_repeats(entries, q, table, np.int32(q))
    gaps[: entries.starts[q + 1] - entries.starts[q]] = 0
    n = _n_from(entries, q, ANYTHING, gaps)
    best.n_matches[q] += n
    limit = ANYTHING
    if asking.traits[q * TRAITS + SAFE]:
        limit = _limit_of_last(asking, best, q, bits)
        if n > best.k:
            limit = max(limit, _limit(asking, entries, q, best.k, gaps))
    return _keep_in_reach(entries, q, limit) if limit <= MOST else 0
