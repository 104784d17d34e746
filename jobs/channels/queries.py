"""One query a case: what is known of a seeker strictly before an instant, as the channels will ask it.

A case is (query_id, seeker_id, as_of_ts). A daily run has one a seeker, as of the interval's end; evaluation
has one a held-out action, as of just before it. Both build their queries here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from jobs.chains.sessionize import APPLY_ACTIONS, CLICK_ACTIONS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Profile fields that carry over to the field of the same meaning on jobs.
PROFILE_FIELDS = {
    "occupation": "occupation",
    "wanted_occupation": "occupation",
    "title": "title",
    "region": "region",
    "skill": "skill",
}
# Fields taken over from the jobs a seeker acted on, for those whose profile is silent or out of date.
BEHAVIOR_FIELDS = ("occupation", "title", "region")
TERM_FIELDS = ("occupation", "title", "region", "skill")

COLUMNS = (
    "query_id bigint, seeker_id bigint, as_of_ts timestamp, is_returning boolean, "
    "clicked array<bigint>, clicked_weights array<float>, applied array<bigint>, applied_weights array<float>, "
    "terms map<string,array<int>>, bands array<array<int>>, excluded array<bigint>"
)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How a seeker's past counts: actions fade as others follow, and fade at once when a pause does.

    58.com's seekers are active for days, then gone, and come back wanting something else (SOURCES 1). An action
    counts half as much every `half_life_actions` actions, and `dormant_weight` times as much for each pause of
    more than `dormant_days` that the seeker made since. At most `max_actions` jobs a chain.
    """

    max_actions: int = 50
    half_life_actions: float = 10.0
    dormant_days: float = 7.0
    dormant_weight: float = 0.25


def active_cases(actions: DataFrame, as_of: Column) -> DataFrame:
    """One case a seeker who acted: the seeker's id is the query's."""
    return actions.select("seeker_id").distinct().select(F.col("seeker_id").alias("query_id"), "seeker_id", as_of)


def build_queries(
    cases: DataFrame,
    *,
    actions: DataFrame,
    seeker_terms: DataFrame,
    job_terms: DataFrame,
    seeker_nodes: DataFrame,
    node_bands: DataFrame,
    n_bands: int,
    excluded_actions: list[str],
    memory: Memory,
    max_terms: int,
) -> DataFrame:
    """`COLUMNS`, one row a case.

    `actions` are seekers' own (seeker_id, job_id, action, event_ts); those at the case's very instant are not
    before it. `clicked` and `applied` are newest first, each job once, with what each counts by `memory`;
    `is_returning` tells of a pause among the seeker's actions, of more than `dormant_days`. `terms` join the
    profile as of the case and the terms of the jobs last acted on, at most `max_terms` a field of the latter.
    `bands` hold the seeker's node ids by falling band of link quality. `excluded` are the jobs met by one of
    `excluded_actions`.
    """
    earlier = _earlier_actions(cases, actions, memory).persist()
    recent = _recent_actions(earlier, memory)
    parts = [
        _jobs_by_kind(recent),
        earlier.groupBy("query_id").agg((F.max("pauses") > 0).alias("is_returning")),
        _excluded(earlier, excluded_actions),
        _terms(cases, seeker_terms, recent, job_terms, max_terms),
        _bands(cases, seeker_nodes, node_bands, n_bands),
    ]
    queries = cases
    for part in parts:
        queries = queries.join(part, "query_id", "left")
    empty_jobs, empty_weights = F.array().cast("array<bigint>"), F.array().cast("array<float>")
    return queries.select(
        "query_id",
        "seeker_id",
        "as_of_ts",
        F.coalesce("is_returning", F.lit(False)).alias("is_returning"),
        F.coalesce("clicked.job_id", empty_jobs).alias("clicked"),
        F.coalesce("clicked.weight", empty_weights).alias("clicked_weights"),
        F.coalesce("applied.job_id", empty_jobs).alias("applied"),
        F.coalesce("applied.weight", empty_weights).alias("applied_weights"),
        F.coalesce("terms", F.create_map().cast("map<string,array<int>>")).alias("terms"),
        F.coalesce("bands", F.array().cast("array<array<int>>")).alias("bands"),
        F.coalesce("excluded", empty_jobs).alias("excluded"),
    )


def _earlier_actions(cases: DataFrame, actions: DataFrame, memory: Memory) -> DataFrame:
    """(query_id, job_id, action, event_ts, pauses): each case's actions before it, the last of each job and action.

    `pauses` are those of more than `dormant_days` between the action and the seeker's last before the case.
    """
    newest_first = Window.partitionBy("query_id").orderBy(F.desc("event_ts"))
    until_next = F.lag("event_ts").over(newest_first).cast("double") - F.col("event_ts").cast("double")
    is_paused = F.coalesce(until_next > memory.dormant_days * 86_400, F.lit(False))
    return (
        cases.join(actions, "seeker_id", "inner")
        .where(F.col("event_ts") < F.col("as_of_ts"))
        .withColumn("is_paused", is_paused.cast("int"))
        .withColumn("pauses", F.sum("is_paused").over(newest_first))
        .groupBy("query_id", "job_id", "action")
        .agg(F.max("event_ts").alias("event_ts"), F.min("pauses").alias("pauses"))
    )


