"""The searchable inventory of a run: one folder a shard, memory-mapped by every worker that searches it.

A shard holds the jobs whose id leaves the same remainder: their `TermKnnIndex`, and beside it, aligned with
`index.ids`, what ranks and explains without a vector (`popularity.npy`, `external_ids.arrow`), and the
vectors of all jobs that a chain may name, open or closed (`vector_ids.npy`, `vectors.npy`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark import TaskContext

from gpu_retrieval import Ragged, TermKnnIndex
from gpu_retrieval.backend import import_cupy
from jobs.artifacts import MANIFEST, local_folder

# What `build_shard` takes: one row a job.
ROW = pa.schema(
    [
        ("job_id", pa.int64()),
        ("external_id", pa.string()),
        ("is_open", pa.bool_()),
        ("terms", pa.map_(pa.string(), pa.list_(pa.int32()))),
        ("posted_s", pa.float64()),
        ("closed_s", pa.float64()),
        ("popularity", pa.float32()),
        ("vector", pa.list_(pa.float32())),
    ]
)

NODE_FIELD = "node"
PROMOTED_FIELD = "promoted"
MET_FIELD = "met"  # 1 of a job that somebody acted on, 0 of a new one
POSTED, CLOSED = "posted_s", "closed_s"
# A job that nobody acted on has less popularity than this: a lot, for an order that is nobody's.
UNMET = 0.001

# Fields that a candidate's reasons name: kept beside the index too, for look-up by job.
EXPLAINED_FIELDS = (NODE_FIELD, "occupation", "title", "region")
# What a neighbour is checked by, besides: whether it is promoted, and when it opens and closes.
LOOKED_UP_FIELDS = (*EXPLAINED_FIELDS, PROMOTED_FIELD)


@dataclass(frozen=True)
class ShardSpec:
    """What all shards of an index share. `fields` is the same in each, so that any clause names a known one."""

    fields: tuple[str, ...]
    dim: int
    storage: str
    fingerprint: str
    n_shards: int


@dataclass(frozen=True)
class Shard:
    """One opened shard.

    `popularity`, `external_ids`, `times` and `terms` are aligned with `ids`, the index's own, ascending; `times` is
    (n, 2) float64: when a job opens and closes, NaN where it was always open or still is.
    """

    index: TermKnnIndex
    popularity: np.ndarray
    external_ids: pa.ChunkedArray
    ids: np.ndarray
    times: np.ndarray
    terms: dict[str, Ragged]
    vector_ids: np.ndarray
    vectors: np.ndarray


def build_shard(rows: pa.Table, spec: ShardSpec, folder: Path) -> int:
    """Write the shard of these jobs to `folder`; returns how many open jobs it indexes.

    Memory: the rows, once as Arrow and once as NumPy arrays. Rows may come in any order, each job once.
    """
    rows = rows.sort_by("job_id").combine_chunks()
    vectors = fixed_vectors(rows.column("vector"), spec.dim)
    job_ids = rows.column("job_id").to_numpy()
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vector_ids.npy", job_ids)
    np.save(folder / "vectors.npy", vectors)

    is_open = rows.column("is_open").to_numpy()
    inventory = rows.filter(pa.array(is_open)).combine_chunks()
    terms = terms_by_field(inventory.column("terms"), spec.fields)
    times = {name: inventory.column(name).to_numpy() for name in (POSTED, CLOSED)}
    popularity = inventory.column("popularity").to_numpy()
    met = Ragged.of_one((popularity >= UNMET).astype(np.int32))
    index = TermKnnIndex.build(
        job_ids[is_open],
        np.ascontiguousarray(vectors[is_open]),
        terms={**terms, MET_FIELD: met},
        numbers=times,
        storage=spec.storage,
        fingerprint=spec.fingerprint,
        device="cpu",
    )
    index.save(folder / "index")
    np.save(folder / "ids.npy", job_ids[is_open])
    np.save(folder / "popularity.npy", popularity)
    np.save(folder / "times.npy", np.stack(list(times.values()), axis=1))
    for field in LOOKED_UP_FIELDS:
        np.save(folder / f"terms-{field}-offsets.npy", terms[field].offsets)
        np.save(folder / f"terms-{field}-values.npy", terms[field].values)
    with pa.OSFile(str(folder / "external_ids.arrow"), "wb") as file:
        names = inventory.select(["external_id"])
        with pa.ipc.new_file(file, names.schema) as writer:
            writer.write_table(names)
    return int(is_open.sum())


def fixed_vectors(column: pa.ChunkedArray, dim: int) -> np.ndarray:
    """(n, dim) float32 of a list column; a null or empty vector is a row of zeros."""
    lengths = column.combine_chunks().value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths != dim) & (lengths != 0))
    if wrong.size:
        raise ValueError(f"vector of row {wrong[0]}: expected {dim} numbers, got {lengths[wrong[0]]}")
    vectors = np.zeros((len(lengths), dim), np.float32)
    vectors[lengths == dim] = column.combine_chunks().flatten().to_numpy().reshape(-1, dim)
    return vectors


def terms_by_field(column: pa.ChunkedArray, fields: Iterable[str]) -> dict[str, Ragged]:
    """One `Ragged` a field from a column of maps, field to term ids; a field a row lacks is an empty row."""
    maps = column.combine_chunks()
    n = len(maps)
    entries = np.repeat(np.arange(n), np.diff(maps.offsets.to_numpy()))
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    keys, lists = maps.keys[first:last], maps.items[first:last]
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    values = lists.flatten().to_numpy().astype(np.int32, copy=False)
    codes = keys.dictionary_encode()
    names, code_of = codes.dictionary.to_pylist(), codes.indices.to_numpy(zero_copy_only=False)
    ragged = {}
    for field in fields:
        chosen = np.flatnonzero(code_of == names.index(field)) if field in names else np.zeros(0, np.int64)
        counts = np.zeros(n, np.int64)
        counts[entries[chosen]] = lengths[chosen]
        ragged[field] = Ragged(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            values[spans(ends[chosen] - lengths[chosen], lengths[chosen])],
        )
    return ragged


def spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The positions start, start + 1, … of each span, one after the other."""
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    return np.arange(total, dtype=np.int64) + np.repeat(starts - before, lengths)


