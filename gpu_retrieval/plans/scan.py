"""Every job against every query by arrays, with a mask: on a GPU, and where there are no compiled loops.

Cut into tiles of queries × jobs. In a tile the clauses become a mask, one matrix product gives float32
scores, and `score_error` bounds how far those are from the final ones: only jobs that may still reach the k
best are scored again. That second score decides everything that is returned. It is summed in float64 from the
float32 originals, in a fixed order of single additions (a product of two float32 is exact in float64, so that
a fused multiply-add cannot change it), and rounded once: the same bits under any tile, batch, storage and
device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpu_retrieval.backend import Array, Backend
from gpu_retrieval.clauses import take
from gpu_retrieval.cuda.placement import parts_of
from gpu_retrieval.filters.masks import matching, prepare
from gpu_retrieval.plans.tiles import Tiling, tile
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.stored.quantize import SAFE_SCORE, decode, floor_float32, score_error
from gpu_retrieval.stored.segments import DeviceSegment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits, TopK, key_scores, score_keys

# With no more than this share of a tile passing, scoring those pairs straight away costs less than the
# product and the selection over the whole tile.
DIRECT_SHARE = 0.004
# Jobs beyond 5/4 of k that may be scored again in a tile before the k-th score there is looked for.
SLACK = 32


def scan_tiles(task: SearchTask) -> Hits:
    """The task's hits by full scan."""
    hits = Hits.none(len(task.queries), task.k)
    if task.n_alive == 0 or len(task.queries) == 0:
        return hits
    tiling = tile(task)
    k = min(task.k, task.n_alive)
    asks = task.queries.any(axis=1)
    # Rows of zeros rank by prior alone: their keys need no product and no second score.
    for rows, score in ((np.flatnonzero(asks), score_by_product), (np.flatnonzero(~asks), _score_by_prior)):
        for start in range(0, len(rows), tiling.n_queries):
            tile_rows = rows[start : start + tiling.n_queries]
            top = TopK(task.backend, len(tile_rows), k, tiling.topk_bytes)
            queries = TileQueries.of(task.backend, task.queries[tile_rows])
            for stretch in stretches(task, tile_rows, tiling):
                hits.n_matches[tile_rows] += stretch.n_matches
                if stretch.n_matches.any():
                    score(queries, stretch, top, tiling)
                    top.settle()
            top.write(hits, tile_rows, task.order.sorted_ids)
    return hits


@dataclass(frozen=True, eq=False)
class TileQueries:
    """(queries, d) float32 on the device and (queries,) float64 lengths on the host, rounded up."""

    rows: Array
    norms: np.ndarray

    @classmethod
    def of(cls, backend: Backend, rows: np.ndarray) -> TileQueries:
        wide = rows.astype(np.float64)
        return cls(backend.put(rows), np.sqrt(np.einsum("ij,ij->i", wide, wide)) * (1 + 1e-9))


@dataclass(frozen=True, eq=False)
class Stretch:
    """Jobs [start, stop) of a segment against a tile's queries.

    `mask` (queries, jobs) bool says which are eligible, None where all are; `n_matches` (queries,) int64
    counts them. `prior` (jobs,) float32 or None and `id_ranks` (jobs,) uint32 lie on the device;
    `largest_prior` is a bound.
    """

    segment: DeviceSegment
    start: int
    stop: int
    mask: Array | None
    n_matches: np.ndarray
    prior: Array | None
    largest_prior: float
    id_ranks: Array

    @property
    def n_cells(self) -> int:
        return len(self.n_matches) * (self.stop - self.start)


def stretches(task: SearchTask, rows: np.ndarray, tiling: Tiling) -> Iterator[Stretch]:
    """Every stretch of jobs in order, with what passes `where`, is alive and is not excluded."""
    backend = task.backend
    where = None if task.where is None else take(task.where, rows)
    shut_out = None if task.exclude is None else _excluded(task.exclude.take(rows), task)
    base = 0
    for segment in parts_of(task):
        part = prepare(where, len(rows), segment, tiling.posting_bytes)
        for start in range(0, len(segment), tiling.n_jobs):
            stop = min(start + tiling.n_jobs, len(segment))
            every = slice(base + start, base + stop)
            mask = matching(part, segment, start, stop)
            mask = _without_dead(mask, task, every, len(rows))
            mask = _without_excluded(mask, shut_out, every, len(rows), backend)
            yield Stretch(
                segment=segment,
                start=start,
                stop=stop,
                mask=mask,
                n_matches=np.full(len(rows), stop - start) if mask is None else backend.row_counts(mask),
                prior=None if task.device_prior is None else task.device_prior[every],
                largest_prior=0.0 if task.prior is None else float(np.abs(task.prior[every]).max()),
                id_ranks=task.device_ranks[every],
            )
        base += len(segment)


def _without_dead(mask: Array | None, task: SearchTask, every: slice, n_queries: int) -> Array | None:
    alive = task.device_alive
    if alive is None or task.alive is None or task.alive[every].all():
        return mask
    if mask is None:
        mask = task.backend.xp.ones((n_queries, every.stop - every.start), dtype=bool)
    mask &= alive[every][None, :]
    return mask


def _excluded(exclude: Ragged, task: SearchTask) -> tuple[np.ndarray, np.ndarray]:
    """Queries and rows to shut out, by ascending row. Ids that the index lacks are left aside."""
    at, rows = task.order.find(exclude.values)
    by_row = np.argsort(rows, kind="stable")
    return exclude.row_numbers()[at][by_row], rows[by_row]


