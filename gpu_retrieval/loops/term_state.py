"""What the loops that go term at a time (`score_terms`) are given, and the memory that a thread of them works in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from gpu_retrieval.loops.score_state import on_lines
from gpu_retrieval.loops.simd import LANES

# Rows of a block.
BLOCK = 256
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
    and `traits`; `ranges` (r, n) int32, the rows' ranks.

    A query must pass each range [`low`, `high`] (r, queries). `alive` (n,) bool is empty where every row is.
    """

    queries: np.ndarray
    d: int
    codes: np.ndarray
    offsets: np.ndarray
    traits: np.ndarray
    ranges: np.ndarray
    low: np.ndarray
    high: np.ndarray
    alive: np.ndarray


class Room(NamedTuple):
    """What a thread needs of a block: its `codes` by registers of sixteen rows, and what bounds and filters need.

    For final scores the `vectors` and `rank` of the rows that are `wanted`, and the query's components as `wide`.
    """

    codes: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    priors: np.ndarray
    ranks: np.ndarray
    open: np.ndarray
    wanted: np.ndarray
    vectors: np.ndarray
    rank: np.ndarray
    wide: np.ndarray
    products: np.ndarray
    bits: np.ndarray


def room_bytes(d: int, n_ranges: int) -> int:
    """Bytes of a `Room`."""
    return BLOCK * (5 * d + 4 * n_ranges + 32) + 16 * d + 4096


@njit(nogil=True)
def make_room(d, n_ranges):
    return Room(
        on_lines(BLOCK * ((d + 3) // 4)),
        np.zeros(BLOCK, np.float32),
        np.zeros(BLOCK, np.float32),
        np.zeros(BLOCK, np.float32),
        np.zeros(n_ranges * BLOCK, np.int32),
        np.zeros(BLOCK // LANES, np.uint64),
        np.zeros(BLOCK, np.bool_),
        on_lines(BLOCK * d).view(np.float32),
        np.zeros(BLOCK, np.uint32),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.zeros(1, np.float32),
    )
