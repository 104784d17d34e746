"""The rows of an index in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.backend import Array, Backend

# Numbers up to the last id, a row, for which there is a table of them.
MOST_NUMBERS_A_ROW = 4


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

    @cached_property
    def _n_below(self) -> np.ndarray | None:
        """(ids,) uint32 how many rows have an id below each number, to two beyond the last; None where ids are few."""
        if len(self.sorted_ids) == 0 or self.sorted_ids[-1] > MOST_NUMBERS_A_ROW * len(self.sorted_ids):
            return None
        return np.cumsum(np.bincount(self.sorted_ids + 1, minlength=int(self.sorted_ids[-1]) + 3), dtype=np.uint32)

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in `ids` and the rows that carry them; an id may lie on several rows, all but one closed."""
        if self._are_unique and self._n_below is None:
            at = np.minimum(np.searchsorted(self.sorted_ids, ids), max(0, len(self.sorted_ids) - 1))
            places = np.flatnonzero(self.sorted_ids[at] == ids) if len(self.sorted_ids) else at[:0]
            return places, self.rows[at[places]].astype(np.int64)
        if self._n_below is None:
            first, last = (np.searchsorted(self.sorted_ids, ids, side=side) for side in ("left", "right"))
        else:
            # Those beyond either end are brought to it, where nothing is.
            ids = np.clip(ids, -1, len(self._n_below) - 2)
            first, last = self._n_below.take(ids, mode="clip"), self._n_below.take(ids + 1)
        counts = (last - first).astype(np.int64)
        at = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return np.repeat(np.arange(len(ids)), counts), self.rows[at].astype(np.int64)
