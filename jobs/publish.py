"""Publish a run: the last thing it does, and one commit that readers see.

A daily run's candidates and audiences are first held against their own rules once more, in Spark SQL, from the tables
and not from the index: one that is closed, was applied to, is not promoted in the promoted flow, or is there twice
stops the publish and fails the attempt. A training run's models are promoted if their evaluation is no worse than the
current ones'.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from jobs.channels.jobs_open import is_open, latest_versions
from jobs.errors import StageError
from jobs.lake import Lake
from jobs.runs import MODEL_NAMES, STAGES, TRAINING, Run, close_attempt
from jobs.serving import known_actions
from jobs.stage import run_stage, say
from schemas import AUDIENCES, CANDIDATES, JOBS, MODELS, RUN_METRICS
from schemas.render import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What a training run is judged by: metric and row of evaluate_retrieval, at the widest cut-off below 1,000.
JUDGED_ROW = "blend"
# What stands for a flow where an audience is held against the rules.
AUDIENCE = "audience"


def main(lake: Lake, run: Run) -> Callable[[], None]:
    require_finished(lake, run)
    if run.dag == TRAINING:
        promote(lake, run)
        return lambda: publish(lake, run)
    broken = broken_rules(lake, run)
    return (lambda: refuse(lake, run, broken)) if broken else (lambda: publish(lake, run))


def require_finished(lake: Lake, run: Run) -> None:
    """StageError where a stage before this one has not finished: its tables are empty, or an earlier run's."""
    figures = lake.read_or_empty(RUN_METRICS, run_id=run.run_id).where("metric = 'seconds'")
    finished = {row["stage"] for row in figures.select("stage").collect()}
    missing = [stage for stage in STAGES[run.dag] if stage not in finished and stage != "publish"]
    if missing:
        raise StageError(f"{run.run_id} is not published: expected all its stages, {', '.join(missing)} did not finish")


def publish(lake: Lake, run: Run) -> None:
    close_attempt(lake, run, "published", table_versions(lake, run))
    say(f"  published {run.run_id}")


def refuse(lake: Lake, run: Run, broken: dict[str, int]) -> None:
    found = ", ".join(f"{count:,} {rule}" for rule, count in sorted(broken.items()))
    close_attempt(lake, run, "failed", {}, f"ineligible candidates: {found}")
    raise StageError(f"{run.run_id} is not published, its candidates break their rules: {found}")


def broken_rules(lake: Lake, run: Run) -> dict[str, int]:
    """How many of the run's candidates break each rule; empty where all hold."""
    candidates = lake.read(CANDIDATES, run_id=run.run_id)
    jobs = latest_versions(lake.read(JOBS), "job_id", run.interval.end)
    excluded = known_actions(lake, run).where(F.col("action").isin(run.settings.retrieve_candidates.excluded_actions))
    open_jobs = jobs.where(is_open(run.interval.end, run.interval.end))
    each = candidates.select("seeker_id", "flow", F.explode("candidates.job_id").alias("job_id"))
    reached = lake.read_or_empty(AUDIENCES, run_id=run.run_id).select("job_id", F.explode("seekers").alias("seeker"))
    each = each.unionByName(reached.select("seeker.seeker_id", F.lit(AUDIENCE).alias("flow"), "job_id"))
    broken = {row["rule"]: row["count"] for row in violations(each, open_jobs, excluded).collect()}
    run.record("violations", sum(broken.values()))
    return broken


def violations(each: DataFrame, open_jobs: DataFrame, excluded: DataFrame) -> DataFrame:
    """(rule, count) of the rules that some (seeker_id, flow, job_id) breaks; no rows where all hold."""
    known = open_jobs.select("job_id", "is_promoted", F.lit(True).alias("is_open"))
    met = excluded.select("seeker_id", "job_id", F.lit(True).alias("is_excluded")).distinct()
    rules = {
        "not open": "NOT coalesce(is_open, false)",
        "already met": "coalesce(is_excluded, false)",
        "not promoted": "flow <> 'organic' AND NOT coalesce(is_promoted, false)",
        "there twice": "copies > 1",
    }
    checked = (
        each.groupBy("seeker_id", "flow", "job_id")
        .agg(F.count("*").alias("copies"))
        .join(known, "job_id", "left")
        .join(met, ["seeker_id", "job_id"], "left")
        .agg(*[F.count_if(F.expr(condition)).alias(rule) for rule, condition in rules.items()])
    )
    return checked.unpivot([], list(rules), "rule", "count").where("count > 0")


