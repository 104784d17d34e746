"""Text to tokens, and values to plain text: what a title, a surface form and a skill are compared by."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

# Words that say nothing about which occupation is meant; in the form that `_singular` gives.
STOP_WORDS = frozenset(
    [
        *["a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on"],
        *["or", "per", "the", "to", "with"],
        *["job", "position", "opening", "opportunity", "career", "vacancy"],
        *["wanted", "needed", "need", "hiring", "hire"],
        *["immediate", "immediately", "urgent", "now", "new", "great", "apply", "today", "asap"],
    ]
)  # fmt: skip

# Kept inside a token: C++ and C# are not C.
_SIGNS = "+#"
_DROPPED = "'’`´"


class _Characters(dict[int, str]):
    """Letters, marks, digits and signs stay; apostrophes go; anything else parts tokens."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        keep = character in _SIGNS or unicodedata.category(character)[0] in "LMN"
        self[code] = character if keep else "" if character in _DROPPED else " "
        return self[code]


_CHARACTERS = _Characters()


def plain(text: str) -> str:
    """The text without case, compatibility forms, punctuation, extra space. Once more changes nothing.

    >>> plain("  São Paulo/SP "), plain("Ｃ＋＋"), plain("Driver's licence (B)")
    ('são paulo sp', 'c++', 'drivers licence b')
    """
    while True:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        folded = " ".join(folded.translate(_CHARACTERS).split())
        if folded == text:
            return folded
        text = folded


@lru_cache(maxsize=1 << 16)
def tokens(text: str) -> tuple[str, ...]:
    """The words of a title in their order: plain, singular, without stop words and signs that stand alone.

    >>> tokens("Cashiers & Valets Needed!")
    ('cashier', 'valet')
    >>> tokens("Sr. C++ Developer - 2nd shift")
    ('sr', 'c++', 'developer', '2nd', 'shift')
    >>> tokens(" ".join(tokens("Secretaries of the Boxes")))
    ('secretary', 'box')
    """
    words = (_singular(word.lstrip(_SIGNS)) for word in plain(text).split())
    return tuple(word for word in words if word and word not in STOP_WORDS)


def _singular(word: str) -> str:
    """The word without the ending of an English plural, where it looks like one.

    >>> [_singular(word) for word in ("nurses", "secretaries", "classes", "watches", "ties")]
    ['nurse', 'secretary', 'class', 'watch', 'tie']
    >>> [_singular(word) for word in ("boss", "bus", "analysis", "gas")]
    ['boss', 'bus', 'analysis', 'gas']
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]


def tokens_of(texts: Column) -> Column:
    """`tokens` of each text of a column; null for null."""
    return _arrow(lambda text: list(tokens(text)), "array<string>")(texts)


def plain_of(texts: Column) -> Column:
    """`plain` of each text of a column; null for null."""
    return _arrow(plain, "string")(texts)


def _arrow(function: Callable[[str], object], kind: str) -> Callable[[Column], Column]:
    import pyarrow as pa
    from pyspark.sql import functions as F

    arrow_kind = pa.string() if kind == "string" else pa.list_(pa.string())

    def batch(texts: pa.Array) -> pa.Array:
        return pa.array([None if t is None else function(t) for t in texts.to_pylist()], arrow_kind)

    batch.__annotations__ = {"texts": pa.Array, "return": pa.Array}
    udf: Callable[[Column], Column] = F.arrow_udf(batch, kind)  # type: ignore[call-overload]
    return udf
