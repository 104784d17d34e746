"""The CUDA kernels of the plan "kernels": their source, and launching them.

NVRTC compiles the source for the device at hand, through CuPy, which keeps what was compiled on disk. The files are
put together here instead of including one another: CuPy's store of compiled kernels does not look into headers.

None of them has run on a GPU yet. What stands in for that: they are compiled for sm_80 and sm_90, and run on a CPU
from this very source (tests/gpu_retrieval/cuda_on_cpu); and `kernel_check` compares them with NumPy on each device
before they are used there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.cuda.lanes import Block, Lane

FILES = ("device.cuh", "common.cuh", "filter.cu", "score.cu", "select.cu")
OPTIONS = ("-std=c++17",)
THREADS = 256
MOST_BLOCKS = 4096
# Batches under way at a time.
LANES = 2
# A pointer to nothing.
NULL = np.uint64(0)


def read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def source() -> str:
    return "".join(read(name) for name in FILES)


class Kernels:
    """The kernels on a backend's current device; they run on its current stream.

    `lanes` are for batches, `kept` for what batches leave until the next tile of an index comes.
    """

    def __init__(self, backend: Backend) -> None:
        self._module: Any = backend.xp.RawModule(code=source(), options=OPTIONS)
        self._functions: dict[str, Any] = {}
        # Kept from search to search, and with them their memory: one search at a time has them.
        self.lanes = [Lane(backend) for _ in range(LANES)]
        self.kept = Block(backend)
        self.lock = Lock()

    def launch(
        self, name: str, grid: Sequence[int], *args: Array | np.generic, block: int = THREADS, shared: int = 0
    ) -> None:
        """Nothing where the grid is empty. Scalars are NumPy's, of the types that the kernel declares."""
        if name not in self._functions:
            self._functions[name] = self._module.get_function(name)
        if min(grid) > 0:
            self._functions[name](tuple(grid), (block,), args, shared_mem=shared)


@cache
def kernels_of(backend: Backend) -> Kernels:
    """The kernels, put together once a device."""
    return Kernels(backend)