def _without_excluded(
    mask: Array | None,
    shut_out: tuple[np.ndarray, np.ndarray] | None,
    every: slice,
    n_queries: int,
    backend: Backend,
) -> Array | None:
    if shut_out is None:
        return mask
    queries, rows = shut_out
    first, last = np.searchsorted(rows, [every.start, every.stop])
    if first == last:
        return mask
    n_jobs = every.stop - every.start
    if mask is None:
        mask = backend.xp.ones((n_queries, n_jobs), dtype=bool)
    places = queries[first:last] * n_jobs + rows[first:last] - every.start
    mask.reshape(-1)[backend.put(places)] = False
    return mask


def score_by_product(queries: TileQueries, stretch: Stretch, top: TopK, tiling: Tiling) -> None:
    """Feeds `top` every job of the stretch that can still reach a query's k best."""
    lengths = float(stretch.segment.host.codes.norms[stretch.start : stretch.stop].max())
    residual = float(stretch.segment.host.codes.residuals[stretch.start : stretch.stop].max())
    largest = queries.norms.max() * (lengths + residual) + stretch.largest_prior
    if stretch.n_matches.sum() <= DIRECT_SHARE * stretch.n_cells or not largest < SAFE_SCORE:
        kept = stretch.mask
    else:
        error = score_error(
            queries.norms,
            lengths,
            residual,
            stretch.largest_prior,
            queries.rows.shape[1],
            top.backend.product_rounding(),
        )
        kept = _within_reach(queries, stretch, top, error)
    for pairs_queries, pairs_jobs in _pairs(kept, stretch, top.backend, min(tiling.n_pairs, top.max_pairs)):
        bits = final_score_bits(top.backend, queries.rows, pairs_queries, stretch, pairs_jobs)
        top.push(pairs_queries, score_keys(top.xp, bits, stretch.id_ranks[pairs_jobs]))


def _within_reach(queries: TileQueries, stretch: Stretch, top: TopK, error: np.ndarray) -> Array:
    """(queries, jobs) bool: eligible jobs whose final score may reach the k-th, whatever the scan's error."""
    xp, backend = top.xp, top.backend
    codes = stretch.segment
    part = slice(stretch.start, stretch.stop)
    scores = queries.rows @ decode(xp, codes.scanned[part], codes.scale[part]).T
    if stretch.prior is not None:
        scores += stretch.prior[None, :]
    # The k-th so far is final, the scanned score is not: it errs once.
    kth = key_scores(backend.get(top.kth_keys())).astype(np.float64)
    kept = scores >= backend.put(floor_float32(kth - error))[:, None]
    if stretch.mask is not None:
        kept &= stretch.mask
    crowded = np.flatnonzero(backend.row_counts(kept) > top.k + top.k // 4 + SLACK)
    # A sort takes several times what it sorts: some rows at a time.
    step = max(1, len(scores) // 8)
    for at in range(0, len(crowded), step):
        rows = backend.put(crowded[at : at + step])
        negated = xp.where(kept[rows], -scores[rows], xp.float32(np.inf))
        backend.smallest_first(negated, top.k)
        kth_here = -backend.get(negated[:, top.k - 1]).astype(np.float64)
        # Both that k-th and the score compared with it err.
        limits = floor_float32(kth_here - 2 * error[crowded[at : at + step]])
        kept[rows] &= scores[rows] >= backend.put(limits)[:, None]
    return kept


def _score_by_prior(queries: TileQueries, stretch: Stretch, top: TopK, tiling: Tiling) -> None:
    """Feeds `top` the eligible jobs of the stretch at their prior, which is their final score."""
    xp = top.xp
    n_jobs = stretch.stop - stretch.start
    if stretch.prior is None:
        bits = xp.zeros(n_jobs, dtype=xp.uint32)
    else:
        bits = top.backend.float32_bits(top.backend.widen(stretch.prior))
    keys = score_keys(xp, bits, stretch.id_ranks)
    kept = keys[None, :] < top.kth_keys()[:, None]
    if stretch.mask is not None:
        kept &= stretch.mask
    for pairs_queries, pairs_jobs in _pairs(kept, stretch, top.backend, top.max_pairs):
        top.push(pairs_queries, keys[pairs_jobs])


def _pairs(kept: Array | None, stretch: Stretch, backend: Backend, most: int) -> Iterator[tuple[Array, Array]]:
    """Tile rows and stretch columns of the cells that are kept, at most so many at a time."""
    xp = backend.xp
    n_jobs = stretch.stop - stretch.start
    cells = None if kept is None else xp.flatnonzero(kept)
    n_cells = stretch.n_cells if cells is None else len(cells)
    for start in range(0, n_cells, most):
        stop = min(start + most, n_cells)
        part = xp.arange(start, stop) if cells is None else cells[start:stop]
        yield part // n_jobs, part % n_jobs


def final_score_bits(
    backend: Backend, queries: Array, pairs_queries: Array, stretch: Stretch, pairs_jobs: Array
) -> Array:
    """(pairs,) uint32: the bits of the float32 scores that are returned.

    Halves are added to halves, d rows of one number a pair, so that neither the number of pairs nor the
    device has a say in the order of the sum. float64 leaves the sum within d·2⁻⁵³ of Σ|q_i·v_i|.
    """
    xp = backend.xp
    products = backend.widen(xp.ascontiguousarray(queries[pairs_queries].T))
    products *= backend.widen(xp.ascontiguousarray(stretch.segment.originals(stretch.start + pairs_jobs).T))
    left = len(products)
    while left > 1:
        half = left // 2
        products[:half] += products[left - half : left]
        left -= half
    scores = products[0]
    if stretch.prior is not None:
        scores = scores + backend.widen(stretch.prior)[pairs_jobs]
    return backend.float32_bits(scores)
