"""An index over several GPUs of one process: its rows dealt out in equal stretches, each searched apart, hits merged.

Each device searches its rows as if they were an index, all at the same time, by a thread of its own. Final scores and
the order of ties are the same wherever a row lies, so that merging what each found is exact. A stretch that its device
has no room for streams through it (`placement`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np

from gpu_retrieval.backend import Backend
from gpu_retrieval.cuda.placement import placement
from gpu_retrieval.cuda.resident import bases
from gpu_retrieval.plans.choice import PLANS, choose_plan
from gpu_retrieval.stored.id_order import IdOrder
from gpu_retrieval.stored.rows import Rows
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits, merge_hits


@dataclass(frozen=True, eq=False)
class Hand:
    """Rows [first, last) of an index on a device of their own, with an order of ids of their own."""

    first: int
    last: int
    segments: list[DeviceSegment]
    order: IdOrder
    backend: Backend

    @cached_property
    def _open(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        return []

    def _alive(self, alive: np.ndarray) -> tuple[np.ndarray, int]:
        """Which of these rows are open, the same array until a change, and how many."""
        if not self._open or self._open[0][0] is not alive:
            own = alive[self.first : self.last]
            self._open[:] = [(alive, own, int(np.count_nonzero(own)))]
        return self._open[0][1:]

    def task(self, whole: SearchTask) -> SearchTask:
        """The same search of these rows alone."""
        alive, n_alive = (None, self.last - self.first) if whole.alive is None else self._alive(whole.alive)
        return replace(
            whole,
            backend=self.backend,
            segments=self.segments,
            order=self.order,
            alive=alive,
            n_alive=n_alive,
            prior=None if whole.prior is None else whole.prior[self.first : self.last],
        )

    def search(self, whole: SearchTask, plan: str) -> Hits:
        task = self.task(whole)
        name, _ = choose_plan(plan, task)
        with self.backend.active():
            return PLANS[name](task)


_DEALT: WeakKeyDictionary[IdOrder, dict[tuple[str, ...], list[Hand]]] = WeakKeyDictionary()


def dealt(order: IdOrder, hosts: list[Segment], backends: list[Backend]) -> list[Hand]:
    """What each of the devices holds, made at the first search after rows came or went."""
    known = _DEALT.setdefault(order, {})
    key = tuple(backend.device for backend in backends)
    if key not in known:
        n_rows = sum(map(len, hosts))
        bounds = [n_rows * number // len(backends) for number in range(len(backends) + 1)]
        known[key] = [_hand(hosts, backend, *span) for backend, span in zip(backends, pairwise(bounds), strict=True)]
    return known[key]


def _hand(hosts: list[Segment], backend: Backend, first: int, last: int) -> Hand:
    parts = []
    for host, base in zip(hosts, bases(hosts), strict=True):
        begin, end = max(first - base, 0), min(last - base, len(host))
        if begin < end:
            parts.append(host.part(begin, end))
    ids = np.concatenate([np.empty(0, dtype=np.int64), *(part.ids for part in parts)])
    return Hand(first, last, [DeviceSegment(part, backend) for part in parts], IdOrder.of(ids), backend)


def describe(rows: Rows, backends: list[Backend], device_memory: int | None) -> list[str]:
    """Words for `explain`, a line a device; none where one device holds all."""
    held = [(backends[0], rows.by_id, rows.segments)]
    if len(backends) > 1:
        held = [(hand.backend, hand.order, hand.segments) for hand in dealt(rows.by_id, rows.hosts, backends)]
    lines = []
    for backend, order, segments in held:
        with backend.active():
            placed = placement(order, segments, backend, device_memory)
        if placed.n_tiles or len(backends) > 1:
            lines.append(f"of the index {sum(map(len, segments)):,} rows {placed.describe()}")
    return lines


def search(task: SearchTask, plan: str, backends: list[Backend]) -> Hits:
    """The task's hits, found by all of the devices. `plan` as in `TermKnnIndex.search`."""
    hands = dealt(task.order, [segment.host for segment in task.segments], backends)
    with ThreadPoolExecutor(len(hands)) as pool:
        found = list(pool.map(lambda hand: hand.search(task, plan), hands))
    return merge_hits(found, task.k)
