"""Which terms are made of which columns of a profile or a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.errors import StageError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# How a text becomes terms: by looking its n-grams up; as its tokens; as one value, looked up whole; as it is.
PHRASE, TOKENS, VALUE, TERM = "phrase", "tokens", "value", "term"

# The dictionaries that texts are looked up in, by n-grams or whole: those of the fields below.
LOOKED_UP = frozenset(
    [
        *["occupation", "skill", "company", "region", "country", "industry", "seniority", "education"],
        *["employment_type", "language", "licence", "benefit", "contact"],
    ]
)

# Full-time equivalents, to compare pay by the hour with pay by the year.
PERIODS_A_YEAR = {"hour": 2080.0, "day": 260.0, "week": 52.0, "month": 12.0, "year": 1.0}

# Four bands to a doubling: each is 19 % wider than the one below it, in any currency.
BANDS_A_DOUBLING = 4
# A range wider than three doublings says nothing.
MAX_BANDS = 12


@dataclass(frozen=True)
class Made:
    """Terms of `field`, made of texts; `dictionary` is the field whose term ids they carry."""

    field: str
    how: str
    texts: Column
    dictionary: str = ""


def job_fields() -> list[Made]:
    """What is made of a row of `jobs`."""
    return [
        Made("occupation", PHRASE, F.array("title")),
        Made("title", TOKENS, F.array("title")),
        Made("skill", VALUE, F.col("skills")),
        *[Made(name, VALUE, F.array(name)) for name in ("company", "region", "country", "industry")],
        *[Made(name, VALUE, F.array(name)) for name in ("seniority", "education", "employment_type")],
        Made("language", VALUE, F.col("languages")),
        Made("licence", VALUE, F.col("licences")),
        Made("benefit", VALUE, F.col("benefits")),
        Made("contact", VALUE, F.array("contact_key")),
        Made("remote", TERM, F.array(F.when(F.col("is_remote"), "remote").when(~F.col("is_remote"), "on site"))),
        Made(
            "salary_band",
            TERM,
            salary_bands(F.col("salary_min"), F.col("salary_max"), F.col("salary_period")),
        ),
    ]


def seeker_fields() -> list[Made]:
    """What is made of a row of `seekers`. The present occupation is that of the newest title."""
    older = F.when(F.size("titles") > 1, F.slice("titles", 2, 1_000_000))
    year = F.lit("year")
    return [
        Made("occupation", PHRASE, F.slice("titles", 1, 1)),
        Made("past_occupation", PHRASE, older, dictionary="occupation"),
        Made("wanted_occupation", PHRASE, F.col("interests"), dictionary="occupation"),
        Made("title", TOKENS, F.col("titles")),
        Made("skill", VALUE, F.col("skills")),
        *[Made(name, VALUE, F.array(name)) for name in ("company", "region", "country", "industry")],
        *[Made(name, VALUE, F.array(name)) for name in ("seniority", "education")],
        Made("language", VALUE, F.col("languages")),
        Made("salary_band", TERM, salary_bands(F.col("salary_min"), F.col("salary_min"), year)),
    ]


def check_fields(fields: Iterable[str]) -> None:
    """StageError where a taxonomy has a field that nothing is looked up in.

    >>> check_fields(["ocupation"])
    Traceback (most recent call last):
        ...
    jobs.errors.StageError: taxonomy: nothing is looked up in the field 'ocupation'; did you mean 'occupation'?
    """
    for field in sorted(set(fields) - LOOKED_UP):
        raise StageError(f"taxonomy: nothing is looked up in the field {field!r}; {nearest(field, LOOKED_UP)}")


def salary_bands(low: Column, high: Column, period: Column) -> Column:
    """The bands from the low to the high end, as array<string>; one end does for both; null without any.

    Band n holds pay a year from 2^(n/4) up to 2^((n+1)/4) units of the board's currency.
    """
    # F.when on literals: a mapping's period may be any text, and an unknown one has no bands
    times = F.lit(None).cast("double")
    for name, count in PERIODS_A_YEAR.items():
        times = F.when(F.lower(F.coalesce(period, F.lit("year"))) == name, F.lit(count)).otherwise(times)

    def band(pay: Column) -> Column:
        return F.when(pay > 0, F.floor(F.log2(pay * times) * BANDS_A_DOUBLING).cast("int"))

    first, last = band(F.coalesce(low, high)), band(F.coalesce(high, low))
    bands = F.sequence(first, F.least(last, first + MAX_BANDS - 1))
    return F.when(first <= last, F.transform(bands, lambda n: F.concat(F.lit("band "), n.cast("string"))))


def long_texts(rows: DataFrame, key: tuple[str, ...], fields: list[Made]) -> DataFrame:
    """One row a text: key, field, how, dictionary, text. An entity without any has one row of nulls."""
    made = [_entries(one) for one in fields]
    texts = F.filter(F.concat(*made), lambda entry: entry["text"].isNotNull())
    return rows.select(*key, F.explode_outer(texts).alias("entry")).select(*key, "entry.*")


def _entries(made: Made) -> Column:
    def entry(text: Column) -> Column:
        parts = {"field": made.field, "how": made.how, "dictionary": made.dictionary or made.field}
        return F.struct(*[F.lit(value).alias(name) for name, value in parts.items()], text.alias("text"))

    return F.transform(F.coalesce(made.texts, F.array().cast("array<string>")), entry)
