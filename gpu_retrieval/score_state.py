"""What the scoring loops are given, what they give back, and the memory that a thread of them works in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_retrieval import simd_int8
from gpu_retrieval.simd import LANES
from gpu_retrieval.simd_types import HAS_TILES

# Rows whose products are made together.
BLOCK = 64
# Rows whose bits for sixteen queries are one word.
TOGETHER = 4
# Peaks for each of the k: so many that the k-th of the peaks is near the k-th of all.
PEAKS = 4
# Queries of a piece, at most.
QUERY_BITS = 7
MOST_QUERIES = 1 << QUERY_BITS
# Rows of a query that is alone that are taken in between two prunings.
ALONE = 2048
# Pairs that wait for their rows.
WAITING = 16
# Words of a cache line.
LINE = 16
TILES = simd_int8.configuration()
# Loops that allocate nothing: without reference counts, of which a call with some dozen arrays has as many.
_INNER: dict[str, Any] = {"nogil": True, "_nrt": False}
inner: Any = njit(**_INNER)
# Where the arguments alone, some hundreds of words, would cost more than what is done with them.
inline: Any = njit(**_INNER, forceinline=True)


class Jobs(NamedTuple):
    """A segment: rows and bounds of its `quantize.Coarse`, flat, and float32 `vectors`, flat.

    `widest` and `longest` are over all rows. `priors` (rows,) float32, empty without; `ranks` (rows,) uint32 of
    the ids; both of all segments, this one's from `base`.
    """

    coarse: np.ndarray
    bounds: np.ndarray
    widest: float
    longest: float
    vectors: np.ndarray
    priors: np.ndarray
    largest_prior: float
    ranks: np.ndarray
    base: int


class Work(NamedTuple):
    """Candidate `rows` int32, `pieces` (p, 4) int64 of first and last place there and first and last query.

    `numbers` (r + t, n) int32 are the rows' ranks in r ranges, then their codes in t fields of terms. A query must
    pass each range [`low`, `high`] (r, queries) int32; one of its codes of each field, `terms[first:last]` of `spans`
    (t, queries, 2), ascending, or any where `first` is -1; and its cell of `mask`, flat over its candidates from
    `offsets`, where that is not empty. Field f has the codes from `tables[f]` to `tables[f + 1]` of a table of all.
    No query lies in two pieces.
    """

    rows: np.ndarray
    pieces: np.ndarray
    queries: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: np.ndarray
    spans: np.ndarray
    tables: np.ndarray
    mask: np.ndarray
    offsets: np.ndarray


class Best(NamedTuple):
    """`n_keys` (queries,) of each query's `k` keys are there, and `n_matches` (queries,) are added up.

    `keys` uint64 are flat, `width` places a row; query i has row `rows[i]`, its keys ascending at its beginning.
    """

    keys: np.ndarray
    width: int
    k: int
    rows: np.ndarray
    n_keys: np.ndarray
    n_matches: np.ndarray


class Scratch(NamedTuple):
    """What a thread needs.

    Of each query its codes, bounds and filter, its components (`queries`), the `new` final keys that are not yet
    among its best, and the key that others must be below (`last`). Of a stretch of rows `rows`, their codes,
    `row_words` each, and what their bounds need; `passing`, for each sixteen queries, a bit for each that a row
    passes, and `tables`, one for each that a code does; `peaks` of the lower bounds, and `shorts`, the upper ones times
    a query's `short`, rounded. Of a block of rows `sums` for sixteen queries, and the pairs that are `found` in reach.
    The rest is for sorting, and for a query that is alone: `held` rows that wait between `lower` and `upper` bounds.
    """

    codes: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    reach: np.ndarray
    errors: np.ndarray
    slack: np.ndarray
    short: np.ndarray
    safe: np.ndarray
    limits: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    queries: np.ndarray
    new: np.ndarray
    n_new: np.ndarray
    last: np.ndarray
    rows: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    priors: np.ndarray
    ranks: np.ndarray
    passing: np.ndarray
    tables: np.ndarray
    peaks: np.ndarray
    shorts: np.ndarray
    sums: np.ndarray
    found: np.ndarray
    products: np.ndarray
    wide: np.ndarray
    pool: np.ndarray
    halves: np.ndarray
    spare: np.ndarray
    spare_halves: np.ndarray
    marks: np.ndarray
    ends: np.ndarray
    held: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bits: np.ndarray
    tiles: np.ndarray


def held_rows(k: int) -> int:
    """New keys of a query at most, before they are sorted in among its best."""
    return (k + max(k, 256) + LANES - 1) // LANES * LANES


@inline
def row_words(words):
    """Words that a row's codes take where they are brought in: whole tiles, where there are tiles."""
    return (words + LANES - 1) // LANES * LANES if HAS_TILES else words


