"""Which meta links pairs carry together, and how many of them were hired: the counting of Apriori, without its joins.

A pair's meta links are numbers in ascending order. A group is all pairs that carry some meta link, each with the ones
after it: every combination that starts with that meta link is in its group and in no other, so that groups are counted
apart, on as many machines as there are. Within a group, what comes after is counted by occurrence deliver (Uno, Kiyomi
and Arimura, LCM ver. 2, FIMI 2004): each pair adds one to the counter of each of its later meta links; a frequent one
hands the pairs that have it on, and what comes after it is counted in the same way. No combination is written down that
fewer than `min_support` hires carry, and none is counted whose parts that begin alike are not all frequent.

Memory: the largest group, some 40 bytes for each meta link that its pairs have after it, and the combinations not
handed over yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[Any]

GROWN = pa.schema(
    [
        ("items", pa.list_(pa.int32())),
        ("n_pairs", pa.int64()),
        ("n_rows", pa.int64()),
        ("n_hires", pa.float64()),
        ("n_no_hires", pa.float64()),
        ("pairs", pa.list_(pa.int64())),
    ]
)
GROWN_DDL = "items array<int>, n_pairs bigint, n_rows bigint, n_hires double, n_no_hires double, pairs array<bigint>"
# Handed over at once: numbers of pairs.
BATCH = 1 << 20


@dataclass(frozen=True)
class Group:
    """The pairs that carry the combination `items`, and the meta links that each has after it.

    `pair`, `is_hire`, `weight` (n,); `offsets` (n + 1,) and `metas`: int32, ascending within a pair.
    """

    items: tuple[int, ...]
    pair: Ints
    is_hire: NDArray[np.bool_]
    weight: Floats
    offsets: Ints
    metas: Ints


def grown_of_batches(batches: Iterable[pa.RecordBatch], min_support: int, max_arity: int) -> Iterator[pa.RecordBatch]:
    """`GROWN`: a row a frequent combination of 2 to `max_arity` meta links, those of whole groups.

    A batch has the columns meta, pair, is_hire, weight and later (list of int); rows are in order of meta. `pairs` are
    those that carry the combination; they are left out, [], where its no-hires outnumber its hires.
    """
    found = _Found()
    for group in groups_of(batches):
        _grow(group, min_support, max_arity, found)
        if found.n_held >= BATCH:
            yield found.batch()
            found = _Found()
    if found.items:
        yield found.batch()


def groups_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Group]:
    """The rows of each meta link, however the batches cut them."""
    open_parts: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        metas = batch.column("meta").to_numpy()
        starts = np.r_[0, np.flatnonzero(np.diff(metas)) + 1, len(metas)]
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            part = batch.slice(start, end - start)
            if open_parts and open_parts[0].column("meta")[0] != part.column("meta")[0]:
                yield _group(open_parts)
                open_parts = []
            open_parts.append(part)
    if open_parts:
        yield _group(open_parts)


def _group(parts: list[pa.RecordBatch]) -> Group:
    def joined(name: str) -> Ints:
        return np.concatenate([part.column(name).to_numpy(zero_copy_only=False) for part in parts])

    lengths = np.concatenate([part.column("later").value_lengths().to_numpy() for part in parts])
    later = np.concatenate([part.column("later").flatten().to_numpy() for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    first = int(parts[0].column("meta")[0].as_py())
    return Group((first,), joined("pair"), joined("is_hire"), joined("weight"), offsets, later)


@dataclass
class _Found:
    """Combinations to hand over: parts of as many rows each, but for the pairs, which lie one after the other."""

    items: list[pa.Array] = field(default_factory=list)
    counts: list[Floats] = field(default_factory=list)
    lengths: list[Ints] = field(default_factory=list)
    pairs: list[Ints] = field(default_factory=list)
    n_held: int = 0

    def add(self, items: Ints, counts: Floats, lengths: Ints, pairs: Ints) -> None:
        """`items` (n, arity), `counts` (n, 4) as `_counts` gives them, `lengths` (n,): pairs of each."""
        offsets = np.arange(len(items) + 1, dtype=np.int32) * items.shape[1]
        self.items.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(items.astype(np.int32).ravel())))
        self.counts.append(counts)
        self.lengths.append(lengths)
        self.pairs.append(pairs)
        self.n_held += len(pairs) + items.size

    def batch(self) -> pa.RecordBatch:
        n_pairs, n_rows, n_hires, n_no_hires = np.concatenate(self.counts).T
        ends = np.concatenate([[0], np.cumsum(np.concatenate(self.lengths))]).astype(np.int32)
        columns = [
            pa.concat_arrays(self.items),
            pa.array(n_pairs.astype(np.int64)),
            pa.array(n_rows.astype(np.int64)),
            pa.array(n_hires),
            pa.array(n_no_hires),
            pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(self.pairs))),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=GROWN)


def _grow(group: Group, min_support: int, max_arity: int, found: _Found) -> None:
    """Add every frequent combination that starts with the group's own."""
    if group.is_hire.sum() < min_support or not len(group.metas):
        return
    metas, numbers = np.unique(group.metas, return_inverse=True)
    counts = _counts(group.offsets, numbers, group.is_hire, group.weight, len(metas))
    # sums of fractions change with the order of the pairs
    counts[:, 2:] = counts[:, 2:].round(6)
    is_frequent = counts[:, 1] >= min_support
    chosen = np.flatnonzero(is_frequent)
    if not len(chosen):
        return
    place = np.where(is_frequent, np.cumsum(is_frequent) - 1, -1)
    counts = counts[chosen]
    lengths = counts[:, 0].astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows, at = _carrying(group.offsets, numbers, place, starts)
    items = np.column_stack([np.tile(group.items, (len(chosen), 1)), metas[chosen]])
    is_hired = counts[:, 3] <= counts[:, 2]
    found.add(items, counts, lengths * is_hired, group.pair[rows[np.repeat(is_hired, lengths)]])
    if items.shape[1] == max_arity:
        return
    for number, combination in enumerate(items.tolist()):
        part = slice(starts[number], starts[number + 1])
        longer = _conditional(group, tuple(combination), rows[part], at[part], is_frequent[numbers])
        _grow(longer, min_support, max_arity, found)


