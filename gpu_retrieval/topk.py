"""Keeping the k best, and merging what shards kept.

A result is one uint64: the upper half is the rounded float32 score turned so that better is smaller, the
lower half the rank of the job's id among the index's ids. Ascending keys are therefore descending scores with
ties by ascending id, whatever selects or sorts them: ordering by the float32 score that is returned is part
of the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.checks import check_int

# Greater than the key of any score (its upper half would be a NaN).
NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)
DECODED_CELLS = 1 << 12
MERGED_CELLS = 1 << 20


@dataclass(frozen=True, eq=False)
class Hits:
    """`ids` (q, k) int64, -1 where fewer than k match; `scores` (q, k) float32, -inf there; `n_matches` (q,).

    Each row is sorted by descending score, ties by ascending id.
    """

    ids: np.ndarray
    scores: np.ndarray
    n_matches: np.ndarray

    @classmethod
    def none(cls, n_queries: int, k: int) -> Hits:
        """Rows without a hit."""
        ids = np.full((n_queries, k), -1, dtype=np.int64)
        scores = np.full((n_queries, k), -np.inf, dtype=np.float32)
        return cls(ids, scores, np.zeros(n_queries, dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Hits]) -> Hits:
        """The rows of one after those of another; each has the same k."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def unwritten(cls, n_queries: int, k: int) -> Hits:
        """Rows for someone else to write, whole."""
        ids, scores = np.empty((n_queries, k), dtype=np.int64), np.empty((n_queries, k), dtype=np.float32)
        return cls(ids, scores, np.empty(n_queries, dtype=np.int64))


def score_keys(xp: Any, bits: Array, id_ranks: Array) -> Array:
    """uint64 keys from the bits of float32 scores (no NaN, no -0.0) and uint32 id ranks."""
    ascending = xp.where(bits >> 31 != 0, ~bits, bits | 0x80000000)
    keys = (~ascending).astype(xp.uint64) << 32
    keys |= id_ranks
    return keys


def key_scores(keys: np.ndarray) -> np.ndarray:
    """float32 scores of the keys; -inf for NO_KEY."""
    ascending = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ascending >> 31 != 0, ascending & 0x7FFFFFFF, ~ascending)
    return np.where(keys == NO_KEY, np.float32(-np.inf), bits.view(np.float32))


