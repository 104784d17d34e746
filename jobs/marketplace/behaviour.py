"""What is shown to a seeker, and what the seeker does: with chances from true affinity and place in the list."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.marketplace import hidden
from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import Dictionary
from jobs.marketplace.draws import Draws, sigmoid
from jobs.marketplace.inventory import ANYWHERE, fill
from jobs.marketplace.latents import affinity
from jobs.marketplace.population import numbers_of
from jobs.marketplace.sessions import listed_day

# Which occupation a place of a list comes from: the wanted one, a move from it, its family, whatever is
# common, anything.
SLOT_OCCUPATION_WEIGHTS = (0.46, 0.14, 0.14, 0.14, 0.12)
# Which region: the wanted one, anywhere at all, whatever is large.
SLOT_REGION_WEIGHTS = (0.6, 0.25, 0.15)

# The board orders a list by a poor guess at affinity: this much of it, and noise of deviation 1.
BOARD_RANKER_WEIGHT = 0.25

# logit of an action = bias + slope * affinity (+ POSITION_SLOPE * ln(position), for a view) + noise
POSITION_SLOPE = -0.55
NOISE = 0.35
VIEW = (-3.0, 0.6)
APPLY = (-3.2, 0.5)  # these, given a view
SAVE = (-3.4, 0.4)
CALL = (-5.4, 0.5)
MESSAGE = (-5.2, 0.5)
DISMISS = (-4.0, -0.4)  # given none


def slots(lists: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """One row a place of a list: the bucket that its job is to come from, by the planted transition chances."""
    draws, slot = Draws(config.seed), F.col("slot")
    rows = lists.withColumn("slot", F.explode(F.expr("sequence(list * 100, list * 100 + n_slots - 1)")))
    wanted = F.col("wanted_occupation")
    move = draws.one_of(F.get(numbers_of([o.moves for o in words.occupations]), wanted), "slot move", slot)
    sibling = draws.one_of(
        F.get(numbers_of([words.siblings(o) for o in words.occupations]), wanted), "slot sibling", slot
    )
    common = draws.weighted([o.weight for o in words.occupations], "slot common", slot)
    anything = draws.below(len(words.occupations), "slot anything", slot)
    kind = draws.weighted(SLOT_OCCUPATION_WEIGHTS, "slot kind", slot)
    occupation = F.when(kind == 1, move).when(kind == 2, sibling).when(kind == 3, common).when(kind == 4, anything)
    where = draws.weighted(SLOT_REGION_WEIGHTS, "slot region kind", slot)
    large = draws.weighted(words.region_weights, "slot region", slot)
    region = F.when(where == 0, F.col("wanted_region")).when(where == 1, ANYWHERE).otherwise(large)
    return rows.drop("n_slots").withColumns(
        {"day": listed_day(config), "slot_occupation": F.coalesce(occupation, wanted), "slot_region": region}
    )


def with_affinity(pairs: DataFrame, works: DataFrame, places: DataFrame, config: MarketConfig) -> DataFrame:
    """Add `affinity`, the inner product of their latents, to pairs of a seeker, a want (wanted_*) and a job (job_*)."""
    seeker_side = works.select(F.col("work").alias("wanted_work"), F.col("wanted_work").alias("w"))
    job_side = works.select(F.col("work").alias("job_work"), F.col("job_work").alias("j"))
    from_place = places.select(F.col("region").alias("wanted_region"), F.col("place").alias("wp"))
    to_place = places.select(F.col("region").alias("job_region"), F.col("place").alias("jp"))
    sides = (
        pairs.join(F.broadcast(seeker_side), "wanted_work")
        .join(F.broadcast(job_side), "job_work")
        .join(F.broadcast(from_place), "wanted_region")
        .join(F.broadcast(to_place), "job_region")
    )
    pair = affinity(
        work=(F.col("w"), F.col("j")),
        region=(F.col("wp"), F.col("jp")),
        seniority=(F.col("wanted_seniority"), F.col("job_seniority")),
        remote=F.col("is_remote"),
        appeal=F.col("appeal"),
    )
    pair = hidden.affinity(pair, config, F.col("seeker"), F.col("job"))
    return sides.withColumn("affinity", pair).drop("w", "j", "wp", "jp")


def impressions(
    lists: DataFrame,
    inventory: DataFrame,
    works: DataFrame,
    places: DataFrame,
    config: MarketConfig,
    words: Dictionary,
) -> DataFrame:
    """One row a job shown in a list, once a list, at its position from 1, with what the seeker did with it.

    The actions are columns did_view, did_apply, …; view_s and view_end_s are null where there is no view.
    """
    filled = fill(slots(lists, config, words), inventory, config)
    rated = with_affinity(filled, works, places, config)
    # Both windows are cut by list: one shuffle serves them.
    once = Window.partitionBy("list", "job").orderBy("slot")
    rated = rated.repartition("list").withColumn("repeat", F.row_number().over(once)).where("repeat = 1")
    guess = BOARD_RANKER_WEIGHT * F.col("affinity") + Draws(config.seed).normal("board", F.col("slot"))
    order = Window.partitionBy("list").orderBy(F.desc("guess"), "slot")
    ranked = rated.withColumn("guess", guess).withColumn("position", F.row_number().over(order))
    return with_actions(ranked.drop("guess", "repeat"), config)


def with_actions(shown: DataFrame, config: MarketConfig) -> DataFrame:
    """Add did_view, did_apply, …, and when the view was; `shown` has slot, list_s, position and affinity."""
    draws, slot = Draws(config.seed), F.col("slot")

    def chance(name: str, action: tuple[float, float], position_slope: float = 0.0) -> Column:
        bias, slope = action
        logit = bias + slope * F.col("affinity") + position_slope * F.log(F.col("position"))
        return draws.chance(sigmoid(logit + NOISE * draws.normal(f"{name} noise", slot)), name, slot)

    view_s = F.col("list_s") + F.col("position") * 9 + draws.below(8, "view start", slot)
    # Longer where the job suits: half a minute in the middle, a few seconds to eight minutes.
    dwell = F.exp(2.8 + 0.25 * F.col("affinity") + 0.6 * draws.normal("dwell", slot))
    dwell = F.greatest(F.lit(2), F.least(F.lit(480), F.floor(dwell))).cast("bigint")
    viewed = F.col("did_view")
    return shown.withColumn("did_view", chance("view", VIEW, POSITION_SLOPE)).withColumns(
        {
            "did_apply": viewed & chance("apply", APPLY),
            "did_save": viewed & chance("save", SAVE),
            "did_call": viewed & chance("call", CALL),
            "did_message": viewed & chance("message", MESSAGE),
            "did_dismiss": ~viewed & chance("dismiss", DISMISS),
            "is_promoted_flow": F.col("is_promoted") & draws.chance(0.7, "promoted flow", slot),
            "view_s": F.when(viewed, view_s),
            "view_end_s": F.when(viewed, view_s + dwell),
        }
    )


def first_applications(impressions: DataFrame, config: MarketConfig) -> DataFrame:
    """The impressions that led to an application, the first of each seeker and job: the board takes no second one."""
    first = Window.partitionBy("seeker", "job").orderBy("view_s", "slot")
    applied = impressions.where("did_apply").withColumn("nth", F.row_number().over(first)).where("nth = 1").drop("nth")
    pause = 20 + Draws(config.seed).below(160, "apply pause", F.col("slot"))
    return applied.withColumn("apply_s", F.col("view_end_s") + pause)
