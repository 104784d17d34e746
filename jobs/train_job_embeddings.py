"""Train job vectors on behaviour chains: skip-gram with negatives over job ids and terms.

Reads `behavior_chains` and `job_terms` of before the run's `trained_until`; writes the model's files and its
`models` row. A board whose chains hold no two jobs gets no model, and a run that says so. Killed and run again, it goes
on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.artifacts import written_folder
from jobs.chains.histories import histories
from jobs.chains.refusals import passed_over, passed_over_by_action, refused_jobs
from jobs.channels.jobs_open import latest_versions
from jobs.embeddings.corpus import JobCorpus, encode_chains, remove_corpus, write_corpus
from jobs.embeddings.features import term_fields
from jobs.embeddings.markets import community_markets
from jobs.embeddings.model_files import load_model, save_model
from jobs.embeddings.pairs import action_windows, cost_matrix
from jobs.embeddings.processes import Task, read_corpus, train_in_processes, train_task
from jobs.embeddings.state import Checkpoint
from jobs.embeddings.steps import WINDOWS, SkipGram
from jobs.embeddings.training import Trained
from jobs.errors import SettingsError
from jobs.graph.engines import graph_engine
from jobs.intervals import DAY, Dates
from jobs.lake import ARTIFACTS, Lake
from jobs.runs import Run, record_trained
from jobs.serving import known
from jobs.settings import TrainJobEmbeddings
from jobs.stage import run_stage, say
from jobs.terms.version import taxonomy_version
from schemas import BEHAVIOR_CHAINS, EVENTS, JOB_TERMS, MODELS

MODEL = "job_embeddings"


def main(lake: Lake, run: Run) -> None:
    settings = run.settings.train_job_embeddings
    options, corpus_uri = skip_gram(settings), run.artifact(f"{MODEL}.corpus")
    versions = lake.read(JOB_TERMS, taxonomy_version=taxonomy_version(lake, run))
    job_terms = latest_versions(versions, "job_id", run.trained_until)
    fields, chains = term_fields(job_terms), chains_read(lake, run)
    refused = refusals_read(lake, run, chains) if settings.refused_share else None
    markets = markets_found(lake, run, chains, job_terms) if settings.local_share else None
    n_chains = write_corpus(
        chains, run.trained_until, job_terms, fields, settings.market_fields, corpus_uri, refused, markets
    )
    run.record("chains_trained", n_chains)
    parent = parent_version(lake, run) if settings.warm_start else None
    task = Task(
        corpus=corpus_uri,
        n_chains=n_chains,
        options=replace(options, epochs=settings.warm_epochs) if parent else options,
        fields=tuple(fields),
        min_feature_jobs=settings.min_feature_jobs,
        min_job_actions=settings.min_job_actions,
        start=run.artifact(MODEL, parent) if parent else "",
        checkpoint=run.artifact(f"{MODEL}.checkpoint"),
        checkpoint_seconds=60 * settings.checkpoint_minutes,
    )
    with tempfile.TemporaryDirectory() as scratch:
        corpus = read_corpus(task, Path(scratch))
        trained = trained_by(lake, run, task, corpus) if n_chains else None
        remove_corpus(corpus_uri)
        if trained is None:
            Checkpoint(task.checkpoint, "", 0.0).remove()
            say(f"  no chain before {run.trained_until:%Y-%m-%d %H:%M} has two jobs: no model of job vectors")
            return
        record_figures(run, corpus, trained, options)
        fingerprint = write_model(lake, run, corpus, trained, fields)
    Checkpoint(task.checkpoint, "", 0.0).remove()
    path, read = f"{ARTIFACTS}/{run.run_id}/{MODEL}", (BEHAVIOR_CHAINS, JOB_TERMS)
    record_trained(lake, run, MODEL, path=path, fingerprint=fingerprint, read=read, parent=parent)


def markets_found(lake: Lake, run: Run, chains: DataFrame, job_terms: DataFrame) -> DataFrame:
    """The local markets of jobs whose terms give none; says which graph engine found them, and records how many."""
    engine, encoded = graph_engine(lake.spark), encode_chains(chains, run.trained_until).persist()
    say(f"graph engine: {engine.name}")
    fields = run.settings.train_job_embeddings.market_fields
    markets, figures = community_markets(encoded, job_terms, fields, engine)
    run.record_all(figures)
    encoded.unpersist()
    return markets


def trained_by(lake: Lake, run: Run, task: Task, corpus: JobCorpus) -> Trained | None:
    """Train here, or in as many processes as the settings say."""
    settings = run.settings.train_job_embeddings
    if settings.workers > 1:
        return train_in_processes(task, settings.workers, lake.spark, settings.device)
    return train_task(task, corpus, say, lake.guard)


def parent_version(lake: Lake, run: Run) -> str | None:
    """The version to start from: the newest promoted one that saw less, if its vectors are as long; None without."""
    events = [row.asDict() for row in lake.read_or_empty(MODELS, model_name=MODEL).collect()]
    withdrawn = {event["model_version"] for event in events if event["event"] == "withdrawn"}
    until = run.trained_until.replace(tzinfo=None)
    # strictly less: another attempt of this interval starts from the same version, and gives the same model
    earlier = [e for e in events if e["event"] == "promoted" and e["trained_until"] < until]
    kept = [event for event in earlier if event["model_version"] not in withdrawn]
    if not kept:
        say("  no earlier job embeddings to start from: trained anew")
        return None
    version = str(max(kept, key=lambda event: (event["trained_until"], event["event_ts"]))["model_version"])
    model = load_model(run.artifact(MODEL, version))
    if model.dim != run.settings.train_job_embeddings.dim or model.squares is None:
        say(f"  {version} has {model.dim} dimensions, or was kept without squares: trained anew")
        return None
    say(f"  starts from {version}")
    return version


def chains_read(lake: Lake, run: Run) -> DataFrame:
    """The chains that start before `trained_until`, on the dates that training looks back on."""
    chains = lake.read(BEHAVIOR_CHAINS, dates_read(run))
    # a newer run may have put late actions into them: this one has not seen those
    seen = chains.withColumn("actions", F.filter("actions", lambda act: act["arrived_ts"] < F.lit(run.interval.end)))
    most = run.settings.train_job_embeddings.history_actions
    return histories(seen, most) if most else seen


def dates_read(run: Run) -> Dates:
    end = (run.trained_until - timedelta(microseconds=1)).date() + DAY
    first = max(run.history_start, end - run.settings.training.lookback_days * DAY)
    # A history that starts after trained_until has no dates to read.
    return Dates(min(first, end - DAY), end)


def refusals_read(lake: Lake, run: Run, chains: DataFrame) -> DataFrame:
    """What the chains' seekers refused, or passed over in their lists, before `trained_until`, on the same dates."""
    events = known(lake.read(EVENTS, dates_read(run)), run).where(F.col("event_ts") < F.lit(run.trained_until))
    settings = run.settings.train_job_embeddings
    if not settings.passed_over:
        return refused_jobs(events, chains)
    return passed_over_by_action(events, chains) if settings.history_actions else passed_over(events, chains)


