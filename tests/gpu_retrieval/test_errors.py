"""Every refusal says what was expected and what came."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_retrieval import (
    AllOf,
    AnyOf,
    Between,
    DeviceUnavailable,
    FingerprintMismatch,
    NoneOf,
    Ragged,
    TermKnnIndex,
    backend,
    merge_hits,
)
from gpu_retrieval.topk import Hits

IDS, VECTORS = np.array([4, 5, 6]), np.eye(3, dtype=np.float32)
TERMS = {"region": Ragged.from_lists([[0], [1], []])}
NUMBERS = {"salary_max": np.array([1.0, 2.0, np.nan])}
QUERIES = np.ones((2, 3), dtype=np.float32)
TWO = Ragged.from_lists([[0], [1]])


@pytest.fixture(scope="module")
def index() -> TermKnnIndex:
    return TermKnnIndex.build(IDS, VECTORS, TERMS, NUMBERS, fingerprint="model-1", device="cpu")


def with_nan(row: int) -> np.ndarray:
    vectors = VECTORS.copy()
    vectors[row, 1] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ids": IDS.astype(np.int32)}, TypeError, "ids: expected dtype int64, got int32"),
        ({"ids": [4, 5, 6]}, TypeError, "ids: expected a NumPy array of int64, got list"),
        ({"ids": np.array([4, 5, 4])}, ValueError, "expected unique ids, got 1 repeated, first 4"),
        ({"ids": np.array([4, -5, 6])}, ValueError, "ids: expected 0 or more, row 1 holds -5"),
        ({"vectors": VECTORS.astype(np.float64)}, TypeError, "vectors: expected dtype float32, got float64"),
        ({"vectors": VECTORS[:2]}, ValueError, r"vectors: expected shape \(3, any\), got \(2, 3\)"),
        ({"vectors": np.empty((3, 0), np.float32)}, ValueError, "at least one component"),
        ({"vectors": np.asfortranarray(np.ones((3, 2), np.float32))}, ValueError, "C-contiguous"),
        ({"vectors": with_nan(2)}, ValueError, "vectors: expected finite values, row 2 holds"),
        ({"vectors": VECTORS + np.float32(np.inf)}, ValueError, "row 0 holds a NaN or an infinity"),
        ({"terms": {"region": Ragged.from_lists([[0]])}}, ValueError, "expected 3 rows, got 1"),
        ({"terms": {"region": Ragged.from_lists([[0], [], [7, -2]])}}, ValueError, "row 2 holds -2"),
        (
            {"terms": {"region": Ragged.from_lists([[0]] * 3, "int64")}},
            TypeError,
            "expected int32 terms, got int64",
        ),
        ({"terms": {"region": [[0], [1], [2]]}}, TypeError, "expected a Ragged, got list"),
        (
            {"numbers": {"pay": np.ones(3, np.float32)}},
            TypeError,
            "expected dtype float64 or int64, got float32",
        ),
        ({"numbers": {"pay": np.ones(2)}}, ValueError, r"expected shape \(3\), got \(2,\)"),
        ({"storage": "int4"}, ValueError, "storage: expected one of .*, got 'int4'"),
        ({"fingerprint": None}, TypeError, "fingerprint: expected a string, got NoneType"),
        ({"device": "gpu"}, ValueError, "device: expected 'auto', 'cpu' or 'cuda:N', got 'gpu'"),
    ],
)
def test_build(changes, error, message):
    arguments = {"ids": IDS, "vectors": VECTORS, "terms": TERMS, "numbers": NUMBERS, "device": "cpu"}
    with pytest.raises(error, match=message):
        TermKnnIndex.build(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"queries": QUERIES[:, :2].copy()}, ValueError, r"queries: expected shape \(any, 3\), got \(2, 2\)"),
        ({"queries": QUERIES.astype(np.float16)}, TypeError, "queries: expected dtype float32, got float16"),
        (
            {"queries": np.array([[1, 1, 1], [1, np.nan, 1]], np.float32)},
            ValueError,
            "queries: .* row 1 holds",
        ),
        ({"k": 0}, ValueError, "k: expected at least 1, got 0"),
        ({"k": 1.5}, TypeError, "k: expected an integer, got float"),
        (
            {"memory_budget": (1 << 20) - 1},
            ValueError,
            "memory_budget: expected at least 1,048,576, got 1,048,575",
        ),
        (
            {"plan": "posting"},
            ValueError,
            r"plan: expected 'auto' or one of \[('kernels', )?'scan', 'shared'(, 'terms')?\], got 'posting'",
        ),
        ({"fingerprint": "model-2"}, FingerprintMismatch, "expected 'model-1' .*, got 'model-2'"),
        ({"fingerprint": ""}, FingerprintMismatch, "expected 'model-1' .*, got ''"),
        ({"prior": np.ones(2, np.float32)}, ValueError, r"prior: expected shape \(3\), got \(2,\)"),
        ({"prior": np.ones(3)}, TypeError, "prior: expected dtype float32, got float64"),
        ({"prior": np.array([0, np.inf, 0], np.float32)}, ValueError, "prior: .* row 1 holds"),
        ({"exclude": TWO}, TypeError, "exclude: expected int64 ids, got int32"),
        ({"exclude": [[1], [2]]}, TypeError, "exclude: expected a Ragged of int64 ids, got list"),
        ({"exclude": Ragged.from_lists([[1]], "int64")}, ValueError, "exclude: expected 2 rows, got 1"),
        ({"where": {"region": 1}}, TypeError, "expected a clause, got dict"),
        ({"where": AllOf(AnyOf("region", TWO), TWO)}, TypeError, "where AllOf > Ragged: expected a clause"),
        ({"where": AnyOf("regoin", TWO)}, ValueError, "unknown field 'regoin': .* the nearest is 'region'"),
        ({"where": AnyOf("salary_max", TWO)}, ValueError, "'salary_max' is a number, see Between"),
        ({"where": Between("region", None, None)}, ValueError, "'region' is a term field"),
        ({"where": AnyOf("region", Ragged.from_lists([[1]]))}, ValueError, "expected 2 rows, got 1"),
        ({"where": NoneOf("region", Ragged.from_lists([[], [-1]]))}, ValueError, "0 or more, row 1 holds -1"),
        (
            {"where": Between("salary_max", np.ones(3), None)},
            ValueError,
            r"lo: expected shape \(2\), got \(3,\)",
        ),
        (
            {"where": Between("salary_max", None, np.ones(2, np.float32))},
            TypeError,
            "hi: expected dtype float64 or",
        ),
        ({"where": AnyOf("region", TWO, applies=np.ones(2))}, TypeError, "applies: expected dtype bool"),
        ({"where": AnyOf("region", TWO, applies=np.ones(3, bool))}, ValueError, "applies: expected shape"),
        ({"where": AnyOf("region", TWO, missing_passes=1)}, TypeError, "missing_passes: expected a bool"),
    ],
)
def test_search(index, changes, error, message):
    arguments = {"queries": QUERIES, "k": 2, "fingerprint": "model-1"}
    with pytest.raises(error, match=message):
        index.search(**{**arguments, **changes})


def test_none_of_has_no_missing_passes():
    with pytest.raises(TypeError, match="missing_passes"):
        NoneOf("region", TWO, missing_passes=True)


@pytest.mark.parametrize(
    ("offsets", "values", "error", "message"),
    [
        (np.array([0, 2, 1]), np.zeros(1, np.int32), ValueError, "row 1 goes from 2 to 1"),
        (np.array([1, 1]), np.zeros(1, np.int32), ValueError, r"expected to start at 0, got \[1\]"),
        (np.array([0, 2]), np.zeros(1, np.int32), ValueError, "expected to end at 1 values, got 2"),
        (np.empty(0, np.int64), np.zeros(0, np.int32), ValueError, "expected to start at 0"),
        (
            np.array([0, 1], np.int32),
            np.zeros(1, np.int32),
            TypeError,
            "offsets: expected dtype int64, got int32",
        ),
        (np.array([0, 1]), np.zeros(1), TypeError, "values: expected dtype int32 or int64, got float64"),
        (np.array([0, 1]), np.zeros((1, 1), np.int32), ValueError, "values: expected shape"),
    ],
)
def test_ragged(offsets, values, error, message):
    with pytest.raises(error, match=message):
        Ragged(offsets, values)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ids": np.array([5])}, ValueError, "expected new ids, 5 is in the index"),
        ({"ids": np.array([9, 9])}, ValueError, "expected unique ids"),
        ({"vectors": np.ones((1, 2), np.float32)}, ValueError, "vectors: expected 3 components, got 2"),
        ({"terms": {}}, ValueError, r"terms: expected \['region'\], got \[\]"),
        ({"terms": {"regon": Ragged.from_lists([[1]])}}, ValueError, "the nearest is 'region'"),
        ({"numbers": {"salary_max": np.array([1])}}, TypeError, "expected dtype float64, got int64"),
    ],
)
def test_add(index, changes, error, message):
    arguments = {
        "ids": np.array([9]),
        "vectors": np.ones((1, 3), np.float32),
        "terms": {"region": Ragged.from_lists([[1]])},
        "numbers": {"salary_max": np.array([1.0])},
    }
    if "ids" in changes and len(changes["ids"]) == 2:
        arguments["vectors"] = np.ones((2, 3), np.float32)
    with pytest.raises(error, match=message):
        index.add(**{**arguments, **changes})
    assert index.ids.tolist() == [4, 5, 6]


def test_remove_of_an_unknown_id_removes_nothing(index):
    with pytest.raises(ValueError, match="expected ids of the index, 7 is not in it"):
        index.remove(np.array([4, 7]))
    assert index.ids.tolist() == [4, 5, 6]


def test_merge_needs_enough_of_each_shard():
    full, short = Hits.none(2, 5), Hits.none(2, 3)
    assert merge_hits([full, short], 5).ids.shape == (2, 5)
    short.n_matches[1] = 4
    with pytest.raises(ValueError, match="expected at least k = 5 of shard 1, got 3"):
        merge_hits([full, short], 5)
    with pytest.raises(ValueError, match="expected 2 queries in shard 1, got 1"):
        merge_hits([full, Hits.none(1, 5)], 5)
    with pytest.raises(ValueError, match="at least one shard"):
        merge_hits([], 5)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(backend, "import_cupy", lambda: None)
    with pytest.raises(DeviceUnavailable, match="'cuda:0': CuPy is not installed"):
        TermKnnIndex.build(IDS, VECTORS, device="cuda:0")
    assert TermKnnIndex.build(IDS, VECTORS, device="auto").device == "cpu"


def test_a_gpu_beyond_those_there(monkeypatch):
    pytest.importorskip("cupy")
    from tests.gpu_retrieval.strict_cupy import StrictCupy

    monkeypatch.setattr(backend, "import_cupy", lambda: StrictCupy())
    with pytest.raises(DeviceUnavailable, match="'cuda:3': expected a number below 1"):
        TermKnnIndex.build(IDS, VECTORS, device="cuda:3")
    assert TermKnnIndex.build(IDS, VECTORS, device="auto").device == "cuda:0"
