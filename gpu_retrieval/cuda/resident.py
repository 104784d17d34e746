"""What the kernels read of a stretch of rows, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import AllIn, AnyOf, Between, Clause, NoneOf, each
from gpu_retrieval.stored.quantize import Codes, encode
from gpu_retrieval.stored.segments import Segment

# Components that the products take at a time: a row of codes is padded to a multiple.
STEP = 32


class Source:
    """A segment's arrays as the kernels read them, on the host: (name, field) -> array, made when asked for.

    `codes` (n, d) float16 or int8 and `scale` (n,) float32; `originals` (n, d) float32. Of a field: `of rows` (nnz,)
    int32, the terms of row after row as places in the column's `terms`, `starts` (n + 1,) int64, where each row's begin
    among them, `postings` (nnz,) int32, rows of term after term. Of a number: `ranks` (n,) int32.
    """

    def __init__(self, host: Segment) -> None:
        self.host = host
        self.kind = "float16" if host.storage == "float32" else host.storage

    @cached_property
    def codes(self) -> Codes:
        """float32 storage is scanned as float16: its codes are kept in the host's memory."""
        return self.host.codes if self.host.storage != "float32" else encode(self.host.vectors, "float16")

    @cached_property
    def longest(self) -> float:
        """A bound of all originals' lengths."""
        return float(self.codes.norms.max(initial=0))

    @cached_property
    def residual(self) -> float:
        """A bound of the lengths of all original − decoded."""
        return float(self.codes.residuals.max(initial=0))

    def array(self, name: str, field: str = "") -> np.ndarray:
        if name in ("codes", "scale"):
            return self.codes.values if name == "codes" else self.codes.scale
        if name == "originals":
            return self.host.vectors
        if name == "ranks":
            return self.host.numbers[field].ranks
        column = self.host.terms[field]
        if name == "postings":
            return column.rows
        if name == "starts":
            return column.forward[0]
        return column.code_of_row if column.is_single else column.forward[1]

    def width(self, name: str, array: np.ndarray) -> int:
        """Components of a row on the device: codes are padded with zeros."""
        d = array.shape[1] if array.ndim == 2 else 1
        return -(-d // STEP) * STEP if name == "codes" else d

    def names(self, where: Clause | None = None) -> list[tuple[str, str]]:
        """Names of the arrays that a search with this filter reads."""
        named = {("codes", ""): None, ("scale", ""): None, ("originals", ""): None}
        for clause in each(where):
            if isinstance(clause, Between):
                named["ranks", clause.field] = None
            elif isinstance(clause, (AnyOf, AllIn, NoneOf)):
                named |= dict.fromkeys(self._of_field(clause.field))
        return list(named)

    def _of_field(self, field: str) -> Iterator[tuple[str, str]]:
        yield from (("of rows", field), ("postings", field))
        if not self.host.terms[field].is_single:
            yield "starts", field


class Held:
    """A `Source` whose arrays are put on the device when first asked for, and stay."""

    def __init__(self, source: Source, backend: Backend) -> None:
        self.source, self.kind = source, source.kind
        self._backend = backend
        self._arrays: dict[tuple[str, str], Array] = {}

    def array(self, name: str, field: str = "") -> Array:
        if (name, field) not in self._arrays:
            host = self.source.array(name, field)
            self._arrays[name, field] = self._backend.put(padded(host) if name == "codes" else host)
        return self._arrays[name, field]

    @property
    def n_bytes(self) -> int:
        return sum(int(array.nbytes) for array in self._arrays.values())

    def lay(self, arrays: dict[tuple[str, str], Array]) -> Held:
        """With these arrays, which lie on the device already, in place of what there was."""
        self._arrays = arrays
        return self

    def fetch(self, where: Clause | None) -> None:
        """Brings what a filter reads."""
        for name in self.source.names(where):
            self.array(*name)

    @property
    def codes(self) -> Array:
        return self.array("codes")

    @property
    def scale(self) -> Array:
        return self.array("scale")

    @property
    def originals(self) -> Array:
        return self.array("originals")

    def codes_of_rows(self, field: str) -> Array:
        return self.array("of rows", field)

    def starts(self, field: str) -> Array | None:
        """None where each row has one term."""
        return None if self.source.host.terms[field].is_single else self.array("starts", field)

    def postings(self, field: str) -> Array:
        return self.array("postings", field)

    def ranks(self, number: str) -> Array:
        return self.array("ranks", number)


@dataclass(frozen=True, eq=False)
class Shard:
    """Rows of the index from `base` on: their columns on the host, and what the kernels read of them."""

    host: Segment
    base: int
    held: Held

    def __len__(self) -> int:
        return len(self.host)


def bases(parts: Sequence[Segment]) -> list[int]:
    """The row of the index at which each begins."""
    return np.cumsum([0] + [len(part) for part in parts])[:-1].tolist()


def padded(rows: np.ndarray) -> np.ndarray:
    """(n, d) rows with zeros at their end, up to a multiple of STEP."""
    n, d = rows.shape
    if d % STEP == 0:
        return rows
    wide = np.zeros((n, -(-d // STEP) * STEP), dtype=rows.dtype)
    wide[:, :d] = rows
    return wide
