"""A saved index comes back the same, or not at all."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest

from gpu_retrieval import IndexFileError, IndexNotSaved, Ragged, TermKnnIndex
from gpu_retrieval.stored import storage
from gpu_retrieval.stored.quantize import Coarse
from tests.gpu_retrieval.oracle import answer, assert_hits, make_ask, make_world

STORAGES = ["float32", "float16", "int8"]


def small(fingerprint: str = "model-1", **options) -> TermKnnIndex:
    return TermKnnIndex.build(
        np.array([3, 1]),
        np.eye(2, dtype=np.float32),
        {"région/ö": Ragged.from_lists([[1], [2]])},
        {"pay": np.array([1.0, np.nan])},
        fingerprint=fingerprint,
        device="cpu",
        **options,
    )


def files(folder) -> list:
    data = json.loads((folder / "manifest.json").read_text())["data"]
    return sorted((folder / data).iterdir())


def write_manifest(folder, manifest: dict) -> None:
    """As whoever alters it with care would."""
    manifest["sha256"] = storage._own_sha256(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("verify", [True, False])
def test_comes_back_the_same(device, tmp_path, kind, verify):
    rng = random.Random(11)
    world = make_world(rng, 60, 3)
    index = world.build(storage=kind, fingerprint="model-1", device=device)
    index.remove(world.ids[:3])
    index.save(tmp_path / "index")
    loaded = TermKnnIndex.load(tmp_path / "index", device=device, verify=verify)
    kept = world.part(np.arange(3, 60))
    assert (loaded.fingerprint, loaded.storage, loaded.d) == ("model-1", kind, 3)
    assert (loaded.fields, loaded.numbers) == (index.fields, index.numbers)
    np.testing.assert_array_equal(loaded.ids, kept.ids)
    for _ in range(5):
        ask = make_ask(rng, kept, 4, 6)
        assert_hits(ask.search(loaded, fingerprint="model-1"), answer(kept, ask))


def test_is_memory_mapped_and_can_change(tmp_path):
    small().save(tmp_path)
    loaded = TermKnnIndex.load(tmp_path, device="cpu")
    vectors = loaded._segments[0].host.vectors
    assert isinstance(vectors.base, np.memmap)
    assert not vectors.flags.writeable
    loaded.remove(np.array([3]))
    loaded.add(
        np.array([8]),
        np.ones((1, 2), np.float32),
        {"région/ö": Ragged.from_lists([[1]])},
        {"pay": np.array([2.0])},
    )
    loaded.save(tmp_path)
    assert TermKnnIndex.load(tmp_path, device="cpu").ids.tolist() == [1, 8]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", STORAGES)
def test_coarse_codes_are_mapped_and_not_made_again(tmp_path, monkeypatch, kind):
    """Each worker of a cluster would make the same again, most of a second for a million jobs."""
    rng = np.random.default_rng(2)
    index = TermKnnIndex.build(np.arange(50), rng.standard_normal((50, 9), np.float32), storage=kind, device="cpu")
    made = index._segments[0].host.coarse
    index.save(tmp_path)
    monkeypatch.setattr(Coarse, "of", None)
    loaded = TermKnnIndex.load(tmp_path, device="cpu")._segments[0].host.coarse
    assert isinstance(loaded.rows.base, np.memmap)
    np.testing.assert_array_equal(loaded.rows, made.rows)
    np.testing.assert_array_equal(loaded.bounds, made.bounds)
    assert (loaded.widest, loaded.longest) == (made.widest, made.longest)


def test_no_jobs_come_back_as_none(tmp_path):
    empty = TermKnnIndex.build(np.empty(0, np.int64), np.empty((0, 3), np.float32), device="cpu")
    empty.save(tmp_path)
    assert len(TermKnnIndex.load(tmp_path, device="cpu")) == 0


def test_nothing_is_pickled(tmp_path):
    small().save(tmp_path)
    for path in files(tmp_path):
        np.load(path, allow_pickle=False)
    # A file of Python objects under the right checksum is refused as well.
    target = files(tmp_path)[0]
    np.save(target, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"][target.name] = {"size": target.stat().st_size, "sha256": storage._sha256(target)}
    write_manifest(tmp_path, manifest)
    with pytest.raises(IndexFileError, match="without pickles"):
        TermKnnIndex.load(tmp_path, device="cpu")


@pytest.mark.parametrize("kind", STORAGES)
def test_a_changed_byte_in_any_file_is_found(tmp_path, kind):
    small(storage=kind).save(tmp_path)
    for path in files(tmp_path):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IndexFileError, match=f"{path.name}: expected sha256"):
            TermKnnIndex.load(tmp_path, device="cpu")
        path.write_bytes(whole)
    TermKnnIndex.load(tmp_path, device="cpu")


@pytest.mark.parametrize("verify", [True, False])
def test_a_short_or_missing_file_is_found(tmp_path, verify):
    small().save(tmp_path)
    for path in files(tmp_path):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(IndexFileError, match=f"{path.name}: expected {len(whole):,} bytes, got"):
            TermKnnIndex.load(tmp_path, device="cpu", verify=verify)
        path.unlink()
        with pytest.raises(IndexFileError, match=f"{path.name}: expected a file of .* there is none"):
            TermKnnIndex.load(tmp_path, device="cpu", verify=verify)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected the manifest of a saved index, there is none"),
        ("{", "expected JSON"),
        ("[]", "expected an index of format 4, got 'list'"),
        ('{"format": 2}', "expected an index of format 4, got 2"),
        ('{"format": 4}', "are missing"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IndexFileError, match=message):
        TermKnnIndex.load(tmp_path, device="cpu")


@pytest.mark.parametrize("key", ["data", "files"])
def test_a_manifest_cannot_point_elsewhere(tmp_path, key):
    small().save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest[key] = "../elsewhere" if key == "data" else {"../x.npy": {"size": 1, "sha256": ""}}
    write_manifest(tmp_path, manifest)
    with pytest.raises(IndexFileError, match=r"expected plain file names, got '\.\./"):
        TermKnnIndex.load(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fingerprint", "model-2", "manifest.json: expected sha256"),
        ("fields", ["industry"], "manifest.json: expected sha256"),
        ("storage", "int8", "manifest.json: expected sha256"),
    ],
)
def test_an_altered_manifest_is_found(tmp_path, key, value, message):
    """Else one model's vectors would pass for another's, and one field's terms for another's."""
    small().save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest[key] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IndexFileError, match=message):
        TermKnnIndex.load(tmp_path, device="cpu", verify=False)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0-ids", np.arange(3), r"given: expected shape \(3\), got \(2,\)"),
        ("0-coarse", np.zeros((2, 9), np.int32), r"coarse: expected shape \(2, 1\), got \(2, 9\)"),
        ("0-number0-ranks", np.zeros(2, np.int64), "ranks of 'pay': expected dtype int32, got int64"),
        ("0-field0-rows", np.zeros(7, np.int32), r"rows of 'région/ö': expected shape \(2\), got \(7,\)"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, name, array, message):
    """Checksums and all, for the compiled loops look at no bounds."""
    small().save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    path = tmp_path / manifest["data"] / f"{name}.npy"
    np.save(path, array)
    manifest["files"][path.name] = {"size": path.stat().st_size, "sha256": storage._sha256(path)}
    write_manifest(tmp_path, manifest)
    with pytest.raises(IndexFileError, match=message):
        TermKnnIndex.load(tmp_path, device="cpu")


def test_a_disk_that_is_full_in_earnest(tmp_path):
    """The system refuses to let a file grow: a limit of this process stands in for the end of the disk."""
    small("old").save(tmp_path)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    code = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from gpu_retrieval import IndexNotSaved, TermKnnIndex\n"
        "index = TermKnnIndex.build(np.arange(2_000), np.ones((2_000, 8), np.float32), device='cpu')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    index.save(sys.argv[1])\n"
        "except IndexNotSaved as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert "expected room for" in run.stdout and "what it held before is there" in run.stdout, run
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert TermKnnIndex.load(tmp_path, device="cpu").fingerprint == "old"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexNotSaved, match="expected a folder that can be written"):
        small().save(tmp_path / "file")


@pytest.mark.parametrize("n_written", [0, 3, "manifest"])
def test_a_failed_save_leaves_the_old_index(tmp_path, monkeypatch, n_written):
    """The disk fills up before the first file, after three, and as the manifest is written."""
    small("old").save(tmp_path)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    real, count = storage._write, []

    def full(path, array):
        if len(count) == n_written:
            path.write_bytes(b"part of a fi")
            raise OSError(28, "No space left on device")
        count.append(path)
        return real(path, array)

    def full_manifest(path, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if n_written == "manifest":
            patch.setattr(storage, "_replace_text", full_manifest)
        else:
            patch.setattr(storage, "_write", full)
        with pytest.raises(IndexNotSaved, match=r"expected room for [\d,]+ bytes, [\d,]+ were free: .*No space left"):
            small("new").save(tmp_path)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert TermKnnIndex.load(tmp_path, device="cpu").fingerprint == "old"
    small("new").save(tmp_path)
    assert TermKnnIndex.load(tmp_path, device="cpu").fingerprint == "new"