def scratch_bytes(n_queries: int, stretch: int, d: int, k: int, n_numbers: int) -> int:
    """Bytes that a thread takes for pieces of so many queries, of which so many rows are brought in at once.

    Tables of codes come on top, `table_bytes`.
    """
    lanes, words, cap = (n_queries + LANES - 1) // LANES * LANES, (d + 3) // 4 + LANES, held_rows(k)
    of_rows = stretch * (4 * words + 12 + 4 * n_numbers + lanes // 8 + 2 * lanes) + 4 * LANES * peaks_of(stretch, k)
    of_sorting = 32 * (k + cap) + 12 * (cap + 2 * ALONE) + 8 * BLOCK * LANES + 8 * d + 8192
    return of_rows + of_sorting + lanes * (8 * cap + 12 * d + 8 * n_numbers + 192)


def table_bytes(n_codes: int) -> int:
    """Bytes that a thread takes, at most, for tables of so many codes in all."""
    return MOST_QUERIES // LANES * 2 * n_codes


@inline
def peaks_of(n, k):
    """Peaks of n rows, whole blocks of them."""
    return (min(n, PEAKS * k) + BLOCK - 1) // BLOCK * BLOCK


@njit(nogil=True)
def on_lines(n_words):
    """Zeros, int32, from the beginning of a cache line on."""
    room = np.zeros(n_words + LINE, np.int32)
    first = -(room.ctypes.data // 4) % LINE
    return room[first : first + n_words]


@njit(nogil=True)
def make_scratch(n_queries, stretch, d, k, cap, n_ranges, n_numbers, n_codes):
    words = (d + 3) // 4
    lanes = (n_queries + LANES - 1) // LANES * LANES
    return Scratch(
        # the last tile of codes is read whole, its rows past the end against zeros
        on_lines(lanes * words + LANES * LANES).view(np.int8),
        np.zeros(lanes, np.float32),
        on_lines(lanes),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float64),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.bool_),
        np.zeros(lanes, np.float32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(lanes, np.int32),
        on_lines(n_queries * d + LANES).view(np.float32),
        np.empty(n_queries * cap, np.uint64),
        np.zeros(n_queries, np.int64),
        np.zeros(n_queries, np.uint64),
        on_lines(stretch * row_words(words)),
        np.empty(stretch, np.float32),
        np.empty(stretch, np.float32),
        np.empty(stretch, np.float32),
        np.empty(n_numbers * stretch, np.int32),
        np.empty(lanes // LANES * stretch, np.uint16),
        np.empty(lanes // LANES * n_codes, np.uint16),
        on_lines(peaks_of(stretch, k) * LANES).view(np.float32),
        np.empty(lanes * stretch, np.int16),
        on_lines(BLOCK * LANES),
        np.empty(WAITING + (BLOCK + 1) * LANES, np.int32),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.empty(k + cap + 8, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.int32),
        np.empty(k + cap + 1, np.int32),
        np.empty(cap + 2 * ALONE, np.int32),
        np.empty(cap + 2 * ALONE, np.float32),
        np.empty(cap + 2 * ALONE, np.float32),
        np.zeros(1, np.float32),
        TILES.copy(),
    )
