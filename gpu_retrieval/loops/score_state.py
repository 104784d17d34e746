"""What the scoring loops are given, what they give back, and the memory that a thread of them works in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_retrieval.loops import simd_int8
from gpu_retrieval.loops.simd import LANES
from gpu_retrieval.loops.simd_int8 import CODE, CODE_BYTES
from gpu_retrieval.loops.simd_types import HAS_TILES

# Rows whose products are made together.
BLOCK = 64
# Rows that are brought in together: they are met while they are still near.
STRETCH = 1024
# Rows whose bits for sixteen queries are one word.
TOGETHER = 4
# Peaks for each of the rows wanted: so many that the last wanted of the peaks is near the last wanted of all.
PEAKS = 4
# Standard deviations, and rows, by which a guess is lowered: of some five thousand one is too high then.
SIGMAS, MORE = 3.3, 2.5
# Queries of a piece, at most.
MOST_QUERIES = 128
# Rows of a query that is alone that are taken in between two prunings.
ALONE = 2048
# Words of a cache line.
LINE = 16
TILES = simd_int8.configuration()
# What loops call. Python cannot: the wrappers that it would need, to unpack some hundreds of words, are left out.
# A literal argument, which np.int64(0) is not, is a type of its own, for which the callee is compiled once more.
callee: dict[str, Any] = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Loops that allocate nothing: without reference counts, of which a call with some dozen arrays has as many.
_INNER: dict[str, Any] = {**callee, "_nrt": False}
inner: Any = njit(**_INNER)
# Where the arguments alone, some hundreds of words, would cost more than what is done with them.
inline: Any = njit(**_INNER, forceinline=True)
# Part of its only caller before that is compiled: LLVM optimizes anew all that a function calls, with each caller.
once: Any = njit(**_INNER, inline="always")


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
    pass each range [`low`, `high`] (r, queries) int32; what it asks of each field; and its cell of `mask`, flat over
    its candidates from `offsets`, where that is not empty. Of a field it asks one of the codes `terms[first:last]` of
    `spans` (t, queries, 2), ascending, or none of them where the field `is_none_of`, or nothing where `first` is -1.
    Neighbouring fields are alternatives, of which one must hold, up to one that `is_last`. Field f has the codes from
    `tables[f]` to `tables[f + 1]` of a table of all, the last for rows that have no term. A number
    below 0 is the ~ of where in `lists` the row's codes begin; the last of them is there as its ~.
    Query q is not shown the rows `excluded[first:last]`, ascending, of `excluded_spans` (queries, 2), which is empty
    where there are none; `n_matches` counts them. No query lies in two pieces.
    """

    rows: np.ndarray
    pieces: np.ndarray
    queries: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: np.ndarray
    spans: np.ndarray
    is_none_of: np.ndarray
    is_last: np.ndarray
    lists: np.ndarray
    tables: np.ndarray
    mask: np.ndarray
    offsets: np.ndarray
    excluded: np.ndarray
    excluded_spans: np.ndarray


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

    Of each query its codes, bounds and filter, and what an upper bound must reach: `limits`, which are certain, and
    `guesses`; rows from `ceilings` on were met before, a NaN where none was; `excluded` has a bit for the last six bits
    of each row that is excluded. Of a stretch of rows `rows`, their codes, `row_words` each, and what bounds need; for
    sixteen queries `passing`, a bit for each that a row passes, `either` the same of alternatives, the `peaks` of a
    sample's scores, and the pairs that are `found` in reach, with their upper bounds; `tables`, for each sixteen a bit
    for each that a code passes. Of a block of rows `sums`. Of each query `n_held` rows, `held` between `lower` and
    `upper` bounds. Of one query its components (`wide`), the `new` final keys that are not yet among its best, and the
    key that others must be below (`last`). The rest is for sorting.
    """

    codes: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    reach: np.ndarray
    errors: np.ndarray
    slack: np.ndarray
    safe: np.ndarray
    limits: np.ndarray
    guesses: np.ndarray
    ceilings: np.ndarray
    excluded: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    new: np.ndarray
    n_new: np.ndarray
    last: np.ndarray
    rows: np.ndarray
    scales: np.ndarray
    lengths: np.ndarray
    priors: np.ndarray
    ranks: np.ndarray
    passing: np.ndarray
    either: np.ndarray
    tables: np.ndarray
    peaks: np.ndarray
    sums: np.ndarray
    found: np.ndarray
    found_upper: np.ndarray
    products: np.ndarray
    wide: np.ndarray
    pool: np.ndarray
    halves: np.ndarray
    spare: np.ndarray
    spare_halves: np.ndarray
    marks: np.ndarray
    ends: np.ndarray
    n_held: np.ndarray
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
    """Words that a row's codes, `words` as they are stored, take where they are brought in: whole tiles, for tiles."""
    return (words + LANES - 1) // LANES * LANES if HAS_TILES else words * CODE_BYTES


