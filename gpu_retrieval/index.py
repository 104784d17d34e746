"""Terms and vectors of jobs, searched exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gpu_retrieval import explain as explaining
from gpu_retrieval.backend import Backend, choose_backends
from gpu_retrieval.checks import check_array, check_finite, check_int, check_str
from gpu_retrieval.clauses import Clause, check_where
from gpu_retrieval.errors import FingerprintMismatch
from gpu_retrieval.plans import dealing
from gpu_retrieval.plans.choice import PLANS, choose_plan, plans_on
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.stored import storage as files
from gpu_retrieval.stored.building import check_alike, new_segment
from gpu_retrieval.stored.quantize import STORAGES
from gpu_retrieval.stored.rows import Rows
from gpu_retrieval.stored.segments import DeviceSegment, Segment
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

LEAST_BUDGET, MEMORY_BUDGET = 1 << 20, 2 << 30
# `explain` is asked without a k; the plan hardly depends on it.
EXPLAINED_K = 100


class TermKnnIndex:
    """The k best jobs of each query by inner product, among those that pass the query's own filters. Exact.

    Made by `build` or `load`, never directly. Searches may run at the same time; a change may not run beside
    one.
    """

    def __init__(
        self,
        segments: list[Segment],
        alive: list[np.ndarray],
        fingerprint: str,
        backends: list[Backend],
        device_memory: int | None,
    ) -> None:
        self._backend, self._backends = backends[0], backends
        self._rows = Rows(segments, alive, self._backend)
        self._device_memory = device_memory
        self.fingerprint = fingerprint

    @classmethod
    def build(
        cls,
        ids: np.ndarray,
        vectors: np.ndarray,
        terms: Mapping[str, Ragged] | None = None,
        numbers: Mapping[str, np.ndarray] | None = None,
        *,
        storage: str = "float32",
        fingerprint: str = "",
        device: str = "auto",
        device_memory: int | None = None,
    ) -> TermKnnIndex:
        """An index over n jobs.

        `ids` (n,) int64, unique, 0 or more, in any order. `vectors` (n, d) float32, finite, C-contiguous;
        they are kept or, where the index orders its rows by terms, copied: leave them as they are while the index
        lives. `terms` a Ragged of n rows
        of int32 a field, terms 0 or more. `numbers` (n,) float64 (NaN is missing) or int64 (never missing) a
        number. `storage` is what is scanned ("float32", "float16", "int8"): it changes speed and memory,
        never the answer. `fingerprint` names the model that made the vectors. `device` is "auto", "cpu" or
        "cuda:N", or several GPUs as "cuda:0,cuda:1", which share the rows. `device_memory` is bytes of each GPU's that
        the index may take, beside a search's `memory_budget`; None for what is free there. A larger index streams
        through it in tiles, to the same answer.
        """
        backends, device_memory = choose_backends(device), _check_memory(device_memory)
        if storage not in STORAGES:
            raise ValueError(f"storage: expected one of {list(STORAGES)}, got {storage!r}")
        segment = new_segment(ids, vectors, terms or {}, numbers or {}, storage)
        alive = np.ones(len(segment), dtype=bool)
        return cls([segment], [alive], check_str("fingerprint", fingerprint), backends, device_memory)

    def __len__(self) -> int:
        """Jobs that can be found."""
        return self._rows.n_open

    def __repr__(self) -> str:
        return (
            f"TermKnnIndex({len(self):,} jobs, d={self.d}, fields={self.fields}, numbers={self.numbers}, "
            f"storage={self.storage!r}, fingerprint={self.fingerprint!r}, device={self.device!r})"
        )

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64 in the order in which the jobs were built and added: the order of `prior`."""
        return self._rows.ids_as_given()

    @property
    def d(self) -> int:
        """Components of a vector."""
        return self._first.vectors.shape[1]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the term fields."""
        return tuple(self._first.terms)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return tuple(self._first.numbers)

    @property
    def storage(self) -> str:
        """What is scanned."""
        return self._first.storage

    @property
    def device(self) -> str:
        """Where searches run: "cpu", "cuda:N" or several of these between commas."""
        return ",".join(backend.device for backend in self._backends)

    @property
    def plans(self) -> tuple[str, ...]:
        """What `plan` may be, beside "auto"."""
        return plans_on(self._backend)

    @property
    def _segments(self) -> list[DeviceSegment]:
        return self._rows.segments

    @property
    def _first(self) -> Segment:
        return self._rows.segments[0].host

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Clause | None = None,
        exclude: Ragged | None = None,
        prior: np.ndarray | None = None,
        fingerprint: str = "",
        memory_budget: int = MEMORY_BUDGET,
        plan: str = "auto",
    ) -> Hits:
        """The k best jobs of each query that pass `where` and are not in `exclude`.

        `queries` (q, d) float32; a row of zeros ranks by `prior` alone, which is (n,) float32 in the order of
        `ids` and is added to every score. `exclude` has q rows of int64 ids; ids that the index lacks are
        fine. `fingerprint` must be the index's own. `memory_budget` is bytes of scratch (host or device,
        outputs aside), 1 MiB or more. The answer depends on neither budget nor plan: scores are summed in
        float64 from the float32 originals, rounded once to float32, and ordered as returned, ties by
        ascending id.
        """
        task = self._task(queries, k, where, exclude, prior, memory_budget)
        self._check_fingerprint(fingerprint)
        if len(self._backends) > 1:
            return dealing.search(task, plan, self._backends)
        name, _ = choose_plan(plan, task)
        with self._backend.active():
            return PLANS[name](task)

    def explain(self, where: Clause | None = None) -> str:
        """The plan that a search with this filter takes and why, and what each clause touches, in words."""
        n_queries = 0 if where is None else explaining.n_queries(where)
        task = self._task(np.zeros((n_queries, self.d), np.float32), EXPLAINED_K, where, None, None, MEMORY_BUDGET)
        words = explaining.explain(task)
        if not self._backend.on_gpu:
            return words
        return "\n".join([words, *dealing.describe(self._rows, self._backends, self._device_memory)])

    def why_not(
        self,
        query: np.ndarray,
        where: Clause | None,
        id: int,
        exclude: Ragged | None = None,
        prior: np.ndarray | None = None,
    ) -> explaining.WhyNot:
        """Which clause dropped the job for this one query, or at which rank it stands.

        `query` is (d,) or (1, d) float32; `where` and `exclude` have one row. Reads every job once.
        """
        if isinstance(query, np.ndarray) and query.ndim == 1:
            query = query[None, :]
        query = check_array("query", query, "float32", (1, self.d))
        task = self._task(query, 1, where, exclude, prior, 64 << 20)
        with self._backend.active():
            return explaining.why_not(task, check_int("id", id, minimum=0))

    def add(
        self,
        ids: np.ndarray,
        vectors: np.ndarray,
        terms: Mapping[str, Ragged] | None = None,
        numbers: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Adds jobs, in place. Fields, numbers, dtypes and checks are those of `build`; an id must be new.

        Costs the new jobs' own indexing, and a sort of all ids at the next search. Neighbours of like size
        are joined, so that a job is copied about log2(n) times in all however many additions there are.
        """
        added = new_segment(ids, vectors, terms or {}, numbers or {}, self.storage)
        check_alike(added, self._first)
        known = self._rows.find(added.ids)
        if (known >= 0).any():
            raise ValueError(f"ids: expected new ids, {added.ids[np.argmax(known >= 0)]} is in the index")
        self._rows.append(added)

    def remove(self, ids: np.ndarray) -> None:
        """Closes jobs, in place. Every id must be in the index.

        Costs a look-up an id; the rows are dropped for good once half of their segment is closed.
        """
        ids = check_array("ids", ids, "int64", (None,))
        rows = self._rows.find(ids)
        if (rows < 0).any():
            raise ValueError(f"ids: expected ids of the index, {ids[np.argmax(rows < 0)]} is not in it")
        self._rows.close(rows)

    def save(self, folder: str | Path) -> None:
        """Writes the index to a folder: plain .npy files and a manifest with their sizes and SHA-256.

        The manifest is replaced last, in one step: until then, and after a failure, the folder holds what it
        held. IndexNotSaved where the disk is full.
        """
        files.save(Path(folder), self._rows.hosts, self._rows.alive, self.fingerprint)

    @classmethod
    def load(
        cls, folder: str | Path, device: str = "auto", *, verify: bool = True, device_memory: int | None = None
    ) -> TermKnnIndex:
        """The index that was saved there, memory-mapped. `device` and `device_memory` as in `build`.

        IndexFileError where a file is missing or not as it was written. Sizes are always checked, checksums
        unless `verify=False` (they were checked when the copy was made, say).
        """
        backends, device_memory = choose_backends(device), _check_memory(device_memory)
        segments, alive, fingerprint = files.load(Path(folder), verify=verify)
        return cls(segments, alive, fingerprint, backends, device_memory)

    def _task(
        self,
        queries: np.ndarray,
        k: int,
        where: Clause | None,
        exclude: Ragged | None,
        prior: np.ndarray | None,
        memory_budget: int,
    ) -> SearchTask:
        queries = check_array("queries", queries, "float32", (None, self.d))
        check_finite("queries", queries)
        if where is not None:
            check_where(where, len(queries), self.fields, self.numbers)
        if exclude is not None:
            _check_exclude(exclude, len(queries))
        if prior is not None:
            prior = check_array("prior", prior, "float32", (len(self),))
            check_finite("prior", prior)
        return SearchTask(
            backend=self._backend,
            segments=self._segments,
            order=self._rows.by_id,
            alive=None if len(self) == len(self._rows) else self._rows.is_open,
            n_alive=len(self),
            prior=None if prior is None else self._over_all_rows(prior),
            queries=queries,
            k=check_int("k", k, minimum=1),
            where=where,
            exclude=exclude,
            memory_budget=check_int("memory_budget", memory_budget, minimum=LEAST_BUDGET),
            device_memory=self._device_memory,
        )

    def _over_all_rows(self, prior: np.ndarray) -> np.ndarray:
        """The prior by rows, closed ones at 0."""
        by_row = np.zeros(len(self._rows), dtype=np.float32)
        by_row[self._rows.as_given()] = prior
        return by_row

    def _check_fingerprint(self, fingerprint: str) -> None:
        if check_str("fingerprint", fingerprint) != self.fingerprint:
            raise FingerprintMismatch(f"fingerprint: expected {self.fingerprint!r} (the index's), got {fingerprint!r}")


def _check_memory(device_memory: object) -> int | None:
    return None if device_memory is None else check_int("device_memory", device_memory, minimum=1)


def _check_exclude(exclude: object, n_queries: int) -> None:
    if not isinstance(exclude, Ragged):
        raise TypeError(f"exclude: expected a Ragged of int64 ids, got {type(exclude).__name__}")
    if exclude.values.dtype != np.int64:
        raise TypeError(f"exclude: expected int64 ids, got {exclude.values.dtype}")
    if len(exclude) != n_queries:
        raise ValueError(f"exclude: expected {n_queries:,} rows, got {len(exclude):,}")
