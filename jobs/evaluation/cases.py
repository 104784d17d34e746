"""Which next actions are predicted: one case a target event, with what came before it.

The split is global in time: every case is asked at or after it, models have seen nothing at or after it.
Prefixes inside the test period are allowed: what a seeker did since the split counts as known at the time of
the case.
"""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.chains.sessionize import CHAIN_ACTIONS

_NOT_NEGATIVE = 2**63 - 1


def next_action_cases(
    events: DataFrame,
    target_action: str,
    start: datetime,
    end: datetime,
    max_cases: int,
    seed: int,
    new_jobs_only: bool,
) -> DataFrame:
    """(query_id, seeker_id, as_of_ts, target_job_id, event_id, list_id), one row a case.

    A case is a seeker's `target_action` in [start, end) on a job. With `new_jobs_only` it is asked at the
    seeker's first touch of that job (`as_of_ts`, any of `CHAIN_ACTIONS`), once a seeker and job, and only where
    that touch is not before `start`: the view that led to an application tells nobody anything new. Without,
    it is asked at every target event. Either way the seeker has an action strictly before `as_of_ts`: what
    happened at the same instant is not before. Events before `start` must be among `events` for that.

    `query_id` is a hash of the target's `event_id`, never negative. `list_id` is that of the first touch,
    else of the target; null where the job was in no shown list. Of more than `max_cases`, those with the
    lowest seeded hash are drawn.
    """
    by_seekers = events.where(F.col("actor") == "seeker")
    actions = by_seekers.where(F.col("action").isin(*CHAIN_ACTIONS))
    targets = by_seekers.where(
        (F.col("action") == target_action) & (F.col("event_ts") >= F.lit(start)) & (F.col("event_ts") < F.lit(end))
    ).select("event_id", "seeker_id", "job_id", "list_id", F.col("event_ts").alias("as_of_ts"))
    if new_jobs_only:
        targets = _at_first_touch(targets, actions).where(F.col("as_of_ts") >= F.lit(start))
    firsts = actions.groupBy("seeker_id").agg(F.min("event_ts").alias("first_action_ts"))
    cases = targets.join(firsts, "seeker_id", "inner").where(F.col("first_action_ts") < F.col("as_of_ts"))
    drawn = cases.orderBy(F.xxhash64(F.lit(seed), "event_id"), "event_id").limit(max_cases)
    return drawn.select(
        F.xxhash64("event_id").bitwiseAND(F.lit(_NOT_NEGATIVE)).alias("query_id"),
        "seeker_id",
        "as_of_ts",
        F.col("job_id").alias("target_job_id"),
        "event_id",
        "list_id",
    )


def _at_first_touch(targets: DataFrame, actions: DataFrame) -> DataFrame:
    """One row a seeker and job: the earliest target, at the instant and list of the first action on it."""
    in_order = F.struct("as_of_ts", "event_id", "list_id")
    earliest = targets.groupBy("seeker_id", "job_id").agg(F.min(in_order).alias("target"))
    touches = actions.select("seeker_id", "job_id", F.struct("event_ts", "event_id", "list_id").alias("touch"))
    firsts = (
        touches.join(earliest.select("seeker_id", "job_id"), ["seeker_id", "job_id"], "left_semi")
        .groupBy("seeker_id", "job_id")
        .agg(F.min("touch").alias("first"))
    )
    return earliest.join(firsts, ["seeker_id", "job_id"], "inner").select(
        F.col("target.event_id").alias("event_id"),
        "seeker_id",
        "job_id",
        F.coalesce("first.list_id", "target.list_id").alias("list_id"),
        F.col("first.event_ts").alias("as_of_ts"),
    )


def earlier_jobs(cases: DataFrame, events: DataFrame, actions: tuple[str, ...], max_actions: int) -> DataFrame:
    """(query_id, job_ids): the jobs of the seeker's latest `max_actions` such actions before the case.

    Latest first, each job once, at its latest action; actions of one instant by event id. Before is strictly
    before. Cases without any have no row.
    """
    done = events.where((F.col("actor") == "seeker") & F.col("action").isin(*actions)).select(
        "seeker_id", "job_id", "event_ts", F.col("event_id").alias("action_id")
    )
    # max_cases bounds the cases: the events are not shuffled for them
    before = done.join(F.broadcast(cases.select("query_id", "seeker_id", "as_of_ts")), "seeker_id", "inner")
    before = before.where(F.col("event_ts") < F.col("as_of_ts"))
    # a bot may have a million: the latest are kept while aggregating, not after
    latest = F.struct("event_ts", "action_id", "job_id")
    kept = before.groupBy("query_id").agg(F.max_by(latest, latest, max_actions).alias("latest"))
    return kept.select("query_id", F.array_distinct(F.col("latest.job_id")).alias("job_ids"))
