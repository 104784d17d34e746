"""Combinations counted group by group are those of a plain enumeration, however many are handed over at once."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from jobs.graph import combinations as counting
from jobs.graph.combinations import COMBINATION_BYTES, PAIR_BYTES, Collected, Counts, Labels, Level, after, combined
from jobs.graph.lists import Lists

Pair = tuple[bool, float, list[int]]
Found = dict[tuple[int, ...], tuple[list[float], list[int]]]
N_ITEMS = 12


def singles(pairs: list[Pair]) -> tuple[Level, Labels]:
    """Every item with all that carry it, whatever is combined."""
    labels = Labels(np.array([p[0] for p in pairs], bool), np.array([p[1] for p in pairs], float))
    carriers, numbers = Lists.of([items for _, _, items in pairs]).turned(N_ITEMS), np.arange(N_ITEMS)
    counts = np.array([counts_of(pairs, carriers.take(numbers[i : i + 1]).values.tolist()) for i in numbers])
    return Level(numbers.astype(np.int32)[:, None], Counts(*counts.T), carriers, numbers), labels


def counts_of(pairs: list[Pair], places: list[int]) -> list[float]:
    hires = [pairs[place][1] for place in places if pairs[place][0]]
    return [len(places), len(hires), sum(hires), sum(pairs[place][1] for place in places) - sum(hires)]


def found(
    pairs: list[Pair], support: int, max_arity: int, n_combined: int = N_ITEMS, memory: int = 1 << 30, threads: int = 1
) -> Found:
    single, labels = singles(pairs)
    carried = Lists.of([items[:n_combined] for _, _, items in pairs])
    (_, *levels), supports = combined(
        single, carried, labels, support=support, max_arity=max_arity, memory=memory, threads=threads
    )
    assert supports == sorted(supports), "a longer one needs no fewer hires"
    assert [level.items.shape[1] for level in levels] == list(range(2, max_arity + 1))
    made = {}
    for level in levels:
        offsets, values = level.pairs.offsets.tolist(), level.pairs.values.tolist()
        assert level.items.tolist() == sorted(level.items.tolist()), "in order"
        for place, items in enumerate(level.items.tolist()):
            counts = level.counts.take(np.array([place]))
            made[tuple(items)] = (
                [float(value[0]) for value in vars(counts).values()], values[offsets[place] : offsets[place + 1]]
            )  # fmt: skip
    assert len(made) == sum(len(level.items) for level in levels), "each once"
    return made


def enumerated(pairs: list[Pair], min_support: int, max_arity: int, n_combined: int = N_ITEMS) -> Found:
    carriers: dict[tuple[int, ...], list[int]] = {}
    for place, (_, _, items) in enumerate(pairs):
        for arity in range(1, max_arity + 1):
            for chosen in combinations(items[:n_combined] if arity > 1 else items, arity):
                carriers.setdefault(chosen, []).append(place)
    expected: Found = {}
    for items in sorted(carriers, key=len):
        places, arity = carriers[items], len(items)
        counts = counts_of(pairs, places)
        parts = list(combinations(items, arity - 1))
        tells = all((part in expected or arity == 2) and len(carriers[part]) > len(places) for part in parts)
        if arity > 1 and counts[1] >= min_support and tells:
            expected[items] = (counts, places)
    # of the longest, what no-hires outnumber hires in is left out
    return {
        items: (counts, places)
        for items, (counts, places) in expected.items()
        if len(items) < max_arity or counts[3] <= counts[2]
    }


@pytest.mark.parametrize(("max_arity", "n_combined"), [(1, N_ITEMS), (2, N_ITEMS), (2, 3), (3, N_ITEMS), (4, N_ITEMS)])
def test_as_a_plain_enumeration(max_arity: int, n_combined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(max_arity)
    pairs: list[Pair] = [
        (draw.random() < 0.5, draw.choice([0.5, 1.0]), sorted(draw.sample(range(N_ITEMS - 1), draw.randint(0, 8))))
        for _ in range(160)
    ]
    # the last item goes with the first always: no combination with both tells more
    pairs = [(*labels, [*items, N_ITEMS - 1] if 0 in items else items) for *labels, items in pairs]  # type: ignore[misc]
    expected = enumerated(pairs, 3, max_arity, n_combined)
    assert {len(items) for items in expected} == set(range(2, max_arity + 1)), "the world reaches every length"
    is_cut = n_combined < N_ITEMS
    assert any({0, N_ITEMS - 1} <= {*items} for items in expected) == is_cut, "as many have both, but where cut"
    assert found(pairs, 3, max_arity, n_combined) == expected
    assert found(pairs, 3, max_arity, n_combined, threads=3) == expected
    monkeypatch.setattr(counting, "BATCH", 1)
    assert found(pairs, 3, max_arity, n_combined) == expected, "handed over a group at a time"
    monkeypatch.setattr(counting, "CHUNK", 1)
    assert found(pairs, 3, max_arity, n_combined) == expected, "and a pair or two looked at"


@pytest.mark.parametrize("threads", [1, 3])
def test_what_does_not_fit_needs_more_hires(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(threads)
    pairs: list[Pair] = [
        (draw.random() < 0.7, 1.0, [item for item in range(N_ITEMS) if draw.random() < 0.8 / (1 + item / 2)])
        for _ in range(200)
    ]

    def n_bytes(support: int) -> int:
        fits = enumerated(pairs, support, 2)
        return COMBINATION_BYTES * len(fits) + PAIR_BYTES * sum(len(places) for _, places in fits.values())

    supports = [3, 5, 6, 9, 12, 17, 24, 34, 48, 68, 96]  # times the root of two, rounded up
    sizes = [n_bytes(support) for support in supports]
    assert len({*sizes}) > 7, "the world has some of each"
    assert sizes[-1] == 0
    monkeypatch.setattr(counting, "BATCH", 8)
    for memory in (sizes[0], sizes[0] - 1, sizes[3], sizes[4] + 1, 0):
        enough = next(s for s, size in zip(supports, sizes, strict=True) if size <= memory)
        assert found(pairs, 3, 2, memory=memory, threads=threads) == enumerated(pairs, enough, 2)


def test_where_nothing_is_frequent() -> None:
    pairs: list[Pair] = [(True, 1.0, [1, 2]), (True, 1.0, [1, 2, 3]), (True, 1.0, [1, 3]), (False, 1.0, [1, 2])]
    pairs += [(True, 1.0, [3])]
    assert found(pairs, 3, 3) == {}
    assert found([], 3, 2) == {}
    assert set(found(pairs, 2, 2)) == {(1, 3)}, "(1, 2) has all the pairs that 2 has"


def test_what_comes_after_a_group_of_another_kind() -> None:
    """As seeker terms are paired with job terms: any item counts, whatever the group is, and all of them tell."""
    labels = Labels(np.array([True, True, False]), np.array([0.1, 0.2, 1.0]))
    groups, carried = Lists.of([[0, 1], [0, 1, 2]]), Lists.of([[0], [0, 2], [0]])
    collected = Collected(2, memory=1 << 20)
    for source in (1, 0):
        after((groups, np.array([-1, -1])), carried, labels, collected, source=source)
    made = collected.found()
    assert (made.source.tolist(), made.group.tolist(), made.item.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0])
    assert (made.counts.pairs.tolist(), made.counts.hires.tolist()) == ([2, 3, 2, 3], [2, 2, 2, 2])
    assert made.counts.hire_weight.tolist() == [0.3] * 4, "0.1 + 0.2 is 0.3 to six decimals"
    assert made.counts.other_weight.tolist() == [0, 1, 0, 1]
    assert made.pairs.values.tolist() == [0, 1, 0, 1, 2] * 2
