"""Events cut into behaviour chains (58.com, SOURCES 1), decidably from a bounded window.

Where a chain starts depends on no event earlier than `lookback_days` before its date, and a chain holds no
action later than the day after it starts (`max_span` of at most a day). So a run that restates the chains
which start on some dates needs the events of those dates, `lookback_days` before and one day after, and cuts
exactly what the whole history would give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.intervals import DAY

# What a seeker does with one job of their own will. An impression is the board's doing, an answer is the
# employer's; a dismissal says what the seeker does not want, so it belongs to no chain of interest.
CLICK_ACTIONS = ("view", "save")
APPLY_ACTIONS = ("apply", "call", "message")
CHAIN_ACTIONS = CLICK_ACTIONS + APPLY_ACTIONS

# A chain that starts on a date may go on until the end of the next one.
DAYS_AFTER_START = 1

_DAY_US = DAY // timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where chains are cut and what is left out of them.

    `gap` is inclusive: an action exactly `gap` after the last one stays in its chain. `max_span` may be at
    most a day where chains are restated by date; a sweep over a whole history may go beyond.
    """

    # 58.com swept a week, a day and parts of a day: six hours ranked best on position and AUC.
    gap: timedelta = timedelta(hours=6)
    max_span: timedelta = DAY
    window: timedelta | None = None
    max_actions: int = 200
    min_actions: int = 1
    max_actions_a_day: int = 500
    min_dwell_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gap", "max_span", "window"):
            if getattr(self, name) is not None and getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("max_actions", "min_actions", "max_actions_a_day"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    @property
    def lookback_days(self) -> int:
        """How many days of events before the first date of chains decide where chains of that date start.

        A cut at midnight looks back `max_span` and one `gap` more. Where a chain is cut after `max_actions`
        depends on where it began: after a pause, one `gap` before some instant of the day before.

        >>> Cut().lookback_days
        2
        """
        return max(math.ceil((self.gap + self.max_span) / DAY), DAYS_AFTER_START + math.ceil(self.gap / DAY))


def seeker_actions(events: DataFrame, cut: Cut) -> DataFrame:
    """The events that chains are made of, without views under `min_dwell_seconds`; unknown dwell stays."""
    glance = (F.col("action") == "view") & (F.col("dwell_seconds") < cut.min_dwell_seconds)
    return events.where(
        (F.col("actor") == "seeker") & F.col("action").isin(*CHAIN_ACTIONS) & ~F.coalesce(glance, F.lit(False))
    ).select("event_id", "seeker_id", "job_id", "action", "event_ts", "date", "dwell_seconds", "arrived_ts")


def bot_days(actions: DataFrame, cut: Cut) -> DataFrame:
    """(seeker_id, date, n_actions) of seekers' days with more than `max_actions_a_day`, repeats included."""
    counts = actions.groupBy("seeker_id", "date").agg(F.count(F.lit(1)).alias("n_actions"))
    return counts.where(F.col("n_actions") > cut.max_actions_a_day)


def chain_events(events: DataFrame, cut: Cut) -> DataFrame:
    """`behavior_chains` of the events; every action that is not left out is in exactly one chain.

    - Order is by time, then event id. The same action on the same job at the same instant is one action: the
      first to arrive stays, then the least event id.
    - A chain ends when the next action comes more than `gap` later. Activity that has lasted longer than
      `max_span`, without such a pause, is cut at the next midnight (UTC); an action at midnight is the new
      day's.
    - A chain is cut after each `max_actions`; chains shorter than `min_actions` are left out.
    - A seeker's bot days are left out whole, before anything is sorted: their size bounds no task.
    """
    return _gathered(_starts_marked(_once_each(people_actions(events, cut)), cut), cut)


def people_actions(events: DataFrame, cut: Cut) -> DataFrame:
    """`seeker_actions` without those of bot days."""
    actions = seeker_actions(events, cut)
    return actions.join(bot_days(actions, cut), ["seeker_id", "date"], "left_anti")


def _once_each(actions: DataFrame) -> DataFrame:
    # One shuffle by seeker serves this, the windows and the gathering.
    repeated = actions.repartition("seeker_id").groupBy("seeker_id", "job_id", "action", "event_ts")
    first = F.min(F.struct("arrived_ts", "event_id", "dwell_seconds")).alias("first")
    return repeated.agg(first).select("seeker_id", "job_id", "action", "event_ts", "first.*")


def _starts_marked(actions: DataFrame, cut: Cut) -> DataFrame:
    """The actions with `position` among their seeker's and `head`, that of their chain's first action."""
    in_order = Window.partitionBy("seeker_id").orderBy("event_ts", "event_id")
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)

    def latest_where(condition: Column, value: str) -> Column:
        return F.last(F.when(condition, F.col(value)), ignorenulls=True).over(so_far)

    rows = actions.withColumns({
        "ts_us": F.unix_micros("event_ts"),
        "position": F.row_number().over(in_order),
        "previous_us": F.lag(F.unix_micros("event_ts")).over(in_order),
    })  # fmt: skip
    paused = F.coalesce(_is_apart(cut), F.lit(True))
    if cut.window is not None:
        return rows.withColumn("head", latest_where(paused, "position"))
    rows = rows.withColumn("active_since_us", latest_where(paused, "ts_us"))
    day, previous_day = _day("ts_us"), _day("previous_us")
    overlong = (day > previous_day) & (day.cast("bigint") * _DAY_US - F.col("active_since_us") > _us(cut.max_span))
    return rows.withColumn("head", latest_where(paused | F.coalesce(overlong, F.lit(False)), "position"))


def _is_apart(cut: Cut) -> Column:
    """A pause, or the edge of a window, lies between the action and the one before it."""
    at, before = F.col("ts_us"), F.col("previous_us")
    if cut.window is None:
        return at - before > _us(cut.gap)
    window = F.lit(_us(cut.window))
    return at - F.pmod(at, window) > before


def _gathered(actions: DataFrame, cut: Cut) -> DataFrame:
    piece = F.floor((F.col("position") - F.col("head")) / F.lit(cut.max_actions)).alias("piece")
    # The time, then the event id lead the struct, so that sorting it sorts the actions.
    action = F.struct("event_ts", "event_id", "job_id", "action", "dwell_seconds", "arrived_ts")
    chains = actions.groupBy("seeker_id", "head", piece).agg(F.array_sort(F.collect_list(action)).alias("points"))
    start_ts = F.col("points")[0]["event_ts"]
    # The event id tells two chains apart that max_actions cut within one instant.
    identity = F.xxhash64("seeker_id", start_ts, F.col("points")[0]["event_id"])
    return chains.where(F.size("points") >= cut.min_actions).select(
        identity.bitwiseAND(F.lit(2**63 - 1)).alias("chain_id"),
        "seeker_id",
        start_ts.alias("start_ts"),
        F.element_at("points", -1)["event_ts"].alias("end_ts"),
        F.date_from_unix_date(_day_of(F.unix_micros(start_ts))).alias("date"),
        F.size("points").alias("n_actions"),
        F.transform("points", _as_stored).alias("actions"),
    )


def _as_stored(point: Column) -> Column:
    names = ("job_id", "action", "event_ts", "dwell_seconds", "event_id", "arrived_ts")
    return F.struct(*(point[name].alias(name) for name in names))


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _day(column: str) -> Column:
    return _day_of(F.col(column))


def _day_of(instant_us: Column) -> Column:
    """Days since 1970-01-01 UTC, whatever the session's time zone."""
    # `/` divides doubles: exact for a multiple of the divisor only.
    return ((instant_us - F.pmod(instant_us, F.lit(_DAY_US))) / F.lit(_DAY_US)).cast("int")
