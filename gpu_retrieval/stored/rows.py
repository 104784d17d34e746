"""The rows of an index: its segments one after another, and which of their rows are open."""

from __future__ import annotations

import numpy as np

from gpu_retrieval.backend import Backend
from gpu_retrieval.stored.columns import MAX_ROWS
from gpu_retrieval.stored.id_order import IdOrder
from gpu_retrieval.stored.segments import DeviceSegment, Segment


class Rows:
    """`segments` and, for each, `alive` (n,) bool: False for the rows of closed jobs.

    A row's number counts over all segments, closed rows included.
    """

    def __init__(self, segments: list[Segment], alive: list[np.ndarray], backend: Backend) -> None:
        self.segments = [DeviceSegment(segment, backend) for segment in segments]
        self.alive = alive
        self._backend = backend
        # What is worked out when first asked for after a change.
        self._order: IdOrder | None = None
        self._open: np.ndarray | None = None
        self._n_open: int | None = None

    def __len__(self) -> int:
        """All of them, the closed ones too."""
        return sum(len(segment) for segment in self.segments)

    @property
    def hosts(self) -> list[Segment]:
        return [segment.host for segment in self.segments]

    @property
    def is_open(self) -> np.ndarray:
        """(rows,) bool over all segments."""
        if self._open is None:
            self._open = np.concatenate(self.alive)
        return self._open

    @property
    def n_open(self) -> int:
        if self._n_open is None:
            self._n_open = int(np.count_nonzero(self.is_open))
        return self._n_open

    @property
    def by_id(self) -> IdOrder:
        """All rows in the order of their ids, made when first asked for after a change."""
        if self._order is None:
            self._order = IdOrder.of(np.concatenate([host.ids for host in self.hosts]))
        return self._order

    def as_given(self) -> np.ndarray:
        """(open,) int64: the open rows in the order in which their jobs were given."""
        before = np.cumsum([0] + [len(segment) for segment in self.segments])[:-1]
        parts = zip(self.hosts, self.alive, before, strict=True)
        return np.concatenate([base + host.given[alive[host.given]] for host, alive, base in parts])

    def ids_as_given(self) -> np.ndarray:
        """(open,) int64: their ids in the same order."""
        return np.concatenate([host.ids for host in self.hosts])[self.as_given()]

    def find(self, ids: np.ndarray) -> np.ndarray:
        """(ids,) int64: each id's open row, -1 where it has none."""
        at, rows = self.by_id.find(ids)
        found = np.full(len(ids), -1, dtype=np.int64)
        is_open = self.is_open[rows]
        found[at[is_open]] = rows[is_open]
        return found

    def append(self, segment: Segment) -> None:
        """Takes in a segment of new ids."""
        if len(self) + len(segment) >= MAX_ROWS:
            n_rows = len(self) + len(segment)
            raise ValueError(f"index: expected fewer than {MAX_ROWS:,} rows, got {n_rows:,}; build it in shards")
        self.segments.append(DeviceSegment(segment, self._backend))
        self.alive.append(np.ones(len(segment), dtype=bool))
        self._forget()
        self._tidy()

    def close(self, rows: np.ndarray) -> None:
        base = 0
        for segment, alive in zip(self.segments, self.alive, strict=True):
            alive[rows[(rows >= base) & (rows < base + len(segment))] - base] = False
            base += len(segment)
        self._forget(order=False)
        self._tidy()

    def _forget(self, *, order: bool = True) -> None:
        """Whoever changes rows says so: their order only where rows come or go."""
        self._open = self._n_open = None
        if order:
            self._order = None

    def _tidy(self) -> None:
        """Drops closed rows and joins neighbours, each only where that at least halves what it touches."""
        held = [
            (host.kept(alive), np.ones(np.count_nonzero(alive), dtype=bool))
            if np.count_nonzero(alive) * 2 < len(host)
            else (host, alive)
            for host, alive in zip(self.hosts, self.alive, strict=True)
        ]
        while len(held) > 1 and 2 * len(held[-1][0]) >= len(held[-2][0]):
            (before, alive_before), (last, alive_last) = held[-2:]
            joined = before.joined(last)
            # Joining sorts anew: only the order in which jobs were given stays.
            alive = np.empty(len(joined), dtype=bool)
            alive[joined.given] = np.concatenate([alive_before[before.given], alive_last[last.given]])
            held[-2:] = [(joined, alive)]
        unchanged = {id(segment.host): segment for segment in self.segments}
        if [id(host) for host, _ in held] == list(unchanged):
            return
        self.segments = [unchanged.get(id(host)) or DeviceSegment(host, self._backend) for host, _ in held]
        self.alive = [alive for _, alive in held]
        self._forget()
