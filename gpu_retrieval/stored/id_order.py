"""The rows of an index in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.backend import Array, Backend


@dataclass(frozen=True, eq=False)
class IdOrder:
    """The ids of all rows of all segments, closed ones included, in ascending order.

    `sorted_ids` (rows,) int64, `rows` (rows,) uint32 where each lies, `ranks` (rows,) uint32 the inverse.
    """

    sorted_ids: np.ndarray
    rows: np.ndarray
    ranks: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> IdOrder:
        rows = np.argsort(ids, kind="stable").astype(np.uint32)
        ranks = np.empty(len(ids), dtype=np.uint32)
        ranks[rows] = np.arange(len(ids), dtype=np.uint32)
        return cls(ids[rows], rows, ranks)

    @cached_property
    def _copies(self) -> dict[str, tuple[Array, Array]]:
        return {}

    def on(self, backend: Backend) -> tuple[Array, Array]:
        """`sorted_ids` and `ranks` on the backend's device, copied there once."""
        if backend.device not in self._copies:
            self._copies[backend.device] = backend.put(self.sorted_ids), backend.put(self.ranks)
        return self._copies[backend.device]

    def open_on(self, backend: Backend, is_open: np.ndarray) -> Array:
        """Which rows are open on the backend's device, copied there once a change."""
        held = self._open.get(backend.device)
        if held is None or held[0] is not is_open:
            self._open[backend.device] = held = is_open, backend.put(is_open)
        return held[1]

    @cached_property
    def _open(self) -> dict[str, tuple[np.ndarray, Array]]:
        return {}

    @cached_property
    def _are_unique(self) -> bool:
        return bool((self.sorted_ids[1:] != self.sorted_ids[:-1]).all())

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in `ids` and the rows that carry them; an id may lie on several rows, all but one closed."""
        if self._are_unique:
            at = np.minimum(np.searchsorted(self.sorted_ids, ids), max(0, len(self.sorted_ids) - 1))
            places = np.flatnonzero(self.sorted_ids[at] == ids) if len(self.sorted_ids) else at[:0]
            return places, self.rows[at[places]].astype(np.int64)
        first = np.searchsorted(self.sorted_ids, ids, side="left")
        counts = np.searchsorted(self.sorted_ids, ids, side="right") - first
        before = np.cumsum(counts) - counts
        at = np.repeat(first - before, counts) + np.arange(counts.sum())
        return np.repeat(np.arange(len(ids)), counts), self.rows[at].astype(np.int64)