def skip_gram(settings: TrainJobEmbeddings) -> SkipGram:
    """The options of training.

    SettingsError where a window or cost names an action that no chain has, or `passed_over` would change nothing.
    """
    if settings.passed_over and not settings.refused_share:
        raise SettingsError("train_job_embeddings: passed_over needs a refused_share above 0, which is 0")
    names = {field.name for field in dataclasses.fields(SkipGram)}
    values = {name: value for name, value in dataclasses.asdict(settings).items() if name in names}
    options = SkipGram(**values | {"windows": {**WINDOWS, **settings.windows}})
    try:
        action_windows(options.windows)
        cost_matrix(options.costs)
    except ValueError as error:
        raise SettingsError(f"train_job_embeddings: {error}") from None
    return options


def record_figures(run: Run, corpus: JobCorpus, trained: Trained, options: SkipGram) -> None:
    run.record("pairs", trained.n_pairs)
    run.record("pairs_per_s", trained.pairs_per_s)
    run.record("loss", trained.loss)
    run.record("dim", options.dim)
    run.record("jobs_known", len(corpus.job_ids))
    run.record("jobs_with_behavior", int(corpus.has_id.sum()))
    run.record("features", len(corpus.feature_keys))


def write_model(lake: Lake, run: Run, corpus: JobCorpus, trained: Trained, fields: list[str]) -> str:
    """Write the model's files in the place of this attempt's earlier ones; returns the fingerprint."""
    config: dict[str, Any] = dataclasses.asdict(run.settings.train_job_embeddings)
    with written_folder(run.artifact(MODEL), lake.guard) as folder:
        return save_model(
            folder,
            fields=tuple(fields),
            feature_keys=corpus.feature_keys,
            job_ids=corpus.job_ids[corpus.has_id],
            table=trained.table,
            weights=corpus.weights,
            squares=trained.state.squares.mean(axis=1),
            bias=trained.state.bias,
            config=config | {"trained_until": run.trained_until.isoformat()},
        )


if __name__ == "__main__":
    run_stage("train_job_embeddings", main)
