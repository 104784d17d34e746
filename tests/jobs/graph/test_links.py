"""Links mined level by level are those of a plain enumeration, and the bounds bind."""

from __future__ import annotations

import random
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pytest

from jobs.graph import links as mining
from jobs.graph.combinations import COMBINATION_BYTES, PAIR_BYTES
from jobs.graph.fit import HIRE, LabelledPairs, term_columns
from jobs.graph.hires import KINDS
from jobs.graph.links import LINKS, Limits, MinedLinks, mine_links
from jobs.graph.meta_links import META_LINK
from jobs.settings import Template

Terms = dict[str, list[int]]
Pair = tuple[str, float, Terms, Terms]
Carried = dict[tuple[str, str], tuple[set[int], float, float]]
TEMPLATES = [Template(seeker="skill", job="skill"), Template(seeker="level", job="level")]


def labelled(pairs: list[Pair], templates: list[Template]) -> LabelledPairs:
    columns = {
        "kind": pa.array([KINDS.index(kind) + HIRE for kind, *_ in pairs], pa.int32()),
        "weight": pa.array([weight for _, weight, *_ in pairs], pa.float64()),
        "is_job_later": pa.array([False] * len(pairs), pa.bool_()),
    }
    for side, field in term_columns(templates):
        rows = [pair[2 if side == "seeker" else 3].get(field, []) for pair in pairs]
        columns[f"{side}_{field}"] = pa.array(rows, pa.list_(pa.int32()))
    return LabelledPairs.of_table(pa.table(columns), templates)


def mined(pairs: list[Pair], templates: list[Template], **limits: int) -> MinedLinks:
    rows = labelled(pairs, templates)
    return mine_links(rows.labels, rows.terms, templates, Limits(**limits))


def rows_of(found: MinedLinks, places: list[int] | None = None) -> list[dict[str, object]]:
    links = np.arange(len(found.items)) if places is None else np.array(places)
    return pa.Table.from_batches(found.batches(links), LINKS).to_pylist()


def carried(found: MinedLinks) -> Carried:
    """Per link, by its segments: the pairs that carry it, n_hires, n_no_hires."""
    offsets, values = found.carriers.offsets.tolist(), found.carriers.values.tolist()
    return {
        (str(row["seeker_segment"]), str(row["job_segment"])): (
            {*values[offsets[link] : offsets[link + 1]]}, row["n_hires"], row["n_no_hires"]
        )
        for link, row in enumerate(rows_of(found))
    }  # type: ignore[return-value]  # fmt: skip


def brute_force(pairs: list[Pair], templates: list[Template], min_support: int, max_arity: int) -> Carried:
    """Every combination of every pair's meta links, and who carries it; then the three rules."""
    carriers: dict[frozenset[tuple[str, str]], set[int]] = {}
    for place, (_, _, seeker_terms, job_terms) in enumerate(pairs):
        metas = [
            (f"{t.seeker}={s}", f"{t.job}={j}")
            for t in templates
            for s in seeker_terms.get(t.seeker, [])
            for j in job_terms.get(t.job, [])
        ]
        for arity in range(1, max_arity + 1):
            for chosen in combinations(metas, arity):
                carriers.setdefault(frozenset(chosen), set()).add(place)
        for t in templates:
            if t.same and {*seeker_terms.get(t.seeker, [])} & {*job_terms.get(t.job, [])}:
                carriers.setdefault(frozenset([(f"{t.seeker}=*", f"{t.job}=*")]), set()).add(place)
    kept = {}
    for chosen, places in carriers.items():
        hires = sum(pairs[i][1] for i in places if pairs[i][0] == "hire")
        no_hires = sum(pairs[i][1] for i in places if pairs[i][0] != "hire")
        n_rows = sum(pairs[i][0] == "hire" for i in places)
        tells = all(carriers[chosen - {meta}] != places for meta in chosen if len(chosen) > 1)
        if n_rows >= min_support and tells and no_hires <= hires:
            segments = tuple("&".join(sorted({meta[side] for meta in chosen})) for side in (0, 1))
            kept[segments] = (places, hires, no_hires)
    return kept  # type: ignore[return-value]


