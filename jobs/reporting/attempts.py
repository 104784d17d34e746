"""Attempts of runs as the table `runs` tells of them, read without Spark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.errors import RunError
from jobs.intervals import Interval
from jobs.lake import LakeReader
from jobs.runs import NO_MODEL
from schemas import RUNS

_COLUMNS = "run_id, dag, interval_start, interval_end, attempt, event, event_ts, models, settings, reason"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt; `settings` are as frozen, stage to options.

    `closed_ts` is None while it is open, and `reason` unless it failed.
    """

    run_id: str
    dag: str
    interval: Interval
    number: int
    state: str
    opened_ts: datetime
    closed_ts: datetime | None
    models: dict[str, str]
    settings: dict[str, dict[str, Any]]
    reason: str | None

    def model(self, name: str) -> str | None:
        """The version of the model that the attempt was opened with, if any."""
        version = self.models.get(name, NO_MODEL)
        return None if version == NO_MODEL else version


def attempts_of(reader: LakeReader, dag: str, interval: Interval) -> list[Attempt]:
    """The attempts of that DAG and interval, by number; none where none was opened."""
    events = reader.rows(f"SELECT {_COLUMNS} FROM {RUNS.name} WHERE dag = '{quoted(dag)}'")
    mine = [e for e in events if (_utc(e["interval_start"]), _utc(e["interval_end"])) == (interval.start, interval.end)]
    return [_attempt([e for e in mine if e["attempt"] == number]) for number in sorted({e["attempt"] for e in mine})]


def newest_attempt(reader: LakeReader, dag: str, interval: Interval) -> Attempt:
    """The greatest attempt that did not fail. RunError where there is none."""
    attempts = attempts_of(reader, dag, interval)
    alive = [attempt for attempt in attempts if attempt.state != "failed"]
    if not alive:
        what = "failed" if attempts else "was opened"
        raise RunError(f"no attempt of {dag} for {interval.label} is published or open: {len(attempts)} {what}")
    return alive[-1]


def current_attempt(reader: LakeReader, dag: str) -> Attempt:
    """The published attempt that readers see: greatest interval end, then attempt.

    RunError where none is published.
    """
    events = reader.rows(f"SELECT {_COLUMNS} FROM {RUNS.name} WHERE dag = '{quoted(dag)}'")
    published = [e for e in events if e["event"] == "published"]
    if not published:
        raise RunError(f"the lake at {reader.root} has no published run of {dag} yet")
    newest = max(published, key=lambda e: (e["interval_end"], e["attempt"]))
    return _attempt([e for e in events if e["run_id"] == newest["run_id"]])


def quoted(text: str) -> str:
    """The text as it stands between the quotes of an SQL literal."""
    return text.replace("'", "''")


def _attempt(events: list[dict[str, Any]]) -> Attempt:
    opened = next(e for e in events if e["event"] == "opened")
    closed = next((e for e in events if e["event"] != "opened"), None)
    return Attempt(
        run_id=opened["run_id"],
        dag=opened["dag"],
        interval=Interval(_utc(opened["interval_start"]), _utc(opened["interval_end"])),
        number=opened["attempt"],
        state=closed["event"] if closed else "open",
        opened_ts=_utc(opened["event_ts"]),
        closed_ts=_utc(closed["event_ts"]) if closed else None,
        models=dict(opened["models"] or {}),
        settings=json.loads(opened["settings"] or "{}"),
        reason=closed["reason"] if closed else None,
    )


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
