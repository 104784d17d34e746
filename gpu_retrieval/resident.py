"""What the kernels read of a segment, on the device, made when first asked for and kept while the segment lives.

What does not fit the device's free memory stays in page-locked host memory, which kernels read over the bus: of a
job's codes only what passes a filter, of the originals only what is scored finally.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import AllIn, AnyOf, Between, Clause, NoneOf, walk
from gpu_retrieval.quantize import encode
from gpu_retrieval.segments import DeviceSegment, Segment

# Components that the products take at a time: a row of codes is padded to a multiple.
STEP = 32
# Device memory left free beside what is placed: scratch of searches, and what others hold.
HEADROOM = 4 << 30


class Resident:
    """`codes` (n, STEP * n_steps) float16 or int8, `scale` (n,) float32, `originals` (n, d) float32.

    `longest` and `residual` bound the lengths of all originals, and of original − decoded.
    """

    def __init__(self, host: Segment, backend: Backend) -> None:
        self._host, self._backend = host, backend
        self._held: dict[str, Array] = {}
        codes = host.codes if host.storage != "float32" else encode(host.vectors, "float16")
        self.longest, self.residual = float(codes.norms.max(initial=0)), float(codes.residuals.max(initial=0))
        self.kind = codes.values.dtype.name
        self.codes = placed(backend, padded(codes.values))
        self.scale = placed(backend, codes.scale)
        self.originals = placed(backend, host.vectors)

    def _hold(self, name: str, array: Callable[[], np.ndarray]) -> Array:
        if name not in self._held:
            self._held[name] = placed(self._backend, array())
        return self._held[name]

    def fetch(self, where: Clause | None) -> None:
        """Brings what a filter reads."""
        for _, clause in walk(where) if where is not None else ():
            if isinstance(clause, Between):
                self.ranks(clause.field)
            elif isinstance(clause, (AnyOf, AllIn, NoneOf)):
                self.codes_of_rows(clause.field), self.starts(clause.field), self.postings(clause.field)

    def codes_of_rows(self, field: str) -> Array:
        """(nnz,) int32: the terms of row after row as places in the column's `terms`."""
        column = self._host.terms[field]
        return self._hold(f"codes {field}", lambda: column.code_of_row if column.is_single else column.forward[1])

    def starts(self, field: str) -> Array | None:
        """(n + 1,) int64: where each row's begin among them; None where each row has one."""
        column = self._host.terms[field]
        return None if column.is_single else self._hold(f"starts {field}", lambda: column.forward[0])

    def postings(self, field: str) -> Array:
        """(nnz,) int32: rows of term after term."""
        return self._hold(f"postings {field}", lambda: self._host.terms[field].rows)

    def ranks(self, number: str) -> Array:
        """(n,) int32."""
        return self._hold(f"ranks {number}", lambda: self._host.numbers[number].ranks)


_RESIDENT: WeakKeyDictionary[DeviceSegment, Resident] = WeakKeyDictionary()


def resident(segment: DeviceSegment) -> Resident:
    """The segment's, made at the first search."""
    if segment not in _RESIDENT:
        _RESIDENT[segment] = Resident(segment.host, segment.backend)
    return _RESIDENT[segment]


def padded(rows: np.ndarray) -> np.ndarray:
    """(n, d) rows with zeros at their end, up to a multiple of STEP."""
    n, d = rows.shape
    if d % STEP == 0:
        return rows
    wide = np.zeros((n, -(-d // STEP) * STEP), dtype=rows.dtype)
    wide[:, :d] = rows
    return wide


def placed(backend: Backend, array: np.ndarray) -> Array:
    """The array on the device, or where that has no room, in host memory under an address that the device knows."""
    if array.nbytes + HEADROOM <= backend.free_bytes():
        return backend.put(array)
    return backend.put_in_host_memory(array)
