"""How much memory a process and those it starts hold at once, for benchmarks (Linux)."""

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
    return sum(_proportional_kb(pid) for pid in family(root)) / 1024


def cpu_seconds(root: int) -> float:
    """Time on a core of a process and its living descendants, their ended children included: what work cost.

    Unlike time on the clock, it hardly minds what else runs on the machine.
    """
    return sum(_ticks(pid) for pid in family(root)) / os.sysconf("SC_CLK_TCK")


def family(root: int) -> set[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    members, grows = {root}, True
    while grows:
        children = {pid for pid, parent in parents.items() if parent in members} - members
        grows = bool(children)
        members |= children
    return members


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # user and system time, then those of ended children
    return sum(int(ticks) for ticks in fields[11:15])


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