def scratch_bytes(n_queries: int, stretch: int, d: int, k: int, n_numbers: int) -> int:
    """Bytes that a thread takes for pieces of so many queries, of which so many rows are brought in at once.

    Tables of codes come on top, `table_bytes`.
    """
    lanes, words, cap = (n_queries + LANES - 1) // LANES * LANES, (d + 3) // 4 + LANES, held_rows(k)
    of_rows = stretch * (4 * CODE_BYTES * words + 16 + 4 * n_numbers) + 8 * LANES * min(stretch, STRETCH)
    of_peaks = 4 * LANES * peaks_of.py_func(stretch, wanted_of.py_func(k / 2))
    of_sorting = 32 * (k + cap) + 20 * cap + 24 * ALONE + 4 * BLOCK * LANES + 16 * d + 8192
    return of_rows + of_peaks + of_sorting + lanes * (12 * cap + 4 * d + 8 * n_numbers + 192)


def table_bytes(n_codes: int) -> int:
    """Bytes that a thread takes, at most, for tables of so many codes in all."""
    return MOST_QUERIES // LANES * 2 * n_codes


@inline
def wanted_of(expected):
    """So many of a sample's best rows that hardly ever fewer of all rows reach the last of them than are expected to.

    How many of the k best rows are in a random sample spreads like a Poisson variable at most.
    """
    return int(np.ceil(expected + SIGMAS * np.sqrt(expected) + MORE))


@inline
def peaks_of(n, wanted):
    """Peaks of n rows, whole blocks of them."""
    return (min(n, PEAKS * wanted) + BLOCK - 1) // BLOCK * BLOCK


@njit(**callee)
def on_lines(n_words):
    """Zeros, int32, from the beginning of a cache line on."""
    room = np.zeros(n_words + LINE, np.int32)
    first = -(room.ctypes.data // 4) % LINE
    return room[first : first + n_words]


@njit(**callee)
def make_scratch(n_queries, stretch, d, k, cap, n_ranges, n_numbers, n_codes):
    words = (d + 3) // 4
    lanes = (n_queries + LANES - 1) // LANES * LANES
    return Scratch(
        # the last tile of codes is read whole, its rows past the end against zeros
        on_lines(lanes * words * CODE_BYTES + LANES * LANES).view(CODE),
        np.zeros(lanes, np.float32),
        on_lines(lanes),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float64),
        np.zeros(lanes, np.bool_),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.uint64),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(lanes, np.int32),
        np.empty(cap, np.uint64),
        np.zeros(1, np.int64),
        np.zeros(1, np.uint64),
        on_lines(stretch * row_words(words)),
        np.empty(stretch, np.float32),
        np.empty(stretch, np.float32),
        np.empty(stretch, np.float32),
        np.empty(n_numbers * stretch, np.int32),
        np.empty(stretch + TOGETHER, np.uint16),
        np.zeros(stretch, np.uint16),
        np.empty(lanes // LANES * n_codes, np.uint16),
        on_lines(peaks_of(stretch, wanted_of(k / 2)) * LANES).view(np.float32),
        on_lines(BLOCK * LANES),
        np.empty(min(stretch, STRETCH) * LANES, np.int32),
        np.empty(min(stretch, STRETCH) * LANES, np.float32),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.empty(k + cap + 8, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.int32),
        np.empty(k + cap + 1, np.int32),
        np.zeros(lanes, np.uint64),
        np.empty(max(n_queries * cap, cap + 2 * ALONE) + LANES, np.int32),
        np.empty(max(n_queries * cap, cap + 2 * ALONE) + LANES, np.float32),
        np.empty(max(n_queries * cap, cap + 2 * ALONE) + LANES, np.float32),
        np.zeros(1, np.float32),
        TILES.copy(),
    )
