"""Which input rows are a run's: the dates that it writes anew, and what had arrived by then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from jobs.intervals import DAY, Dates, Interval

if TYPE_CHECKING:
    from jobs.runs import Run


@dataclass(frozen=True, kw_only=True)
class Newer:
    """A newer published run: it has taken in, for `dates`, what had arrived before `until`."""

    dates: Dates
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of the inputs that one run reads.

    A row of a date in `dates` is the run's where it had arrived before the interval's end, or before the
    end of a newer published run that restates that date: a backfill of an older day does not take out of
    the lake the late rows that newer runs put there.
    """

    interval: Interval
    dates: Dates
    history_start: date
    lateness_days: int
    newer: tuple[Newer, ...] = ()

    @property
    def is_history(self) -> bool:
        """True where the run takes the history from its first date."""
        return self.dates.first <= self.history_start

    @property
    def arrivals_from(self) -> datetime:
        """From when arrivals are this run's to report where they are too late."""
        first = datetime.combine(self.dates.first, time(), UTC)
        return min(first, self.interval.start) if self.is_history else self.interval.start

    @property
    def is_backfill(self) -> bool:
        """True where a newer run is published."""
        return bool(self.newer)


def window_of(run: Run, dates: Dates, published: Iterable[Mapping[str, Any]]) -> Window:
    """The run's window; `published` are the events of `runs` that say so, of every DAG."""
    return Window(
        interval=run.interval,
        dates=dates,
        history_start=run.history_start,
        lateness_days=run.settings.ingest.lateness_days,
        newer=tuple(_newer(event, run.history_start) for event in published if _end(event) > run.interval.end),
    )


def _newer(event: Mapping[str, Any], history_start: date) -> Newer:
    lateness = json.loads(event["settings"])["ingest"]["lateness_days"]
    dates = Interval(event["interval_start"].replace(tzinfo=UTC), _end(event)).dates
    first = history_start if event["takes_history"] else max(dates.first - lateness * DAY, history_start)
    return Newer(dates=Dates(first, dates.end), until=_end(event))


def _end(event: Mapping[str, Any]) -> datetime:
    end: datetime = event["interval_end"]
    return end.replace(tzinfo=UTC)
