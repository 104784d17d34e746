"""Streams of a GPU with memory of their own, which a batch of queries is sent through.

All that a batch gives the kernels lies side by side in page-locked memory and goes over in one copy; scratch is taken
once and kept. Addresses are handed to kernels as numbers: an array object each would cost more than the copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_retrieval.backend import Backend

# What CuPy and CUDA align memory to at least: loads of 16 bytes need no more.
ALIGN = 256
LEAST_UPLOAD = 1 << 20
# Bytes that are copied sooner than NumPy makes a view of them.
SMALL = 4 << 10
# What rounds of a batch leave behind before the host waits for them.
MOST_BEHIND = 8 << 20
ITEM_BYTES = {np.uint8: 1, np.int32: 4, np.uint32: 4, np.float32: 4, np.int64: 8, np.uint64: 8}
TO_DEVICE, TO_HOST = 1, 2


def room(*n_bytes: int) -> int:
    """Bytes that parts of these sizes take in a `Block`."""
    return sum(-(-n // ALIGN) * ALIGN for n in n_bytes)


class Block:
    """Memory of the device handed out in parts, and taken anew only where a batch wants more than there is."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held: Any = None
        self._address = self._size = self._at = 0

    def begin(self, n_bytes: int) -> None:
        """Makes room for parts of so many bytes in all (`room`); what was handed out before is over."""
        self._at = 0
        if n_bytes > self._size:
            # Given back first, so that both are never held.
            self._held = None
            self._held = self._backend.xp.empty(n_bytes, dtype=np.uint8)
            self._address, self._size = int(self._held.data.ptr), n_bytes

    def take(self, dtype: type[np.generic], count: int) -> np.uint64:
        """The address of `count` numbers, unwritten. `dtype` is what kernels find there."""
        address = self._address + self._at
        self._at += -(-count * ITEM_BYTES[dtype] // ALIGN) * ALIGN
        if self._at > self._size:
            raise MemoryError(f"block of {self._size:,} bytes: expected parts within it, got {self._at:,}")
        return np.uint64(address)


class Pinned:
    """Page-locked bytes of the host."""

    def __init__(self, backend: Backend, n_bytes: int) -> None:
        self._memory = backend.xp.cuda.alloc_pinned_memory(n_bytes)
        self.bytes = np.frombuffer(self._memory, dtype=np.uint8, count=n_bytes)
        self.view = self.bytes.data
        self.address, self.n_bytes = int(self.bytes.ctypes.data), n_bytes


class Lane:
    """A stream, and the memory of the one batch at a time that is on it.

    `state`, `sets`, `scratch` and `results` are the batch's to divide up.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self._runtime = backend, backend.xp.cuda.runtime
        self.stream = backend.xp.cuda.Stream(non_blocking=True)
        self.state, self.sets, self.scratch, self.results = (Block(backend) for _ in range(4))
        self._upload = self._new_upload(LEAST_UPLOAD)
        self._outgrown: list[tuple[Pinned, Any, int]] = []
        self._at = self._sent = 0
        self._download = Pinned(backend, LEAST_UPLOAD)

    def _new_upload(self, n_bytes: int) -> tuple[Pinned, Any, int]:
        device = self._backend.xp.empty(n_bytes, dtype=np.uint8)
        return Pinned(self._backend, n_bytes), device, int(device.data.ptr)

    def begin(self) -> None:
        """Waits for the batch before; what was added for it is over."""
        self.stream.synchronize()
        self._outgrown.clear()
        self._at = self._sent = 0

    def add(self, array: np.ndarray) -> np.uint64:
        """The address that the array, C-contiguous, has on the device from the next `send` on."""
        start, n_bytes = self._at, array.nbytes
        pinned, _, address = self._upload
        if start + n_bytes > pinned.n_bytes:
            self.send()
            self._outgrown.append(self._upload)
            self._upload = pinned, _, address = self._new_upload(2 * max(pinned.n_bytes, n_bytes))
            start = self._sent = 0
        if n_bytes <= SMALL:
            pinned.view[start : start + n_bytes] = array.tobytes()
        else:
            pinned.bytes[start : start + n_bytes] = array.reshape(-1).view(np.uint8)
        self._at = start + -(-n_bytes // ALIGN) * ALIGN
        return np.uint64(address + start)

    def send(self) -> None:
        """Copies to the device what was added since the last time."""
        if (n_bytes := min(self._at, self._upload[0].n_bytes) - self._sent) > 0:
            pinned, _, address = self._upload
            self.copy(address + self._sent, pinned.address + self._sent, n_bytes, TO_DEVICE)
            self._sent = self._at

    def mark(self) -> tuple[int, int]:
        """For `rewind`."""
        return len(self._outgrown), self._at

    def rewind(self, mark: tuple[int, int]) -> None:
        """Gives up what was added since the mark, once that is much: the stream must come to it first."""
        n_outgrown, at = mark
        if n_outgrown != len(self._outgrown):
            at = 0
        if self._at - at > MOST_BEHIND:
            self.stream.synchronize()
            self._at = self._sent = at

    def copy(self, to: int | np.uint64, source: int | np.uint64, n_bytes: int, kind: int) -> None:
        self._runtime.memcpyAsync(int(to), int(source), n_bytes, kind, self.stream.ptr)

    def fill(self, address: int | np.uint64, byte: int, n_bytes: int) -> None:
        """Sets bytes of the device to one value."""
        if n_bytes:
            self._runtime.memsetAsync(int(address), byte, n_bytes, self.stream.ptr)

    def fetch(self, *parts: tuple[np.uint64, int]) -> list[np.ndarray]:
        """The bytes at these addresses, each with how many: there once the stream is done, until the next call."""
        starts = np.cumsum([0] + [room(n_bytes) for _, n_bytes in parts]).tolist()
        if starts[-1] > self._download.n_bytes:
            self._download = Pinned(self._backend, max(starts[-1], 2 * self._download.n_bytes))
        for (address, n_bytes), start in zip(parts, starts, strict=False):
            self.copy(self._download.address + start, address, n_bytes, TO_HOST)
        return [
            self._download.bytes[start : start + n_bytes] for (_, n_bytes), start in zip(parts, starts, strict=False)
        ]
