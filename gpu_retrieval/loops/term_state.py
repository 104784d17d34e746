"""What the loops that go term at a time (`score_terms`) are given, and the memory that a thread of them works in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from gpu_retrieval.loops.score_state import callee, on_lines
from gpu_retrieval.loops.simd import LANES

# Rows of a block.
BLOCK = 256
# Words of a bit for each of them.
WORDS = BLOCK // 64
# Bounds of an entry take whole registers of int16.
SHORTS = 2 * LANES
# Bounds that no row and that every row which passes has, and the largest.
NOTHING, ANYTHING, MOST = -32_767, -32_766, 32_767
# Places of a query's traits, a cache line of them.
ERRORS, UNIT, SHORT, REACH, SLACK, SAFE, TRAITS = 0, 1, 2, 3, 4, 5, 16
# Rows, and entries, that are asked for before their turn.
AHEAD, ENTRIES_AHEAD = 24, 4


class Entries(NamedTuple):
    """Pairs of a query and a block of postings, query after query: those of query i from `starts[i]` on.

    Entry e is of block `blocks[e]`. Its bounds lie in `shorts`, SHORTS for each of its `places`; then, in
    their stead, the places in the block of its `reached[e, 1]` rows in reach, whose keys begin at `reached[e, 0]` of
    the batch's. `by_block` (e, 3) has query, number and place of each entry, block after block; `pieces` (p, 3) are a
    block, and first and last place in `by_block`. Block b is `block_rows[b]` to `block_rows[b + 1]` of the postings'
    `rows`, with `widths[b]` the largest scale and length there. `mask`, where it is not empty, is flat over the rows of
    the entries, from `cells[e]` on. `excluded` and `excluded_spans` are those of `score_state.Work`.
    """

    starts: np.ndarray
    blocks: np.ndarray
    places: np.ndarray
    reached: np.ndarray
    by_block: np.ndarray
    pieces: np.ndarray
    rows: np.ndarray
    block_rows: np.ndarray
    widths: np.ndarray
    shorts: np.ndarray
    mask: np.ndarray
    cells: np.ndarray
    excluded: np.ndarray
    excluded_spans: np.ndarray


class Asking(NamedTuple):
    """The batch's `queries` flat, `d` components each, their `codes` as words, what is added to their sums (`offsets`)
    and `traits`.

    What they must pass is told as in `score_state.Work`, from `numbers` on. `alive` (n,) bool is empty where every row
    is. A block has `n_slots` different codes at most.
    """

    queries: np.ndarray
    d: int
    codes: np.ndarray
    offsets: np.ndarray
    traits: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: np.ndarray
    spans: np.ndarray
    is_none_of: np.ndarray
    is_last: np.ndarray
    lists: np.ndarray
    tables: np.ndarray
    n_slots: int
    alive: np.ndarray


class Room(NamedTuple):
    """What a thread needs of a block: its `codes` by registers of sixteen rows, and what bounds and filters need.

    A code of terms that any row has is in one of the `n_used` slots: `slots[code]`, -1 without; `used` are those codes,
    `having` the rows that have each, WORDS words of bits. `let` are those that a query's terms let pass, as many.
    For final scores the `vectors` and `rank` of the rows that are `wanted`, and the query's components as `wide`.
    """

    codes: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    priors: np.ndarray
    numbers: np.ndarray
    slots: np.ndarray
    used: np.ndarray
    n_used: np.ndarray
    having: np.ndarray
    let: np.ndarray
    open: np.ndarray
    wanted: np.ndarray
    vectors: np.ndarray
    rank: np.ndarray
    wide: np.ndarray
    products: np.ndarray
    bits: np.ndarray


def room_bytes(d: int, n_numbers: int, n_codes: int, n_slots: int) -> int:
    """Bytes of a `Room`."""
    return BLOCK * (5 * d + 4 * n_numbers + 32) + 16 * d + 4096 + 4 * n_codes + (8 * WORDS + 4) * n_slots


@njit(**callee)
def make_room(d, n_numbers, n_codes, n_slots):
    return Room(
        on_lines(BLOCK * ((d + 3) // 4)),
        np.zeros(BLOCK, np.float32),
        np.zeros(BLOCK, np.float32),
        np.zeros(BLOCK, np.float32),
        np.zeros(n_numbers * BLOCK, np.int32),
        np.full(n_codes, -1, np.int32),
        np.empty(n_slots, np.int32),
        np.zeros(1, np.int64),
        np.empty(WORDS * n_slots, np.uint64),
        np.empty(WORDS, np.uint64),
        np.zeros(BLOCK // LANES, np.uint64),
        np.zeros(BLOCK, np.bool_),
        on_lines(BLOCK * d).view(np.float32),
        np.zeros(BLOCK, np.uint32),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.zeros(1, np.float32),
    )