@pytest.mark.parametrize(("max_arity", "seed"), [*product((2, 3), range(3)), (1, 0), (4, 0)])
def test_mining_equals_enumeration(max_arity: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)

    def some(n_terms: int) -> list[int]:
        return sorted(draw.sample(range(8, 8 + n_terms), draw.randint(0, 2)))

    pairs: list[Pair] = [
        (draw.choice(["hire", "hire", "hire", "random", "seen"]), draw.choice([0.5, 1.0]),
         {"skill": some(4), "level": some(2)}, {"skill": some(4), "level": some(2)})
        for _ in range(100)
    ]  # fmt: skip
    templates = [
        Template(seeker="skill", job="skill", same=True),
        Template(seeker="level", job="level"),
        Template(seeker="skill", job="level", same=True),
    ]
    expected = brute_force(pairs, templates, min_support=3, max_arity=max_arity)
    longest = max(max(side.count("&") + 1 for side in link) for link in expected)
    assert longest == min(max_arity, 3), "the world reaches it"
    assert {("skill=*", "skill=*"), ("skill=*", "level=*")} & {*expected}
    found = mined(pairs, templates, min_support=3, max_arity=max_arity)
    assert carried(found) == expected
    rows = rows_of(found)
    assert [(r["seeker_segment"], r["job_segment"]) for r in rows] == sorted(expected), "8, 9, 10, as text sorts them"
    monkeypatch.setattr(mining, "ROWS_AT_ONCE", 7)
    assert rows_of(found, [9, 0, 8]) == [rows[9], rows[0], rows[8]]
    segments = [(str(row["seeker_segment"]), str(row["job_segment"])) for row in rows]
    asked = [segments[9], ("skill=8&skill=999", "skill=8"), segments[0], ("skill=" * 10, "&".join(["skill=8"] * 10))]
    assert found.named(asked).tolist() == [0, 9], "those that there are"
    assert found.named(segments).tolist() == list(range(len(rows)))
    assert found.named([]).tolist() == []
    draw.shuffle(pairs)
    found = mined(pairs, templates, min_support=3, max_arity=max_arity, threads=2)
    assert rows_of(found) == rows, "in whatever order, by however many"
    assert found.supports == [3] * max_arity


def test_a_literal_world() -> None:
    analyst, engineer, mid = {"skill": [1], "level": [2]}, {"skill": [7], "level": [2]}, {"level": [2]}
    both = {"skill": [4], "level": [9]}
    pairs: list[Pair] = [
        *[("hire", 1.0, analyst, engineer)] * 3,  # three hires: just enough
        ("hire", 1.0, {"skill": [1]}, {"skill": [7]}),  # without level, so that level tells
        *[("random", 1.0, mid, mid)] * 4,  # level 2 ↔ 2 alone: 4 no-hires, 3 hires
        *[("hire", 1.0, {"skill": [3]}, {"skill": [8]})] * 2,  # two hires: too few
        *[("hire", 1.0, both, both)] * 3,  # skill 4 and level 9 only ever together
        ("hire", 1.0, {"colour": [1]}, {"colour": [1]}),  # outside every template
        ("hire", 1.0, {}, engineer),  # a seeker without attributes
    ]
    found = mined(pairs, TEMPLATES)
    assert carried(found) == {
        ("skill=1", "skill=7"): ({0, 1, 2, 3}, 4.0, 0.0),
        # grown from level=2 although that is outnumbered itself: the ratio is not monotone
        ("level=2&skill=1", "level=2&skill=7"): ({0, 1, 2}, 3.0, 0.0),
        # together they say no more than each alone
        ("skill=4", "skill=4"): ({10, 11, 12}, 3.0, 0.0),
        ("level=9", "level=9"): ({10, 11, 12}, 3.0, 0.0),
    }
    assert found.n_outside == 4, "two too few, one outside every template, one without attributes"
    meta_links = {row["seeker_segment"]: row["meta_links"] for row in rows_of(found)}
    level, skill = (dict(zip(META_LINK, meta, strict=True)) for meta in (("level", 2) * 2, ("skill", 1, "skill", 7)))
    assert meta_links["level=2&skill=1"] == [level, skill]


