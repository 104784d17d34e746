"""The board's table of users: one row each time that a user saved the profile."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import Dictionary
from jobs.marketplace.draws import Draws
from jobs.marketplace.population import DAY, n_companies
from jobs.marketplace.wording import (
    languages,
    schooling,
    surfaces,
    texts,
    usual_pay,
    written_skills,
    written_title,
)

HOUR = 3600
WISH_SHARE = 0.4  # write at first what they look for
WISH_LATER_SHARE = 0.45  # write so when they come back
NEW_POSITION_SHARE = 0.6  # write their new position into the profile when hired


def users(
    seekers: DataFrame, bursts: DataFrame, answered: DataFrame, config: MarketConfig, words: Dictionary
) -> DataFrame:
    """user_uuid, saved_at and the profile as saved; nothing for seekers without any."""
    draws, n, occupation = Draws(config.seed), F.col("seeker"), F.col("occupation")
    wish = draws.one_of(surfaces(words, F.col("wish")), "wish", n, F.col("wish"))
    employer = F.coalesce(F.col("employer"), draws.below(n_companies(config, words), "employer", n))
    level = F.get(texts(words.words["seniority"]), F.col("seniority") - 1)
    pay = usual_pay(words, occupation, F.col("seniority"), F.col("region"))
    skills = written_skills(draws, words, occupation, F.col("variant"), n)
    profile: dict[str, Column] = {
        "headline": written_title(draws, words, 0.05, n, occupation),
        "former_headline": draws.one_of(surfaces(words, F.col("former")), "former surface", n),
        "looking_for": F.when(F.col("wish").isNotNull(), F.array(wish)),
        "abilities": F.when(draws.chance(0.9, "abilities known", n), skills),
        "employer_ref": F.concat(F.lit("C"), employer),
        "level": F.when(draws.chance(0.85, "own level known", n), level),
        "schooling": F.when(draws.chance(0.8, "own education known", n), schooling(words, occupation)),
        "place_code": F.concat(F.lit("P"), F.col("region")),
        "speaks": languages(words, F.col("region"), 1 + draws.below(2, "speaks", n)),
        "least_pay": F.when(draws.chance(0.5, "least pay known", n), F.round(pay * 0.9, -2)),
    }
    known = F.col("profile") == "full"
    return _saves(seekers, bursts, answered, draws, config).select(
        "user_uuid",
        F.timestamp_seconds("saved_s").alias("saved_at"),
        *[F.when(known, column).alias(name) for name, column in profile.items()],
    )


def _saves(seekers: DataFrame, bursts: DataFrame, answered: DataFrame, draws: Draws, config: MarketConfig) -> DataFrame:
    """One row a save: its time; occupation, seniority and employer then; what is looked for (wish) and was before."""
    columns = ["seeker", "user_uuid", "profile", "region", "variant"]
    n = F.col("seeker")
    nothing = F.lit(None).cast("int")
    first_s = config.start_s + F.col("first_day") * DAY + 5 * HOUR  # sessions begin at six
    long_ago = config.start_s - F.floor((1.0 + 500.0 * draws.uniform("registered", n)) * DAY).cast("bigint")
    wanted = F.col("wanted_occupation")
    came = bursts.where("burst = 0").select(
        *columns,
        F.when(F.col("is_new"), first_s).otherwise(long_ago).alias("saved_s"),
        "occupation",
        "seniority",
        nothing.alias("employer"),
        F.when(draws.chance(WISH_SHARE, "wishes at first", n), wanted).alias("wish"),
        nothing.alias("former"),
    )
    back = bursts.where("burst = 1").where(draws.chance(WISH_LATER_SHARE, "wishes later", n))
    back = back.select(
        *columns, first_s.alias("saved_s"), "occupation", "seniority", nothing.alias("employer"),
        wanted.alias("wish"), nothing.alias("former"),
    )  # fmt: skip
    # After the last hire only: what was hired before it was hired from the position first held.
    last = Window.partitionBy("seeker").orderBy(F.desc("hired_s"), "slot")
    hired = answered.where("hired_s IS NOT NULL").withColumn("nth", F.row_number().over(last)).where("nth = 1")
    hired = hired.where(draws.chance(NEW_POSITION_SHARE, "new position", n)).select(
        "seeker", (F.col("hired_s") + DAY).alias("saved_s"), "job_occupation", "job_seniority", "company",
    )  # fmt: skip
    moved = seekers.join(hired, "seeker").select(
        *columns, "saved_s", F.col("job_occupation").alias("occupation"), F.col("job_seniority").alias("seniority"),
        F.col("company").alias("employer"), nothing.alias("wish"), F.col("occupation").alias("former"),
    )  # fmt: skip
    saves = came.unionByName(back).unionByName(moved).where("profile != 'none'")
    return saves.where(F.col("saved_s") < config.end_s)
