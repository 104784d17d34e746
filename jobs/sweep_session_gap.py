"""Where should chains be cut? Train at several cuts of the same events, and say how well each ranks.

58.com tried a week, a day and parts of a day, and took six hours (SOURCES 1); it does not say whether these
are pauses or fixed windows, so both are tried. Then, at the cut of the settings, lengths of vectors and
numbers of negatives. Takes the events, settings and held-out days of a training run, and writes no table: the
figures go to <lake>/_reports, and into that run's report.

    spark-submit jobs/sweep_session_gap.py --lake LAKE --run training_weekly-20260126-20260202-1
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from jobs import render_report
from jobs.chains.sessionize import CHAIN_ACTIONS, Cut, chain_events
from jobs.channels.jobs_open import latest_versions
from jobs.embeddings.corpus import JobCorpus, encode_chains, positions, read_jobs, remove_corpus, write_corpus
from jobs.embeddings.features import ranges, term_fields
from jobs.embeddings.markets import community_markets
from jobs.embeddings.model_files import Model
from jobs.embeddings.steps import SkipGram
from jobs.embeddings.training import train
from jobs.errors import SettingsError, StageError
from jobs.evaluation import earlier_jobs, next_action_cases, shown_lists
from jobs.evaluation.metrics import bootstrap_bounds
from jobs.evaluation.reranking import ListCase, case_positions, drawn_cases, shown_cases
from jobs.graph.engines import graph_engine
from jobs.intervals import DAY, Dates
from jobs.lake import Lake, LakeReader
from jobs.reporting.files import write_report_file
from jobs.reporting.page import sweep_name
from jobs.runs import Run, frozen_run
from jobs.serving import cut_of, known
from jobs.stage import one_clear_line, say, start_spark
from jobs.terms.version import taxonomy_version
from jobs.train_job_embeddings import skip_gram
from schemas import EVENTS, JOB_TERMS

CUTS = "10m,30m,1h,3h,6h,12h,1d,1w,2w"
WINDOWS = "1h,6h,1d,1w,2w"
DIMENSIONS = "16,32,128"
NEGATIVES = "2,5,20"

# The others among which a job is drawn where no list was shown.
DRAWN = 50

_SPANS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": DAY, "w": 7 * DAY}


@dataclass(frozen=True)
class Trial:
    """One point of the sweep: what was varied, its value in words, and what that makes of cut and options."""

    kind: str
    value: str
    cut: Cut
    options: SkipGram


def span(text: str) -> timedelta:
    """
    >>> span("30m"), span("2w")
    (datetime.timedelta(seconds=1800), datetime.timedelta(days=14))
    """
    if not (found := re.fullmatch(r"(\d+)([mhdw])", text)) or not int(found[1]):
        raise SettingsError(f"{text!r} is no span of time: expected as 30m, 6h, 1d or 2w")
    return int(found[1]) * _SPANS[found[2]]


def trials(cut: Cut, options: SkipGram, given: Any) -> Iterator[Trial]:
    """Cuts by pause and by window, then, at the cut of the settings, dimensions and negatives.

    A pause of more than a day would be undone by the cut at midnight that bounds what a daily run restates:
    a chain may then go on as long as there is no such pause.
    """
    for text in _listed(given.gaps):
        yield Trial("pause", text, replace(cut, gap=span(text), max_span=max(cut.max_span, 14 * span(text))), options)
    for text in _listed(given.windows):
        yield Trial("window", text, replace(cut, window=span(text)), options)
    for text in _listed(given.dimensions):
        yield Trial("dimension", text, cut, replace(options, dim=_number(text)))
    for text in _listed(given.negatives):
        yield Trial("negatives", text, cut, replace(options, negatives=_number(text)))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise SettingsError(f"{text!r}: expected a whole number of 1 or more")
    return int(text)


class Sweep:
    """The events, the cases and the job terms that all trials share."""

    def __init__(self, lake: Lake, run: Run) -> None:
        self.run, self.options = run, run.settings.evaluate_retrieval
        first = run.trained_until.date() - run.settings.training.lookback_days * DAY
        self.events = known(lake.read(EVENTS, Dates(first, run.interval.dates.end)), run).persist()
        versions = lake.read(JOB_TERMS, taxonomy_version=taxonomy_version(lake, run))
        self.job_terms = latest_versions(versions, "job_id", run.trained_until).persist()
        self.fields = term_fields(self.job_terms)
        self.corpus_uri = run.artifact("sweep.corpus")

    def cases(self) -> tuple[list[ListCase], str]:
        """The lists to order, and in words what they are. StageError where there are none."""
        options, run = self.options, self.run
        events = self.events.where(F.col("event_ts") < F.lit(run.interval.end))
        cases = next_action_cases(
            events, options.target_action, run.trained_until, run.interval.end,
            options.max_cases, options.seed, options.new_jobs_only,
        ).persist()  # fmt: skip
        chains = earlier_jobs(cases, events, CHAIN_ACTIONS, run.settings.retrieve_candidates.max_actions).persist()
        if found := shown_cases(cases, shown_lists(cases, events), chains):
            return found, "lists that were shown"
        job_ids = np.sort(self.job_terms.select("job_id").toArrow()["job_id"].to_numpy())
        if found := drawn_cases(cases, chains, job_ids, DRAWN, options.seed):
            return found, f"lists of the job acted on and up to {DRAWN} others drawn at random"
        raise StageError(
            f"no {options.target_action} in the held-out days has an action before it: nothing to judge by"
        )

    def measured(self, trial: Trial, cases: list[ListCase]) -> dict[str, Any]:
        """What the trial cost and how well its vectors order the lists; positions are None where it trained none."""
        started = time.monotonic()
        seen = self.events.where(F.col("event_ts") < F.lit(self.run.trained_until))
        chains = chain_events(seen, trial.cut)
        settings = self.run.settings.train_job_embeddings
        until, markets = self.run.trained_until, None
        if settings.local_share:
            encoded = encode_chains(chains, until)
            engine = graph_engine(self.job_terms.sparkSession)
            markets, _ = community_markets(encoded, self.job_terms, settings.market_fields, engine)
        n_chains = write_corpus(
            chains, until, self.job_terms, self.fields, settings.market_fields, self.corpus_uri, markets=markets
        )
        cut_seconds = time.monotonic() - started
        with tempfile.TemporaryDirectory() as scratch:
            corpus = read_jobs(
                self.corpus_uri,
                min_feature_jobs=settings.min_feature_jobs,
                min_job_actions=settings.min_job_actions,
                scratch=Path(scratch),
            )
            began = time.monotonic()
            trained = train(corpus, self.corpus_uri, n_chains, trial.options, lambda line: None) if n_chains else None
            train_seconds = time.monotonic() - began
            row = {"kind": trial.kind, "value": trial.value, "chains": n_chains, "cut_seconds": cut_seconds}
            row["actions_a_chain"] = float(corpus.n_actions.sum()) / n_chains if n_chains else None
            if trained is None:
                return row | dict.fromkeys(("pairs", "train_seconds", "position", "low", "high", "auc"))
            found = case_positions(cases, *case_vectors(corpus, trained.table, cases))
        low, high = bootstrap_bounds(found, self.options.bootstrap or 1000, self.options.seed)
        return row | {
            "pairs": trained.n_pairs,
            "train_seconds": train_seconds,
            "position": float(found[:, 0].mean()),
            "low": float(low[0]),
            "high": float(high[0]),
            "auc": float(found[:, 1].mean()),
        }


def case_vectors(corpus: JobCorpus, table: np.ndarray, cases: list[ListCase]) -> tuple[np.ndarray, np.ndarray]:
    """(job ids, vectors) of the jobs in the cases: no others are needed, however many the board has."""
    wanted = np.unique(np.concatenate([np.concatenate([case.listed, case.chain]) for case in cases]))
    at, is_known = positions(corpus.job_ids, wanted)
    at, wanted = at[is_known], wanted[is_known]
    starts, lengths = corpus.rows.offsets[at], np.diff(corpus.rows.offsets)[at]
    keys = corpus.feature_keys[corpus.rows.values[ranges(starts, lengths)]]
    model = Model((), corpus.feature_keys, corpus.job_ids[corpus.has_id], table, corpus.weights, {})
    vectors, _ = model.vectors(wanted, keys, np.concatenate([[0], np.cumsum(lengths)]))
    return wanted, vectors


def main(lake: Lake, run: Run, given: Any) -> list[dict[str, Any]]:
    """Run every trial; the rows as the report shows them."""
    options = skip_gram(run.settings.train_job_embeddings)
    planned = list(trials(cut_of(run), options, given))
    sweep = Sweep(lake, run)
    cases, what = sweep.cases()
    say(f"{len(planned)} trials; {len(cases):,} {what}; chance has AUC 0.5")
    say(f"{'':24s}{'chains':>10s}{'actions':>9s}{'pairs':>12s}{'train s':>9s}{'position':>10s}{'95 %':>16s}{'AUC':>8s}")
    rows = []
    for trial in planned:
        rows.append(sweep.measured(trial, cases))
        say(line(rows[-1]))
    remove_corpus(sweep.corpus_uri)
    return rows


def write_report(root: str, run: Run, rows: list[dict[str, Any]]) -> str:
    """Keep the figures beside the run's report and write that again, with them; where it lies."""
    write_report_file(root, sweep_name(run.run_id), json.dumps(rows, indent=1))
    return render_report.main(LakeReader(root), run.dag, run.interval)


