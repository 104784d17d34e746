"""Attempts of a run: how one is opened and frozen, found again by its tasks, and published.

A DAG's first task opens an attempt and freezes what it will use. Every later task finds the newest attempt of
its DAG and interval, and may write only while that one is open. Publishing is one commit to `runs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from jobs import __version__
from jobs.errors import RunError
from jobs.figures import Figure
from jobs.intervals import DAY, Dates, Interval
from jobs.lake import ARTIFACTS, Lake, LakeReader, absolute
from jobs.settings import Settings
from schemas import BEHAVIOR_CHAINS, MODELS, RUNS, Table
from schemas.render import spark_schema

TRAINING = "training_weekly"
DAILY = "candidates_daily"
MODEL_NAMES = ("segment_graph", "job_embeddings")

# The stages that take a run from open to published, in the order in which each builds on those before it.
_TAKEN_IN = ("ingest", "standardize_entities", "sessionize_chains")
STAGES = {
    TRAINING: (
        *_TAKEN_IN, "build_segment_graph", "train_job_embeddings", "build_index", "evaluate_retrieval", "publish",
    ),
    DAILY: (*_TAKEN_IN, "build_index", "retrieve_candidates", "blend_candidates", "publish"),
}  # fmt: skip

# What `open_run --model NAME=none` freezes: the run does without that model, because someone said so.
NO_MODEL = "none"


@dataclass(frozen=True)
class Run:
    """One open attempt, with what was frozen for it. `metrics` gathers what its stage records."""

    dag: str
    interval: Interval
    attempt: int
    settings: Settings
    mapping: dict[str, Any]
    models: dict[str, str]
    lake_root: str
    takes_history: bool
    metrics: list[tuple[str, str, float | None]] = field(default_factory=list, compare=False)

    @property
    def run_id(self) -> str:
        return run_id(self.dag, self.interval, self.attempt)

    @property
    def history_start(self) -> date:
        """The first date of the lake's interval tables."""
        return date.fromisoformat(str(self.mapping["board"]["history_start"]))

    @property
    def trained_until(self) -> datetime:
        """Exclusive end of what models of this run may see; the days after it are for evaluation."""
        return self.interval.end - timedelta(days=self.settings.training.holdout_days)

    @property
    def date(self) -> date:
        """The last date of the interval: what `date` means in tables keyed by model version and date."""
        return self.interval.dates.last

    def restated(self, table: Table) -> Dates:
        """The dates of an interval table that this run writes anew, from the source.

        [D − L, D], L the lateness; for chains a day more, since a chain that an event of D − L joins may start
        the day before. The whole history until a first run is published.
        """
        if self.takes_history:
            return Dates(self.history_start, self.interval.dates.end)
        before = self.settings.ingest.lateness_days + (1 if table is BEHAVIOR_CHAINS else 0)
        first = max(self.interval.dates.first - before * DAY, self.history_start)
        return Dates(first, self.interval.dates.end)

    def artifact(self, name: str, version: str | None = None) -> str:
        """Where files of that name lie: this run's, or those of the model version given."""
        return f"{self.lake_root}/{ARTIFACTS}/{version or self.run_id}/{name}"

    def model(self, name: str) -> str | None:
        """The version in use: a training run's own, else the one frozen; None where it was asked to do without."""
        if self.dag == TRAINING:
            return self.run_id
        version = self.models.get(name, NO_MODEL)
        return None if version == NO_MODEL else version

    def record_all(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            self.record(*figure)

    def record(self, metric: str, value: float | None, label: str = "") -> None:
        """Keep a figure for `run_metrics`; the stage writes them when it ends."""
        self.metrics.append((metric, label, None if value is None else float(value)))


def run_id(dag: str, interval: Interval, attempt: int) -> str:
    """
    >>> run_id("candidates_daily", Interval.parse("2026-01-04", "2026-01-05"), 1)
    'candidates_daily-20260104-20260105-1'
    """
    return f"{dag}-{interval.label}-{attempt}"


def open_attempt(
    lake: Lake,
    dag: str,
    interval: Interval,
    settings: Settings,
    mapping: dict[str, Any],
    asked: dict[str, str] | None = None,
) -> Run:
    """Open the next attempt for the interval and freeze what it will use.

    `asked` names model versions (or `none`) instead of the newest promoted ones. Two callers at once get two
    attempts. RunError where a model is wanted and there is none, SettingsError where the settings name a file that
    cannot be read.
    """
    settings = settings.frozen()
    models = {} if dag == TRAINING else frozen_models(lake, interval, asked or {})
    for _ in range(10):
        known = _events(lake)
        tried = (e["attempt"] for e in known if e["dag"] == dag and _same(e, interval))
        attempt = 1 + max(tried, default=0)
        takes_history = not any(e["event"] == "published" for e in known)
        run = Run(dag, interval, attempt, settings, mapping, models, lake.root, takes_history)
        opened_at = datetime.now(UTC)
        if _append_event(lake, run, "opened", opened_at):
            return run
    raise RunError(f"could not open an attempt of {dag} for {interval.label}: others kept opening one first")


def frozen_models(lake: Lake, interval: Interval, asked: dict[str, str]) -> dict[str, str]:
    """Per model, the version asked for or else the newest promoted one that has not seen past the interval."""
    unknown = set(asked) - set(MODEL_NAMES)
    if unknown:
        raise RunError(f"unknown model {sorted(unknown)}; there are {', '.join(MODEL_NAMES)}")
    events = [row.asDict() for row in lake.read_or_empty(MODELS).collect()]
    return {name: _frozen(name, events, interval, asked.get(name)) for name in MODEL_NAMES}


def _frozen(name: str, events: list[dict[str, Any]], interval: Interval, asked: str | None) -> str:
    def versions(event: str) -> dict[str, datetime]:
        return {
            e["model_version"]: e["trained_until"].replace(tzinfo=UTC)
            for e in events
            if e["model_name"] == name and e["event"] == event
        }

    if asked == NO_MODEL:
        return NO_MODEL
    if asked is not None:
        if asked not in versions("trained"):
            raise RunError(f"model {name} has no version {asked!r}")
        return asked
    usable = {v: t for v, t in versions("promoted").items() if v not in versions("withdrawn") and t <= interval.end}
    if not usable:
        raise RunError(
            f"no promoted {name} has trained_until at or before {interval.end:%Y-%m-%d %H:%M}: run {TRAINING} for an "
            f"earlier interval, or open the run with --model {name}=VERSION or --model {name}={NO_MODEL}"
        )
    return max(usable, key=lambda version: (usable[version], version))


def open_run(lake: Lake, dag: str, interval: Interval) -> Run:
    """The open attempt of that DAG and interval. RunError says why there is none and the way out."""
    events = [e for e in _events(lake, dag) if _same(e, interval)]
    if not events:
        raise RunError(f"no attempt of {dag} is open for {interval.label}: run jobs/open_run.py first")
    latest = max(e["attempt"] for e in events)
    opened = next(e for e in events if e["attempt"] == latest and e["event"] == "opened")
    run = _frozen_run(lake, opened)
    _require_open(run, events)
    return run


def frozen_run(lake: Lake, run_id: str) -> Run:
    """The attempt of that id, with what was frozen for it, open or not. RunError where there is none."""
    opened = next((e for e in _events(lake) if e["run_id"] == run_id and e["event"] == "opened"), None)
    if opened is None:
        raise RunError(f"the lake at {lake.root} has no run {run_id!r}")
    return _frozen_run(lake, opened)


def _frozen_run(lake: Lake, opened: dict[str, Any]) -> Run:
    return Run(
        opened["dag"],
        Interval(_utc(opened["interval_start"]), _utc(opened["interval_end"])),
        opened["attempt"],
        Settings.from_json(opened["settings"]),
        json.loads(opened["mapping"]),
        dict(opened["models"] or {}),
        lake.root,
        opened["takes_history"],
    )


def require_open(lake: Lake, run: Run) -> None:
    """RunError unless the attempt may still be written: neither closed nor superseded."""
    _require_open(run, [e for e in _events(lake, run.dag) if _same(e, run.interval)])


def _require_open(run: Run, events: list[dict[str, Any]]) -> None:
    way_out = "clear the DAG run from its first task, or run jobs/open_run.py, to open a new attempt"
    newest = max((e["attempt"] for e in events), default=0)
    if newest > run.attempt:
        raise RunError(f"attempt {run.run_id} is superseded by attempt {newest}: nothing more is written to it")
    for event in ("published", "failed"):
        if any(e["event"] == event and e["attempt"] == run.attempt for e in events):
            raise RunError(f"attempt {run.run_id} is {event} and never written again: {way_out}")


def close_attempt(lake: Lake, run: Run, event: str, versions: dict[str, int], reason: str | None = None) -> None:
    """Publish or fail the attempt: the one commit that readers see."""
    require_open(lake, run)
    if not _append_event(lake, run, event, datetime.now(UTC), versions, reason):
        raise RunError(f"attempt {run.run_id} was closed by another process")


def record_trained(
    lake: Lake,
    run: Run,
    model: str,
    *,
    path: str | None,
    fingerprint: str,
    read: Iterable[Table],
    parent: str | None = None,
) -> None:
    """Put the `models` row of the version just written, in the place of an earlier try's.

    It has the figures recorded without a label, and the version of each table in `read`.
    """
    row = {
        "model_name": model,
        "model_version": run.run_id,
        "event": "trained",
        "event_ts": datetime.now(UTC),
        "trained_until": run.trained_until,
        "path": path,
        "parent_version": parent,
        "data_read": {t.name: v for t in read if (v := lake.versions.get(f"read:{t.name}")) is not None},
        "metrics": {metric: value for metric, label, value in run.metrics if not label and value is not None},
        "fingerprint": fingerprint,
    }
    lake.put(MODELS, lake.spark.createDataFrame([row], spark_schema(MODELS)))


def is_published(root: str, dag: str, interval: Interval) -> str | None:
    """The run id of the newest published attempt, or None; asked without Spark."""
    rows = LakeReader(root).rows(f"SELECT run_id, attempt, interval_start, interval_end, event, dag FROM {RUNS.name}")
    published = [r for r in rows if r["dag"] == dag and r["event"] == "published" and _same(r, interval)]
    return max(published, key=lambda r: r["attempt"])["run_id"] if published else None


def _append_event(
    lake: Lake,
    run: Run,
    event: str,
    at: datetime,
    versions: dict[str, int] | None = None,
    reason: str | None = None,
) -> bool:
    """Add the event unless the attempt already has it; True where this call is the one that did."""
    row = {
        "dag": run.dag,
        "run_id": run.run_id,
        "interval_start": run.interval.start,
        "interval_end": run.interval.end,
        "attempt": run.attempt,
        "event": event,
        "event_ts": at,
        "base_run_id": None,
        "takes_history": run.takes_history,
        "models": run.models,
        "settings": run.settings.to_json(),
        "mapping": json.dumps(run.mapping, default=str),
        "table_versions": versions or {},
        "code_version": __version__,
        "reason": reason,
    }
    rows = lake.spark.createDataFrame([row], spark_schema(RUNS))
    try:
        lake.append(RUNS, rows, once=f"{event}:{run.run_id}")
    except Exception as error:
        if "Concurrent" in f"{type(error).__name__} {error}":
            return False
        raise
    return any(
        e["event"] == event and e["run_id"] == run.run_id and _utc(e["event_ts"]) == at for e in _events(lake, run.dag)
    )


def _events(lake: Lake, dag: str | None = None) -> list[dict[str, Any]]:
    rows = lake.read_or_empty(RUNS) if dag is None else lake.read_or_empty(RUNS, dag=dag)
    return [row.asDict() for row in rows.collect()]


def _same(event: dict[str, Any], interval: Interval) -> bool:
    return _utc(event["interval_start"]) == interval.start and _utc(event["interval_end"]) == interval.end


def _utc(instant: datetime) -> datetime:
    """Spark collects naive datetimes in the process's zone, which bin/env and run_stage set to UTC."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


__all__ = [
    "Run",
    "absolute",
    "close_attempt",
    "is_published",
    "open_attempt",
    "open_run",
    "record_trained",
    "require_open",
]
