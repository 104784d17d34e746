"""Where the rows of an index lie that a GPU searches: all on the device, or, where that has no room, part of them.

An index larger than the device's memory is cut into tiles of rows. As many stay on the device as it holds; the others
pass through two places there, one after another: while the kernels work at one, a thread of the host fills the other,
through two small buffers of page-locked memory. A search takes each tile in turn and goes on from the k best so far,
as it does from segment to segment, so that the answer is the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import Clause
from gpu_retrieval.cuda.lanes import ALIGN, TO_DEVICE, Pinned
from gpu_retrieval.cuda.resident import STEP, Held, Shard, Source, bases
from gpu_retrieval.stored.id_order import IdOrder
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask

# Device memory left free beside what is placed: scratch of searches, and what others hold.
HEADROOM = 4 << 30
# A tile's worth of time on the bus is some ten launches for each batch of queries.
MOST_TILE_BYTES = 1 << 30
STAGE_BYTES = 32 << 20
# Of what the index may take, in tiles: two places that tiles pass through, and room for some that stay.
PLACES, TILES_HELD = 2, 8
# Of every row, wherever it lies: id and rank of its id, prior, whether it is open.
BYTES_BESIDE = 8 + 4 + 4 + 1


class Placement:
    """The rows of one state of an index on one device. `n_tiles` of which `n_kept` stay; 0 where nothing is cut."""

    def __init__(self, segments: list[DeviceSegment], backend: Backend, most: int | None) -> None:
        self._backend = backend
        hosts = [segment.host for segment in segments]
        # What searches before found out of filters of one shape, by shape.
        self.shapes: dict[tuple[object, ...], Any] = {}
        self.n_bytes, self.n_tiles, self.n_kept, self._place_bytes = sum(map(device_bytes, hosts)), 0, 0, 0
        n_rows = sum(map(len, hosts))
        room = free_bytes(segments, backend) - HEADROOM if most is None else most
        for_tiles = room - BYTES_BESIDE * n_rows
        if n_rows == 0 or self.n_bytes <= for_tiles:
            self._shards = list(map(Shard, hosts, bases(hosts), map(held_of, segments)))
            return
        check_room(TILES_HELD * max(arrays_bytes(host) + row_bytes(host) for host in hosts), for_tiles, n_rows)
        for segment in segments:
            _HELD.pop(segment, None)
        parts = [part for host in hosts for part in tiles(host, min(MOST_TILE_BYTES, for_tiles // TILES_HELD))]
        sizes = [device_bytes(part) for part in parts]
        self.n_tiles, self._place_bytes = len(parts), max(sizes)
        # A row of many terms may take more than a tile's share.
        check_room(PLACES * max(sizes), for_tiles, n_rows)
        self.n_kept = int(np.searchsorted(np.cumsum(sizes), for_tiles - PLACES * max(sizes), side="right"))
        held = [Held(Source(part), backend) for part in parts]
        self._shards = list(map(Shard, parts, bases(parts), held))

    @cached_property
    def longest(self) -> float:
        """A bound of all originals' lengths."""
        return max(shard.held.source.longest for shard in self._shards)

    @cached_property
    def hosts(self) -> list[Segment]:
        """What is searched one after another."""
        return [shard.host for shard in self._shards]

    @property
    def n_stops(self) -> int:
        """How many `stops` there are."""
        return bool(self.n_kept) + self.n_tiles - self.n_kept if self.n_tiles else 1

    @cached_property
    def _places(self) -> Places:
        """Taken once."""
        return Places(self._backend, self._place_bytes)

    def stops(self, where: Clause | None) -> Iterator[list[Shard]]:
        """The shards, those together that are on the device at the same time as the ones before.

        A stop is over when the next one is asked for: by then the kernels must be done with it.
        """
        kept, passing = self._shards[: self.n_kept], self._shards[self.n_kept :]
        if not self.n_tiles:
            yield self._shards
            return
        filled = self._places.fill(passing, where)
        if kept:
            yield kept
        for shard in filled:
            yield [shard]

    def fetch(self, where: Clause | None) -> None:
        """Brings to the device what a filter reads of the rows that stay there."""
        for shard in self._shards[: self.n_kept] if self.n_tiles else self._shards:
            shard.held.fetch(where)

    def describe(self) -> str:
        """Words for `explain`."""
        held = f"{self.n_bytes / 2**20:,.1f} MiB"
        if not self.n_tiles:
            return f"lie on {self._backend.device}: {held}"
        return f"stream through {self._backend.device} in {self.n_tiles:,} tiles, {self.n_kept:,} of which stay: {held}"


