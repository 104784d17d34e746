"""Checks of what callers pass in. Each raises with the expected and the actual value."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import numpy as np

# Rows examined at a time, so that a check of a large array needs no second array of its size.
CHECK_CELLS = 1 << 20


def check_array(name: str, array: object, dtype: str | tuple[str, ...], shape: tuple[int | None, ...]) -> np.ndarray:
    """The array itself, when it is a C-contiguous NumPy array of this dtype and shape.

    `None` in `shape` stands for any length. TypeError for another type or dtype, ValueError for another
    shape.
    """
    dtypes = (dtype,) if isinstance(dtype, str) else dtype
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array of {' or '.join(dtypes)}, got {type(array).__name__}")
    if array.dtype not in map(np.dtype, dtypes):
        raise TypeError(f"{name}: expected dtype {' or '.join(dtypes)}, got {array.dtype}")
    fits = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        expected = "(" + ", ".join("any" if want is None else f"{want:,}" for want in shape) + ")"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array, got strides {array.strides}")
    return np.asarray(array)


def check_finite(name: str, array: np.ndarray) -> None:
    """ValueError naming the first row that holds a NaN or an infinity."""
    step = max(1, CHECK_CELLS // max(1, array[:1].size))
    for start in range(0, len(array), step):
        finite = np.isfinite(array[start : start + step])
        if not finite.all():
            rows = finite.reshape(len(finite), -1).all(axis=1)
            first = start + int(np.argmin(rows))
            raise ValueError(f"{name}: expected finite values, row {first:,} holds a NaN or an infinity")


def check_known(kind: str, name: str, known: Collection[str], hint: str = "") -> None:
    """ValueError for a name that is not in `known`, with the nearest one that is."""
    if name in known:
        return
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)
    nearest = f", the nearest is {near[0]!r}" if near else ""
    raise ValueError(f"unknown {kind} {name!r}: expected one of {names}{nearest}{hint}")


def check_int(name: str, value: object, minimum: int) -> int:
    """The value as an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{name}: expected at least {minimum:,}, got {value:,}")
    return int(value)


def check_str(name: str, value: object) -> str:
    """The value, when it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {type(value).__name__}")
    return value