def line(row: dict[str, Any]) -> str:
    if row["position"] is None:
        return (
            f"{row['kind'] + ' ' + row['value']:24s}{row['chains']:10,d}  no two jobs in a chain: nothing to train on"
        )
    bounds = f"{row['low']:.3f}-{row['high']:.3f}"
    return (
        f"{row['kind'] + ' ' + row['value']:24s}{row['chains']:10,d}{row['actions_a_chain']:9.1f}{row['pairs']:12,d}"
        f"{row['train_seconds']:9.1f}{row['position']:10.3f}{bounds:>16s}{row['auc']:8.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--run", required=True, help="the training run whose events and settings are used")
    parser.add_argument("--gaps", default=CUTS, help=f"pauses that end a chain, comma-separated ({CUTS}); '' for none")
    parser.add_argument("--windows", default=WINDOWS, help=f"fixed windows ({WINDOWS})")
    parser.add_argument("--dimensions", default=DIMENSIONS, help=f"lengths of vectors ({DIMENSIONS})")
    parser.add_argument("--negatives", default=NEGATIVES, help=f"negatives a pair ({NEGATIVES})")
    arguments = parser.parse_args()
    with one_clear_line("sweep_session_gap"):
        spark = start_spark("sweep_session_gap")
        lake = Lake(spark, arguments.lake)
        run = frozen_run(lake, arguments.run)
        rows = main(lake, run, arguments)
        spark.stop()
        say(f"report: {write_report(lake.root, run, rows)}")
