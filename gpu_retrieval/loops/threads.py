"""Scoring loops on all cores, each thread with its number: threads of Python's, whose lock the loops do not hold.

Numba's parallel loops would be optimized three times over with all that they call, most of what compiling them takes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numba import get_num_threads


def n_threads() -> int:
    """Threads that the compiled loops run on."""
    return int(get_num_threads())


def on_threads(loop: Callable[..., None], n: int, *arguments: Any) -> None:
    """Runs `loop(*arguments, thread, n)` for each thread of n, which may be 0, and waits for them."""
    if n == 1:
        loop(*arguments, 0, 1)
    elif n:
        with ThreadPoolExecutor(n) as pool:
            for done in [pool.submit(loop, *arguments, thread, n) for thread in range(n)]:
                done.result()