def test_one_term_on_both_sides() -> None:
    """No occupation has three hires of its own, and all have five who stay in theirs."""
    pairs: list[Pair] = [
        *[("hire", 1.0, {"skill": [i, 90]}, {"skill": [91, i]}) for i in range(5)],
        ("hire", 1.0, {"skill": [6]}, {"skill": [7]}),
        ("seen", 1.0, {"skill": [8]}, {"skill": [8]}),
        ("seen", 1.0, {"skill": [8]}, {}),
    ]
    same = [Template(seeker="skill", job="skill", same=True)]
    assert carried(mined(pairs, same)) == {
        ("skill=90", "skill=91"): ({0, 1, 2, 3, 4}, 5.0, 0.0),
        ("skill=*", "skill=*"): ({0, 1, 2, 3, 4, 6}, 5.0, 1.0),
    }
    assert mined(pairs, same).n_outside == 1
    assert set(carried(mined(pairs, TEMPLATES))) == {("skill=90", "skill=91")}


def test_a_hire_with_forty_skills_stays_bounded() -> None:
    many, job = {"skill": list(range(40))}, {"skill": [0]}
    pairs: list[Pair] = [
        *[("hire", 1.0, many, job)] * 3,  # 40 meta links, 780 pairs of them
        *[("hire", 1.0, {"skill": [i % 4]}, job) for i in range(12)],  # 0 to 3 have most hires
    ]
    found = mined(pairs, TEMPLATES, max_terms=4, max_meta_links=3, max_arity=2)
    assert found.cut == {"terms": 3 * 36, "meta_links": 3 * 1}
    alone, together = (
        {f"skill={i}" for i in range(4)},
        {"skill=0&skill=1", "skill=0&skill=2", "skill=1&skill=2"},
    )
    assert {row["seeker_segment"] for row in rows_of(found)} == alone | together, "four alone, three combined"


def test_where_memory_is_short_a_link_needs_more_hires() -> None:
    draw = random.Random(5)
    pairs: list[Pair] = [
        ("hire" if draw.random() < 0.8 else "seen", 1.0, *({"skill": [draw.choice([1, 1, 1, 2, 3])]} for _ in range(2)))
        for _ in range(60)
    ]
    hired = {(seeker["skill"][0], job["skill"][0]) for kind, _, seeker, job in pairs if kind == "hire"}
    carriers = [(seeker["skill"][0], job["skill"][0]) in hired for _, _, seeker, job in pairs]
    n_bytes = COMBINATION_BYTES * len(hired) + PAIR_BYTES * sum(carriers)
    whole, less = (
        mined(pairs, TEMPLATES, max_arity=1, min_support=1, memory=memory) for memory in (n_bytes, n_bytes - 1)
    )
    assert (whole.supports, less.supports) == ([1], [2])
    enough = [mined(pairs, TEMPLATES, max_arity=1, min_support=support) for support in (1, 2)]
    assert len(enough[0].items) > len(enough[1].items) > 0
    assert [carried(whole), carried(less)] == [carried(found) for found in enough]
    nothing = mined(pairs, TEMPLATES, memory=0)
    assert len(nothing.items) == 0 < nothing.supports[0] == nothing.supports[1]


def test_no_hires_make_no_links() -> None:
    nobody: list[Pair] = [("random", 1.0, {"skill": [1]}, {"skill": [1]})]
    for pairs in (nobody, []):
        found = mined(pairs, TEMPLATES)
        assert not len(found.items)
        assert not len(found.carriers.values)
        assert rows_of(found) == []
