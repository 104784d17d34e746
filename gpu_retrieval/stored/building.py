"""Jobs as they were given, checked, as a segment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpu_retrieval.checks import check_array, check_finite, check_known, check_str
from gpu_retrieval.ragged import Ragged, check_terms
from gpu_retrieval.stored.columns import MAX_ROWS, NumberColumn, TermColumn
from gpu_retrieval.stored.quantize import encode
from gpu_retrieval.stored.segments import Segment


def new_segment(
    ids: np.ndarray,
    vectors: np.ndarray,
    terms: Mapping[str, Ragged],
    numbers: Mapping[str, np.ndarray],
    storage: str,
) -> Segment:
    """The jobs as a segment, all of it checked as `TermKnnIndex.build` says."""
    ids = check_array("ids", ids, "int64", (None,))
    n = len(ids)
    if n >= MAX_ROWS:
        raise ValueError(f"ids: expected fewer than {MAX_ROWS:,} jobs, got {n:,}; build the index in shards")
    vectors = check_array("vectors", vectors, "float32", (n, None))
    if vectors.shape[1] == 0:
        raise ValueError(f"vectors: expected at least one component, got shape {vectors.shape}")
    _check_ids(ids)
    check_finite("vectors", vectors)
    term_columns = {}
    for name, ragged in terms.items():
        term_columns[check_str("terms", name)] = TermColumn.from_ragged(check_terms(f"terms[{name!r}]", ragged, n))
    number_columns = {}
    for name, values in numbers.items():
        values = check_array(f"numbers[{name!r}]", values, ("float64", "int64"), (n,))
        number_columns[check_str("numbers", name)] = NumberColumn.from_values(values)
    segment = Segment(
        given=np.arange(n, dtype=np.int64),
        ids=ids.copy(),
        vectors=vectors,
        codes=encode(vectors, storage),
        terms=term_columns,
        numbers=number_columns,
    )
    return segment.clustered()


def _check_ids(ids: np.ndarray) -> None:
    if len(ids) and ids.min() < 0:
        # -1 stands for "no hit".
        raise ValueError(f"ids: expected 0 or more, row {np.argmax(ids < 0):,} holds {ids[np.argmax(ids < 0)]}")
    in_order = np.sort(ids)
    repeats = in_order[1:] == in_order[:-1]
    if repeats.any():
        twice = in_order[1:][repeats]
        raise ValueError(f"ids: expected unique ids, got {len(twice):,} repeated, first {twice[0]}")


def check_alike(segment: Segment, first: Segment) -> None:
    """Components, fields, numbers and dtypes of a segment are those of the index's first."""
    if segment.vectors.shape[1] != first.vectors.shape[1]:
        raise ValueError(f"vectors: expected {first.vectors.shape[1]} components, got {segment.vectors.shape[1]}")
    for kind, name, mine, theirs in (
        ("term fields", "terms", set(first.terms), set(segment.terms)),
        ("numbers", "numbers", set(first.numbers), set(segment.numbers)),
    ):
        if unknown := sorted(theirs - mine):
            check_known(kind, unknown[0], mine)
        if mine != theirs:
            raise ValueError(f"{name}: expected {sorted(mine)}, got {sorted(theirs)}")
    for name, column in first.numbers.items():
        if segment.numbers[name].levels.dtype != column.levels.dtype:
            expected, got = column.levels.dtype, segment.numbers[name].levels.dtype
            raise TypeError(f"number {name!r}: expected dtype {expected}, got {got}")
