"""Model files: what is written is what is served, and nothing else is loaded."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.artifacts import written_folder
from jobs.embeddings.model_files import has_model, load_model, save_model
from jobs.errors import LakeError

# Two features of field 1 ("title": terms 3 and 4) and job 50 with an embedding of its own.
KEYS = np.array([(1 << 32) + 3, (1 << 32) + 4])
TABLE = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, -4.0]], dtype=np.float32)


def parts(**changed):
    return {
        "fields": ("region", "title"),
        "feature_keys": KEYS,
        "job_ids": np.array([50]),
        "table": TABLE,
        "weights": np.ones(3, dtype=np.float32),
        "config": {"seed": 7},
    } | changed


def written(folder, **changed):
    with written_folder(str(folder)) as scratch:
        return save_model(scratch, **parts(**changed))


def test_vectors_are_unit_means_of_what_is_known(tmp_path):
    fingerprint = written(tmp_path / "m")
    model = load_model(str(tmp_path / "m"))
    assert (model.dim, model.fields, model.fingerprint) == (2, ("region", "title"), fingerprint)
    jobs = {
        49: [KEYS[0], KEYS[1]],  # cold: (3, 4) / 5
        50: [KEYS[1], KEYS[0]],  # warm: its id takes the second feature away, (3, 0)
        51: [99, KEYS[0]],  # an unknown term counts nothing
        52: [99],  # nothing known
        53: [],  # nothing at all
    }
    keys = np.array([key for terms in jobs.values() for key in terms], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, jobs.values())])
    vectors, is_cold = model.vectors(np.array(list(jobs)), keys, offsets)
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [1, 0], [1, 0], [0, 0], [0, 0]], atol=1e-7)
    assert vectors.dtype == np.float32
    assert is_cold.tolist() == [True, False, True, True, True]


def test_features_alone_are_pooled_as_a_job_without_history(tmp_path):
    written(tmp_path / "m")
    model = load_model(str(tmp_path / "m"))
    vectors = model.vectors_of_features(np.array([*KEYS, 99, KEYS[1]]), np.array([0, 2, 3, 3, 4]))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0], [0, 1]], atol=1e-7)
    assert vectors.dtype == np.float32
    assert model.vectors_of_features(np.empty(0, np.int64), np.array([0])).shape == (0, 2)


def test_weights_decide_the_mean(tmp_path):
    written(tmp_path / "m", weights=np.array([1.0, 0.0, 1.0], dtype=np.float32))
    vectors, _ = load_model(str(tmp_path / "m")).vectors(np.array([1]), KEYS, np.array([0, 2]))
    assert vectors.tolist() == [[1.0, 0.0]]


def test_the_fingerprint_is_of_all_that_decides_a_vector(tmp_path):
    names = iter("abcdefg")
    same = [written(tmp_path / next(names)) for _ in range(2)]
    others = [
        written(tmp_path / next(names), table=TABLE + np.float32(1e-6)),
        written(tmp_path / next(names), config={"seed": 8}),
        written(tmp_path / next(names), fields=("title", "region")),
        written(tmp_path / next(names), job_ids=np.array([51])),
    ]
    assert same[0] == same[1]
    assert len({same[0], *others}) == 5


def test_a_model_that_is_not_there_is_named(tmp_path):
    assert not has_model(str(tmp_path / "m"))
    with pytest.raises(LakeError, match=str(tmp_path / "m")):
        load_model(str(tmp_path / "m"))
    written(tmp_path / "m")
    assert has_model(str(tmp_path / "m"))


def test_pickles_are_not_loaded(tmp_path):
    with written_folder(str(tmp_path / "m")) as scratch:
        save_model(scratch, **parts())
        np.save(scratch / "job_ids.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        load_model(str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"table": TABLE[:2]}, r"expected 3 rows, got table \(2, 2\)"),
        ({"table": np.where(TABLE == 4, np.nan, TABLE)}, "row 1 holds NaN"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "m", **changed)
    assert not has_model(str(tmp_path / "m"))
