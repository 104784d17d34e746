"""How much memory a process and those it starts hold at once, and the cores' time they take, for benchmarks (Linux)."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Peak:
    """`mb`: the most memory that this process and those it started held at once, looked at twice a second."""

    mb = 0.0

    def __enter__(self) -> Peak:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self.mb = max(self.mb, resident_mb(os.getpid()))


def resident_mb(root: int) -> float:
    """Memory held by a process and its descendants; what several share is split between them (PSS)."""
    return sum(_proportional_kb(pid) for pid in _family(root)) / 1024


def cpu_seconds(root: int) -> float:
    """Cores' time taken so far by a process and its descendants, those that have ended and were waited for too."""
    ticks = sum(int(number) for stat in _family(root).values() for number in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(root: int) -> dict[int, list[str]]:
    """A process and its descendants, each with the fields of /proc/PID/stat from its state on."""
    stats = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stats[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
    family, grows = {root}, True
    while grows:
        children = {pid for pid, stat in stats.items() if int(stat[1]) in family} - family
        grows = bool(children)
        family |= children
    return {pid: stats[pid] for pid in family if pid in stats}


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