def table_versions(lake: Lake, run: Run) -> dict[str, int]:
    """read:TABLE and wrote:TABLE of the whole attempt, the newest of each."""
    rows = lake.read(RUN_METRICS, run_id=run.run_id).where("metric = 'table_version'")
    newest = rows.groupBy("label").agg(F.max("value").alias("version")).collect()
    return {row["label"]: int(row["version"]) for row in newest}


def promote(lake: Lake, run: Run) -> None:
    """Append `promoted` for each model this run trained, unless its evaluation fell behind the current one's."""
    events = [row.asDict() for row in lake.read_or_empty(MODELS).collect()]
    trained = [e for e in events if e["model_version"] == run.run_id and e["event"] == "trained"]
    mine = judged_metrics(lake, run.run_id)
    worse = fallen_behind(mine, current_metrics(lake, run, events), run.settings.evaluate_retrieval.margin)
    if worse:
        say(f"  not promoted: {worse}")
        run.record("promoted", 0)
        return
    already = {e["model_name"] for e in events if e["model_version"] == run.run_id and e["event"] == "promoted"}
    now = datetime.now(UTC)
    rows = [e | {"event": "promoted", "event_ts": now, "metrics": mine} for e in trained]
    rows = [row for row in rows if row["model_name"] not in already]
    if rows:
        lake.append(MODELS, lake.spark.createDataFrame(rows, spark_schema(MODELS)), once=f"promoted:{run.run_id}")
    run.record("promoted", len(trained))
    for name in MODEL_NAMES:
        if name not in {e["model_name"] for e in trained}:
            say(f"  no {name} was trained: runs that want one must be opened with --model {name}=none")


def judged_metrics(lake: Lake, run_id: str) -> dict[str, float]:
    """recall@k of the blended candidates, as the run's evaluation recorded them."""
    rows = lake.read(RUN_METRICS, run_id=run_id, stage="evaluate_retrieval").collect()
    return {
        row["metric"]: row["value"]
        for row in rows
        if row["label"] == JUDGED_ROW and row["value"] is not None and row["metric"].startswith("recall@")
        and "." not in row["metric"]
    }  # fmt: skip


def current_metrics(lake: Lake, run: Run, events: list[dict[str, Any]]) -> dict[str, float]:
    """What the newest version promoted before this interval's end, and not withdrawn, was judged by; or nothing."""
    withdrawn = {(e["model_name"], e["model_version"]) for e in events if e["event"] == "withdrawn"}
    kept = [e for e in events if (e["model_name"], e["model_version"]) not in withdrawn]
    promoted = [e for e in kept if e["event"] == "promoted" and e["model_version"] != run.run_id]
    until = run.trained_until.replace(tzinfo=None)
    earlier = [e for e in promoted if e["trained_until"] <= until and e["metrics"]]
    return dict(max(earlier, key=lambda e: e["trained_until"])["metrics"]) if earlier else {}


def fallen_behind(mine: dict[str, float], current: dict[str, float], margin: float) -> str | None:
    """What is worse than the current version by more than `margin`, a share of it; None where nothing is.

    >>> fallen_behind({"recall@10": 0.20}, {"recall@10": 0.205}, margin=0.05)
    >>> fallen_behind({"recall@10": 0.10}, {"recall@10": 0.20}, margin=0.05)
    'recall@10 is 0.1000, the current version has 0.2000'
    """
    for metric in sorted(set(mine) & set(current)):
        if mine[metric] < current[metric] * (1 - margin):
            return f"{metric} is {mine[metric]:.4f}, the current version has {current[metric]:.4f}"
    return None


if __name__ == "__main__":
    run_stage("publish", main)
