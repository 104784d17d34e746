"""A model of job vectors on disk: a manifest and plain NumPy arrays, no pickle, memory-mapped where used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs

from jobs.artifacts import local_folder, opened_store
from jobs.embeddings.corpus import positions
from jobs.embeddings.features import JobRows
from jobs.errors import LakeError

MANIFEST = "manifest.json"
FORMAT = 1

# Arrays of the folder, each NAME.npy.
ARRAYS = ("feature_keys", "job_ids", "table", "weights")
# Of these, a model may have none.
GOING_ON = ("squares", "bias")


@dataclass(frozen=True)
class Model:
    """What a job's vector is pooled from.

    `fields` are the term fields, in the order of the feature keys; `feature_keys` (features,) int64 and
    `job_ids` (jobs with an id embedding,) int64, both sorted; `table` (features + jobs, dim) float32,
    `weights` (features + jobs,) float32; `config` is what it was trained with. `squares` (features + jobs,) float32
    and `bias` (2,) are what a later training goes on from (`state.State`); they decide no vector, and may be missing.
    """

    fields: tuple[str, ...]
    feature_keys: NDArray[np.int64]
    job_ids: NDArray[np.int64]
    table: NDArray[np.float32]
    weights: NDArray[np.float32]
    config: dict[str, Any]
    squares: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None

    @property
    def dim(self) -> int:
        return int(self.table.shape[1])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides a vector: vectors of different fingerprints never meet."""
        return str(self.config["fingerprint"])

    def vectors(
        self, job_ids: NDArray[np.int64], keys: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(jobs, dim) unit vectors, zeros where nothing of a job is known, and which have no id embedding.

        Job j has the feature keys keys[offsets[j]:offsets[j + 1]]; unknown ones count nothing.
        """
        feature, known = positions(self.feature_keys, keys)
        n_known = np.concatenate([[0], np.cumsum(known)])[offsets]
        at, has_id = positions(self.job_ids, job_ids)
        id_rows = np.where(has_id, len(self.feature_keys) + at, -1)
        rows = JobRows(n_known, feature[known].astype(np.int32), id_rows)
        bags, bag_offsets = rows.bags(np.arange(len(job_ids)), np.ones(len(job_ids), dtype=bool))
        pooled = self._pooled(bags, bag_offsets)
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.divide(pooled, norms, out=np.zeros_like(pooled), where=norms > 0).astype(np.float32), ~has_id

    def vectors_of_features(self, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
        """(rows, dim), as `vectors`, of rows that have feature keys and no id."""
        nobody = np.full(len(offsets) - 1, -1)  # ids are not negative
        return self.vectors(nobody, keys, offsets)[0]

    def _pooled(self, rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weighted sums in double: a job's vector does not depend on the batch that it is in."""
        pooled = np.zeros((len(offsets) - 1, self.dim))
        filled = np.flatnonzero(np.diff(offsets))
        if len(filled):
            weighted = self.table[rows] * self.weights[rows, None].astype(np.float64)
            pooled[filled] = np.add.reduceat(weighted, offsets[:-1][filled], axis=0)
        return pooled


def save_model(
    folder: Path,
    *,
    fields: tuple[str, ...],
    feature_keys: NDArray[np.int64],
    job_ids: NDArray[np.int64],
    table: NDArray[np.float32],
    weights: NDArray[np.float32],
    config: dict[str, Any],
    squares: NDArray[np.float32] | None = None,
    bias: NDArray[np.float32] | None = None,
) -> str:
    """Write the model into a local folder; returns its fingerprint.

    ValueError where the arrays do not fit each other, or the table holds a value that is no number.
    """
    n_rows = len(feature_keys) + len(job_ids)
    if table.shape[:1] != (n_rows,) or weights.shape != (n_rows,):
        raise ValueError(f"expected {n_rows} rows, got table {table.shape} and weights {weights.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"table: row {np.flatnonzero(~np.isfinite(table).all(axis=1))[0]} holds NaN or infinity")
    arrays = {"feature_keys": feature_keys, "job_ids": job_ids, "table": table, "weights": weights}
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", np.ascontiguousarray(arrays[name]), allow_pickle=False)
    if squares is not None and bias is not None:
        np.save(folder / "squares.npy", squares, allow_pickle=False)
        np.save(folder / "bias.npy", bias, allow_pickle=False)
    manifest = {"format": FORMAT, "fields": list(fields), "config": config}
    fingerprint = _fingerprint(folder, manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest | {"fingerprint": fingerprint}, indent=1, sort_keys=True))
    return fingerprint


def _fingerprint(folder: Path, manifest: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in ARRAYS:
        with open(folder / f"{name}.npy", "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def has_model(uri: str) -> bool:
    """Whether a model was written there; a board without chains has none."""
    store, folder = opened_store(uri)
    return bool(store.get_file_info(f"{folder}/{MANIFEST}").type == fs.FileType.File)


def load_model(uri: str) -> Model:
    """The model at a path or URI, its arrays memory-mapped from local disk. LakeError where there is none."""
    folder = local_folder(uri)
    if not (folder / MANIFEST).is_file():
        raise LakeError(f"{uri} holds no job embeddings: there is no {MANIFEST}")
    manifest = json.loads((folder / MANIFEST).read_text())
    if manifest["format"] != FORMAT:
        raise LakeError(f"{uri}: expected model format {FORMAT}, got {manifest['format']}")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
    for name in GOING_ON:
        if (folder / f"{name}.npy").is_file():
            arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    config = manifest["config"] | {"fingerprint": manifest["fingerprint"]}
    return Model(fields=tuple(manifest["fields"]), config=config, **arrays)