def _conditional(group: Group, items: tuple[int, ...], rows: Ints, at: Ints, is_frequent: NDArray[np.bool_]) -> Group:
    """The group of a longer combination: its `rows` in `group`, each with the frequent ones of those after `at`."""
    lengths = group.offsets[rows + 1] - at - 1
    row = np.repeat(np.arange(len(rows)), lengths)
    later = np.arange(len(row)) + np.repeat(at + 1 - np.cumsum(lengths) + lengths, lengths)
    kept = is_frequent[later]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(rows)))])
    return Group(items, group.pair[rows], group.is_hire[rows], group.weight[rows], offsets, group.metas[later[kept]])


@njit(cache=True)
def _counts(offsets, metas, is_hire, weight, n):  # type: ignore[no-untyped-def]
    """(n, 4), of each meta link: the pairs that have it, the hires among them, weight of the hires, of the others."""
    counts = np.zeros((n, 4))
    for row in range(len(is_hire)):
        for at in range(offsets[row], offsets[row + 1]):
            found = counts[metas[at]]
            found[0] += 1
            if is_hire[row]:
                found[1] += 1
                found[2] += weight[row]
            else:
                found[3] += weight[row]
    return counts


@njit(cache=True)
def _carrying(offsets, metas, place, starts):  # type: ignore[no-untyped-def]
    """The rows that have each meta link with a place, from `starts` of its place on, and where they have it."""
    ends = starts.copy()
    rows = np.empty(starts[-1], np.int64)
    found_at = np.empty(starts[-1], np.int64)
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1]):
            chosen = place[metas[at]]
            if chosen >= 0:
                rows[ends[chosen]] = row
                found_at[ends[chosen]] = at
                ends[chosen] += 1
    return rows, found_at
