"""The board's own tables of users, postings, companies and places: what numbers of the population look like
in writing.

Titles come in several forms, with words of seniority and noise; skills in several spellings; pay by the year,
the month or the hour; much is left out. What is missing or odd here is as in real boards and breaks no
contract: that is `dirt`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import VARIANTS, Dictionary
from jobs.marketplace.draws import Draws, constant
from jobs.marketplace.population import DAY, n_companies, numbers_of

UNITS = (("year", 1.0), ("year", 1.0), ("month", 12.0), ("hour", 2000.0))  # hours and months a year
ISO = "yyyy-MM-dd HH:mm:ss"


def texts(words: Sequence[str | None]) -> Column:
    """A constant array<string>."""
    return constant(list(words), "array<string>")


def surfaces(words: Dictionary, occupation: Column) -> Column:
    """array<string>: the ways to write that occupation; null for a null one."""
    return F.get(constant([o.surfaces for o in words.occupations], "array<array<string>>"), occupation)


def schooling(words: Dictionary, occupation: Column) -> Column:
    """The education that the occupation takes."""
    return F.get(texts([words.words["education"][o.education] for o in words.occupations]), occupation)


def languages(words: Dictionary, region: Column, how_many: Column) -> Column:
    """array<string>: the first languages of the region's country."""
    spoken = constant([words.languages[r.country] for r in words.regions], "array<array<string>>")
    return F.slice(F.get(spoken, region), 1, how_many)


def written_skills(draws: Draws, words: Dictionary, occupation: Column, variant: Column, *ids: Column) -> Column:
    """array<string>: one spelling of each skill of that occupation and variant, three in four the usual one."""
    ways = [[[skill, *words.spellings.get(skill, [])] for skill in o.skills] for o in words.occupations]
    of_occupation = F.get(constant(ways, "array<array<array<string>>>"), occupation)

    def written(k: Column) -> Column:
        spellings = F.get(of_occupation, k)
        usual = draws.chance(0.75, "usual spelling", *ids, k)
        return F.when(usual, F.get(spellings, F.lit(0))).otherwise(draws.one_of(spellings, "spelling", *ids, k))

    return F.transform(F.get(numbers_of(VARIANTS), variant), written)


def usual_pay(words: Dictionary, occupation: Column, seniority: Column, region: Column) -> Column:
    """Usual yearly pay: by occupation, seniority and region."""
    base = F.get(constant([o.pay for o in words.occupations], "array<double>"), occupation)
    factor = F.get(constant([r.pay_factor for r in words.regions], "array<double>"), region)
    return base * (1.0 + 0.2 * (seniority - 2)) * factor


def written_title(draws: Draws, words: Dictionary, suffix_share: float, *ids: Column) -> Column:
    """A title for columns `occupation` and `seniority`, with words of seniority, and a suffix on some."""
    prefixes = constant(words.words["title_prefixes"], "array<array<string>>")
    prefix = draws.one_of(F.get(prefixes, F.col("seniority") - 1), "prefix", *ids)
    prefix = F.when(draws.chance(0.75, "has prefix", *ids), prefix).otherwise("")
    suffix = draws.one_of(words.words["title_suffixes"], "suffix", *ids)
    suffix = F.when(draws.chance(suffix_share, "has suffix", *ids), suffix).otherwise("")
    surface = draws.one_of(surfaces(words, F.col("occupation")), "surface", *ids)
    title = F.trim(F.concat_ws(" ", prefix, surface, suffix))
    case = draws.uniform("case", *ids)
    return F.when(case < 0.04, F.upper(title)).when(case < 0.1, F.lower(title)).otherwise(title)


