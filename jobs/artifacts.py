"""Folders of files that belong to a run: models, indexes. Written whole or not at all, read from local disk.

On a lake in a folder the files are used where they lie. From an object store each host copies a folder once,
under a lock, checks it and renames it into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import LakeError

if TYPE_CHECKING:
    from pyarrow import fs

MANIFEST = "files.json"


@contextmanager
def written_folder(uri: str, guard: Callable[[], None] | None = None) -> Iterator[Path]:
    """A local folder to write into; when the block ends well, it takes the place of `uri` as a whole.

    `guard` is called just before and raises where the run may write no more. Readers of the folder that was
    there before keep what they have mapped.
    """
    local = local_path(uri)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=None if local is None else local.parent))
    try:
        yield scratch
        (scratch / MANIFEST).write_text(json.dumps(_checksums(scratch), indent=1))
        if guard is not None:
            guard()
        if local is None:
            _upload(scratch, uri)
        else:
            put_in_place(scratch, local)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(scratch: Path, target: Path) -> None:
    """Rename `scratch` to `target`; what was there is moved away first and then removed."""
    retired = target.with_name(f".retired-{uuid.uuid4().hex}")
    if target.exists():
        os.rename(target, retired)
    os.rename(scratch, target)
    shutil.rmtree(retired, ignore_errors=True)


def local_folder(uri: str, cache: str | None = None) -> Path:
    """The folder on this host: itself where it is local, else a checked copy made once a host.

    LakeError where it is not there, or a file is not what its checksum says.
    """
    local = local_path(uri)
    if local is not None:
        if not (local / MANIFEST).is_file():
            raise LakeError(f"{local} is not there, or was not written to its end")
        return local
    home = Path(cache or os.environ.get("SHORTLIST_CACHE") or f"{tempfile.gettempdir()}/shortlist-cache")
    home.mkdir(parents=True, exist_ok=True)
    copy = home / hashlib.sha256(uri.encode()).hexdigest()[:24]
    with open(f"{copy}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            scratch = Path(tempfile.mkdtemp(prefix=".copying-", dir=home))
            os.rename(fresh_copy(uri, scratch), copy)
    return copy


def fresh_copy(uri: str, scratch: Path) -> Path:
    """The folder as it is now: itself where it is local, else a checked copy in `scratch`. LakeError as above."""
    if local_path(uri) is not None:
        return local_folder(uri)
    _download(uri, scratch)
    _check(scratch, uri)
    return scratch


def local_path(uri: str) -> Path | None:
    """The path that a URI names on this host; None for an object store."""
    if uri.startswith("file:"):
        return Path("/" + uri.removeprefix("file:").lstrip("/"))
    return None if "://" in uri else Path(uri)


def opened_store(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URI, and the place in it."""
    from pyarrow import fs

    local = local_path(uri)
    return fs.FileSystem.from_uri(uri) if local is None else (fs.LocalFileSystem(), str(local))


def is_written(uri: str) -> bool:
    """Whether a folder was written there, to its end."""
    from pyarrow import fs

    store, folder = opened_store(uri)
    return bool(store.get_file_info(f"{folder}/{MANIFEST}").type == fs.FileType.File)


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(folder)): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: Path, uri: str) -> None:
    for name, wanted in json.loads((folder / MANIFEST).read_text()).items():
        if not (folder / name).is_file() or _sha256(folder / name) != wanted:
            raise LakeError(f"{uri}/{name} is missing or is not what its checksum says")


def _upload(folder: Path, uri: str) -> None:
    from pyarrow import fs

    store, prefix = fs.FileSystem.from_uri(uri)
    fs.copy_files(str(folder), prefix, source_filesystem=fs.LocalFileSystem(), destination_filesystem=store)


def _download(uri: str, folder: Path) -> None:
    from pyarrow import fs

    store, prefix = fs.FileSystem.from_uri(uri)
    fs.copy_files(prefix, str(folder), source_filesystem=store, destination_filesystem=fs.LocalFileSystem())
