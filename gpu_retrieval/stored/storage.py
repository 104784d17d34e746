"""An index as a folder of plain .npy files under a manifest.

The data lie in a sub-folder of their own, new at every save, and `manifest.json` says which. Replacing the
manifest is the one step that changes what a reader sees, so that a save which fails, at any point, leaves the
old index. The manifest has the size and SHA-256 of every file, and a SHA-256 of its own. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu_retrieval.checks import check_array
from gpu_retrieval.errors import IndexFileError, IndexNotSaved
from gpu_retrieval.stored.columns import NumberColumn, TermColumn
from gpu_retrieval.stored.quantize import Coarse, Codes
from gpu_retrieval.stored.segments import Segment

FORMAT = 4
MANIFEST = "manifest.json"
HASH_BYTES = 1 << 22


def save(folder: Path, segments: list[Segment], alive: list[np.ndarray], fingerprint: str) -> None:
    """Writes the segments; on a failure the folder holds what it held before.

    IndexNotSaved where the disk is full, or does not take the files for another reason.
    """
    arrays = {
        f"{number}-{name}.npy": array
        for number, segment in enumerate(segments)
        for name, array in _arrays(segment, alive[number]).items()
    }
    n_bytes = sum(array.nbytes for array in arrays.values())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = _read_manifest(folder)["data"] if (folder / MANIFEST).exists() else None
        data = folder / f"data-{secrets.token_hex(8)}"
        data.mkdir()
    except OSError as error:
        raise IndexNotSaved(f"{folder}: expected a folder that can be written, {error}") from error
    try:
        described = {name: _write(data / name, array) for name, array in arrays.items()}
        manifest = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "segments": len(segments),
            "fields": list(segments[0].terms),
            "numbers": list(segments[0].numbers),
            "storage": segments[0].storage,
            "data": data.name,
            "files": described,
        }
        manifest["sha256"] = _own_sha256(manifest)
        _replace_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        free = shutil.disk_usage(folder).free
        shutil.rmtree(data, ignore_errors=True)
        raise IndexNotSaved(
            f"{folder}: expected room for {n_bytes:,} bytes, {free:,} were free: {error}; what it held before is there"
        ) from error
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)


def load(folder: Path, *, verify: bool) -> tuple[list[Segment], list[np.ndarray], str]:
    """Segments over memory-mapped arrays, which of their rows are alive, and the fingerprint."""
    manifest = _read_manifest(folder)
    data = folder / manifest["data"]
    arrays = {}
    for name, description in manifest["files"].items():
        arrays[name] = _read(data / name, description, verify=verify)
    segments, alive = [], []
    for number in range(manifest["segments"]):
        segment, rows = _segment(manifest, partial(_array, arrays, number), folder)
        _check_shapes(segment, rows, data / str(number))
        segments.append(segment)
        alive.append(rows)
    return segments, alive, manifest["fingerprint"]


def _array(arrays: dict[str, np.ndarray], number: int, name: str) -> np.ndarray:
    return arrays[f"{number}-{name}.npy"]


def _arrays(segment: Segment, alive: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {
        "given": segment.given,
        "ids": segment.ids,
        "alive": alive,
        "vectors": segment.vectors,
        "norms": segment.codes.norms,
        "residuals": segment.codes.residuals,
        "scale": segment.codes.scale,
    }
    arrays["coarse"], arrays["coarse-bounds"] = segment.coarse.rows, segment.coarse.bounds
    arrays["coarse-largest"] = np.array([segment.coarse.widest, segment.coarse.longest])
    if segment.storage != "float32":
        arrays["codes"] = segment.codes.values
    # Names of fields are the user's and may not do as file names.
    for at, column in enumerate(segment.terms.values()):
        for part in ("terms", "starts", "rows", "missing"):
            arrays[f"field{at}-{part}"] = getattr(column, part)
    for at, number in enumerate(segment.numbers.values()):
        for part in ("levels", "ranks"):
            arrays[f"number{at}-{part}"] = getattr(number, part)
    return arrays


def _segment(manifest: dict[str, Any], array: Callable[[str], np.ndarray], folder: Path) -> tuple[Segment, np.ndarray]:
    try:
        vectors = array("vectors")
        values = vectors if manifest["storage"] == "float32" else array("codes")
        widest, longest = (float(bound) for bound in array("coarse-largest"))
        segment = Segment(
            given=array("given"),
            ids=array("ids"),
            vectors=vectors,
            codes=Codes(values, array("scale"), array("norms"), array("residuals")),
            terms={
                name: TermColumn(*(array(f"field{at}-{part}") for part in ("terms", "starts", "rows", "missing")))
                for at, name in enumerate(manifest["fields"])
            },
            numbers={
                name: NumberColumn(*(array(f"number{at}-{part}") for part in ("levels", "ranks")))
                for at, name in enumerate(manifest["numbers"])
            },
            saved_coarse=Coarse(array("coarse"), array("coarse-bounds"), widest, longest),
        )
        return segment, array("alive").copy()
    except KeyError as missing:
        raise IndexFileError(f"{folder / MANIFEST}: expected a file {missing}, the manifest lists none") from None


def _check_shapes(segment: Segment, alive: np.ndarray, where: Path) -> None:
    """The compiled loops look at no bounds: whatever the checksums say, arrays must fit together."""
    n, d = len(segment.ids), segment.vectors.shape[-1]
    codes, bare = segment.codes, segment.storage == "float32"
    expected: list[tuple[str, np.ndarray, str | tuple[str, ...], tuple[int, ...]]] = [
        ("ids", segment.ids, "int64", (n,)),
        ("given", segment.given, "int64", (n,)),
        ("alive", alive, "bool", (n,)),
        ("vectors", segment.vectors, "float32", (n, d)),
        ("codes", codes.values, segment.storage, (n, d)),
        ("norms", codes.norms, "float32", (n,)),
        ("residuals", codes.residuals, "float32", (n,)),
        ("scale", codes.scale, "float32", (0 if bare else n,)),
        ("coarse", segment.coarse.rows, "int32", (n, Coarse.words(d))),
        ("coarse-bounds", segment.coarse.bounds, "float32", (n, 2)),
    ]
    for name, column in segment.terms.items():
        expected += [
            (f"terms of {name!r}", column.terms, "int32", (len(column.starts) - 1,)),
            (f"starts of {name!r}", column.starts, "int64", (len(column.terms) + 1,)),
            (f"rows of {name!r}", column.rows, "int32", (int(column.starts[-1]),)),
            (f"missing of {name!r}", column.missing, "bool", (n,)),
        ]
    for name, number in segment.numbers.items():
        levels = len(number.levels)
        expected.append((f"levels of {name!r}", number.levels, ("float64", "int64"), (levels,)))
        expected.append((f"ranks of {name!r}", number.ranks, "int32", (n,)))
    try:
        for name, array, dtype, shape in expected:
            check_array(name, array, dtype, shape)
    except (TypeError, ValueError) as error:
        raise IndexFileError(f"{where}: {error}") from None


def _write(path: Path, array: np.ndarray) -> dict[str, Any]:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {"size": path.stat().st_size, "sha256": _sha256(path)}


def _read(path: Path, description: dict[str, Any], *, verify: bool) -> np.ndarray:
    if not path.is_file():
        raise IndexFileError(f"{path}: expected a file of {description['size']:,} bytes, there is none")
    size = path.stat().st_size
    if size != description["size"]:
        raise IndexFileError(f"{path}: expected {description['size']:,} bytes, got {size:,}")
    if verify and (sha256 := _sha256(path)) != description["sha256"]:
        raise IndexFileError(f"{path}: expected sha256 {description['sha256']}, got {sha256}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise IndexFileError(f"{path}: expected a .npy file without pickles, {error}") from error
    # A plain view: the subclass costs microseconds an operation.
    return np.asarray(array)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise IndexFileError(f"{path}: expected the manifest of a saved index, there is none") from None
    except ValueError as error:
        raise IndexFileError(f"{path}: expected JSON, {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise IndexFileError(f"{path}: expected an index of format {FORMAT}, got {found!r}")
    keys = {"data", "fields", "files", "fingerprint", "numbers", "segments", "sha256", "storage"}
    if lacking := sorted(keys - manifest.keys()):
        raise IndexFileError(f"{path}: expected the keys {sorted(keys)}, {lacking} are missing")
    if (sha256 := _own_sha256(manifest)) != manifest["sha256"]:
        raise IndexFileError(f"{path}: expected sha256 {manifest['sha256']}, got {sha256}")
    names = [manifest["data"], *manifest["files"]]
    if bad := [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(name))]:
        raise IndexFileError(f"{path}: expected plain file names, got {bad[0]!r}")
    return manifest


def _own_sha256(manifest: dict[str, Any]) -> str:
    """Of all that the manifest says beside it."""
    said = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _replace_text(path: Path, text: str) -> None:
    beside = path.with_suffix(".tmp")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
