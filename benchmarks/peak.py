"""How much memory a process and those it starts hold at once, and the cores' time they take, for benchmarks (Linux)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path


class Peak:
    """The most memory that a process and those it started held at once since `forget`, looked at twice a second.

    `mb` is all of it, `anonymous_mb` without what is mapped from files, which the system can take back: each at its own
    most, which need not be the same moment. A process counts from the second look on that finds it: one that is just
    being started still runs in its parent's memory, which would count twice (a JVM of 2.4 GB was seen as 4.9).
    """

    mb = anonymous_mb = 0.0

    def __init__(self, root: int | None = None) -> None:
        """`root` is this process unless it is named."""
        self._root = os.getpid() if root is None else root

    def forget(self) -> None:
        self.mb = self.anonymous_mb = 0.0

    def __enter__(self) -> Peak:
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        before: set[int] = set()
        while not self._over.wait(0.5):
            family = set(_family(self._root))
            held, anonymous = resident_mb(family & before)
            self.mb, self.anonymous_mb = max(self.mb, held), max(self.anonymous_mb, anonymous)
            before = family


def resident_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Memory held by processes, and of it the anonymous; what several share is split between them (PSS)."""
    held = [_proportional_kb(pid) for pid in pids]
    return sum(each["Pss"] for each in held) / 1024, sum(each["Pss_Anon"] for each in held) / 1024


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


def _proportional_kb(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    fields = dict(line.split(":") for line in lines)
    return {name: int(fields.get(name, "0").split()[0]) for name in ("Pss", "Pss_Anon")}
