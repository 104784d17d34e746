"""The clock that engines are timed by: seconds on the wall or, on a machine that others use too, of CPU time.

CPU time is the process's own, over all of its threads: it stands still while the process waits for its turn, though
caches and memory are still shared. Rates are then queries per second of one core.
"""

from __future__ import annotations

import time

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_chosen = "wall"


def use(name: str) -> None:
    global _chosen
    _chosen = name


def now() -> float:
    return CLOCKS[_chosen]()
