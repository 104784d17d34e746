"""Terms and vectors of jobs, searched exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gpu_retrieval import explain as explaining
from gpu_retrieval import storage as files
from gpu_retrieval.backend import Backend, choose_backend
from gpu_retrieval.checks import check_array, check_finite, check_int, check_known, check_str
from gpu_retrieval.clauses import Clause, check_where
from gpu_retrieval.columns import MAX_ROWS, NumberColumn, TermColumn
from gpu_retrieval.errors import FingerprintMismatch
from gpu_retrieval.plans import PLANS, choose_plan
from gpu_retrieval.quantize import STORAGES, encode
from gpu_retrieval.ragged import Ragged, check_terms
from gpu_retrieval.segments import DeviceSegment, Segment
from gpu_retrieval.task import IdOrder, SearchTask
from gpu_retrieval.topk import Hits

LEAST_BUDGET = 1 << 20


class TermKnnIndex:
    """The k best jobs of each query by inner product, among those that pass the query's own filters. Exact.

    Made by `build` or `load`, never directly. Searches may run at the same time; a change may not run beside
    one.
    """

    def __init__(self, segments: list[Segment], alive: list[np.ndarray], fingerprint: str, backend: Backend) -> None:
        self._segments = [DeviceSegment(segment, backend) for segment in segments]
        self._alive = alive
        self._backend = backend
        self._order: IdOrder | None = None
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
    ) -> TermKnnIndex:
        """An index over n jobs.

        `ids` (n,) int64, unique, 0 or more, in any order. `vectors` (n, d) float32, finite, C-contiguous;
        they are kept or, where the index orders its rows by terms, copied: leave them as they are while the index
        lives. `terms` a Ragged of n rows
        of int32 a field, terms 0 or more. `numbers` (n,) float64 (NaN is missing) or int64 (never missing) a
        number. `storage` is what is scanned ("float32", "float16", "int8"): it changes speed and memory,
        never the answer. `fingerprint` names the model that made the vectors. `device` is "auto", "cpu" or
        "cuda:N".
        """
        backend = choose_backend(device)
        if storage not in STORAGES:
            raise ValueError(f"storage: expected one of {list(STORAGES)}, got {storage!r}")
        segment = _segment(ids, vectors, terms or {}, numbers or {}, storage)
        return cls([segment], [np.ones(len(segment), dtype=bool)], check_str("fingerprint", fingerprint), backend)

    def __len__(self) -> int:
        """Jobs that can be found."""
        return int(sum(np.count_nonzero(alive) for alive in self._alive))

    def __repr__(self) -> str:
        return (
            f"TermKnnIndex({len(self):,} jobs, d={self.d}, fields={self.fields}, numbers={self.numbers}, "
            f"storage={self.storage!r}, fingerprint={self.fingerprint!r}, device={self.device!r})"
        )

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64 in the order in which the jobs were built and added: the order of `prior`."""
        return np.concatenate([segment.host.ids for segment in self._segments])[self._rows_as_given()]

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
        """Where searches run: "cpu" or "cuda:N"."""
        return self._backend.device

    @property
    def plans(self) -> tuple[str, ...]:
        """What `plan` may be, beside "auto"."""
        return tuple(PLANS)

    @property
    def _first(self) -> Segment:
        return self._segments[0].host

    def search(
        self,
        queries: np.ndarray,
        k: int,
        where: Clause | None = None,
        exclude: Ragged | None = None,
        prior: np.ndarray | None = None,
        fingerprint: str = "",
        memory_budget: int = 2 << 30,
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
        n_rows = sum(len(segment) for segment in self._segments)
        name, _ = choose_plan(plan, lambda: task.groups, n_rows, self.d, self._backend.on_gpu)
        with self._backend.active():
            return PLANS[name](task)

    def explain(self, where: Clause | None = None) -> str:
        """The plan that a search with this filter takes and why, and what each clause touches, in words."""
        if where is not None:
            check_where(where, explaining.n_queries(where), self.fields, self.numbers)
        return explaining.explain(self._segments, len(self), where)

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
        first = self._first
        added = _segment(ids, vectors, terms or {}, numbers or {}, self.storage)
        if added.vectors.shape[1] != self.d:
            raise ValueError(f"vectors: expected {self.d} components, got {added.vectors.shape[1]}")
        for kind, name, mine, theirs in (
            ("term fields", "terms", set(first.terms), set(added.terms)),
            ("numbers", "numbers", set(first.numbers), set(added.numbers)),
        ):
            if unknown := sorted(theirs - mine):
                check_known(kind, unknown[0], mine)
            if mine != theirs:
                raise ValueError(f"{name}: expected {sorted(mine)}, got {sorted(theirs)}")
        for name, column in first.numbers.items():
            if added.numbers[name].levels.dtype != column.levels.dtype:
                expected, got = column.levels.dtype, added.numbers[name].levels.dtype
                raise TypeError(f"number {name!r}: expected dtype {expected}, got {got}")
        known = self._rows_of(added.ids)
        if (known >= 0).any():
            raise ValueError(f"ids: expected new ids, {added.ids[np.argmax(known >= 0)]} is in the index")
        self._check_size(len(added))
        self._segments.append(DeviceSegment(added, self._backend))
        self._alive.append(np.ones(len(added), dtype=bool))
        self._order = None
        self._tidy()

    def remove(self, ids: np.ndarray) -> None:
        """Closes jobs, in place. Every id must be in the index.

        Costs a look-up an id; the rows are dropped for good once half of their segment is closed.
        """
        ids = check_array("ids", ids, "int64", (None,))
        rows = self._rows_of(ids)
        if (rows < 0).any():
            raise ValueError(f"ids: expected ids of the index, {ids[np.argmax(rows < 0)]} is not in it")
        base = 0
        for segment, alive in zip(self._segments, self._alive, strict=True):
            alive[rows[(rows >= base) & (rows < base + len(segment))] - base] = False
            base += len(segment)
        self._tidy()

    def save(self, folder: str | Path) -> None:
        """Writes the index to a folder: plain .npy files and a manifest with their sizes and SHA-256.

        The manifest is replaced last, in one step: until then, and after a failure, the folder holds what it
        held.
        """
        segments = [segment.host for segment in self._segments]
        files.save(Path(folder), segments, self._alive, self.fingerprint)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", *, verify: bool = True) -> TermKnnIndex:
        """The index that was saved there, memory-mapped.

        IndexFileError where a file is missing or not as it was written. Sizes are always checked, checksums
        unless `verify=False` (they were checked when the copy was made, say).
        """
        backend = choose_backend(device)
        segments, alive, fingerprint = files.load(Path(folder), verify=verify)
        return cls(segments, alive, fingerprint, backend)

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
        alive = np.concatenate(self._alive)
        return SearchTask(
            backend=self._backend,
            segments=self._segments,
            order=self._id_order(),
            alive=None if alive.all() else alive,
            n_alive=len(self),
            prior=None if prior is None else self._over_all_rows(prior),
            queries=queries,
            k=check_int("k", k, minimum=1),
            where=where,
            exclude=exclude,
            memory_budget=check_int("memory_budget", memory_budget, minimum=LEAST_BUDGET),
        )

    def _rows_as_given(self) -> np.ndarray:
        """(n,) int64: the row of each job that can be found, over all segments, in the order of `ids`."""
        before = np.cumsum([0] + [len(segment) for segment in self._segments])
        parts = zip(self._segments, self._alive, before[:-1], strict=True)
        return np.concatenate([base + segment.host.given[alive[segment.host.given]] for segment, alive, base in parts])

    def _over_all_rows(self, prior: np.ndarray) -> np.ndarray:
        """The prior by rows, closed ones at 0."""
        by_row = np.zeros(sum(len(segment) for segment in self._segments), dtype=np.float32)
        by_row[self._rows_as_given()] = prior
        return by_row

    def _check_fingerprint(self, fingerprint: str) -> None:
        if check_str("fingerprint", fingerprint) != self.fingerprint:
            raise FingerprintMismatch(f"fingerprint: expected {self.fingerprint!r} (the index's), got {fingerprint!r}")

    def _id_order(self) -> IdOrder:
        if self._order is None:
            self._order = IdOrder.of(np.concatenate([segment.host.ids for segment in self._segments]))
        return self._order

    def _rows_of(self, ids: np.ndarray) -> np.ndarray:
        """(ids,) int64: the row of each id that can be found, over all segments, -1 for an id that cannot."""
        at, rows = self._id_order().find(ids)
        found = np.full(len(ids), -1, dtype=np.int64)
        open_rows = np.concatenate(self._alive)[rows]
        found[at[open_rows]] = rows[open_rows]
        return found

    def _check_size(self, n_more: int) -> None:
        n_rows = sum(len(segment) for segment in self._segments) + n_more
        if n_rows >= MAX_ROWS:
            raise ValueError(f"index: expected fewer than {MAX_ROWS:,} rows, got {n_rows:,}; build it in shards")

    def _tidy(self) -> None:
        """Drops closed rows and joins neighbours, each only where that at least halves what it touches."""
        held = [(segment.host, alive) for segment, alive in zip(self._segments, self._alive, strict=True)]
        held = [
            (segment.kept(alive), np.ones(np.count_nonzero(alive), dtype=bool))
            if np.count_nonzero(alive) * 2 < len(segment)
            else (segment, alive)
            for segment, alive in held
        ]
        while len(held) > 1 and 2 * len(held[-1][0]) >= len(held[-2][0]):
            (before, alive_before), (last, alive_last) = held[-2:]
            joined = before.joined(last)
            # Joining sorts anew: only the order in which jobs were given stays.
            alive = np.empty(len(joined), dtype=bool)
            alive[joined.given] = np.concatenate([alive_before[before.given], alive_last[last.given]])
            held[-2:] = [(joined, alive)]
        unchanged = {id(segment.host): segment for segment in self._segments}
        if [id(segment) for segment, _ in held] == list(unchanged):
            return
        self._segments = [unchanged.get(id(host)) or DeviceSegment(host, self._backend) for host, _ in held]
        self._alive = [alive for _, alive in held]
        self._order = None


def _segment(
    ids: np.ndarray,
    vectors: np.ndarray,
    terms: Mapping[str, Ragged],
    numbers: Mapping[str, np.ndarray],
    storage: str,
) -> Segment:
    """The jobs as a segment, all of it checked."""
    ids = check_array("ids", ids, "int64", (None,))
    n = len(ids)
    if n >= MAX_ROWS:
        raise ValueError(f"ids: expected fewer than {MAX_ROWS:,} jobs, got {n:,}; build the index in shards")
    vectors = check_array("vectors", vectors, "float32", (n, None))
    if vectors.shape[1] == 0:
        raise ValueError(f"vectors: expected at least one component, got shape {vectors.shape}")
    _check_ids(ids)
    check_finite("vectors", vectors)
    term_columns = {}
    for name, ragged in terms.items():
        term_columns[check_str("terms", name)] = TermColumn.from_ragged(check_terms(f"terms[{name!r}]", ragged, n))
    number_columns = {}
    for name, values in numbers.items():
        values = check_array(f"numbers[{name!r}]", values, ("float64", "int64"), (n,))
        number_columns[check_str("numbers", name)] = NumberColumn.from_values(values)
    segment = Segment(
        given=np.arange(n, dtype=np.int64),
        ids=ids.copy(),
        vectors=vectors,
        codes=encode(vectors, storage),
        terms=term_columns,
        numbers=number_columns,
    )
    return segment.clustered()


def _check_ids(ids: np.ndarray) -> None:
    if len(ids) and ids.min() < 0:
        # -1 stands for "no hit".
        raise ValueError(f"ids: expected 0 or more, row {np.argmax(ids < 0):,} holds {ids[np.argmax(ids < 0)]}")
    in_order = np.sort(ids)
    repeats = in_order[1:] == in_order[:-1]
    if repeats.any():
        twice = in_order[1:][repeats]
        raise ValueError(f"ids: expected unique ids, got {len(twice):,} repeated, first {twice[0]}")


def _check_exclude(exclude: object, n_queries: int) -> None:
    if not isinstance(exclude, Ragged):
        raise TypeError(f"exclude: expected a Ragged of int64 ids, got {type(exclude).__name__}")
    if exclude.values.dtype != np.int64:
        raise TypeError(f"exclude: expected int64 ids, got {exclude.values.dtype}")
    if len(exclude) != n_queries:
        raise ValueError(f"exclude: expected {n_queries:,} rows, got {len(exclude):,}")
