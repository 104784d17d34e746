"""The truth that was planted, as tables beside the data; `jobs.marketplace` describes them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.marketplace import behaviour, employers, hidden, latents
from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import Dictionary
from jobs.marketplace.draws import constant
from jobs.marketplace.latents import job_latent, seeker_latent
from jobs.marketplace.population import DAY

# Sessions of a burst begin at six, and the last of the burst before may end past midnight.
WANT_HOUR = 5 * 3600


def seeker_latents(bursts: DataFrame, works: DataFrame, places: DataFrame, config: MarketConfig) -> DataFrame:
    """user_uuid, valid_from, latent and what it is made from: one row a time of activity."""
    rows = bursts.join(
        F.broadcast(works.select(F.col("work").alias("wanted_work"), F.col("wanted_work").alias("w"))),
        "wanted_work",
    ).join(F.broadcast(places.select(F.col("region").alias("wanted_region"), "place")), "wanted_region")
    begins = config.start_s + F.col("first_day") * DAY + WANT_HOUR
    valid_from = F.when(F.col("burst") == 0, F.lit(config.start_s)).otherwise(begins)
    by_fields = seeker_latent(F.col("w"), F.col("place"), F.col("wanted_seniority"))
    return rows.select(
        "user_uuid",
        F.timestamp_seconds(valid_from).alias("valid_from"),
        hidden.seeker_latent(by_fields, config, F.col("seeker")).alias("latent"),
        "wanted_occupation",
        "wanted_seniority",
        "wanted_region",
    )


def job_latents(jobs: DataFrame, works: DataFrame, places: DataFrame, config: MarketConfig) -> DataFrame:
    """posting_ref, latent."""
    rows = jobs.join(F.broadcast(works.select("work", F.col("job_work").alias("j"))), "work")
    rows = rows.join(F.broadcast(places.select("region", "place")), "region")
    by_fields = job_latent(F.col("j"), F.col("place"), F.col("is_remote"), F.col("seniority"), F.col("appeal"))
    return rows.select("posting_ref", hidden.job_latent(by_fields, config, F.col("job")).alias("latent"))


def _codes(words: Dictionary) -> Column:
    return constant([o.code for o in words.occupations], "array<string>")


def seeker_facts(seekers: DataFrame, words: Dictionary) -> DataFrame:
    """user_uuid, occupation (code), seniority, region, is_new, profile."""
    code = F.get(_codes(words), F.col("occupation")).alias("occupation")
    return seekers.select("user_uuid", code, "seniority", "region", "is_new", "profile")


def job_facts(jobs: DataFrame, words: Dictionary) -> DataFrame:
    """posting_ref, occupation (code), seniority, region, substitute_group, open times.

    Jobs of a group whose seniorities are at most one apart stand in for one another.
    """
    code = F.get(_codes(words), F.col("occupation"))
    return jobs.select(
        "posting_ref",
        code.alias("occupation"),
        "seniority",
        "region",
        F.concat_ws("/", code, F.col("region").cast("string")).alias("substitute_group"),
        F.timestamp_seconds("posted_s").alias("posted_at"),
        F.timestamp_seconds("closed_s").alias("closed_at"),
    )


def planted_pairs(spark: SparkSession, words: Dictionary) -> DataFrame:
    """seeker_occupation, seeker_seniority, job_occupation, job_seniority, hire_chance (of an application), kind."""
    code = [o.code for o in words.occupations]
    rows = [(code[a], s, code[b], t, chance, kind) for a, s, b, t, chance, kind in employers.hire_pairs(words)]
    columns = "seeker_occupation string, seeker_seniority int, job_occupation string, job_seniority int, "
    return spark.createDataFrame(rows, columns + "hire_chance double, kind string")


def behaviour_facts() -> dict:
    """The numbers that the chances of actions were made from."""
    names = (
        "POSITION_SLOPE",
        "NOISE",
        "VIEW",
        "APPLY",
        "SAVE",
        "CALL",
        "MESSAGE",
        "DISMISS",
        "SLOT_OCCUPATION_WEIGHTS",
    )
    weights = (
        "FAMILY_WEIGHT",
        "OCCUPATION_WEIGHT",
        "SKILL_WEIGHT",
        "REGION_WEIGHT",
        "REMOTE_AFFINITY",
        "SENIORITY_WEIGHT",
    )
    facts = {name.lower(): getattr(behaviour, name) for name in names}
    return facts | {name.lower(): getattr(latents, name) for name in weights} | {"hire_else": employers.ELSE}


def count_dirt(activity: DataFrame, dirt: DataFrame, bots: DataFrame) -> dict:
    """Rows of each kind of dirt by the day of arrival; late rows by days of lateness; bots and their rows.

    `activity` is the clean log with received_s and at_s; `dirt` has table_name, dirt, day.
    """
    days = dirt.groupBy("table_name", "dirt", "day").count().collect()
    counts: dict = {}
    for table, kind, day, n in sorted((r[0], r[1], str(r[2]), r[3]) for r in days):
        entry = counts.setdefault(table, {}).setdefault(kind, {"rows": 0, "by_day": {}})
        entry["rows"] += n
        entry["by_day"][day] = n
    lateness = (F.floor(F.col("received_s") / DAY) - F.floor(F.col("at_s") / DAY)).alias("lateness")
    late = activity.groupBy(lateness).count().where("lateness > 0").collect()
    counts["late"] = {str(days_late): n for days_late, n in sorted((r[0], r[1]) for r in late)}
    counts["bots"] = {"seekers": bots.count(), "rows": activity.join(bots, "user_uuid", "left_semi").count()}
    return counts
