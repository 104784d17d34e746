"""NumPy or CuPy behind one set of operations.

CuPy is imported only when a device is asked for. What differs between the two is kept here; all else is
written once over the array module `xp`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from gpu_retrieval.errors import DeviceUnavailable

# An array of the backend's own module: np.ndarray or cupy.ndarray.
Array = Any


@dataclass(frozen=True)
class Backend:
    """Where arrays live and how the few operations that differ are done there."""

    xp: Any
    device: str
    on_gpu: bool

    def active(self) -> contextlib.AbstractContextManager[Any]:
        """Makes this device the current one while it is entered."""
        return self.xp.cuda.Device(int(self.device.split(":")[1])) if self.on_gpu else contextlib.nullcontext()

    def put(self, array: np.ndarray) -> Array:
        """The array on this device; on the CPU the array itself."""
        return self.xp.asarray(array) if self.on_gpu else array

    def get(self, array: Array) -> np.ndarray:
        """The array on the host; on the CPU the array itself."""
        return self.xp.asnumpy(array) if self.on_gpu else array

    def repeat(self, values: np.ndarray, counts: np.ndarray) -> Array:
        """Each value repeated as often as its count says. CuPy's own repeat takes no array of counts."""
        if not self.on_gpu:
            return np.repeat(values, counts)
        ends = np.cumsum(counts)
        places = self.xp.arange(int(ends[-1]) if len(ends) else 0)
        return self.put(values)[self.xp.searchsorted(self.put(ends), places, side="right")]

    def row_counts(self, mask: Array) -> np.ndarray:
        """(rows,) int64 on the host: how many cells of each row are True."""
        if self.on_gpu:
            return self.get(self.xp.count_nonzero(mask, axis=1)).astype(np.int64)
        # NumPy counts a whole bool array several times faster than it sums one along an axis.
        return np.fromiter((np.count_nonzero(row) for row in mask), dtype=np.int64, count=len(mask))

    def smallest_first(self, rows: Array, k: int) -> None:
        """Reorders each row so that its k smallest come first, the greatest of them last."""
        if self.on_gpu:
            # CuPy's partition passes values between the threads of a warp without synchronising them, which
            # no GPU since Volta promises to work; its sort is Thrust's.
            rows.sort(axis=1)
        else:
            rows.partition(k - 1, axis=1)

    def widen(self, values: Array) -> Array:
        """Contiguous float32 as float64, exactly.

        CuPy compiles with flush-to-zero, which would turn subnormal floats into zeros on the way: there they
        are put together from their bits.
        """
        return widen_bits(self.xp, values) if self.on_gpu else values.astype(np.float64)

    def float32_bits(self, scores: Array) -> Array:
        """uint32: the bits of each float64 rounded once to float32, with -0.0 as 0.0."""
        if self.on_gpu:
            return narrow_bits(self.xp, scores)
        with np.errstate(over="ignore"):
            return (scores.astype(np.float32) + np.float32(0)).view(np.uint32)

    def free_bytes(self) -> int:
        """What the GPU's memory still has room for, CuPy's own store included."""
        return self.xp.cuda.runtime.memGetInfo()[0] + self.xp.get_default_memory_pool().free_bytes()

    def product_rounding(self) -> float:
        """Relative error of one product of the matrix product beyond float32's own rounding."""
        # With TF32 each factor keeps 10 bits of its mantissa.
        return 2.0**-9 if self.on_gpu and os.environ.get("CUPY_TF32", "0") not in ("", "0") else 0.0


def widen_bits(xp: Any, values: Array) -> Array:
    """float32 as float64 from the bits, so that a device which flushes subnormals cannot change them."""
    bits = values.view(xp.uint32)
    tiny = (bits & 0x7FFFFF).astype(xp.float64) * 2.0**-149
    tiny = xp.where(bits >> 31 != 0, -tiny, tiny)
    return xp.where((bits & 0x7F800000) == 0, tiny, values.astype(xp.float64))


def narrow_bits(xp: Any, scores: Array) -> Array:
    """Bits of float64 rounded to float32, half to even, subnormal results included; -0.0 becomes 0.0."""
    steps = xp.rint(xp.abs(scores) * 2.0**149)
    small = xp.minimum(steps, 2.0**23).astype(xp.uint32)
    rounded = scores.astype(xp.float32).view(xp.uint32) & 0x7FFFFFFF
    magnitude = xp.where(steps < 2.0**23, small, rounded)
    return xp.where((scores < 0) & (magnitude != 0), magnitude | 0x80000000, magnitude)


def import_cupy() -> ModuleType | None:
    """CuPy, or None where it is not installed."""
    try:
        return importlib.import_module("cupy")
    except ImportError:
        return None


def choose_backends(device: str) -> list[Backend]:
    """One, or for "cuda:0,cuda:1" several different GPUs."""
    if not isinstance(device, str) or "," not in device:
        return [choose_backend(device)]
    backends = [choose_backend(name) for name in device.split(",")]
    if len({backend.device for backend in backends}) < len(backends) or not all(b.on_gpu for b in backends):
        raise ValueError(f"device: expected different GPUs between commas, got {device!r}")
    return backends


def choose_backend(device: str) -> Backend:
    """The backend for "cpu", "cuda", "cuda:N" or "auto" (the first GPU where there is one, else the CPU)."""
    if not isinstance(device, str):
        raise TypeError(f"device: expected a string, got {type(device).__name__}")
    if device == "cpu":
        return Backend(np, "cpu", on_gpu=False)
    kind, _, number = device.partition(":")
    if device != "auto" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise ValueError(f"device: expected 'auto', 'cpu' or 'cuda:N', got {device!r}")
    cupy = import_cupy()
    available = cupy is not None and cupy.cuda.is_available()
    if device == "auto" and not available:
        return Backend(np, "cpu", on_gpu=False)
    if cupy is None:
        raise DeviceUnavailable(f"device {device!r}: CuPy is not installed; expected device 'cpu' or 'auto'")
    if not available:
        raise DeviceUnavailable(f"device {device!r}: CuPy finds no CUDA device; expected device 'cpu' or 'auto'")
    chosen, count = int(number or "0"), cupy.cuda.runtime.getDeviceCount()
    if chosen >= count:
        raise DeviceUnavailable(f"device {device!r}: expected a number below {count}, the devices that there are")
    return Backend(cupy, f"cuda:{chosen}", on_gpu=True)