def _recent_actions(earlier: DataFrame, memory: Memory) -> DataFrame:
    """The `max_actions` newest jobs a query and kind of chain, numbered from 0, and what each counts.

    Ties in time are in order of job id.
    """
    kind = F.when(F.col("action").isin(*APPLY_ACTIONS), "applied").when(F.col("action").isin(*CLICK_ACTIONS), "clicked")
    newest = Window.partitionBy("query_id", "kind").orderBy(F.desc("event_ts"), "job_id")
    fresh = F.pow(F.lit(0.5), F.col("age") / memory.half_life_actions)
    awake = F.pow(F.lit(memory.dormant_weight), "pauses")
    return (
        earlier.withColumn("kind", kind)
        .where(F.col("kind").isNotNull())
        .groupBy("query_id", "kind", "job_id")
        .agg(F.max("event_ts").alias("event_ts"), F.min("pauses").alias("pauses"))
        .withColumn("age", F.row_number().over(newest) - 1)
        .where(F.col("age") < memory.max_actions)
        .withColumn("weight", fresh * awake)
    )


def _jobs_by_kind(recent: DataFrame) -> DataFrame:
    """(query_id, clicked, applied): arrays of (job_id, weight), newest first."""
    entry = F.struct("age", "job_id", F.col("weight").cast("float").alias("weight"))
    ordered = F.sort_array(F.collect_list(entry))
    return recent.groupBy("query_id").pivot("kind", ["clicked", "applied"]).agg(ordered)


def _excluded(earlier: DataFrame, excluded_actions: list[str]) -> DataFrame:
    met = earlier.where(F.col("action").isin(*excluded_actions))
    return met.groupBy("query_id").agg(F.sort_array(F.collect_set("job_id")).alias("excluded"))


def _terms(
    cases: DataFrame, seeker_terms: DataFrame, recent: DataFrame, job_terms: DataFrame, max_terms: int
) -> DataFrame:
    """(query_id, terms): field to sorted term ids, of profile and behaviour together."""
    profile = _exploded(as_of_versions(cases, seeker_terms, "seeker_id"), "query_id").select(
        "query_id", _job_field(F.col("field")).alias("field"), "term"
    )
    acted = recent.where(F.col("age") < 10).select("query_id", "job_id", "weight")
    by_age = F.row_number().over(Window.partitionBy("query_id", "field").orderBy(F.desc("weight"), "term"))
    behaved = (
        _exploded(acted.join(job_terms.select("job_id", "terms"), "job_id", "inner"), "query_id", "weight")
        .where(F.col("field").isin(*BEHAVIOR_FIELDS))
        .groupBy("query_id", "field", "term")
        .agg(F.sum(F.floor(1e9 * F.col("weight"))).alias("weight"))
        .withColumn("rank", by_age)
        .where(F.col("rank") <= max_terms)
        .select("query_id", "field", "term")
    )
    fields = profile.where(F.col("field").isNotNull()).unionByName(behaved).groupBy("query_id", "field")
    lists = fields.agg(F.sort_array(F.collect_set("term")).alias("values"))
    return lists.groupBy("query_id").agg(F.map_from_entries(F.collect_list(F.struct("field", "values"))).alias("terms"))


def _exploded(rows: DataFrame, *keep: str) -> DataFrame:
    fields = rows.select(*keep, F.explode("terms").alias("field", "values"))
    return fields.select(*keep, "field", F.explode("values").alias("term"))


def _job_field(field: Column) -> Column:
    """The job field that a profile field is asked of; null where there is none."""
    return F.create_map(*[F.lit(text) for pair in PROFILE_FIELDS.items() for text in pair])[field]


def as_of_versions(cases: DataFrame, versions: DataFrame, entity: str) -> DataFrame:
    """Each case with the entity's newest version whose valid_from is strictly before the case; inner."""
    newest = Window.partitionBy("query_id").orderBy(F.desc("valid_from"))
    return (
        cases.join(versions, entity, "inner")
        .where(F.col("valid_from") < F.col("as_of_ts"))
        .withColumn("version_rank", F.row_number().over(newest))
        .where("version_rank = 1")
        .drop("version_rank")
    )


def _bands(cases: DataFrame, seeker_nodes: DataFrame, node_bands: DataFrame, n_bands: int) -> DataFrame:
    """(query_id, bands): node ids by band, the best band first; every query has `n_bands` lists."""
    banded = (
        cases.select("query_id", "seeker_id")
        .join(seeker_nodes.select("seeker_id", F.explode("nodes").alias("node_id")), "seeker_id", "inner")
        .join(F.broadcast(node_bands), "node_id", "inner")
        .groupBy("query_id", "band")
        .agg(F.sort_array(F.collect_set("node_id")).alias("nodes"))
    )
    by_band = F.map_from_entries(F.collect_list(F.struct("band", "nodes")))
    lists = [F.coalesce(F.col("by_band")[band], F.array().cast("array<int>")) for band in range(n_bands)]
    return banded.groupBy("query_id").agg(by_band.alias("by_band")).select("query_id", F.array(*lists).alias("bands"))


def quality_bands(links: DataFrame, n_bands: int) -> DataFrame:
    """(node_id, band): the qualities that links have, each once, cut into `n_bands` even ones; band 0 has the best.

    Each once, as hundreds may have the one of the same term on both sides.
    """
    # one partition: links are tens of thousands (LinkedIn: 9K to 70K), a row each
    falling = F.percent_rank().over(Window.orderBy(F.desc("quality")))
    ranked = links.select("quality").distinct().select("quality", falling.alias("ranked"))
    band = F.least(F.floor(F.col("ranked") * n_bands), F.lit(n_bands - 1)).cast("int")
    return links.join(ranked, "quality").select("node_id", band.alias("band"))
