"""Rows drawn from postings and checked against clauses, in loops compiled by Numba.

Each has the plain NumPy way beside it where it is called.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(parallel=True, nogil=True, cache=True)
def in_range(ranks, rows, starts, lengths, offsets, first, last, missing, mask):
    """`mask` of cells whose rank lies in the entry's range or stands for missing."""
    for e in prange(len(starts)):
        held = rows[starts[e] : starts[e] + lengths[e]]
        out = mask[offsets[e] : offsets[e + 1]]
        low, high = first[e], last[e]
        for i in range(len(held)):
            rank = ranks[held[i]]
            out[i] = ((rank >= low) & (rank <= high)) | (rank == missing)


@njit(nogil=True, cache=True)
def _ones(word):
    """How many bits of a uint64 are set (Warren, Hacker's Delight, 5-1); LLVM knows it as one instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(nogil=True, cache=True)
def _place(values, low, high, term):
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < term:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def first_places(rows, starts, ends, value, places):
    """`columns.lower_bound` of one value."""
    for span in range(len(starts)):
        places[span] = _place(rows, starts[span], ends[span], value)


@njit(parallel=True, nogil=True, cache=True)
def having(
    rows, starts, lengths, offsets, code_offsets, codes, n_codes, set_offsets, values, of_entry, needed, missing, mask
):
    """`mask` of cells whose row has `needed` of the entry's set of codes, or no code at all where `missing`.

    `code_offsets` is empty where each row has exactly one code.
    """
    single = len(code_offsets) == 0
    for e in prange(len(starts)):
        low, high = set_offsets[of_entry[e]], set_offsets[of_entry[e] + 1]
        need, start, at, bare = needed[e], starts[e], offsets[e], missing[e]
        # One look-up a code where the table of all codes costs less than what it saves.
        by_table = n_codes <= 8 * lengths[e]
        table = np.zeros(n_codes if by_table else 0, dtype=np.uint8)
        if by_table:
            for v in range(low, high):
                table[values[v]] = 1
        if by_table and single and need == 1:
            for i in range(lengths[e]):
                mask[at + i] = table[codes[rows[start + i]]] != 0
            continue
        for i in range(lengths[e]):
            row = rows[start + i]
            begin, end = (row, row + 1) if single else (code_offsets[row], code_offsets[row + 1])
            found = 0
            for c in range(begin, end):
                if by_table:
                    found += table[codes[c]]
                else:
                    place = _place(values, low, high, codes[c])
                    found += place < high and values[place] == codes[c]
            mask[at + i] = found >= need or (bare and begin == end)


@njit(parallel=True, nogil=True, cache=True)
def keep(
    rows, starts, lengths, offsets, codes, n_codes, set_offsets, values, of_entry, kept, n_kept
):  # fmt: skip
    """Rows of each entry whose one code is in the entry's set, into `kept[offsets[e]:]`; how many."""
    for e in prange(len(starts)):
        table = np.zeros(n_codes, dtype=np.uint8)
        for v in range(set_offsets[of_entry[e]], set_offsets[of_entry[e] + 1]):
            table[values[v]] = 1
        start, begin, n = np.uint64(starts[e]), np.uint64(offsets[e]), np.uint64(0)
        for i in range(lengths[e]):
            row = rows[start + np.uint64(i)]
            kept[begin + n] = row
            n += np.uint64(table[np.uint64(codes[np.uint64(row)])])
        n_kept[e] = n


@njit(parallel=True, nogil=True, cache=True)
def order_by_code(rows, starts, lengths, codes, by_code, tables):
    """Each span of rows by their one code, into the same span of `by_code`.

    Code c's are those from `tables[span, c]` to `tables[span, c + 1]`; `tables` (spans, codes + 2) comes as zeros.
    """
    for s in prange(len(starts)):
        start, table = starts[s], tables[s]
        for i in range(start, start + lengths[s]):
            table[codes[rows[i]] + 2] += 1
        for c in range(2, len(table)):
            table[c] += table[c - 1]
        for i in range(start, start + lengths[s]):
            code = codes[rows[i]] + 1
            by_code[start + table[code]] = rows[i]
            table[code] += 1


@njit(parallel=True, nogil=True, cache=True)
def count_by_code(tables, of_span, set_offsets, values, of_entry, n_kept):
    """How many rows of each entry's span have a code of the entry's set."""
    for e in prange(len(of_span)):
        table, n = tables[of_span[e]], 0
        for v in range(set_offsets[of_entry[e]], set_offsets[of_entry[e] + 1]):
            n += table[values[v] + 1] - table[values[v]]
        n_kept[e] = n


