"""A block of jobs with everything that a search needs of them, and its copy on the device.

An index is a list of segments: `add` appends one, `remove` clears rows in `alive`, and small neighbours are
joined, so that neither rebuilds the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.stored.columns import NumberColumn, TermColumn
from gpu_retrieval.stored.quantize import Coarse, Codes, encode, on_lines


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """`ids` (n,) int64 and `vectors` (n, d) float32; the rest is derived from what was given.

    Rows lie in an order of the index's own, in which jobs with equal terms are neighbours; `given` (n,) int64 are
    the rows in the order in which the jobs were given.
    """

    given: np.ndarray
    ids: np.ndarray
    vectors: np.ndarray
    codes: Codes
    terms: dict[str, TermColumn]
    numbers: dict[str, NumberColumn]
    saved_coarse: Coarse | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def storage(self) -> str:
        return self.codes.values.dtype.name

    @cached_property
    def coarse(self) -> Coarse:
        """int8 codes for the compiled loops, d + 8 bytes a row: as saved, or made when first asked for."""
        if self.saved_coarse is not None:
            return self.saved_coarse
        return Coarse.of(self.codes if self.storage == "int8" else encode(self.vectors, "int8"))

    def clustered(self) -> Segment:
        """The segment sorted by the fields of which no job has two terms, the one with fewest terms first.

        A term of the first is then a run of rows, and one of the next a run within each (Lemire and Kaser,
        Reordering columns for smaller indexes, 2011): drawing and checking read memory in its order.
        """
        single = [column for column in self.terms.values() if column.is_single]
        single.sort(key=lambda column: len(column.terms))
        if not single:
            return self
        order = np.lexsort([column.code_of_row for column in reversed(single)])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        if np.array_equal(order, place):
            return self
        codes, vectors = self.codes, on_lines(self.vectors.shape, np.float32)
        np.take(self.vectors, order, axis=0, out=vectors, mode="clip")
        return Segment(
            given=place[self.given],
            ids=self.ids[order],
            vectors=vectors,
            codes=Codes(
                vectors if codes.values is self.vectors else codes.values[order],
                codes.scale[order] if len(codes.scale) else codes.scale,
                codes.norms[order],
                codes.residuals[order],
            ),
            terms={name: column.moved(place) for name, column in self.terms.items()},
            numbers={name: NumberColumn(column.levels, column.ranks[order]) for name, column in self.numbers.items()},
        )

    def kept(self, alive: np.ndarray) -> Segment:
        """The segment without its dead rows; copies the rest."""
        return Segment(
            given=(np.cumsum(alive) - 1)[self.given[alive[self.given]]],
            ids=self.ids[alive],
            vectors=(vectors := self.vectors[alive]),
            codes=encode(vectors, self.storage),
            terms={name: column.kept(alive) for name, column in self.terms.items()},
            numbers={name: column.kept(alive) for name, column in self.numbers.items()},
        )

    def part(self, first: int, last: int) -> Segment:
        """The rows [first, last): views of what is as long as vectors, copies of terms."""
        codes, vectors = self.codes, self.vectors[first:last]
        return Segment(
            given=np.arange(last - first),
            ids=self.ids[first:last],
            vectors=vectors,
            codes=Codes(
                vectors if codes.values is self.vectors else codes.values[first:last],
                codes.scale[first:last],
                codes.norms[first:last],
                codes.residuals[first:last],
            ),
            terms={name: column.part(first, last) for name, column in self.terms.items()},
            numbers={
                name: NumberColumn(column.levels, column.ranks[first:last]) for name, column in self.numbers.items()
            },
        )

    def joined(self, other: Segment) -> Segment:
        """One segment of these rows followed by the other's; copies both."""
        vectors = np.concatenate([self.vectors, other.vectors])
        joined = Segment(
            given=np.concatenate([self.given, other.given + len(self)]),
            ids=np.concatenate([self.ids, other.ids]),
            vectors=vectors,
            codes=encode(vectors, self.storage),
            terms={name: column.joined(other.terms[name]) for name, column in self.terms.items()},
            numbers={name: column.joined(other.numbers[name]) for name, column in self.numbers.items()},
        )
        return joined.clustered()


@dataclass(frozen=True, eq=False)
class DeviceSegment:
    """A segment's arrays on a backend's device, each copied when first asked for.

    Originals that are not scanned themselves (float16 and int8 storage) stay on the host, mapped from the
    file where loaded; rows of them are fetched for the final scores.
    """

    host: Segment
    backend: Backend

    def __len__(self) -> int:
        return len(self.host)

    @cached_property
    def _copies(self) -> dict[str, Array]:
        return {}

    def _copy(self, name: str, array: Callable[[], np.ndarray]) -> Array:
        if name not in self._copies:
            self._copies[name] = self.backend.put(array())
        return self._copies[name]

    @property
    def scanned(self) -> Array:
        return self._copy("scanned", lambda: self.host.codes.values)

    @property
    def scale(self) -> Array:
        return self._copy("scale", lambda: self.host.codes.scale)

    def posting_rows(self, field: str) -> Array:
        return self._copy(f"rows {field}", lambda: self.host.terms[field].rows)

    def missing_terms(self, field: str) -> Array:
        return self._copy(f"missing {field}", lambda: self.host.terms[field].missing)

    def ranks(self, number: str) -> Array:
        return self._copy(f"ranks {number}", lambda: self.host.numbers[number].ranks)

    def originals(self, rows: Array) -> Array:
        """(rows, d) float32 on the device."""
        if self.host.codes.values is self.host.vectors:
            return self.scanned[rows]
        return self.backend.put(self.host.vectors[self.backend.get(rows)])
