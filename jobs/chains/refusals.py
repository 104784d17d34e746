"""What the seeker of a chain did not want, or was not wanted for: explicit negatives (Airbnb 2018, SOURCES 3)."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.chains.sessionize import CHAIN_ACTIONS

IMPRESSION = "impression"

# What takes a job from a seeker's candidates without being an interest.
DISMISS = "dismiss"

# The seeker's own no, and the employer's.
REFUSALS = (DISMISS, "reject")

# A chain teaches no more by refusing more.
MOST_REFUSED = 100


def refused_jobs(events: DataFrame, chains: DataFrame) -> DataFrame:
    """(chain_id, refused array<bigint>): the jobs that were refused while, or after, the chain went on.

    A refusal belongs to the seeker's latest chain that had begun by then: of several that began at one instant, to
    that of the greatest id. One from before all of their chains belongs to none. Each job once, ascending, the
    first `MOST_REFUSED`.
    """
    begun = chains.select(
        "seeker_id", F.col("start_ts").alias("at"), "chain_id", F.lit(None).cast("bigint").alias("job")
    )
    refused = events.where(F.col("action").isin(*REFUSALS)).select(
        "seeker_id",
        F.col("event_ts").alias("at"),
        F.lit(None).cast("bigint").alias("chain_id"),
        F.col("job_id").alias("job"),
    )
    # One pass over each seeker's instants: a join would be of every chain with every refusal.
    in_order = Window.partitionBy("seeker_id").orderBy("at", F.col("chain_id").isNull(), "chain_id")
    latest = F.last("chain_id", ignorenulls=True).over(in_order.rowsBetween(Window.unboundedPreceding, 0))
    owned = begun.unionByName(refused).withColumn("owner", latest).where("job IS NOT NULL AND owner IS NOT NULL")
    return owned.groupBy(F.col("owner").alias("chain_id")).agg(_jobs().alias("refused"))


def passed_over(events: DataFrame, chains: DataFrame) -> DataFrame:
    """(chain_id, refused array<bigint>): the jobs of the lists that the chain acted in that it did not act on.

    They were seen beside what was chosen: told apart from those, a job is what makes it chosen, and not what shows it.
    `events` hold the chains' actions and impressions; an action that is not among them counts for nothing, and a chain
    that left no job of a list has no row. Each job once, ascending, the first `MOST_REFUSED`.
    """
    acts = chains.select("chain_id", "seeker_id", F.explode("actions.event_id").alias("event_id"))
    done, shown = _done(events).drop("seeker_id"), _shown(events)
    acts = acts.join(done, "event_id", "inner")
    lists = acts.where(F.col("list_id").isNotNull()).select("chain_id", "seeker_id", "list_id").distinct()
    seen = lists.join(shown, ["seeker_id", "list_id"], "inner").select("chain_id", "job")
    left = seen.join(acts.select("chain_id", "job").distinct(), ["chain_id", "job"], "left_anti")
    return left.groupBy("chain_id").agg(_jobs().alias("refused"))


def passed_over_by_action(events: DataFrame, chains: DataFrame) -> DataFrame:
    """(chain_id, refused array<array<bigint>>): of each action, the jobs of its list that nobody acted on.

    For chains so long that what one list showed says nothing of another's. `events` are as of `passed_over`; an action
    without a list, or that is not among them, has no job. Each job once, ascending, the first `MOST_REFUSED`.
    """
    done, shown = (rows.where("list_id IS NOT NULL") for rows in (_done(events), _shown(events)))
    left = shown.join(
        done.select("seeker_id", "list_id", "job").distinct(), ["seeker_id", "list_id", "job"], "left_anti"
    )
    left = left.groupBy("seeker_id", "list_id").agg(_jobs().alias("left"))
    by_event = done.join(left, ["seeker_id", "list_id"], "inner").select("event_id", "left")
    acts = chains.select("chain_id", F.posexplode("actions.event_id").alias("place", "event_id"))
    rows = acts.join(by_event, "event_id", "left").withColumn(
        "left", F.coalesce("left", F.array().cast("array<bigint>"))
    )
    in_order = F.sort_array(F.collect_list(F.struct("place", "left")))
    return rows.groupBy("chain_id").agg(F.transform(in_order, lambda act: act["left"]).alias("refused"))


def _done(events: DataFrame) -> DataFrame:
    """(event_id, seeker_id, list_id, job) of the actions that chains are of."""
    done = events.where(F.col("action").isin(*CHAIN_ACTIONS))
    return done.select("event_id", "seeker_id", "list_id", F.col("job_id").alias("job"))


def _shown(events: DataFrame) -> DataFrame:
    """(seeker_id, list_id, job) of the impressions."""
    return events.where(F.col("action") == IMPRESSION).select("seeker_id", "list_id", F.col("job_id").alias("job"))


def _jobs() -> Column:
    """array<bigint>: each `job` of a group once, ascending, the first `MOST_REFUSED`."""
    return F.slice(F.sort_array(F.collect_set("job")), 1, MOST_REFUSED)
