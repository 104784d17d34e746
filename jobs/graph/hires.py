"""Hires and no-hires as labelled pairs, each side with the terms that it had at the time.

LinkedIn (arXiv 2402.13435, §3) learns its links from confirmed hires against pairs that were not hired, and
does not say how it samples the latter. Here they come in three kinds, each so many a hire:

applied  the seeker applied, and was not hired within a stated time. An application whose time is not over by
         the end of the data is undecided, and stands for nothing.
seen     the seeker was shown or viewed the job and never made contact. Only of seekers who did apply for
         something: on a board that records no applications, a view says interest, not refusal.
random   the hires of a local market, re-paired at random: both sides keep their frequencies and only the
         pairing goes, so that a segment pair that is merely popular on both sides is found in as many of them
         as of the hires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.graph.frames import held

PAIR = ("seeker_id", "job_id")
SEEN = ("impression", "view", "save")
CONTACT = ("apply", "call", "message")
KINDS = ("hire", "applied", "seen", "random")
# Of random numbers in [0, 1): fine enough for any share that a sample of pairs can show.
RESOLUTION = 1 << 30
ELSEWHERE = -1


@dataclass(frozen=True, kw_only=True)
class NoHires:
    """How many no-hires of each kind stand against each hire, and how they are drawn.

    Applied and seen pairs look like hires in all that segments can tell, so more than a few of them make
    no-hires outnumber hires in the very segments that do hire.
    """

    applied_per_hire: float = 0.25
    seen_per_hire: float = 0.25
    random_per_hire: float = 1.0
    within_days: int = 30  # an application not followed by a hire for so long is a no-hire
    market_field: str = "region"  # the job's term in this field is its local market
    min_market: int = 10  # hires: smaller markets are drawn from together
    max_pairs: int = 10_000_000  # hires and no-hires together; of more hires a share is drawn
    seed: int = 0

    def drawn_share(self, n_hires: int) -> float:
        """The share of the hires that pairs are made of.

        >>> NoHires(max_pairs=1_000).drawn_share(100), NoHires(max_pairs=1_000).drawn_share(1_000)
        (1.0, 0.4)
        """
        a_hire = 1 + self.applied_per_hire + self.seen_per_hire + self.random_per_hire
        return min(1.0, self.max_pairs / (n_hires * a_hire)) if n_hires else 1.0


def labelled_pairs(
    hires: DataFrame,
    events: DataFrame,
    seeker_terms: DataFrame,
    job_terms: DataFrame,
    until: datetime,
    options: NoHires,
) -> DataFrame:
    """One row a pair: seeker_id, job_id, kind, at_ts, weight, seeker_terms, job_terms, is_job_later.

    `kind` is one of KINDS; a pair that was ever hired is nothing else, and one of several kinds is the first
    of them. `at_ts` is when it was hired, first applied for, first seen. `weight` is the hire's own; a
    no-hire weighs as much as the mean hire, so that a proxy that counts 0.2 a row is weighed like hires that
    count 1. The terms are those of `terms_at`; pairs of which one side had none by then are left out.
    `seeker_terms` and `job_terms` are of one taxonomy version; all inputs are from before `until`.
    """
    moments = hires.select(*PAIR, F.lit("hire").alias("kind"), F.col("hired_ts").alias("at_ts"), "weight")
    share = options.drawn_share(hires.count())
    if share < 1:
        moments = moments.where(_uniform(options.seed + 3, *PAIR) < share)
    hired = held(with_terms(moments, seeker_terms, job_terms))
    n_hires, mean_weight = hired.agg(F.count("*"), F.avg("weight")).first() or (0, None)
    weight = F.lit(mean_weight or 1.0)
    unhired = held(_unhired(events, hires, until, options))
    available = {row["kind"]: row["count"] for row in unhired.groupBy("kind").count().collect()}
    wanted = {"applied": options.applied_per_hire * n_hires, "seen": options.seen_per_hire * n_hires}
    drawn = unhired.where(_is_drawn(wanted, available, options.seed)).withColumn("weight", weight)
    repaired = _repaired(hired, options).join(hires.select(*PAIR), list(PAIR), "left_anti").withColumn("weight", weight)
    pairs = hired.unionByName(with_terms(drawn, seeker_terms, job_terms)).unionByName(repaired)
    # A seeker hired twice may draw one job twice, or one that they applied for.
    first = Window.partitionBy(*PAIR).orderBy(F.array_position(F.array(*map(F.lit, KINDS)), F.col("kind")), "at_ts")
    return pairs.withColumn("_n", F.row_number().over(first)).where("_n = 1").drop("_n")


def terms_at(moments: DataFrame, versions: DataFrame, entity: str, *, strictly_before: bool) -> DataFrame:
    """`moments` with the terms that each one's `entity` had at `at_ts`: columns {entity}_terms and is_later.

    `strictly_before`: the last version with valid_from < at_ts; a moment without one is left out. Else the
    last with valid_from <= at_ts; before the first version, that one, and `is_later` is true: a posting says
    what it asked for even where the board has only recorded it since, while a profile written since may say
    the answer. A version without terms gives an empty map. At most one row a moment, since (entity,
    valid_from) is a key.
    """
    key = f"{entity}_id"
    by_time = Window.partitionBy(key).orderBy("valid_from")
    spans = versions.join(moments.select(key).distinct(), key, "left_semi").select(
        key,
        F.col("terms").alias(f"{entity}_terms"),
        "valid_from",
        F.lead("valid_from").over(by_time).alias("_until"),
        (F.row_number().over(by_time) == 1).alias("_is_first"),
    )
    if strictly_before:
        holds = (F.col("valid_from") < F.col("at_ts")) & _is_open_or(F.col("_until") >= F.col("at_ts"))
    else:
        begun = F.col("_is_first") | (F.col("valid_from") <= F.col("at_ts"))
        holds = begun & _is_open_or(F.col("_until") > F.col("at_ts"))
    joined = moments.join(spans, key, "inner").where(holds)
    return joined.withColumn("is_later", F.col("valid_from") > F.col("at_ts")).drop("valid_from", "_until", "_is_first")


def _is_open_or(condition: Column) -> Column:
    return F.col("_until").isNull() | condition


def with_terms(moments: DataFrame, seeker_terms: DataFrame, job_terms: DataFrame) -> DataFrame:
    """`moments` with the terms of both sides at the time, see `terms_at`: seeker_terms, job_terms, is_job_later."""
    seekers = terms_at(moments, seeker_terms, "seeker", strictly_before=True).drop("is_later")
    jobs = terms_at(seekers, job_terms, "job", strictly_before=False)
    return jobs.withColumnRenamed("is_later", "is_job_later")


def _unhired(events: DataFrame, hires: DataFrame, until: datetime, options: NoHires) -> DataFrame:
    """Pairs never hired: seeker_id, job_id, kind (applied or seen), at_ts."""
    action, at = F.col("action"), F.col("event_ts")
    pairs = events.groupBy(*PAIR).agg(
        F.min(F.when(action == "apply", at)).alias("applied_ts"),
        F.min(F.when(action.isin(*SEEN), at)).alias("seen_ts"),
        F.coalesce(F.max(action.isin(*CONTACT)), F.lit(False)).alias("is_contacted"),
    )
    decided_before = F.lit(until - timedelta(days=options.within_days))
    applied = pairs.where(F.col("applied_ts") <= decided_before).select(
        *PAIR, F.lit("applied").alias("kind"), F.col("applied_ts").alias("at_ts")
    )
    appliers = pairs.where(F.col("applied_ts").isNotNull()).select("seeker_id").distinct()
    seen = (
        pairs.where(F.col("seen_ts").isNotNull() & ~F.col("is_contacted"))
        .join(appliers, "seeker_id", "left_semi")
        .select(*PAIR, F.lit("seen").alias("kind"), F.col("seen_ts").alias("at_ts"))
    )
    return applied.unionByName(seen).join(hires.select(*PAIR), list(PAIR), "left_anti")


def _is_drawn(wanted: Mapping[str, float], available: Mapping[str, int], seed: int) -> Column:
    """True for a seeded share of the pairs of each kind, such that about `wanted` of them are drawn."""
    drawn = F.lit(False)
    for kind, n in wanted.items():
        share = min(1.0, n / available[kind]) if available.get(kind) else 0.0
        drawn = drawn | ((F.col("kind") == kind) & (_uniform(seed, "kind", *PAIR) < share))
    return drawn


def _repaired(hired: DataFrame, options: NoHires) -> DataFrame:
    """Each hire's seeker with the job of another hire of the same market, `random_per_hire` times on average.

    Each hire has an index within its market and draws another index: one equi-join, as many rows as draws. A
    market is sorted by one task; its rows are hires, of which the largest market has millions at most.
    """
    market = F.get(F.try_element_at("job_terms", F.lit(options.market_field)), F.lit(0))
    of_market = Window.partitionBy("_market")
    shuffled = of_market.orderBy(_hash(options.seed, *PAIR), *PAIR)
    is_large = F.count("*").over(of_market) >= options.min_market
    indexed = (
        hired.withColumn("_market", F.coalesce(market, F.lit(ELSEWHERE)))
        .withColumn("_is_large", is_large)
        .withColumn("_market", F.when(F.col("_is_large"), F.col("_market")).otherwise(ELSEWHERE))
        .withColumn("_size", F.count("*").over(of_market))
        .withColumn("_index", F.row_number().over(shuffled) - 1)
    )
    others = F.pmod(_hash(options.seed + 1, *PAIR, "_draw"), F.col("_size") - 1) + 1
    drawn = (
        indexed.where("_size > 1")
        .withColumn("_draw", F.explode(F.sequence(F.lit(0), F.lit(max(ceil(options.random_per_hire), 1) - 1))))
        .where(_uniform(options.seed + 2, *PAIR, "_draw") < options.random_per_hire - F.col("_draw"))
        .withColumn("_index", F.pmod(F.col("_index") + others, "_size").cast("int"))
        .select("seeker_id", "at_ts", "seeker_terms", "_market", "_index")
    )
    jobs = indexed.select("job_id", "job_terms", "is_job_later", "_market", "_index")
    return drawn.join(jobs, ["_market", "_index"], "inner").select(
        *PAIR, F.lit("random").alias("kind"), "at_ts", "seeker_terms", "job_terms", "is_job_later"
    )


def _hash(seed: int, *columns: str) -> Column:
    return F.xxhash64(F.lit(seed), *columns)


def _uniform(seed: int, *columns: str) -> Column:
    """In [0, 1), from what the row holds: the same in any order and partitioning."""
    return F.pmod(_hash(seed, *columns), F.lit(RESOLUTION)) / RESOLUTION
