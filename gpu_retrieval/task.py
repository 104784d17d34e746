"""One search as its plans see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import Clause, take
from gpu_retrieval.loops import compiled
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.sharing.groups import Groups, group_queries
from gpu_retrieval.sharing.parts import Parts
from gpu_retrieval.sharing.term_draws import TermDraw
from gpu_retrieval.stored.id_order import IdOrder
from gpu_retrieval.stored.segments import DeviceSegment


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchTask:
    """What to search, all of it checked.

    `alive` and `prior` run over all rows of all segments, dead rows included: (rows,) bool, None where every
    row is alive, and (rows,) float32, None without a prior. `device_memory` bounds what the index takes of a
    GPU's, None where what is free does.
    """

    backend: Backend
    segments: list[DeviceSegment]
    order: IdOrder
    alive: np.ndarray | None
    n_alive: int
    prior: np.ndarray | None
    queries: np.ndarray
    k: int
    where: Clause | None
    exclude: Ragged | None
    memory_budget: int
    device_memory: int | None = None

    def take(self, rows: np.ndarray) -> SearchTask:
        """The same search for these queries only."""
        return replace(
            self,
            queries=self.queries[rows],
            where=None if self.where is None else take(self.where, rows),
            exclude=None if self.exclude is None else self.exclude.take(rows),
        )

    @cached_property
    def parts(self) -> Parts:
        """What the filter asks, and how many jobs that touches."""
        return Parts.of(self.where, len(self.queries), self.segments)

    @cached_property
    def groups(self) -> Groups:
        """The queries by what their filters share."""
        return self._groups()

    @cached_property
    def undriven(self) -> Groups:
        """The same with every job drawn for every group."""
        return self._groups(drive=False)

    @cached_property
    def term_draw(self) -> TermDraw | None:
        """How the queries draw jobs term at a time; None where they do not, or there are no loops for it."""
        if self.backend.on_gpu or not compiled.AVAILABLE:
            return None
        return TermDraw.of(self.where, self.groups, self.segments)

    def _groups(self, *, drive: bool = True) -> Groups:
        d, k = self.queries.shape[1], min(self.k, self.n_alive)
        beside = compiled.AVAILABLE and not self.backend.on_gpu
        return group_queries(self.parts, d, k, self.memory_budget, drive=drive, beside=beside)

    @cached_property
    def device_ranks(self) -> Array:
        """(rows,) uint32 on the device: the rank of each row's id."""
        return self.backend.put(self.order.ranks)

    @cached_property
    def device_prior(self) -> Array | None:
        """`prior` on the device."""
        return None if self.prior is None else self.backend.put(self.prior)

    @cached_property
    def device_alive(self) -> Array | None:
        """`alive` on the device."""
        return None if self.alive is None else self.order.open_on(self.backend, self.alive)
