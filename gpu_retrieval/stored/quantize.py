"""What is scanned in place of the float32 originals, and how far it can be from them.

`decode(codes, scale)` is a float32 row near the original one; `residuals` is a strict upper bound of the
length of the difference. With it, a score from the codes is within `score_error` of the final one, which is
what makes a scan of them exact: only rows that the bound cannot rule out are scored again from the originals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

STORAGES = ("float32", "float16", "int8")
FLOAT32_ROUNDING = 2.0**-24
# Below this length nothing overflows on the way through float32; above it the scan is not trusted.
SAFE_SCORE = 2.0**120
CHUNK_CELLS = 1 << 20
LINE_BYTES = 64


@dataclass(frozen=True, eq=False)
class Codes:
    """`values` (n, d) float32 (the originals), float16 or int8; `scale` (n,) float32, empty for float32.

    `norms` and `residuals`, (n,) float32, are rounded up: lengths of the originals and of original − decoded.
    """

    values: np.ndarray
    scale: np.ndarray
    norms: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, eq=False)
class Coarse:
    """int8 codes as the compiled loops read them: `rows` (n, words) int32, four codes a word, each + 128.

    `bounds` (n, 2) float32: a row's scale, and a bound of its decoded length. They lie apart, so that 64 codes are
    one cache line. `widest` bounds every row's residual in units of its scale, `longest` the decoded lengths.
    """

    rows: np.ndarray
    bounds: np.ndarray
    widest: float
    longest: float

    @staticmethod
    def words(d: int) -> int:
        """Words of d codes."""
        return (d + 3) // 4

    @classmethod
    def of(cls, codes: Codes) -> Coarse:
        """Of int8 codes."""
        n, d = codes.values.shape
        rows = on_lines((n, cls.words(d)), np.int32)
        np.bitwise_xor(codes.values.view(np.uint8), 128, out=rows.view(np.uint8)[:, :d])
        rows.view(np.uint8)[:, d:] = 0
        lengths = np.nextafter(codes.norms + codes.residuals, np.float32(np.inf))
        widest = (codes.residuals.astype(np.float64) / codes.scale).max(initial=0)
        bounds = np.stack([codes.scale, lengths], axis=1)
        return cls(rows, bounds, float(widest), float(lengths.max(initial=0)))


def on_lines(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array that begins with a cache line: NumPy's own begin 16 bytes after one, and so does each row then."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(n_bytes + LINE_BYTES, dtype=np.uint8)
    first = -room.ctypes.data % LINE_BYTES
    return room[first : first + n_bytes].view(dtype).reshape(shape)


def encode(vectors: np.ndarray, storage: str) -> Codes:
    """Codes of (n, d) float32 rows; each row is scaled by its own largest component."""
    n, d = vectors.shape
    values = vectors if storage == "float32" else np.empty((n, d), dtype=storage)
    scale = np.empty(0 if storage == "float32" else n, dtype=np.float32)
    norms, residuals = np.empty(n, np.float32), np.zeros(n, np.float32)
    step = max(1, CHUNK_CELLS // d)
    for start in range(0, n, step):
        part = slice(start, start + step)
        rows = vectors[part]
        norms[part] = _length_above(rows.astype(np.float64))
        if storage != "float32":
            values[part], scale[part] = _encode_rows(rows, storage)
            decoded = decode(np, values[part], scale[part])
            residuals[part] = _length_above(rows.astype(np.float64) - decoded)
    return Codes(values, scale, norms, residuals)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A few rows as float16 `halves` times `scale` (n,) float32, as `encode` makes them; bounds in float64 (n,)."""

    halves: np.ndarray
    scale: np.ndarray
    norms: np.ndarray
    residuals: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Encoded:
        """Of (n, d) float32."""
        wide = rows.astype(np.float64)
        norms = np.sqrt(np.vecdot(wide, wide)) * (1 + 1e-9)
        halves, scale = _encode_rows(rows, "float16")
        wide -= decode(np, halves, scale)
        return cls(halves, scale, norms, np.sqrt(np.vecdot(wide, wide)) * (1 + 1e-9))


def _encode_rows(rows: np.ndarray, storage: str) -> tuple[np.ndarray, np.ndarray]:
    # The floor keeps scale * code clear of subnormals; a row below it is all residual.
    largest = np.maximum(np.abs(rows).max(axis=1), np.float32(2.0**-100)).astype(np.float64)
    if storage == "int8":
        scale = (largest / 127).astype(np.float32)
        codes = np.clip(np.rint(rows / scale[:, None].astype(np.float64)), -127, 127)
    else:
        scale = largest.astype(np.float32)
        codes = rows / scale[:, None].astype(np.float64)
    return codes.astype(storage), scale


def decode(xp: Any, values: Any, scale: Any) -> Any:
    """float32 rows of the codes, the same bits on every device: one exact conversion and one product each."""
    if values.dtype == xp.float32:
        return values
    rows = values.astype(xp.float32)
    rows *= scale[:, None]
    return rows


def _length_above(rows: np.ndarray) -> np.ndarray:
    """(n,) float32 not below the Euclidean length of each float64 row."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * (1 + 1e-9)
    with np.errstate(over="ignore"):
        return np.nextafter(lengths.astype(np.float32), np.float32(np.inf))


def score_error(
    query_norms: np.ndarray, norm: float, residual: float, prior: float, d: int, product_rounding: float
) -> np.ndarray:
    """(queries,) float64: how far a scanned float32 score can be from the final float32 score.

    `norm`, `residual` and `prior` are the largest of the jobs scanned. Any order of summation of d products
    errs by at most γ_d = d·u / (1 − d·u) of Σ|q_i·v_i| ≤ |q|·|v| (Higham, Accuracy and Stability, 3.1); the
    last terms are the rounding of the sum with the prior and of the final score itself, and products lost to
    underflow.
    """
    u = FLOAT32_ROUNDING
    gamma = d * u / (1 - d * u) + 6 * u + product_rounding
    lengths = norm + residual
    lost = 4 * d * 2.0**-126 * (1 + query_norms + lengths)
    return (query_norms * (residual + gamma * lengths) + 6 * u * prior + lost) * (1 + 1e-6)


def floor_float32(values: np.ndarray) -> np.ndarray:
    """The float64 values as float32, never above them."""
    with np.errstate(over="ignore"):
        return np.nextafter(values.astype(np.float32), np.float32(-np.inf))
