from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.terms.normalize import plain, tokens, tokens_of

# Titles as people write them, and any text at all.
texts = st.text() | st.lists(
    st.sampled_from(
        ["Nurses", "C++", "Sr.", "&", "Drivers'", "classes", "of", "ＲＮ", "ſ", "ß", "İ", "ﬁ", "jobs", "1º"]
    )
).map(" ".join)


@given(texts)
def test_normalising_twice_changes_nothing(text):
    assert plain(plain(text)) == plain(text)
    assert tokens(" ".join(tokens(text))) == tokens(text)


@given(texts)
def test_tokens_do_not_depend_on_case_and_punctuation_around_them(text):
    assert tokens(f"  ({text.upper()}) ") == tokens(text.upper())
    assert all(token and " " not in token for token in tokens(text))


def test_a_column_of_texts(spark):
    rows = spark.createDataFrame([("Nurses!",), ("",), (None,)], "text string")
    assert [r[0] for r in rows.select(tokens_of(rows["text"])).collect()] == [["nurse"], [], None]
