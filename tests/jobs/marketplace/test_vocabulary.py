"""The dictionary, and the directions that affinity is made of: no session needed."""

from __future__ import annotations

import math

from jobs.marketplace.dictionary import VARIANTS, load_dictionary, title_dictionary
from jobs.marketplace.draws import TABLE_SIZE, proportional_table
from jobs.marketplace.employers import ELSE, hire_pairs
from jobs.marketplace.latents import job_work, place, wanted_work

WORDS = load_dictionary()


def dot(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def test_the_vocabulary_is_large_enough_and_holds_together():
    assert len(WORDS.occupations) >= 60
    assert len(WORDS.families) >= 12
    for occupation in WORDS.occupations:
        assert len(set(occupation.skills)) == 8, occupation.code
        assert occupation.number not in occupation.moves + occupation.dreams, occupation.code
        assert not set(occupation.moves) & set(occupation.dreams), occupation.code  # hired, or never hired
    assert set(WORDS.spellings) <= {skill for o in WORDS.occupations for skill in o.skills}


def test_the_boards_dictionary_lists_most_titles_and_no_title_twice():
    titles = [written for kind, written, _, _ in title_dictionary(WORDS) if kind == "title"]
    unlisted = [way for o in WORDS.occupations for way in o.unlisted]
    assert len(set(titles)) == len(titles)
    assert not set(unlisted) & set(titles)
    assert 0.7 < len(titles) / (len(titles) + len(unlisted)) < 1


def test_skills_are_shared_between_related_occupations():
    def shared(a, b):
        return len(set(a.skills) & set(b.skills))

    by_code = {o.code: o for o in WORDS.occupations}
    assert shared(by_code["DAT-01"], by_code["DAT-03"]) >= 3  # two that work with data
    assert shared(by_code["DAT-01"], by_code["TRA-02"]) == 0  # a plumber does not


def test_the_wanted_occupation_is_nearest_then_its_moves():
    works = [job_work(WORDS, o, 0) for o in WORDS.occupations]
    for occupation in WORDS.occupations:
        wanted = wanted_work(WORDS, occupation, 0)
        near = [dot(wanted, work) for work in works]
        others = [a for k, a in enumerate(near) if k not in (occupation.number, *occupation.moves)]
        assert near[occupation.number] > max(others), occupation.code
        if occupation.moves:
            assert min(near[m] for m in occupation.moves) > sum(others) / len(others), occupation.code


def test_a_variant_with_the_same_skills_is_nearer_than_one_with_others():
    nurse = WORDS.occupations[0]
    # 0 and 19 share the two core skills only.
    assert set(VARIANTS[0]) & set(VARIANTS[19]) == {0, 1}
    wanted = wanted_work(WORDS, nurse, 0)
    assert dot(wanted, job_work(WORDS, nurse, 0)) > dot(wanted, job_work(WORDS, nurse, 19))


def test_a_region_is_nearest_to_itself_and_near_to_its_neighbours():
    at = {r.name: place(r) for r in WORDS.regions}
    for name, here in at.items():
        assert max(at, key=lambda other, here=here: dot(here, at[other])) == name
    assert dot(at["Rotterdam"], at["Utrecht"]) > dot(at["Rotterdam"], at["Vienna"]) + 0.5


def test_planted_pairs_name_each_pair_once_and_dreams_are_never_hired():
    pairs = hire_pairs(WORDS)
    assert len({pair[:4] for pair in pairs}) == len(pairs)
    chances = {kind: {pair[4] for pair in pairs if pair[5] == kind} for kind in ("same", "move", "sibling", "dream")}
    assert chances["dream"] == {0.0}
    assert min(chances["same"] | chances["move"]) > 5 * max(chances["sibling"] | {ELSE})
    codes = [o.code for o in WORDS.occupations]
    # A data analyst in the middle becomes a machine learning engineer in the middle.
    assert (codes.index("DAT-01"), 3, codes.index("DAT-04"), 3, 0.5, "move") in pairs


def test_the_table_of_a_distribution_has_every_weight_in_proportion():
    table = proportional_table([o.weight for o in WORDS.occupations])
    assert len(table) == TABLE_SIZE
    assert set(table) == set(range(len(WORDS.occupations)))
    assert table == sorted(table)
