"""Who and what is in the market: seekers, what they want over time, and jobs.

Numbers only: `wording` and `users` write them out. Each table is a function of a range of numbers, row by row:
seeker 17 is the same in a market of 1K and of 1M. A `work` is an occupation and a variant of its skills, as one number.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import VARIANTS, Dictionary
from jobs.marketplace.draws import Draws, board_id, constant
from jobs.marketplace.latents import job_work, place, wanted_work

DAY = 86400

SENIORITY_WEIGHTS = (0.18, 0.30, 0.29, 0.16, 0.07)  # levels 1 to 5
BURSTS_WEIGHTS = (0.35, 0.28, 0.19, 0.12, 0.06)  # 1 to 5 times active in the period
NEW_SEEKER_SHARE = 0.25  # registered as they first come, within the period
NO_PROFILE_SHARE = 0.05  # act, and are in no table of users
BLANK_PROFILE_SHARE = 0.06  # are in it, with nothing filled in

OTHER_INTENT_CHANCE = 0.5  # that a seeker who comes back wants something else
# What is wanted: the present occupation, a move from it, a dream, anything.
INTENT_WEIGHTS = (0.52, 0.22, 0.18, 0.08)
OTHER_REGION_CHANCE = 0.12

OPEN_AT_START_SHARE = 0.5
PROMOTED_SHARE = 0.12
REMOTE_SHARE = 0.25  # of the jobs of families in which work can be remote
REMOTE_FAMILIES = ("Software", "Data", "Office", "Sales and marketing")
MEAN_OPEN_DAYS = 45.0
JOBS_PER_COMPANY = 12


def seekers(spark: SparkSession, config: MarketConfig, words: Dictionary) -> DataFrame:
    """One row a seeker: what it is, apart from what it wants."""
    draws, n = Draws(config.seed), F.col("seeker")
    max_bursts = max(1, min(len(BURSTS_WEIGHTS), config.days // 4))  # the active days of two bursts never overlap
    profile = draws.uniform("profile", n)
    rows = spark.range(config.n_seekers).withColumnRenamed("id", "seeker")
    return rows.select(
        n,
        board_id("user", config.seed, n).alias("user_uuid"),
        draws.weighted([o.weight for o in words.occupations], "seeker occupation", n).alias("occupation"),
        (draws.weighted(SENIORITY_WEIGHTS, "seeker seniority", n) + 1).alias("seniority"),
        draws.weighted(words.region_weights, "seeker region", n).alias("region"),
        draws.below(len(VARIANTS), "seeker skills", n).alias("variant"),
        draws.chance(NEW_SEEKER_SHARE, "new seeker", n).alias("is_new"),
        (draws.weighted(BURSTS_WEIGHTS[:max_bursts], "bursts", n) + 1).alias("n_bursts"),
        F.when(profile < NO_PROFILE_SHARE, "none")
        .when(profile < NO_PROFILE_SHARE + BLANK_PROFILE_SHARE, "blank")
        .otherwise("full")
        .alias("profile"),
    )


def bursts(seekers: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """One row a time of activity: its days, and what the seeker wants in them.

    Burst k lies within the k-th of equal parts of the period. `intent` counts the seeker's changes of mind.
    """
    draws, n, k = Draws(config.seed), F.col("seeker"), F.col("burst")
    part = F.lit(float(config.days)) / F.col("n_bursts")
    first_day = F.floor(k * part + draws.uniform("burst day", n, k) * (part - 1.0)).cast("int")
    room = F.floor((k + 1) * part).cast("int") - F.col("first_day")
    minds = F.filter(
        F.expr("sequence(0, burst)"),
        lambda j: (j == 0) | draws.chance(OTHER_INTENT_CHANCE, "other intent", n, j),
    )
    rows = seekers.withColumn("burst", F.explode(F.expr("sequence(0, n_bursts - 1)")))
    rows = rows.withColumns({"first_day": first_day, "intent": F.array_max(minds)})
    rows = rows.withColumn("n_days", F.least(1 + draws.below(4, "burst days", n, k), room))
    return _with_wants(rows, draws, words)


def _with_wants(rows: DataFrame, draws: Draws, words: Dictionary) -> DataFrame:
    """Add wanted_occupation, wanted_work, wanted_seniority, wanted_region: the same for one seeker and intent."""
    ids = (F.col("seeker"), F.col("intent"))
    wanted, own = F.col("wanted_occupation"), F.col("occupation")
    kind = draws.weighted(INTENT_WEIGHTS, "intent kind", *ids)
    move = draws.one_of(F.get(numbers_of([o.moves for o in words.occupations]), own), "intent move", *ids)
    dream = draws.one_of(F.get(numbers_of([o.dreams for o in words.occupations]), own), "intent dream", *ids)
    anything = draws.below(len(words.occupations), "intent anything", *ids)
    occupation = F.when(kind == 1, move).when(kind == 2, dream).when(kind == 3, anything)
    variant = F.when(wanted == own, F.col("variant")).otherwise(draws.below(len(VARIANTS), "intent skills", *ids))
    step = draws.uniform("intent seniority", *ids)
    seniority = F.col("seniority") + F.when(step < 0.22, 1).when(step < 0.3, -1).otherwise(0)
    elsewhere = draws.chance(OTHER_REGION_CHANCE, "intent elsewhere", *ids)
    region = draws.weighted(words.region_weights, "intent region", *ids)
    return rows.withColumn("wanted_occupation", F.coalesce(occupation, own)).withColumns(
        {
            "wanted_work": wanted * len(VARIANTS) + variant,
            "wanted_seniority": F.least(F.lit(5), F.greatest(F.lit(1), seniority)),
            "wanted_region": F.when(elsewhere, region).otherwise(F.col("region")),
        }
    )


def numbers_of(lists: Sequence[Sequence[int]]) -> Column:
    """A constant array<array<int>>."""
    return constant([list(numbers) for numbers in lists], "array<array<int>>")


def jobs(spark: SparkSession, config: MarketConfig, words: Dictionary) -> DataFrame:
    """One row a job, open in [posted_s, closed_s), epoch seconds; appeal is what makes it good for everyone."""
    draws, n = Draws(config.seed), F.col("job")
    rows = spark.range(config.n_jobs).withColumnRenamed("id", "job")
    rows = rows.select(
        n,
        board_id("posting", config.seed, n).alias("posting_ref"),
        draws.weighted([o.weight for o in words.occupations], "job occupation", n).alias("occupation"),
        draws.below(len(VARIANTS), "job skills", n).alias("variant"),
        (draws.weighted(SENIORITY_WEIGHTS, "job seniority", n) + 1).alias("seniority"),
        draws.weighted(words.region_weights, "job region", n).alias("region"),
        draws.normal("pay", n).alias("pay_z"),
        draws.chance(PROMOTED_SHARE, "promoted", n).alias("is_promoted"),
        *_open_times(draws, config),
    )
    families = constant([o.family for o in words.occupations], "array<int>")
    can_be_remote = F.col("family").isin([words.families.index(f) for f in REMOTE_FAMILIES])
    return rows.withColumn("family", F.get(families, F.col("occupation"))).withColumns(
        {
            "work": F.col("occupation") * len(VARIANTS) + F.col("variant"),
            "is_remote": can_be_remote & draws.chance(REMOTE_SHARE, "remote", n),
            "appeal": 0.3 * F.col("pay_z") + 0.3 * draws.normal("appeal", n),
            "company": _company(draws, config, words),
        }
    )


def _open_times(draws: Draws, config: MarketConfig) -> list[Column]:
    n = F.col("job")
    length = F.round((2.0 + draws.waiting(MEAN_OPEN_DAYS - 2.0, "open days", n)) * DAY).cast("bigint")
    length = F.least(length, F.lit(120 * DAY))
    age = draws.uniform("posted", n)
    # Those open at the start are seen at some moment of their life; the rest come evenly over the period.
    before = config.start_s - F.round(draws.uniform("age", n) * (length - DAY)).cast("bigint")
    within = config.start_s + F.floor(draws.uniform("age", n) * (config.days * DAY)).cast("bigint")
    posted = F.when(age < OPEN_AT_START_SHARE, before).otherwise(within)
    return [posted.alias("posted_s"), (posted + length).alias("closed_s")]


def n_companies(config: MarketConfig, words: Dictionary) -> int:
    """A multiple of the number of families: company c belongs to family c mod 12."""
    return len(words.families) * max(3, config.n_jobs // JOBS_PER_COMPANY // len(words.families))


def _company(draws: Draws, config: MarketConfig, words: Dictionary) -> Column:
    """Skewed: the first companies of each family have most of its jobs. One job in five is with any company."""
    n, families = F.col("job"), len(words.families)
    own = F.col("family") + families * F.floor(
        draws.uniform("company", n) ** 2.5 * (n_companies(config, words) // families)
    )
    anyone = draws.below(n_companies(config, words), "any company", n)
    return F.when(draws.chance(0.2, "company elsewhere", n), anyone).otherwise(own).cast("int")


def works(spark: SparkSession, words: Dictionary) -> DataFrame:
    """One row a work (occupation and variant): what a job of it is, what a seeker of it wants."""
    rows = [
        (o.number * len(VARIANTS) + v, job_work(words, o, v), wanted_work(words, o, v))
        for o in words.occupations
        for v in range(len(VARIANTS))
    ]
    columns = "work int, job_work array<float>, wanted_work array<float>"
    return spark.createDataFrame(rows, columns)


def places(spark: SparkSession, words: Dictionary) -> DataFrame:
    """One row a region, with its features."""
    rows = [(r.number, place(r)) for r in words.regions]
    return spark.createDataFrame(rows, "region int, place array<float>")
