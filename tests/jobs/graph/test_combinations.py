"""Combinations counted in groups are those of a plain enumeration, however the groups come."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from typing import Any

import pyarrow as pa
import pytest

from jobs.graph import combinations as counting
from jobs.graph.combinations import GROWN, grown_of_batches

ROWS = pa.schema(
    [
        ("meta", pa.int32()),
        ("pair", pa.int64()),
        ("is_hire", pa.bool_()),
        ("weight", pa.float64()),
        ("later", pa.list_(pa.int32())),
    ]
)
Pair = tuple[bool, float, list[int]]


def grouped(pairs: list[Pair]) -> pa.RecordBatch:
    """As `links.grow` hands them over: one row a pair and meta link, in order of meta link."""
    rows = [
        {"meta": meta, "pair": 100 + place, "is_hire": is_hire, "weight": weight, "later": metas[number + 1 :]}
        for place, (is_hire, weight, metas) in enumerate(pairs)
        for number, meta in enumerate(metas[:-1])
    ]
    return pa.RecordBatch.from_pylist(sorted(rows, key=lambda row: row["meta"]), schema=ROWS)


def found(batches: list[pa.RecordBatch], min_support: int, max_arity: int) -> dict[tuple[int, ...], dict[str, Any]]:
    made = list(grown_of_batches(batches, min_support, max_arity))
    assert all(batch.schema == GROWN for batch in made)
    rows = [row for batch in made for row in batch.to_pylist()]
    by_items = {tuple(row.pop("items")): row for row in rows}
    assert len(by_items) == len(rows), "each once"
    return by_items


def enumerated(pairs: list[Pair], min_support: int, max_arity: int) -> dict[tuple[int, ...], dict[str, Any]]:
    carriers: dict[tuple[int, ...], list[int]] = {}
    for place, (_, _, metas) in enumerate(pairs):
        for arity in range(2, max_arity + 1):
            for items in combinations(metas, arity):
                carriers.setdefault(items, []).append(place)
    expected = {}
    for items, places in carriers.items():
        n_rows = sum(pairs[place][0] for place in places)
        n_hires = sum(pairs[place][1] for place in places if pairs[place][0])
        n_no_hires = sum(pairs[place][1] for place in places if not pairs[place][0])
        if n_rows >= min_support:
            expected[items] = {
                "n_pairs": len(places),
                "n_rows": n_rows,
                "n_hires": n_hires,
                "n_no_hires": n_no_hires,
                "pairs": [100 + place for place in places] if n_no_hires <= n_hires else [],
            }
    return expected


@pytest.mark.parametrize("max_arity", [2, 3, 4])
def test_as_a_plain_enumeration(max_arity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(max_arity)
    pairs = [
        (draw.random() < 0.5, draw.choice([0.5, 1.0]), sorted(draw.sample(range(12), draw.randint(0, 7))))
        for _ in range(120)
    ]
    rows, expected = grouped(pairs), enumerated(pairs, 3, max_arity)
    assert {len(items) for items in expected} == set(range(2, max_arity + 1)), "the world reaches every length"
    assert any(not row["pairs"] for row in expected.values())
    assert found([rows], 3, max_arity) == expected
    cuts = [0, 1, 1, 40, 41, 200, rows.num_rows]
    parts = [rows.slice(start, end - start) for start, end in pairwise(cuts)]
    assert found(parts, 3, max_arity) == expected, "a group may be cut anywhere, and a batch be empty"
    monkeypatch.setattr(counting, "BATCH", 1)
    assert len(list(grown_of_batches([rows], 3, max_arity))) > 5, "handed over a group at a time"
    assert found([rows], 3, max_arity) == expected


def test_where_nothing_is_frequent() -> None:
    pairs: list[Pair] = [(True, 1.0, [1, 2]), (True, 1.0, [1, 2]), (True, 1.0, [1, 3]), (False, 1.0, [1, 2])]
    assert found([grouped(pairs)], 3, 2) == {}
    assert found([], 3, 2) == {}
    assert set(found([grouped(pairs)], 2, 2)) == {(1, 2)}
