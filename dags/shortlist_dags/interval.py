"""The interval of a run: from Airflow's data interval, or from the run's parameters `start` and `end`.

Airflow gives an interval to scheduled and backfilled runs alone: manual and asset-triggered ones have none,
and what `airflow dags test` invents for its date is a day off the scheduler's. So these must say theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

# The runs whose data interval the scheduler set.
SCHEDULED_TYPES = frozenset({"scheduled", "backfill"})


class RunRefused(AirflowFailException):
    """The run cannot start as it was asked for; the message names what to set. It is not retried."""


def run_interval(dag_run: Any, params: Mapping[str, Any], grain: timedelta) -> tuple[datetime, datetime]:
    """Return the run's half-open UTC interval: one `grain` long, from midnight to midnight.

    `dag_run` has `run_type`, `data_interval_start` and `data_interval_end`. Raises RunRefused where the run
    has no interval, has two, or has one that is not one grain.
    """
    start, end = params.get("start"), params.get("end")
    if (start is None) != (end is None):
        missing = "start" if start is None else "end"
        raise RunRefused(f"parameter `{missing}` is missing: `start` and `end` are set together or not at all")
    scheduled = getattr(dag_run.run_type, "value", dag_run.run_type) in SCHEDULED_TYPES
    if start is not None and end is not None:
        if scheduled:
            raise RunRefused("parameters `start` and `end` are for manual runs: a scheduled run has its interval")
        return checked(parse_utc("start", start), parse_utc("end", end), grain)
    if not scheduled or dag_run.data_interval_start is None:
        example = f'{{"start": "2026-01-05", "end": "{datetime(2026, 1, 5) + grain:%Y-%m-%d}"}}'
        missing = f"set the parameters `start` and `end`, {describe(grain)} apart, as {example}"
        raise RunRefused(f"this run has no interval of its own: {missing}")
    edges = (dag_run.data_interval_start, dag_run.data_interval_end)
    return checked(edges[0].astimezone(UTC), edges[1].astimezone(UTC), grain)


def parse_utc(name: str, text: str) -> datetime:
    """Return the instant that parameter `name` says: an ISO date or date-time, UTC where it has no offset."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise RunRefused(f"parameter `{name}`: expected an ISO date as 2026-01-05, got {text!r}") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def checked(start: datetime, end: datetime, grain: timedelta) -> tuple[datetime, datetime]:
    """Return the two as given where they are midnights, in order and one `grain` apart."""
    for name, instant in (("start", start), ("end", end)):
        if instant.replace(hour=0, minute=0, second=0, microsecond=0) != instant:
            raise RunRefused(f"`{name}`: expected a midnight in UTC, got {instant.isoformat()}")
    if start >= end:
        raise RunRefused(f"`start` {start:%Y-%m-%d} is not before `end` {end:%Y-%m-%d}")
    if end - start != grain:
        span = f"from `start` {start:%Y-%m-%d} to `end` {end:%Y-%m-%d}"
        raise RunRefused(f"{span}: expected {describe(grain)}, got {describe(end - start)}")
    return start, end


def describe(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"


def iso(instant: datetime) -> str:
    """Return the instant as the jobs read it, `2026-01-05T00:00:00Z`."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
