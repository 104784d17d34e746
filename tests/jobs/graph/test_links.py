"""Links mined level by level are those of a plain enumeration, and the bounds bind."""

from __future__ import annotations

import random
from itertools import combinations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.graph.links import Limits, MinedLinks, mine_links
from jobs.settings import Template

PAIRS = (
    "seeker_id bigint, job_id bigint, kind string, weight double, "
    "seeker_terms map<string, array<int>>, job_terms map<string, array<int>>"
)
Terms = dict[str, list[int]]
Pair = tuple[int, int, str, float, Terms, Terms]
TEMPLATES = [Template(seeker="skill", job="skill"), Template(seeker="level", job="level")]


def mined(spark: SparkSession, pairs: list[Pair], templates: list[Template], **limits: int) -> MinedLinks:
    rows = spark.createDataFrame(pairs, PAIRS).withColumn("at_ts", F.lit(None).cast("timestamp"))
    return mine_links(rows, templates, Limits(**limits))


def carried(found: MinedLinks) -> dict[tuple[str, str], tuple[set[int], float, float]]:
    """Per link, by its segments: the seekers of the pairs that carry it, n_hires, n_no_hires."""
    rows = found.matches.join(found.links, "link").join(found.labels, "pair").collect()
    return {
        (r.seeker_segment, r.job_segment): (
            {q.seeker_id for q in rows if q.link == r.link}, r.n_hires, r.n_no_hires
        )
        for r in rows
    }  # fmt: skip


def brute_force(
    pairs: list[Pair], templates: list[Template], min_support: int, max_arity: int
) -> dict[tuple[str, str], tuple[set[int], float, float]]:
    """Every combination of every pair's meta links, and who carries it; then the three rules."""
    carriers: dict[frozenset[tuple[str, str]], set[int]] = {}
    for place, (_, _, _, _, seeker_terms, job_terms) in enumerate(pairs):
        metas = [
            (f"{t.seeker}={s}", f"{t.job}={j}")
            for t in templates
            for s in seeker_terms.get(t.seeker, [])
            for j in job_terms.get(t.job, [])
        ]
        for arity in range(1, max_arity + 1):
            for chosen in combinations(metas, arity):
                carriers.setdefault(frozenset(chosen), set()).add(place)
    kept = {}
    for chosen, places in carriers.items():
        hires = sum(pairs[i][3] for i in places if pairs[i][2] == "hire")
        no_hires = sum(pairs[i][3] for i in places if pairs[i][2] != "hire")
        n_rows = sum(pairs[i][2] == "hire" for i in places)
        tells = all(carriers[chosen - {meta}] != places for meta in chosen if len(chosen) > 1)
        if n_rows >= min_support and tells and no_hires <= hires:
            segments = tuple("&".join(sorted({meta[side] for meta in chosen})) for side in (0, 1))
            kept[segments] = ({pairs[i][0] for i in places}, hires, no_hires)
    return kept  # type: ignore[return-value]


def test_mining_equals_enumeration(spark: SparkSession) -> None:
    draw = random.Random(0)

    def some(n_terms: int) -> list[int]:
        return sorted(draw.sample(range(n_terms), draw.randint(0, 2)))

    pairs: list[Pair] = [
        (i, i, draw.choice(["hire", "hire", "random", "seen"]), draw.choice([0.5, 1.0]),
         {"skill": some(4), "level": some(2)}, {"skill": some(4), "level": some(2)})
        for i in range(60)
    ]  # fmt: skip
    templates = [*TEMPLATES, Template(seeker="skill", job="level")]
    expected = brute_force(pairs, templates, min_support=3, max_arity=3)
    assert any(link[0].count("&") == 2 for link in expected), "the world reaches arity 3"
    found = mined(spark, pairs, templates, min_support=3, max_arity=3)
    assert carried(found) == expected
    draw.shuffle(pairs)
    shuffled = mined(spark, pairs, templates, min_support=3, max_arity=3)
    assert sorted(shuffled.links.collect()) == sorted(found.links.collect()), "numbers and all"


def test_a_literal_world(spark: SparkSession) -> None:
    analyst, engineer, mid = {"skill": [1], "level": [2]}, {"skill": [7], "level": [2]}, {"level": [2]}
    both = {"skill": [4], "level": [9]}
    pairs: list[Pair] = [
        *[(i, i, "hire", 1.0, analyst, engineer) for i in range(3)],  # three hires: just enough
        (3, 3, "hire", 1.0, {"skill": [1]}, {"skill": [7]}),  # without level, so that level tells
        *[(i, i, "random", 1.0, mid, mid) for i in range(10, 14)],  # level 2 ↔ 2 alone: 4 no-hires, 3 hires
        *[(i, i, "hire", 1.0, {"skill": [3]}, {"skill": [8]}) for i in range(20, 22)],  # two hires: too few
        *[(i, i, "hire", 1.0, both, both) for i in range(40, 43)],  # skill 4 and level 9 only ever together
        (30, 30, "hire", 1.0, {"colour": [1]}, {"colour": [1]}),  # outside every template
        (31, 31, "hire", 1.0, {}, engineer),  # a seeker without attributes
    ]
    found = mined(spark, pairs, TEMPLATES)
    assert carried(found) == {
        ("skill=1", "skill=7"): ({0, 1, 2, 3}, 4.0, 0.0),
        # grown from level=2 although that is outnumbered itself: the ratio is not monotone
        ("level=2&skill=1", "level=2&skill=7"): ({0, 1, 2}, 3.0, 0.0),
        # together they say no more than each alone
        ("skill=4", "skill=4"): ({40, 41, 42}, 3.0, 0.0),
        ("level=9", "level=9"): ({40, 41, 42}, 3.0, 0.0),
    }
    outside = {r.seeker_id for r in found.itemsets.where("is_hire AND size(metas) = 0").collect()}
    assert outside == {20, 21, 30, 31}
    meta_links = {r.seeker_segment: r.meta_links for r in found.links.collect()}
    assert [tuple(m) for m in meta_links["level=2&skill=1"]] == [
        ("level", 2, "level", 2),
        ("skill", 1, "skill", 7),
    ]


def test_a_hire_with_forty_skills_stays_bounded(spark: SparkSession) -> None:
    many, job = {"skill": list(range(40))}, {"skill": [0]}
    pairs: list[Pair] = [
        *[(i, i, "hire", 1.0, many, job) for i in range(3)],  # 40 meta links, 780 pairs of them
        *[(10 + i, 10 + i, "hire", 1.0, {"skill": [i % 4]}, job) for i in range(12)],  # 0 to 3 have most hires
    ]
    found = mined(spark, pairs, TEMPLATES, max_terms=4, max_meta_links=3, max_arity=2)
    assert found.cut == {"terms": 3 * 36, "meta_links": 3 * 1}
    alone, together = (
        {f"skill={i}" for i in range(4)},
        {"skill=0&skill=1", "skill=0&skill=2", "skill=1&skill=2"},
    )
    assert {r.seeker_segment for r in found.links.collect()} == alone | together, "four alone, three combined"


def test_no_hires_make_no_links(spark: SparkSession) -> None:
    pairs: list[Pair] = [(1, 1, "random", 1.0, {"skill": [1]}, {"skill": [1]})]
    found = mined(spark, pairs, TEMPLATES)
    assert found.links.isEmpty()
    assert found.matches.isEmpty()