@njit(parallel=True, nogil=True, cache=True)
def keep_by_code(by_code, starts, tables, of_span, set_offsets, values, of_entry, offsets, kept):
    """Those rows, code after code, into `kept[offsets[e]:]`."""
    for e in prange(len(of_span)):
        table, start, at = tables[of_span[e]], starts[of_span[e]], offsets[e]
        for v in range(set_offsets[of_entry[e]], set_offsets[of_entry[e] + 1]):
            for i in range(start + table[values[v]], start + table[values[v] + 1]):
                kept[at] = by_code[i]
                at += 1


@njit(nogil=True, cache=True)
def _different(postings, starts, ends, first, last, total, rows):
    """The `total` postings of the spans [first, last), each once where it is met first; how many. By hashing."""
    size, n = 1, 0
    while size < 2 * total:
        size *= 2
    table, mask = np.full(size, -1, dtype=np.int32), np.uint64(size - 1)
    for span in range(first, last):
        for i in range(starts[span], ends[span]):
            row = postings[i]
            # Fibonacci hashing (Knuth 6.4): neighbours are far apart.
            at = ((np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
            while table[at] >= 0 and table[at] != row:
                at = (at + np.uint64(1)) & mask
            if table[at] < 0:
                table[at], rows[n] = row, row
                n += 1
    return n


@njit(parallel=True, nogil=True, cache=True)
def draw(postings, starts, ends, of_set, offsets, low, high, single, in_order, rows, counts):
    """Each set's postings, all in [low, high), into `rows[offsets[s]:]`, each once; how many.

    They ascend where `in_order`. `single` says that no two terms share a posting.
    """
    for s in prange(len(counts)):
        n, total, last = offsets[s], offsets[s + 1] - offsets[s], -1
        for span in range(of_set[s], of_set[s + 1]):
            if starts[span] < ends[span]:
                rises = postings[starts[span]] > last
                last = postings[ends[span] - 1]
                if not rises:
                    last = high
        if last < high or (single and not in_order):
            for span in range(of_set[s], of_set[s + 1]):
                for i in range(starts[span], ends[span]):
                    rows[n] = postings[i]
                    n += 1
            counts[s] = total
        elif total * 64 < high - low and not in_order:
            counts[s] = _different(postings, starts, ends, of_set[s], of_set[s + 1], total, rows[n:])
        elif total * 64 < high - low:
            for span in range(of_set[s], of_set[s + 1]):
                for i in range(starts[span], ends[span]):
                    rows[n] = postings[i]
                    n += 1
            held = rows[offsets[s] : n]
            held.sort()
            kept = min(1, total)
            for i in range(1, total):
                if held[i] != held[kept - 1]:
                    held[kept] = held[i]
                    kept += 1
            counts[s] = kept
        else:
            words = np.zeros((high - low) // 64 + 1, dtype=np.uint64)
            for span in range(of_set[s], of_set[s + 1]):
                for i in range(starts[span], ends[span]):
                    row = np.uint64(postings[i] - low)
                    words[row >> np.uint64(6)] |= np.uint64(1) << (row & np.uint64(63))
            for word in range(len(words)):
                bits = words[word]
                while bits:
                    lowest = bits & (~bits + np.uint64(1))
                    rows[n] = low + word * 64 + _ones(lowest - np.uint64(1))
                    n += 1
                    bits ^= lowest
            counts[s] = n - offsets[s]


@njit(parallel=True, nogil=True, cache=True)
def pick(rows, starts, lengths, offsets, mask, picked_offsets, picked):
    """Rows of the cells that are True, entry after entry."""
    for e in prange(len(starts)):
        at, start, cells = picked_offsets[e], starts[e], offsets[e]
        for i in range(lengths[e]):
            if mask[cells + i]:
                picked[at] = rows[start + i]
                at += 1


@njit(parallel=True, nogil=True, cache=True)
def row_counts(mask, offsets, counts):
    """How many cells of each entry are True."""
    for e in prange(len(counts)):
        at, total = np.uint64(offsets[e]), 0
        for i in range(offsets[e + 1] - offsets[e]):
            total += mask[at + np.uint64(i)]
        counts[e] = total
