from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.terms.fields import PHRASE, TERM, TOKENS, VALUE
from jobs.terms.lookup import surface_forms, text_terms

TAXONOMY = "field string, surface string, entity string, label string"
TEXTS = "dictionary string, how string, text string"


def terms(spark, taxonomy, texts, max_entities=3, max_ngram=4):
    forms = surface_forms(spark.createDataFrame(taxonomy, TAXONOMY), max_entities, max_ngram)
    found: dict[tuple[str, str], set[str]] = {}
    for row in text_terms(spark.createDataFrame(texts, TEXTS), forms, max_ngram).collect():
        found.setdefault((row["how"], row["text"]), set()).add(row["term"])
    return found


def test_texts_become_terms(spark):
    taxonomy = [
        ("occupation", "Nurse", "N", "Nurses"),
        ("occupation", "Nurse Managers", "NM", "Nurse managers"),
        ("occupation", "Registered Nurse Manager", "RNM", "Head nurses"),
        ("occupation", "Manager", "M", "Managers"),
        # of three that a Driver may be, two stay: whose label it is, then whose surfaces hold it most often
        ("occupation", "Driver", "A", "Loggers"),
        ("occupation", "Driver", "B", "Truckers"),
        ("occupation", "Truck driver", "B", "Truckers"),
        ("occupation", "Driver", "C", "Drivers"),
        ("occupation", "Drivers", "C", "Drivers"),
        ("skill", "MS Excel", "excel", "Microsoft Excel"),
    ]
    texts = [
        ("occupation", PHRASE, "NURSE, night shift"),
        ("occupation", PHRASE, "registered nurse manager"),   # the longest, and nothing inside it
        ("occupation", PHRASE, "Manager / Nurse"),            # two that do not overlap
        ("occupation", PHRASE, "Astronaut"),                  # none
        ("occupation", PHRASE, "driver needed"),
        ("title", TOKENS, "Astronauts of the Moon"),
        ("skill", VALUE, "ms EXCEL"),
        ("skill", VALUE, "Whistling "),
        ("skill", VALUE, "–"),                                # nothing is left of it
        ("remote", TERM, "on site"),
    ]  # fmt: skip
    assert terms(spark, taxonomy, texts, max_entities=2) == {
        (PHRASE, "NURSE, night shift"): {"N"},
        (PHRASE, "registered nurse manager"): {"RNM"},
        (PHRASE, "Manager / Nurse"): {"M", "N"},
        (PHRASE, "driver needed"): {"B", "C"},
        (TOKENS, "Astronauts of the Moon"): {"astronaut", "moon"},
        (VALUE, "ms EXCEL"): {"excel"},
        (VALUE, "Whistling "): {"whistling"},
        (TERM, "on site"): {"on site"},
    }


def test_without_a_taxonomy_values_and_tokens_are_the_terms(spark):
    texts = [("occupation", PHRASE, "Nurse"), ("title", TOKENS, "Nurse"), ("region", VALUE, "New York, NY")]
    assert terms(spark, [], texts) == {(TOKENS, "Nurse"): {"nurse"}, (VALUE, "New York, NY"): {"new york ny"}}


def longest_first(words, forms, max_ngram):
    """By brute force: try every span, the longest first, of equal ones the leftmost; take it where it is free."""
    taken, free = set(), [True] * len(words)
    for length in range(max_ngram, 0, -1):
        for start in range(len(words) - length + 1):
            form = " ".join(words[start : start + length])
            if form in forms and all(free[start : start + length]):
                free[start : start + length] = [False] * length
                taken.add(form)
    return taken


words = st.lists(st.sampled_from("pqrs"), max_size=7)


@settings(max_examples=3, deadline=None)
@given(st.lists(words.filter(len), min_size=1, max_size=12), st.lists(words, min_size=10, max_size=40))
def test_the_longest_match_wins_as_by_brute_force(spark, surfaces, titles):
    forms = {" ".join(surface[:3]) for surface in surfaces}
    texts = {" ".join(title) for title in titles}
    found = terms(
        spark,
        [("occupation", form, form, None) for form in forms],
        [("occupation", PHRASE, text) for text in texts],
        max_ngram=3,
    )
    expected = {text: longest_first(text.split(), forms, 3) for text in texts}
    assert {text: found.get((PHRASE, text), set()) for text in texts} == expected
