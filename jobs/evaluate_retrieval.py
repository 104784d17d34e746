"""Measure how well the run's models retrieve what seekers did next, on days that the models have not seen.

Reads `events`, the run's index and models; writes figures alone. Every held-out action is a case, asked through
the same channels and the same blend as a daily run, over the jobs open at its own instant, beside popularity, a
random order and, on a sample marketplace, the order by the planted truth. The chain channels are asked both ways:
by the chain's vector, and from the neighbours of its jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.chains.refusals import DISMISS
from jobs.chains.sessionize import APPLY_ACTIONS, CHAIN_ACTIONS, CLICK_ACTIONS
from jobs.channels.blend import blend
from jobs.channels.jobs_open import is_open, latest_versions
from jobs.channels.search import CHANNELS, ORGANIC, search
from jobs.evaluation import (
    earlier_jobs,
    list_positions,
    next_action_cases,
    oracle,
    popular_global,
    position_lift_figures,
    random_order,
    retrieval_figures,
    shown_lists,
    target_ranks,
)
from jobs.evaluation.truth import true_vectors
from jobs.figures import Figure
from jobs.intervals import DAY, Dates
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import blend_plan, keeps_neighbors, known, known_actions, run_queries, search_plan
from jobs.stage import run_stage, say
from jobs.terms.version import taxonomy_version
from jobs.threads import side_by_side
from schemas import ENTITY_IDS, EVENTS, JOB_TERMS, JOB_VECTORS, JOBS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    Truth = tuple[DataFrame, DataFrame]


def main(lake: Lake, run: Run) -> None:
    options = run.settings.evaluate_retrieval
    first = run.trained_until.date() - run.settings.training.lookback_days * DAY
    events = known(lake.read(EVENTS, Dates(first, run.interval.dates.end)), run)
    events = events.where(F.col("event_ts") < F.lit(run.interval.end))
    cases = next_action_cases(
        events,
        options.target_action,
        run.trained_until,
        run.interval.end,
        options.max_cases,
        options.seed,
        options.new_jobs_only,
    ).persist()
    n_cases = cases.count()
    if not n_cases:
        run.record("cases", 0)
        say(f"  no {options.target_action} from {run.trained_until} to {run.interval.end} has an action before it")
        return
    queries = case_queries(lake, run, cases).persist()
    truth = planted(lake, run, queries)
    vectors = lake.read_or_empty(JOB_VECTORS, Dates(run.date, run.date + DAY), model_version=run.run_id)

    def recalls() -> list[Figure]:
        ranked = rankings(lake, run, queries, events, truth).persist()
        return retrieval_figures(
            cases.join(queries.select("query_id", "is_returning"), "query_id", "inner"),
            target_ranks(cases, ranked),
            vectors.select("job_id", "is_cold"),
            k=options.k,
            bootstrap=options.bootstrap,
            seed=options.seed,
            rows=("blend", *CHANNELS[ORGANIC]),
        )

    for figures in side_by_side(recalls, lambda: position_figures(lake, run, cases, events, vectors, truth)):
        run.record_all(figures)


def case_queries(lake: Lake, run: Run, cases: DataFrame) -> DataFrame:
    """The cases as queries; with `drop_acted`, jobs acted on before the case are no candidates."""
    asked = cases.select("query_id", "seeker_id", "as_of_ts")
    excluded = [*CHAIN_ACTIONS, DISMISS] if run.settings.evaluate_retrieval.drop_acted else None
    return run_queries(lake, run, asked, known_actions(lake, run), excluded)


def planted(lake: Lake, run: Run, queries: DataFrame) -> Truth | None:
    """A sample marketplace's truth for the cases, as `true_vectors` gives it; None on a real board."""
    truth = run.settings.evaluate_retrieval.truth
    return true_vectors(lake.spark, truth, lake.read(ENTITY_IDS), queries) if truth else None


def rankings(lake: Lake, run: Run, queries: DataFrame, events: DataFrame, truth: Truth | None) -> DataFrame:
    """(query_id, row, candidates): every channel, the blend, and what they are held against."""
    options = run.settings.evaluate_retrieval
    k = max(options.k)
    plan = search_plan(run, at_its_time=True, k=k, flows=(ORGANIC,), both_ways=keeps_neighbors(run))
    found = search(queries, plan).persist()
    served = found.where(F.col("channel").isin(*CHANNELS[ORGANIC]))
    blended = blend(queries, served, blend_plan(run, {ORGANIC: k})).select(
        F.col("seeker_id").alias("query_id"), F.lit("blend").alias("row"), _pairs(F.col("candidates"))
    )
    inventory = open_jobs(lake, run)
    asked = queries.select("query_id", "as_of_ts", F.col("excluded").alias("exclude"))
    seen = events.where(F.col("event_ts") < F.lit(run.trained_until))
    rows = [
        found.select("query_id", F.col("channel").alias("row"), "candidates"),
        blended,
        popular_global(asked, inventory, seen, k=k, seed=options.seed),
        random_order(asked, inventory, k=k, seed=options.seed),
    ]
    if truth is not None:
        seekers, jobs = truth
        wanted = asked.join(seekers, "query_id", "inner")
        rows.append(oracle(wanted, inventory.join(jobs, "job_id", "inner"), k=k))
    ranked = rows[0]
    for more in rows[1:]:
        ranked = ranked.unionByName(more)
    return ranked


def _pairs(candidates: Column) -> Column:
    pairs = F.transform(candidates, lambda c: F.struct(c["job_id"].alias("job_id"), c["score"].alias("score")))
    return pairs.cast("array<struct<job_id:bigint,score:float>>").alias("candidates")


def open_jobs(lake: Lake, run: Run) -> DataFrame:
    """(job_id, posted_ts, closed_ts) of the jobs open at some instant of the held-out days."""
    jobs = latest_versions(lake.read(JOBS), "job_id", run.interval.end)
    return jobs.where(is_open(run.trained_until, run.interval.end)).select("job_id", "posted_ts", "closed_ts")


def position_figures(
    lake: Lake, run: Run, cases: DataFrame, events: DataFrame, vectors: DataFrame, truth: Truth | None
) -> list[Figure]:
    """58.com's position lift, a chain each; none where no list was shown."""
    lists = shown_lists(cases, events).persist()
    if lists.isEmpty():
        say("  no lists were shown: no position lift")
        return []
    terms = lake.read(JOB_TERMS, taxonomy_version=taxonomy_version(lake, run))
    features = latest_versions(terms, "job_id", run.interval.end)

    def lift(name: str, actions: tuple[str, ...]) -> list[Figure]:
        chains = earlier_jobs(cases, events, actions, run.settings.retrieve_candidates.max_actions)
        return position_lift_figures(list_positions(cases, lists, chains, vectors, features, truth), name)

    click, apply = side_by_side(lambda: lift("click_chain", CLICK_ACTIONS), lambda: lift("apply_chain", APPLY_ACTIONS))
    return click + apply


if __name__ == "__main__":
    run_stage("evaluate_retrieval", main)
