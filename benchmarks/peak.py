"""How much memory a process and those it starts hold at once, and the cores' time they take, for benchmarks (Linux)."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Peak:
    """The most memory that this process and those it started held at once since `forget`, looked at twice a second.

    `mb` is all of it, `anonymous_mb` without what is mapped from files, which the system can take back: each at its own
    most, which need not be the same moment.
    """

    mb = anonymous_mb = 0.0

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
        while not self._over.wait(0.5):
            held, anonymous = resident_mb(os.getpid())
            self.mb, self.anonymous_mb = max(self.mb, held), max(self.anonymous_mb, anonymous)


def resident_mb(root: int) -> tuple[float, float]:
    """Memory held by a process and its descendants, and of it the anonymous; what several share is split (PSS)."""
    held = [_proportional_kb(pid) for pid in _family(root)]
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