class Places:
    """Two stretches of the device's memory for a tile each, and the thread that fills one while the other is read."""

    def __init__(self, backend: Backend, n_bytes: int) -> None:
        self._backend = backend
        self._memory = [backend.xp.empty(n_bytes, dtype=np.uint8) for _ in range(PLACES)]
        self._stages = [Pinned(backend, min(STAGE_BYTES, n_bytes + ALIGN)) for _ in range(2)]
        self._stream = backend.xp.cuda.Stream(non_blocking=True)
        self._events: list[Any] = [None, None]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tiles")

    def fill(self, shards: list[Shard], where: Clause | None) -> Iterator[Shard]:
        """The shards with their arrays laid into one place after another, the first of them under way at once."""

        def lay(number: int) -> Future[dict[tuple[str, str], Array]] | None:
            if number >= len(shards):
                return None
            return self._thread.submit(self._lay, shards[number], self._memory[number % PLACES], where)

        def laid(first: list[Future[Any] | None]) -> Iterator[Shard]:
            ahead = first
            for number, shard in enumerate(shards):
                future = ahead.pop(0)
                assert future is not None
                arrays = future.result()
                # The place of the tile before is free: whoever asks for this one is done with it.
                ahead.append(lay(number + 1))
                yield Shard(shard.host, shard.base, Held(shard.held.source, self._backend).lay(arrays))

        return laid([lay(0)])

    def _lay(self, shard: Shard, memory: Array, where: Clause | None) -> dict[tuple[str, str], Array]:
        source, at, arrays = shard.held.source, 0, {}
        with self._backend.active():
            for name, field in source.names(where):
                array = source.array(name, field)
                width = source.width(name, array)
                self._copy(array if array.ndim == 2 else array[:, None], width, int(memory.data.ptr) + at)
                n_bytes = len(array) * width * array.itemsize
                view = memory[at : at + n_bytes].view(array.dtype)
                arrays[name, field] = view.reshape(len(array), width) if array.ndim == 2 else view
                at += -(-n_bytes // ALIGN) * ALIGN
            self._stream.synchronize()
        return arrays

    def _copy(self, rows: np.ndarray, width: int, address: int) -> None:
        """Rows, zeros after each up to the width, to the device, some at a time through the stages in turn."""
        runtime, row_bytes = self._backend.xp.cuda.runtime, width * rows.itemsize
        step = max(1, self._stages[0].n_bytes // row_bytes)
        for number, first in enumerate(range(0, len(rows), step)):
            part, stage = rows[first : first + step], number % 2
            if (event := self._events[stage]) is not None:
                event.synchronize()
            staged = self._stages[stage].bytes[: len(part) * row_bytes].view(rows.dtype).reshape(len(part), width)
            staged[:, : part.shape[1]] = part
            staged[:, part.shape[1] :] = 0
            target, n_bytes = address + first * row_bytes, len(part) * row_bytes
            runtime.memcpyAsync(target, self._stages[stage].address, n_bytes, TO_DEVICE, self._stream.ptr)
            self._events[stage] = self._stream.record()


def check_room(least: int, got: int, n_rows: int) -> None:
    """ValueError where tiles would have less room than that."""
    if got < least:
        beside = BYTES_BESIDE * n_rows
        raise ValueError(
            f"device_memory: expected at least {least + beside:,} bytes for {n_rows:,} jobs, got {got + beside:,}"
        )


def arrays_bytes(host: Segment) -> int:
    """What arrays take beside their rows: rounding up to ALIGN, and one start more than rows."""
    return (3 + 3 * len(host.terms) + len(host.numbers)) * (ALIGN + 8)


def device_bytes(host: Segment) -> int:
    """What all arrays of a segment take on the device, at most."""
    nnz = sum(len(column.rows) for column in host.terms.values())
    return len(host) * row_bytes(host) + 8 * nnz + arrays_bytes(host)


def row_bytes(host: Segment) -> int:
    """Of each row, what its terms take aside."""
    d = host.vectors.shape[1]
    codes = -(-d // STEP) * STEP * (1 if host.storage == "int8" else 2)
    return codes + 4 + 4 * d + 8 * sum(not column.is_single for column in host.terms.values()) + 4 * len(host.numbers)


def tiles(host: Segment, most: int) -> Iterator[Segment]:
    """The segment in stretches of rows that take no more on the device each, a single row's bytes excepted."""
    per_row = np.full(len(host), row_bytes(host), dtype=np.int64)
    for column in host.terms.values():
        per_row += 8 * np.bincount(column.rows, minlength=len(host))
    upto, first = np.cumsum(per_row), 0
    most -= arrays_bytes(host)
    while first < len(host):
        done = int(upto[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(upto, done + most, side="right")))
        yield host.part(first, last)
        first = last


_HELD: WeakKeyDictionary[DeviceSegment, Held] = WeakKeyDictionary()


def held_of(segment: DeviceSegment) -> Held:
    """The segment's, which stays on the device while the segment lives, whatever comes and goes beside it."""
    if segment not in _HELD:
        _HELD[segment] = Held(Source(segment.host), segment.backend)
    return _HELD[segment]


def free_bytes(segments: list[DeviceSegment], backend: Backend) -> int:
    """What the device has room for, what these segments hold there already included."""
    return backend.free_bytes() + sum(_HELD[segment].n_bytes for segment in segments if segment in _HELD)


_PLACED: WeakKeyDictionary[IdOrder, dict[tuple[str, int | None], Placement]] = WeakKeyDictionary()


def placement(order: IdOrder, segments: list[DeviceSegment], backend: Backend, most: int | None) -> Placement:
    """Of the rows in this order, made anew where rows came or went. `most` as `SearchTask.device_memory`."""
    placed = _PLACED.setdefault(order, {})
    key = backend.device, most
    if key not in placed:
        placed[key] = Placement(segments, backend, most)
    return placed[key]


def placement_of(task: SearchTask) -> Placement:
    return placement(task.order, task.segments, task.backend, task.device_memory)


def parts_of(task: SearchTask) -> Iterator[DeviceSegment]:
    """What the array code searches one after another: segments, or tiles that lie on the device one at a time."""
    placed = placement_of(task) if task.backend.on_gpu else None
    if placed is None or not placed.n_tiles:
        yield from task.segments
    else:
        for host in placed.hosts:
            yield DeviceSegment(host, task.backend)
