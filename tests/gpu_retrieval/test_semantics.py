"""The empty and the missing, by literal tables; doctests of the package run here too."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import gpu_retrieval
from gpu_retrieval import (
    AllIn,
    AllOf,
    AnyOf,
    Between,
    NoneOf,
    OneOf,
    Ragged,
    TermKnnIndex,
    clauses,
    ragged,
)
from gpu_retrieval.stored import columns

ONE, NAN = np.zeros((1, 1), dtype=np.float32), np.nan


@pytest.fixture(scope="module")
def index(device) -> TermKnnIndex:
    """Job 1 has terms 1 and 2 and number 5, job 2 has term 2 and 7, job 3 has neither."""
    return TermKnnIndex.build(
        np.array([1, 2, 3]),
        np.ones((3, 1), dtype=np.float32),
        {"skill": Ragged.from_lists([[2, 1, 2], [2], []])},
        {"pay": np.array([5, 7, NAN]), "level": np.array([5, 7, 0], dtype=np.int64)},
        device=device,
    )


def passing(index: TermKnnIndex, where) -> list[int]:
    hits = index.search(ONE, 3, where)
    ids = hits.ids[0][: hits.n_matches[0]].tolist()
    assert hits.ids[0][hits.n_matches[0] :].tolist() == [-1] * (3 - len(ids))
    return ids


def row(*terms: int) -> Ragged:
    return Ragged.from_lists([terms])


def applying(flag: bool) -> np.ndarray:
    return np.array([flag])


@pytest.mark.parametrize(
    ("clause", "asked", "missing_passes", "expected"),
    [
        # The query's own emptiness decides first, whatever the job lacks.
        (AnyOf, [], False, []),
        (AnyOf, [], True, []),
        (AllIn, [], False, [1, 2, 3]),
        (AllIn, [], True, [1, 2, 3]),
        # Then what the job has; job 3 has nothing.
        (AnyOf, [1], False, [1]),
        (AnyOf, [1], True, [1, 3]),
        (AnyOf, [1, 2], False, [1, 2]),
        (AllIn, [2], False, [1, 2]),
        (AllIn, [1, 2], False, [1]),
        (AllIn, [1, 2], True, [1, 3]),
        # A term that nobody has.
        (AnyOf, [9], False, []),
        (AnyOf, [9], True, [3]),
        (AnyOf, [9, 1], False, [1]),
        (AllIn, [9], False, []),
        (AllIn, [9, 2], True, [3]),
        # Repeats.
        (AllIn, [1, 1, 2, 1], False, [1]),
    ],
)
def test_terms(index, clause, asked, missing_passes, expected):
    assert passing(index, clause("skill", row(*asked), missing_passes=missing_passes)) == expected


@pytest.mark.parametrize(("asked", "expected"), [([], [1, 2, 3]), ([1], [2, 3]), ([2], [3]), ([9], [1, 2, 3])])
def test_none_of_passes_what_is_missing(index, asked, expected):
    assert passing(index, NoneOf("skill", row(*asked))) == expected


@pytest.mark.parametrize(
    ("lo", "hi", "missing_passes", "expected"),
    [
        (NAN, NAN, False, [1, 2, 3]),
        (None, None, False, [1, 2, 3]),
        (5.0, NAN, False, [1, 2]),
        (5.0, 5.0, False, [1]),
        (NAN, 7.0, False, [1, 2]),
        (5.5, 6.5, False, []),
        (7.0, 5.0, False, []),
        (7.0, None, True, [2, 3]),
        (7.0, 5.0, True, [3]),
        (-np.inf, np.inf, False, [1, 2]),
    ],
)
def test_between(index, lo, hi, missing_passes, expected):
    bounds = [None if end is None else np.array([end]) for end in (lo, hi)]
    assert passing(index, Between("pay", *bounds, missing_passes=missing_passes)) == expected


def test_a_whole_number_is_never_missing(index):
    assert passing(index, Between("level", np.array([0]), None)) == [1, 2, 3]
    assert passing(index, Between("level", np.array([-1.5]), np.array([5.5]), missing_passes=True)) == [1, 3]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        # A leaf that does not apply binds nothing; inside an OR it is as if it were not written.
        (AnyOf("skill", row(1), applies=applying(False)), [1, 2, 3]),
        (OneOf(AnyOf("skill", row(1)), AnyOf("skill", row(2), applies=applying(False))), [1]),
        (AllOf(AnyOf("skill", row(1)), AnyOf("skill", row(9), applies=applying(False))), [1]),
        # A composite none of whose parts applies does not bind.
        (OneOf(AnyOf("skill", row(9), applies=applying(False))), [1, 2, 3]),
        (OneOf(AnyOf("skill", row(1)), AllOf(AnyOf("skill", row(9), applies=applying(False)))), [1]),
        (AllOf(AnyOf("skill", row(1)), OneOf(AnyOf("skill", row(9), applies=applying(False)))), [1]),
        (OneOf(AnyOf("skill", row(9)), applies=applying(False)), [1, 2, 3]),
        (OneOf(AnyOf("skill", row(1)), OneOf(AnyOf("skill", row(2)), applies=applying(False))), [1]),
        # A composite without parts has none that applies.
        (AllOf(), [1, 2, 3]),
        (OneOf(), [1, 2, 3]),
        (OneOf(AnyOf("skill", row(1)), AllOf()), [1]),
        # An OR of a false part is false.
        (OneOf(AnyOf("skill", row())), []),
    ],
)
def test_applies(index, where, expected):
    assert passing(index, where) == expected


def test_applies_is_a_query_s_own(index):
    where = AnyOf("skill", Ragged.from_lists([[1], [1], []]), applies=np.array([True, False, True]))
    assert index.search(np.zeros((3, 1), np.float32), 3, where).n_matches.tolist() == [1, 3, 0]


@pytest.mark.parametrize("module", [gpu_retrieval, clauses, columns, ragged])
def test_doctests(module):
    failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed
