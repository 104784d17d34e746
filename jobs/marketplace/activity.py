"""The board's activity log: one row an action, from the shown lists, the applications and the bots."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.dictionary import Dictionary
from jobs.marketplace.draws import Draws, board_id, constant
from jobs.marketplace.inventory import ANYWHERE, fill
from jobs.marketplace.population import DAY

N_BOTS_A_SEEKER = 1 / 600
BOT_VIEWS = 640  # in a quarter of an hour
BOT_SECONDS = 900

# Days between an action and its row's arrival, for those that come late at all; some later than three days.
LATE_SHARE = 0.012
LATE_DAYS = (1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 6)

COST_A_CLICK = 0.35

_ROW = "struct<kind:string,side:string,at_s:bigint,until_s:bigint>"


def _action(kind: str, when: Column, at_s: Column, until_s: Column | None = None, side: str = "candidate") -> Column:
    until = F.lit(None) if until_s is None else until_s
    row = F.struct(F.lit(kind), F.lit(side), at_s.cast("bigint"), until.cast("bigint")).cast(_ROW)
    return F.when(when, row)


def seekers_actions(impressions: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """The rows of what seekers were shown and did, applications aside."""
    view, end = F.col("view_s"), F.col("view_end_s")
    middle = F.floor((view + end) / 2)
    actions = [
        _action("shown", F.lit(True), F.col("list_s")),
        _action("opened", F.col("did_view"), view, end),
        _action("bookmarked", F.col("did_save"), middle),
        _action("called", F.col("did_call"), end + 40),
        _action("messaged", F.col("did_message"), end + 70),
        _action("hidden", F.col("did_dismiss"), F.col("list_s") + F.col("position") * 9),
    ]
    return _rows(impressions, actions, config, words)


def applications_actions(answered: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """The rows of applications and of what employers did with them."""
    names = {
        "looked_s": "cv_opened",
        "replied_s": "answered",
        "interviewed_s": "invited",
        "rejected_s": "declined",
    }
    actions = [_action("applied", F.lit(True), F.col("apply_s"))]
    actions += [_action(kind, F.col(name).isNotNull(), F.col(name), side="employer") for name, kind in names.items()]
    return _rows(answered, actions, config, words)


def _rows(frame: DataFrame, actions: list[Column], config: MarketConfig, words: Dictionary) -> DataFrame:
    queries = constant([[way.lower() for way in o.surfaces] for o in words.occupations], "array<array<string>>")
    typed = Draws(config.seed).one_of(F.get(queries, F.col("wanted_occupation")), "typed", F.col("list"))
    rows = frame.withColumn("action", F.explode(F.filter(F.array(*actions), lambda a: a.isNotNull())))
    kind, seekers_own = F.col("action.kind"), F.col("action.side") == "candidate"
    promoted = seekers_own & F.col("is_promoted_flow")
    return rows.select(
        F.md5(F.concat_ws("/", kind, F.col("slot").cast("string"))).alias("activity_id"),
        "user_uuid",
        "posting_ref",
        F.col("action.side").alias("side"),
        kind.alias("kind"),
        F.col("action.at_s").alias("at_s"),
        F.col("action.until_s").alias("until_s"),
        F.when(seekers_own, F.col("surface")).alias("place"),
        F.when(seekers_own, F.concat(F.lit("L"), F.col("list").cast("string"))).alias("list_ref"),
        F.when(seekers_own, F.col("position")).alias("rank"),
        F.when(seekers_own, F.when(promoted, "sponsored").otherwise("natural")).alias("lane"),
        F.when(seekers_own & (F.col("surface") == "search"), typed).alias("typed"),
        F.when(promoted & (kind == "opened"), F.lit(COST_A_CLICK)).alias("fee"),
    )


def bots(spark: SparkSession, config: MarketConfig) -> DataFrame:
    """One row a bot: numbered after the seekers, which it resembles in all but its pace."""
    n = max(1, round(config.n_seekers * N_BOTS_A_SEEKER * config.dirt)) if config.dirt > 0 else 0
    number = F.col("bot") + config.n_seekers
    rows = spark.range(n).withColumnRenamed("id", "bot")
    return rows.select("bot", board_id("user", config.seed, number).alias("user_uuid"))


def bots_actions(bots: DataFrame, inventory: DataFrame, config: MarketConfig, words: Dictionary) -> DataFrame:
    """The rows of bots: hundreds of views of any job, seconds apart."""
    draws, bot = Draws(config.seed), F.col("bot")
    day = draws.below(config.days, "bot day", bot)
    start = config.start_s + day * DAY + draws.below(DAY - BOT_SECONDS, "bot start", bot)
    rows = bots.withColumn("n", F.explode(F.sequence(F.lit(0), F.lit(BOT_VIEWS - 1)))).withColumn("day", day)
    rows = rows.withColumn("list_s", (start + F.floor(F.col("n") * (BOT_SECONDS / BOT_VIEWS))).cast("bigint"))
    rows = rows.withColumn("slot", -(bot * BOT_VIEWS + F.col("n")) - 1)
    rows = rows.withColumn("slot_occupation", draws.below(len(words.occupations), "bot occupation", F.col("slot")))
    filled = fill(rows.withColumn("slot_region", F.lit(ANYWHERE)), inventory, config)
    nothing = {
        "place": "string",
        "list_ref": "string",
        "rank": "int",
        "lane": "string",
        "typed": "string",
        "fee": "double",
    }
    return filled.select(
        F.md5(F.concat_ws("/", F.lit("opened"), F.col("slot").cast("string"))).alias("activity_id"),
        "user_uuid",
        "posting_ref",
        F.lit("candidate").alias("side"),
        F.lit("opened").alias("kind"),
        F.col("list_s").alias("at_s"),
        (F.col("list_s") + 1).alias("until_s"),
        *[F.lit(None).cast(kind).alias(name) for name, kind in nothing.items()],
    )


def with_arrival(rows: DataFrame, config: MarketConfig) -> DataFrame:
    """Add received_s: within two minutes of the action (or of its end), for some days later."""
    draws, row = Draws(config.seed), F.xxhash64("activity_id")
    done = F.coalesce(F.col("until_s"), F.col("at_s"))
    soon = done + 1 + draws.below(120, "arrival", row)
    late = draws.chance(LATE_SHARE * config.dirt, "late", row)
    # To noon of the later day, so that the lateness in days is as drawn.
    later = (
        F.floor(F.col("at_s") / DAY) + draws.one_of(constant(LATE_DAYS, "array<int>"), "late days", row)
    ) * DAY + DAY // 2
    return rows.withColumn("received_s", F.when(late, later + draws.below(3600, "arrival", row)).otherwise(soon))


def as_written(rows: DataFrame) -> DataFrame:
    """The rows as the board writes them: instants, and the day of arrival that partitions them."""
    received = F.timestamp_seconds("received_s")
    return rows.select(
        "activity_id", "user_uuid", "posting_ref", "side", "kind",
        F.timestamp_seconds("at_s").alias("at"),
        F.timestamp_seconds("until_s").alias("until"),
        "place", "list_ref", "rank", "lane", "typed", "fee",
        received.alias("received_at"),
        F.to_date(received).alias("received_on"),
    )  # fmt: skip
