"""What the scoring loops are given, what they give back, and the memory that a thread of them works in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_retrieval.simd import LANES

# Rows whose codes are brought in together.
BLOCK = 64
# Words of a cache line.
LINE = 16
# Loops that allocate nothing: without reference counts, of which a call with some dozen arrays has as many.
_INNER: dict[str, Any] = {"nogil": True, "_nrt": False}
inner: Any = njit(**_INNER)
# Where the arguments alone, some hundreds of words, would cost more than what is done with them.
inline: Any = njit(**_INNER, forceinline=True)


class Jobs(NamedTuple):
    """A segment: the rows of its `quantize.Coarse`, flat, as int32 and as float32, and float32 `vectors`, flat.

    `widest` and `longest` are over all rows. `priors` (rows,) float32, empty without; `ranks` (rows,) uint32 of
    the ids; both of all segments, this one's from `base`.
    """

    coarse: np.ndarray
    scales: np.ndarray
    widest: float
    longest: float
    vectors: np.ndarray
    priors: np.ndarray
    largest_prior: float
    ranks: np.ndarray
    base: int


class Work(NamedTuple):
    """Candidate `rows` int32, `pieces` (p, 4) int64 of first and last place there and first and last query.

    A query must pass, of each `numbers` (r, n) int32, the range [`low`, `high`] (r, queries) int32, and its cell of
    `mask`, flat over its candidates from `offsets`, where that is not empty. No query lies in two pieces.
    """

    rows: np.ndarray
    pieces: np.ndarray
    queries: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mask: np.ndarray
    offsets: np.ndarray


class Best(NamedTuple):
    """`keys` (queries, k) uint64, ascending, `n_keys` (queries,) of which are there; `n_matches` are added up."""

    keys: np.ndarray
    n_keys: np.ndarray
    n_matches: np.ndarray


class Scratch(NamedTuple):
    """What a thread needs. `held` rows of each query wait with a lower and an upper bound of their score.

    `uppers` and `lowers` are such bounds of a stretch's rows, for sixteen queries; `found` lists rows of it.
    """

    codes: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    reach: np.ndarray
    errors: np.ndarray
    slack: np.ndarray
    safe: np.ndarray
    limits: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    found: np.ndarray
    uppers: np.ndarray
    lowers: np.ndarray
    held: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    n_held: np.ndarray
    wide: np.ndarray
    products: np.ndarray
    pool: np.ndarray
    halves: np.ndarray
    spare: np.ndarray
    spare_halves: np.ndarray
    marks: np.ndarray
    ends: np.ndarray
    bits: np.ndarray


def held_rows(k: int) -> int:
    """Rows of a query that wait for their final score at most."""
    return (k + max(k, 256) + LANES - 1) // LANES * LANES


def scratch_bytes(n_queries: int, stretch: int, d: int, k: int, n_ranges: int) -> int:
    """Bytes that a thread takes for pieces of so many queries, seeded from stretches of so many rows."""
    alone = (d + 3) * 16 + BLOCK * 4 * LANES + stretch * (8 * LANES + 8) + 32 * (k + held_rows(k)) + 4096
    return alone + n_queries * (12 * held_rows(k) + d + 8 * n_ranges + 64)


@njit(nogil=True)
def make_scratch(n_queries, stretch, d, k, cap, n_ranges):
    words = (d + 3) // 4
    lanes = (n_queries + LANES - 1) // LANES * LANES
    return Scratch(
        np.empty(lanes * words * 4, np.int8),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.int32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float32),
        np.zeros(lanes, np.float64),
        np.zeros(lanes, np.bool_),
        np.zeros(lanes, np.float32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(n_ranges * lanes, np.int32),
        np.zeros(lanes, np.int32),
        np.zeros(BLOCK * LANES, np.int32),
        np.empty(stretch, np.uint64),
        np.empty(stretch * LANES, np.float32),
        np.empty(stretch * LANES, np.float32),
        np.empty(n_queries * cap, np.int32),
        np.empty(n_queries * cap, np.float32),
        np.empty(n_queries * cap, np.float32),
        np.zeros(lanes, np.int64),
        np.zeros(d + 8, np.float64),
        np.zeros(d + 8, np.float64),
        np.empty(k + cap + 8, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.uint64),
        np.empty(k + cap + LANES, np.int32),
        np.empty(k + cap, np.int32),
        np.empty(k + cap + 1, np.int32),
        np.zeros(1, np.float32),
    )
