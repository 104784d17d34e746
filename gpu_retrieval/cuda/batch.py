"""One batch of queries on its way through the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpu_retrieval.cuda.draws import Draws, runs
from gpu_retrieval.cuda.lanes import Block, Lane, room
from gpu_retrieval.cuda.launch import MOST_BLOCKS, THREADS, Kernels
from gpu_retrieval.cuda.resident import STEP, padded
from gpu_retrieval.stored.quantize import Encoded
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Queries a batch, places that one may find and keys it may keep before their order, bytes of a round."""

    batch: int
    found: int
    keys: int
    round_bytes: int


@dataclass(frozen=True)
class State:
    """What a batch goes on from: addresses of `best` (queries, k) keys, `n_matches` and `failed` (queries,)."""

    best: np.uint64
    n_matches: np.uint64
    failed: np.uint64

    @staticmethod
    def n_bytes(n: int, k: int) -> int:
        return room(8 * n * k, 4 * n, n)

    @classmethod
    def new(cls, lane: Lane, block: Block, n: int, k: int) -> State:
        """Of so many bytes of the block: no keys, no matches."""
        state = cls(block.take(np.uint64, n * k), block.take(np.uint32, n), block.take(np.uint8, n))
        # A key of ones is NO_KEY.
        lane.fill(state.best, 0xFF, 8 * n * k)
        lane.fill(state.n_matches, 0, int(state.failed - state.n_matches) + n)
        return state


class Batch:
    """The queries [start, stop) of the draws' order on a lane, which is theirs until they are written.

    Whoever makes it searches shards (`part`), then asks for results; the host does not wait meanwhile.
    """

    def __init__(
        self,
        task: SearchTask,
        sizes: Sizes,
        draws: Draws,
        start: int,
        stop: int,
        kernels: Kernels,
        lane: Lane,
        state: State | None = None,
    ) -> None:
        self.task, self.sizes, self.draws, self.lane = task, sizes, draws, lane
        self.kernels, self.launch, self.k = kernels, kernels.launch, min(task.k, task.n_alive)
        self.rows, self.n = draws.order[start:stop], stop - start
        # The round after the first of all finds keys to keep.
        self.begun = state is not None
        self.is_full = start < draws.n_full
        if self.is_full:
            self.n_drawing = np.array([self.n])
        else:
            self.drawing, self.n_drawing = runs(draws.draw[start:stop])
        lane.begin()
        self._take_scratch(state)
        self._put_queries()

    def _take_scratch(self, state: State | None) -> None:
        n, found, keys, block = self.n, self.sizes.found, self.sizes.keys, self.lane.state
        kept = State.n_bytes(n, self.k) if state is None else 0
        block.begin(kept + room(4 * n * found, 4 * n * found, 8 * n * keys, 4 * n))
        self.state = state or State.new(self.lane, block, n, self.k)
        self.found_rows, self.found_scores = block.take(np.int32, n * found), block.take(np.float32, n * found)
        self.keys, self.limits = block.take(np.uint64, n * keys), block.take(np.float32, n)
        self.n_keys = self.lane.add(np.zeros(n, dtype=np.uint32))

    def _put_queries(self) -> None:
        add, queries = self.lane.add, self.task.queries[self.rows]
        self.d, self.n_steps = queries.shape[1], np.int32(-(-queries.shape[1] // STEP))
        self.encoded = encoded = Encoded.of(queries)
        self.queries = add(queries)
        self.wide = self.queries if self.d % STEP == 0 else add(padded(queries))
        self.factors, self.scale = add(padded(encoded.halves).view(np.uint32)), add(encoded.scale)

    def keep_best(self) -> None:
        """Makes room for another round: of the keys so far, the k best stay."""
        if self.begun:
            grid = (min(MOST_BLOCKS, -(-self.n * self.k // THREADS)),)
            given = self.state.best, np.int32(self.n), np.int32(self.k), np.int64(self.sizes.keys)
            self.launch("keep_keys", grid, *given, self.n_keys, self.keys)
        self.begun = True

    def finish(self) -> None:
        """Asks for the results."""
        with self.lane.stream:
            self._decode(self.n * self.k)

    def _decode(self, n_cells: int) -> None:
        results = self.lane.results
        results.begin(room(8 * n_cells, 4 * n_cells))
        ids, scores = results.take(np.int64, n_cells), results.take(np.uint32, n_cells)
        sorted_ids, _ = self.task.order.on(self.task.backend)
        grid = (min(MOST_BLOCKS, -(-n_cells // THREADS)),)
        self.launch("decode_keys", grid, self.state.best, np.int64(n_cells), sorted_ids, ids, scores)
        # Two copies: what is divided off one block lies together.
        of_state = int(self.state.failed - self.state.n_matches) + self.n
        self._results = self.lane.fetch((ids, int(scores - ids) + 4 * n_cells), (self.state.n_matches, of_state))

    def write(self, hits: Hits) -> np.ndarray:
        """Waits for the device and writes to the hits; returns the queries that are not finished."""
        self.lane.stream.synchronize()
        found, of_state = self._results
        n_cells, shape = self.n * self.k, (self.n, self.k)
        hits.ids[self.rows, : self.k] = found[: 8 * n_cells].view(np.int64).reshape(shape)
        hits.scores[self.rows, : self.k] = found[-4 * n_cells :].view(np.float32).reshape(shape)
        hits.n_matches[self.rows] = of_state[: 4 * self.n].view(np.uint32)
        return self.rows[of_state[-self.n :] != 0]