class TopK:
    """The k smallest keys of each of a tile's queries, fed in batches of (query, key) pairs."""

    def __init__(self, backend: Backend, n_queries: int, k: int, scratch: int, best: Array | None = None) -> None:
        """`best` (n_queries, k) uint64 holds the keys so far and is written in place; none yet unless given."""
        self.backend, self.xp, self.k = backend, backend.xp, k
        self.best = self.xp.full((n_queries, k), NO_KEY, dtype=self.xp.uint64) if best is None else best
        self.block_cells = scratch // 2 // 8
        # A pair waits as an int64 and a uint64, and is sorted through as much again.
        self.max_pairs = max(1, scratch // 2 // 64)
        self._pairs: list[tuple[Array, Array]] = []
        self._n_pairs = 0

    def push(self, queries: Array, keys: Array) -> None:
        """Takes in keys of these rows of the tile; no more than `max_pairs` at a time."""
        better = keys < self.best[:, self.k - 1][queries]
        queries, keys = queries[better], keys[better]
        if len(keys) == 0:
            return
        if self._n_pairs + len(keys) > self.max_pairs:
            self.flush()
        self._pairs.append((queries, keys))
        self._n_pairs += len(keys)

    def settle(self) -> None:
        """Merges what waits once there is enough of it to sharpen the k-th score."""
        if self._n_pairs >= min(self.max_pairs, self.best.size):
            self.flush()

    def kth_keys(self) -> Array:
        """(queries,) uint64: the k-th key so far, NO_KEY where there are fewer."""
        return self.best[:, self.k - 1]

    def flush(self) -> None:
        """Merges the pairs that wait into the best."""
        if not self._pairs:
            return
        queries = self.xp.concatenate([queries for queries, _ in self._pairs])
        keys = self.xp.concatenate([keys for _, keys in self._pairs])
        self._pairs, self._n_pairs = [], 0
        counts = self.backend.get(self.xp.bincount(queries, minlength=len(self.best)))
        keys = keys[self.xp.argsort(queries, kind="stable")]
        starts = np.cumsum(counts) - counts
        some = np.flatnonzero(counts)
        most = int(counts.max())
        width = max(min(most, self.block_cells - self.k), min(most, 1024))
        step = max(1, self.block_cells // (self.k + width))
        for at in range(0, len(some), step):
            rows = some[at : at + step]
            for done in range(0, int(counts[rows].max()), width):
                left = rows[counts[rows] > done]
                self._merge(left, keys, starts[left] + done, np.minimum(counts[left] - done, width), width)

    def _merge(self, rows: np.ndarray, keys: Array, starts: np.ndarray, counts: np.ndarray, width: int) -> None:
        """Takes `keys[starts:starts + counts]` into each of these rows."""
        xp, stride = self.xp, self.k + width
        block = xp.full((len(rows), stride), NO_KEY, dtype=xp.uint64)
        # Neighbouring rows are a view; with a k of thousands a copy of one row would burst a small budget.
        neighbours = int(rows[-1]) - int(rows[0]) + 1 == len(rows)
        best = slice(int(rows[0]), int(rows[-1]) + 1) if neighbours else self.backend.put(rows)
        block[:, : self.k] = self.best[best]
        before = np.cumsum(counts) - counts
        running = xp.arange(int(counts.sum()))
        source = self.backend.repeat(starts - before, counts) + running
        target = self.backend.repeat(np.arange(len(rows)) * stride + self.k - before, counts) + running
        block.reshape(-1)[target] = keys[source]
        self.backend.smallest_first(block, self.k)
        self.best[best] = block[:, : self.k]

    def write(self, hits: Hits, rows: np.ndarray, sorted_ids: np.ndarray) -> None:
        """Sorts and decodes the best into these rows of the hits."""
        self.flush()
        self.best.sort(axis=1)
        width = min(self.k, DECODED_CELLS)
        step = DECODED_CELLS // width
        for start in range(0, len(rows), step):
            into = rows[start : start + step]
            for first in range(0, self.k, width):
                places = slice(first, min(first + width, self.k))
                keys = self.backend.get(self.best[start : start + step, places])
                hits.scores[into, places] = key_scores(keys)
                hits.ids[into, places] = _key_ids(keys, sorted_ids)


def _key_ids(keys: np.ndarray, sorted_ids: np.ndarray) -> np.ndarray:
    """int64 ids of the keys; -1 for NO_KEY."""
    found = keys != NO_KEY
    id_ranks = np.where(found, keys & np.uint64(0xFFFFFFFF), np.uint64(0)).astype(np.int64)
    return np.where(found, sorted_ids[id_ranks], -1)


def merge_hits(parts: Sequence[Hits], k: int) -> Hits:
    """The k best of the same queries searched in shards whose jobs are disjoint; `n_matches` are summed.

    Exact: each shard must have been asked for at least k, or have returned all that matched there.
    """
    k = check_int("k", k, minimum=1)
    if not parts:
        raise ValueError("merge_hits: expected the hits of at least one shard, got none")
    n_queries = len(parts[0].ids)
    for number, part in enumerate(parts):
        if len(part.ids) != n_queries:
            raise ValueError(f"merge_hits: expected {n_queries:,} queries in shard {number}, got {len(part.ids):,}")
        if part.ids.shape[1] < k and (part.n_matches > part.ids.shape[1]).any():
            raise ValueError(f"merge_hits: expected at least k = {k:,} of shard {number}, got {part.ids.shape[1]:,}")
    merged = Hits.none(n_queries, k)
    step = max(1, MERGED_CELLS // max(1, sum(part.ids.shape[1] for part in parts)))
    for start in range(0, n_queries, step):
        rows = slice(start, start + step)
        ids = np.concatenate([part.ids[rows] for part in parts], axis=1)
        scores = np.concatenate([part.scores[rows] for part in parts], axis=1)
        order = np.lexsort((ids, -scores, ids < 0), axis=1)[:, :k]
        merged.ids[rows, : order.shape[1]] = np.take_along_axis(ids, order, axis=1)
        merged.scores[rows, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
        merged.n_matches[rows] = np.sum([part.n_matches[rows] for part in parts], axis=0)
    return merged
