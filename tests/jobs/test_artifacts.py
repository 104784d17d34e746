"""Folders are written whole or not at all, and copied once a host."""

from __future__ import annotations

import pytest

from jobs.artifacts import local_folder, written_folder
from jobs.errors import LakeError, RunError


def put(uri: str, text: str, guard=None) -> None:
    with written_folder(uri, guard) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(text)


def test_a_folder_appears_whole_and_is_replaced_whole(tmp_path):
    uri = str(tmp_path / "run" / "model")
    put(uri, "one")
    put(uri, "two")
    assert (local_folder(uri) / "part" / "a.txt").read_text() == "two"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]


def test_a_writer_that_fails_or_is_refused_leaves_what_was_there(tmp_path):
    uri = str(tmp_path / "model")
    put(uri, "one")

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put(uri, "half", fail)

    def refuse():
        raise RunError("closed")

    with pytest.raises(RunError, match="closed"):
        put(uri, "two", refuse)
    assert (local_folder(uri) / "part" / "a.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(LakeError, match="is not there, or was not written to its end"):
        local_folder(str(tmp_path / "none"))


def test_an_object_store_is_copied_once_and_checked(tmp_path, monkeypatch):
    import jobs.artifacts as artifacts

    source = tmp_path / "store"
    put(str(source), "one")
    copies = []

    def download(uri, folder):
        copies.append(uri)
        artifacts.shutil.copytree(source, folder, dirs_exist_ok=True)

    monkeypatch.setattr(artifacts, "_download", download)
    first = local_folder("s3://bucket/model", cache=str(tmp_path / "cache"))
    assert local_folder("s3://bucket/model", cache=str(tmp_path / "cache")) == first and len(copies) == 1
    (source / "part" / "a.txt").write_text("tampered")
    with pytest.raises(LakeError, match=r"part/a\.txt is missing or is not what its checksum says"):
        local_folder("s3://bucket/other", cache=str(tmp_path / "cache"))
