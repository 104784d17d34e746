"""The parts on which exactness rests: bits of float32, the error bound, exact comparison; and imports."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_retrieval import Ragged
from gpu_retrieval.backend import choose_backend, narrow_bits, widen_bits
from gpu_retrieval.stored.columns import NumberColumn
from gpu_retrieval.stored.quantize import decode, encode, score_error
from gpu_retrieval.topk import key_scores, score_keys

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
BOUNDED = settings(max_examples=200, deadline=None, derandomize=True)


@given(st.lists(FLOATS, min_size=1, max_size=20))
@BOUNDED
def test_bits_to_float64_and_back(values):
    """The device's way through integer bits equals the CPU's casts, subnormals and all."""
    narrow = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(widen_bits(np, narrow), narrow.astype(np.float64))
    wide = narrow.astype(np.float64) * 1.0000000123
    with np.errstate(over="ignore"):
        expected = (wide.astype(np.float32) + np.float32(0)).view(np.uint32)
        np.testing.assert_array_equal(narrow_bits(np, wide), expected)
    np.testing.assert_array_equal(choose_backend("cpu").float32_bits(wide), expected)


@given(st.lists(st.tuples(FLOATS, st.integers(0, 2**32 - 2)), min_size=1, max_size=20))
@BOUNDED
def test_keys_sort_as_scores_then_ids(pairs):
    scores = np.array([score for score, _ in pairs], dtype=np.float32) + np.float32(0)
    ranks = np.array([rank for _, rank in pairs], dtype=np.uint32)
    keys = score_keys(np, scores.view(np.uint32), ranks)
    np.testing.assert_array_equal(key_scores(keys), scores)
    expected = sorted(range(len(pairs)), key=lambda i: (-scores[i], ranks[i]))
    np.testing.assert_array_equal(np.sort(keys), keys[expected])


@given(
    seed=st.integers(0, 2**32),
    d=st.integers(1, 60),
    storage=st.sampled_from(["float32", "float16", "int8"]),
    exponents=st.tuples(st.integers(-120, 50), st.integers(-120, 50)),
    peaked=st.booleans(),
)
@BOUNDED
def test_a_scanned_score_errs_by_no_more_than_its_bound(seed, d, storage, exponents, peaked):
    """Against exact rational arithmetic, with the sum in float32 in the plain order."""
    rng = np.random.default_rng(seed)
    query, vector = (rng.standard_normal((1, d)) * 2.0**e for e in exponents)
    if peaked:
        vector[0, 0] *= 1e4
    query, vector = query.astype(np.float32), vector.astype(np.float32)
    prior = np.float32(rng.standard_normal())
    codes = encode(vector, storage)
    decoded = decode(np, codes.values, codes.scale)
    scanned = np.float32(0)
    for a, b in zip(query[0], decoded[0], strict=True):
        scanned = np.float32(scanned + np.float32(a * b))
    scanned = np.float32(scanned + prior)
    exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query[0], vector[0], strict=True))
    final = np.float32(float(exact + Fraction(float(prior))))
    norm = np.linalg.norm(query.astype(np.float64)) * (1 + 1e-9)
    bound = score_error(np.array([norm]), float(codes.norms[0]), float(codes.residuals[0]), abs(float(prior)), d, 0.0)
    assert abs(Fraction(float(scanned)) - Fraction(float(final))) <= Fraction(float(bound[0]))
    assert Fraction(float(codes.norms[0])) ** 2 >= sum(Fraction(float(v)) ** 2 for v in vector[0])


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_the_bound_is_of_use(storage):
    """Unit vectors in 64 dimensions: the residual is a hundredth, not a half."""
    rows = np.random.default_rng(0).standard_normal((100, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    assert encode(rows, storage).residuals.max() < 0.012


EDGES = [-(2**63), -(2**63) + 1, -(2**53) - 1, -1, 0, 1, 2**53, 2**53 + 1, 2**62, 2**63 - 513, 2**63 - 1]
HALVES = [-np.inf, -(2.0**63), -1.5, -0.0, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, np.inf, np.nan]


@given(
    values=st.lists(st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1), max_size=12),
    whole=st.booleans(),
    whole_bounds=st.booleans(),
    data=st.data(),
)
@BOUNDED
def test_ranges_compare_int_and_float_exactly(values, whole, whole_bounds, data):
    """Python's own comparison of int with float is exact; NumPy's is not."""
    if not whole:
        values = [float(value) for value in values] + HALVES
    bound = st.sampled_from(EDGES) if whole_bounds else st.sampled_from(HALVES) | st.floats(width=64)
    lo, hi = (np.array([data.draw(bound)], dtype=np.int64 if whole_bounds else np.float64) for _ in range(2))
    column = NumberColumn.from_values(np.array(values, dtype=np.int64 if whole else np.float64))
    (first,), (last,) = column.rank_range(lo, hi, 1)
    free = [np.isnan(end[0]) for end in (lo, hi)]
    for value, rank in zip(values, column.ranks.tolist(), strict=True):
        inside = (free[0] or lo[0].item() <= value) and (free[1] or value <= hi[0].item())
        assert (first <= rank <= last) == (all(free) or (value == value and inside))
    np.testing.assert_array_equal(column.values(), np.array(values, dtype=column.levels.dtype))


@given(st.lists(st.lists(st.integers(0, 3), max_size=14), max_size=30))
@BOUNDED
def test_distinct_rows_are_the_sets_in_order_of_appearance(rows):
    """Rows on both sides of the length from which they are looked up as a whole."""
    sets = [tuple(sorted({value * 7 + i % 5 for i, value in enumerate(row)})) for row in rows]
    different, which = Ragged.from_lists(sets).distinct()
    first_seen = list(dict.fromkeys(sets))
    assert [tuple(different.row(i).tolist()) for i in range(len(different))] in (first_seen, sets)
    assert [tuple(different.row(i).tolist()) for i in which] == sets


def test_imports_nothing_but_numpy():
    """The package comes up, builds and searches with no more than NumPy and the standard library."""
    code = """
import sys
import numpy as np
from gpu_retrieval import AnyOf, Ragged, TermKnnIndex
one, region = np.ones((1, 2), np.float32), Ragged.from_lists([[1]])
index = TermKnnIndex.build(np.array([1]), one, {"r": region}, device="cpu")
assert index.search(one, 1, AnyOf("r", region)).ids.tolist() == [[1]]
heavy = {"cupy", "torch", "numba", "scipy", "pandas", "pyarrow", "pyspark", "delta", "airflow", "jobs"}
assert not heavy & {name.split(".")[0] for name in sys.modules}, heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
