"""When seekers come, and the lists that they ask for."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.draws import Draws, constant
from jobs.marketplace.population import DAY

SESSIONS_A_DAY_WEIGHTS = (0.72, 0.28)
# The first one between 6:00 and midnight, mostly in the evening: a tenth of the chains cross midnight.
FIRST_HOUR, LAST_HOUR = 6.0, 23.9
MEAN_LISTS = 2.0
MAX_LISTS = 12
PAUSE_S = 360  # between the lists of a session, give or take
LEAST_SLOTS, MOST_SLOTS = 8, 18

# Where a list is shown, and whether its query is what the seeker typed.
SURFACES = (("search", 0.55), ("home", 0.25), ("mail", 0.1), ("similar", 0.1))


def lists(bursts: DataFrame, config: MarketConfig) -> DataFrame:
    """One row a list shown: when, to whom, what was wanted, on which surface, how many places it has."""
    draws, session, number = Draws(config.seed), F.col("session"), F.col("list")
    rows = bursts.withColumn("day", F.explode(F.expr("sequence(first_day, first_day + n_days - 1)")))
    day = F.col("seeker") * 1000 + F.col("day")
    n_sessions = draws.weighted(SESSIONS_A_DAY_WEIGHTS, "sessions", day)
    rows = rows.withColumn("session", F.explode(F.sequence(day * 10, day * 10 + n_sessions)))
    extra = draws.waiting(max(0.0, MEAN_LISTS * config.activity - 0.5), "lists", session)  # floored: half a list less
    n_lists = F.least(F.lit(MAX_LISTS - 1), F.floor(extra))
    rows = rows.withColumn("list", F.explode(F.sequence(session * 100, session * 100 + n_lists)))
    hour = FIRST_HOUR + (LAST_HOUR - FIRST_HOUR) * draws.uniform("hour", session) ** 0.6
    list_s = config.start_s + F.col("day") * DAY + F.floor(hour * 3600) + number % 100 * PAUSE_S
    surface = draws.weighted([weight for _, weight in SURFACES], "surface", number)
    return rows.select(
        "list", "seeker", "user_uuid", "occupation", "seniority",
        "wanted_occupation", "wanted_work", "wanted_seniority", "wanted_region",
        (list_s + draws.below(PAUSE_S * 2 // 3, "pause", number)).alias("list_s"),
        F.get(constant([name for name, _ in SURFACES], "array<string>"), surface).alias("surface"),
        (LEAST_SLOTS + draws.below(MOST_SLOTS - LEAST_SLOTS + 1, "slots", number)).alias("n_slots"),
    )  # fmt: skip


def listed_day(config: MarketConfig) -> Column:
    """The day of the period on which a list is shown, from 0; past midnight it is the next."""
    return F.floor((F.col("list_s") - config.start_s) / DAY).cast("int")
