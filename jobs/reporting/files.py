"""Files in the lake's folder of reports, on a local disk or in an object store."""

from __future__ import annotations

import uuid

from jobs.artifacts import opened_store
from jobs.lake import REPORTS


def write_report_file(root: str, name: str, text: str) -> str:
    """Put the file there whole: under a name of its own first, then renamed. Returns where it lies."""
    store, folder = _opened(root)
    store.create_dir(folder)
    unfinished = f"{folder}/.{uuid.uuid4().hex}-{name}"
    with store.open_output_stream(unfinished) as file:
        file.write(text.encode())
    store.move(unfinished, f"{folder}/{name}")
    return f"{root}/{REPORTS}/{name}"


def read_report_file(root: str, name: str) -> str | None:
    """What the file says; None where there is none."""
    store, folder = _opened(root)
    try:
        with store.open_input_file(f"{folder}/{name}") as file:
            return file.read().decode()
    except FileNotFoundError:
        return None


def _opened(root: str):  # type: ignore[no-untyped-def]
    store, prefix = opened_store(root)
    return store, f"{prefix}/{REPORTS}"
