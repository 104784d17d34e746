"""What employers do with an application, and which ones end in a hire."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import Dictionary
from jobs.marketplace.draws import Draws, sigmoid
from jobs.marketplace.population import DAY

HOUR = 3600

# Chance that an application ends in a hire, by the step from the seeker's present seniority to the job's.
SAME_OCCUPATION = {0: 0.6, 1: 0.4, -1: 0.2}
MOVE = {0: 0.5, -1: 0.35}
MOVE_SENIORITIES = (2, 3, 4)  # present levels from which people change occupation
SIBLING = {0: 0.03, -1: 0.02}
ELSE = 0.002
DREAM = 0.0

# An application is looked at, then answered, then leads to an interview or a no. A hire has been through it all.
LOOKED_AT = (-0.4, 0.25)  # logit: bias, slope on affinity
ANSWERED = 0.5
INTERVIEWED = 0.4
REJECTED = 0.6  # of those that come to no interview
ANSWERS = ("looked_s", "replied_s", "interviewed_s", "rejected_s")

REVISED_SHARE = 0.02  # hires that are entered a second time, with a later day of starting


def hire_pairs(words: Dictionary) -> list[tuple[int, int, int, int, float, str]]:
    """(seeker occupation, seniority, job occupation, seniority, chance of a hire, kind) of what is not ELSE.

    Kinds: same and move are planted links; sibling is a weak one; dream is popular and never hired.
    """
    rows = []
    for o in words.occupations:
        for level in range(1, 6):
            steps = [(o.number, SAME_OCCUPATION, "same")]
            steps += [(m, MOVE, "move") for m in o.moves if level in MOVE_SENIORITIES]
            steps += [(s, SIBLING, "sibling") for s in words.siblings(o) if s not in o.moves]
            rows += [
                (o.number, level, to, level + step, rate, kind)
                for to, rates, kind in steps
                for step, rate in rates.items()
                if 1 <= level + step <= 5
            ]
            rows += [(o.number, level, d, other, DREAM, "dream") for d in o.dreams for other in range(1, 6)]
    return rows


def answered(applications: DataFrame, words: Dictionary, config: MarketConfig) -> DataFrame:
    """Each application with what came of it: looked_s, replied_s, interviewed_s, rejected_s, hired_s.

    Null where it never came. A seeker is hired once for each want at most: by the first that would.
    """
    draws, slot = Draws(config.seed), F.col("slot")
    columns = "occupation int, seniority int, job_occupation int, job_seniority int, hire_chance double, pair string"
    pairs = applications.sparkSession.createDataFrame(hire_pairs(words), columns)
    rows = applications.join(F.broadcast(pairs), ["occupation", "seniority", "job_occupation", "job_seniority"], "left")
    is_hire = draws.chance(F.coalesce(F.col("hire_chance"), F.lit(ELSE)), "hire", slot)
    days = 1.0 + F.least(F.lit(14.0), draws.waiting(3.0, "hire days", slot))
    rows = rows.withColumn("would_hire_s", F.when(is_hire, _later("apply_s", days * DAY)))
    rows = rows.withColumn("hired_s", _first_of_seeker(F.col("would_hire_s"))).drop("would_hire_s", "hire_chance")
    rows = _with_answers(rows, draws)
    # What would come after the period's end has not happened.
    return rows.withColumns({name: F.when(F.col(name) < config.end_s, F.col(name)) for name in (*ANSWERS, "hired_s")})


def _with_answers(rows: DataFrame, draws: Draws) -> DataFrame:
    """Add when the employer looked, replied, invited and said no; a hire's answers fit between application and hire."""
    slot, hired = F.col("slot"), F.col("hired_s").isNotNull()
    bias, slope = LOOKED_AT
    step = F.when(hired, (F.col("hired_s") - F.col("apply_s")) / 4.0)

    def after(start: str, when: Column, name: str, mean_hours: float) -> Column:
        wait = F.coalesce(step, 600 + draws.waiting(mean_hours * HOUR, f"{name} hours", slot))
        return F.when(F.col(start).isNotNull() & when, _later(start, wait))

    looked = hired | draws.chance(sigmoid(bias + slope * F.col("affinity")), "look", slot)
    replied = hired | draws.chance(ANSWERED, "reply", slot)
    interviewed = hired | draws.chance(INTERVIEWED, "interview", slot)
    rejected = ~hired & F.col("interviewed_s").isNull() & draws.chance(REJECTED, "reject", slot)
    rows = rows.withColumn("looked_s", after("apply_s", looked, "look", 14.0))
    rows = rows.withColumn("replied_s", after("looked_s", replied, "reply", 10.0))
    rows = rows.withColumn("interviewed_s", after("replied_s", interviewed, "interview", 40.0))
    return rows.withColumn("rejected_s", after("looked_s", rejected, "reject", 60.0))


def _later(start: str, seconds: Column) -> Column:
    return F.col(start) + F.round(seconds).cast("bigint")


def _first_of_seeker(would_hire_s: Column) -> Column:
    """The instant, where it is the earliest of the seeker's applications with the same want; else null."""
    want = Window.partitionBy("seeker", "wanted_work", "wanted_region")
    order = want.orderBy(would_hire_s.asc_nulls_last(), "slot")
    return F.when(F.row_number().over(order) == 1, would_hire_s)


def placements(answered: DataFrame, config: MarketConfig) -> DataFrame:
    """The board's table of hires, some entered twice: user_uuid, posting_ref, starts_on, agreed_at, entered_at."""
    draws, slot = Draws(config.seed), F.col("slot")
    hires = answered.where("hired_s IS NOT NULL")
    entered = F.col("hired_s") + 300 + F.floor(draws.uniform("entered", slot) * 10 * HOUR).cast("bigint")
    revised = F.when(draws.chance(REVISED_SHARE, "revised", slot), F.array(F.lit(0), F.lit(1)))
    hires = hires.withColumn("entered_s", entered).withColumn(
        "version", F.explode(F.coalesce(revised, F.array(F.lit(0))))
    )
    first_day = F.date_add(F.to_date(F.timestamp_seconds("hired_s")), 7 + draws.below(40, "first day", slot))
    return hires.select(
        F.concat(F.lit("PL-"), F.col("slot").cast("string"), F.lit("-"), F.col("version")).alias("placement_ref"),
        "user_uuid",
        "posting_ref",
        F.date_add(first_day, F.col("version") * 14).alias("starts_on"),
        F.timestamp_seconds("hired_s").alias("agreed_at"),
        F.timestamp_seconds(F.col("entered_s") + F.col("version") * 30 * HOUR).alias("entered_at"),
    )