def postings(jobs: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """The postings file: one row a posting and revision, all of it text; lists are joined by |."""
    draws, n, occupation = Draws(config.seed), F.col("job"), F.col("occupation")
    low = usual_pay(words, occupation, F.col("seniority"), F.col("region")) * F.exp(0.12 * F.col("pay_z"))
    rows = jobs.withColumn("version", F.explode(_versions(draws, config))).withColumns(
        {
            "title": written_title(draws, words, 0.35, n),
            "written": written_skills(draws, words, occupation, F.col("variant"), n),
            "perks": F.filter(texts(words.words["benefits"]), lambda b, k: draws.chance(0.3, "benefit", n, k)),
            "unit": draws.below(len(UNITS), "pay unit", n),
            "low": low * (1.0 + 0.05 * F.col("version")),
            "opened": F.timestamp_seconds("posted_s"),
            "valid": F.timestamp_seconds(F.col("posted_s") + F.col("version") * _revised_after(draws)),
        }
    )
    licence = F.get(texts([o.licence for o in words.occupations]), occupation)
    speaks = languages(words, F.col("region"), 1 + draws.below(2, "languages", n))
    level = F.get(texts(words.words["seniority"]), F.col("seniority") - 1)
    return rows.select(
        "posting_ref",
        F.date_format("opened", ISO).alias("opened_at"),
        F.when(F.col("version") > 0, F.date_format("valid", ISO)).alias("revised_at"),
        F.date_format(F.timestamp_seconds("closed_s"), ISO).alias("expires_at"),
        F.date_format("valid", ISO).alias("entered_at"),
        F.col("title").alias("headline"),
        F.concat(F.lit("C"), F.col("company")).alias("company_ref"),
        F.concat(F.lit("P"), F.col("region")).alias("place_code"),
        _yes_no(F.col("is_remote")).alias("home_office"),
        F.array_join(F.slice("written", 1, 4), "|").alias("asks_for"),
        F.when(draws.chance(0.9, "level known", n), level).alias("level"),
        F.when(draws.chance(0.8, "education known", n), schooling(words, occupation)).alias("schooling"),
        draws.one_of(words.words["employment_types"], "employment", n).alias("contract"),
        F.array_join(speaks, "|").alias("languages"),
        licence.alias("licences"),
        F.array_join("perks", "|").alias("perks"),
        (20 + draws.below(13, "holidays", n)).cast("string").alias("holidays"),
        *_written_pay(draws),
        _advert(words).alias("text"),
        _yes_no(F.col("is_promoted")).alias("sponsored"),
        F.when(F.col("is_promoted"), 10 + draws.below(40, "target", n)).cast("string").alias("wanted_applicants"),
        F.when(F.col("is_promoted"), 50 + draws.below(450, "budget", n)).cast("string").alias("budget"),
    )


def _yes_no(condition: Column) -> Column:
    return F.when(condition, "yes").otherwise("no")


def _written_pay(draws: Draws) -> list[Column]:
    """pay_from, pay_to, pay_unit, from columns `low` (a year) and `unit`; one posting in five says nothing."""
    known = draws.chance(0.82, "pay known", F.col("job"))
    low = F.col("low") / F.get(constant([parts for _, parts in UNITS], "array<double>"), F.col("unit"))
    ends = [F.when(known, F.round(end, 2).cast("decimal(12,2)").cast("string")) for end in (low, low * 1.15)]
    unit = F.when(known, F.get(texts([name for name, _ in UNITS]), F.col("unit")))
    return [ends[0].alias("pay_from"), ends[1].alias("pay_to"), unit.alias("pay_unit")]


def _revised_after(draws: Draws) -> Column:
    return F.floor((1.0 + 6.0 * draws.uniform("revised", F.col("job"))) * DAY).cast("bigint")


def _versions(draws: Draws, config: MarketConfig) -> Column:
    """[0], or [0, 1] for a posting that is revised, with better pay, while it is open and within the period."""
    revised_s = F.col("posted_s") + _revised_after(draws)
    in_time = (revised_s < F.col("closed_s")) & (revised_s < config.end_s)
    is_revised = draws.chance(0.12, "is revised", F.col("job")) & in_time
    return F.when(is_revised, F.array(F.lit(0), F.lit(1))).otherwise(F.array(F.lit(0)))


def _advert(words: Dictionary) -> Column:
    city = F.get(texts([r.name for r in words.regions]), F.col("region"))
    parts = [
        F.concat(F.lit("We are looking for a "), F.col("title"), F.lit(" in "), city, F.lit(".")),
        F.concat(F.lit("You bring: "), F.array_join("written", ", "), F.lit(".")),
        F.when(F.size("perks") > 0, F.concat(F.lit("We offer: "), F.array_join("perks", ", "), F.lit("."))),
    ]
    return F.concat_ws(" ", *parts)


def companies(spark: SparkSession, config: MarketConfig, words: Dictionary) -> DataFrame:
    """company_ref, name, sector, hiring_desk (who answers applications)."""
    draws, n = Draws(config.seed), F.col("company")
    rows = spark.range(n_companies(config, words)).withColumnRenamed("id", "company")
    sectors = constant(words.sectors, "array<array<string>>")
    sector = draws.one_of(F.get(sectors, (n % len(words.families)).cast("int")), "sector", n)
    first, second, third = (words.words[f"company_{part}"] for part in ("first", "second", "third"))
    parts = [
        F.concat(draws.one_of(first, "company first", n), draws.one_of(second, "company second", n)),
        draws.one_of(third, "company third", n),
        n.cast("string"),  # no two companies of one name
    ]
    return rows.select(
        F.concat(F.lit("C"), n).alias("company_ref"),
        F.concat_ws(" ", *parts).alias("name"),
        sector.alias("sector"),
        F.concat(F.lit("desk"), draws.below(3, "desk", n), F.lit("@company"), n, F.lit(".example")).alias(
            "hiring_desk"
        ),
    )


def places(spark: SparkSession, words: Dictionary) -> DataFrame:
    """place_code, city, country, lat, lon."""
    rows = [(f"P{r.number}", r.name, r.country, r.latitude, r.longitude) for r in words.regions]
    return spark.createDataFrame(rows, "place_code string, city string, country string, lat double, lon double")