class Inventory:
    """All shards of a run's index, opened for search."""

    def __init__(self, folder: Path, device: str = "auto", device_memory: int = 0) -> None:
        described = json.loads((folder / "inventory.json").read_text())
        self.dim: int = described["dim"]
        self.fields: tuple[str, ...] = tuple(described["fields"])
        self.fingerprint: str = described["fingerprint"]
        names = sorted(path for path in folder.iterdir() if path.name.startswith("shard-"))
        # Each shard is an index of its own.
        share = max(1, device_memory // max(1, len(names))) if device_memory else None
        self.shards = [_open_shard(name, device, share) for name in names]

    @cached_property
    def n_jobs(self) -> int:
        return sum(len(shard.ids) for shard in self.shards)

    def vectors_of(self, job_ids: np.ndarray) -> np.ndarray:
        """(m, dim) float32: each job's vector; zeros where the job is not known."""
        found = np.zeros((len(job_ids), self.dim), np.float32)
        for shard, rows in self._rows_by_shard(job_ids, lambda shard: shard.vector_ids):
            found[rows.asked] = shard.vectors[rows.stored]
        return found

    def external_ids_of(self, job_ids: np.ndarray) -> list[str | None]:
        """The board's ids of these jobs; None where one is not open."""
        found: list[str | None] = [None] * len(job_ids)
        for shard, rows in self._rows_by_shard(job_ids, lambda shard: shard.ids):
            for asked, name in zip(rows.asked, shard.external_ids.take(pa.array(rows.stored)).to_pylist(), strict=True):
                found[asked] = name
        return found

    def terms_of(self, field: str, job_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, values) of the jobs' terms in a field; an empty row where one is not open or has none."""
        counts, parts = np.zeros(len(job_ids), np.int64), []
        for shard, rows in self._rows_by_shard(job_ids, lambda shard: shard.ids):
            stored = shard.terms[field]
            starts = stored.offsets[rows.stored]
            lengths = stored.offsets[rows.stored + 1] - starts
            counts[rows.asked] = lengths
            parts.append((rows.asked, lengths, np.asarray(stored.values)[spans(starts, lengths)]))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        values = np.zeros(int(offsets[-1]), np.int32)
        for asked, lengths, found in parts:
            values[spans(offsets[asked], lengths)] = found
        return offsets, values

    def popularity_of(self, job_ids: np.ndarray) -> np.ndarray:
        """(m,) float32; 0 where a job is not open."""
        found = np.zeros(len(job_ids), np.float32)
        for shard, rows in self._rows_by_shard(job_ids, lambda shard: shard.ids):
            found[rows.asked] = shard.popularity[rows.stored]
        return found

    def times_of(self, job_ids: np.ndarray) -> np.ndarray:
        """(m, 2): when each job opens and closes; NaN where it is not known."""
        found = np.full((len(job_ids), 2), np.nan)
        for shard, rows in self._rows_by_shard(job_ids, lambda shard: shard.ids):
            found[rows.asked] = shard.times[rows.stored]
        return found

    def _rows_by_shard(
        self, job_ids: np.ndarray, ids_of: Callable[[Shard], np.ndarray]
    ) -> Iterable[tuple[Shard, Rows]]:
        for shard in self.shards:
            ids = ids_of(shard)
            if not len(ids):
                continue
            at = np.minimum(np.searchsorted(ids, job_ids), len(ids) - 1)
            asked = np.flatnonzero(np.asarray(ids)[at] == job_ids)
            if asked.size:
                yield shard, Rows(asked, at[asked])


@dataclass(frozen=True)
class Rows:
    """Positions among the ids that were asked for, and where those are stored."""

    asked: np.ndarray
    stored: np.ndarray


def describe(folder: Path, spec: ShardSpec) -> None:
    """Write what `Inventory` needs to know before it opens a shard."""
    described = {"dim": spec.dim, "fields": list(spec.fields), "fingerprint": spec.fingerprint}
    (folder / "inventory.json").write_text(json.dumps(described))


def shard_name(shard: int) -> str:
    return f"shard-{shard:04d}"


def open_inventory(uri: str, device: str = "auto", device_memory: int = 0) -> Inventory:
    """The inventory at `uri`, opened once a worker process and kept: Spark's workers serve many tasks.

    `device_memory` is bytes of each GPU's that the index may take, 0 for what is free.
    """
    folder = local_folder(uri)
    return _opened(folder, (folder / MANIFEST).stat().st_mtime_ns, assigned(device), device_memory)


def assigned(device: str) -> str:
    """For "auto" the GPUs that Spark assigned to this task, where it assigns any and CuPy can use them."""
    task = TaskContext.get() if device == "auto" and import_cupy() is not None else None
    gpus = task.resources().get("gpu") if task is not None else None
    return device if gpus is None else ",".join(f"cuda:{address}" for address in gpus.addresses)


@lru_cache(maxsize=2)
def _opened(folder: Path, written_at: int, device: str, device_memory: int) -> Inventory:
    return Inventory(folder, device, device_memory)


def _open_shard(folder: Path, device: str, device_memory: int | None) -> Shard:
    def mapped(name: str) -> np.ndarray:
        return np.load(folder / name, mmap_mode="r")

    with pa.memory_map(str(folder / "external_ids.arrow")) as source:
        names = pa.ipc.open_file(source).read_all().column("external_id")
    return Shard(
        TermKnnIndex.load(folder / "index", device=device, device_memory=device_memory),
        mapped("popularity.npy"),
        names,
        mapped("ids.npy"),
        mapped("times.npy"),
        {f: Ragged(mapped(f"terms-{f}-offsets.npy"), mapped(f"terms-{f}-values.npy")) for f in LOOKED_UP_FIELDS},
        mapped("vector_ids.npy"),
        mapped("vectors.npy"),
    )
