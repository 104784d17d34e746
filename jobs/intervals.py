"""Half-open UTC intervals, and the dates they cover: the one place where a day's edges are decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from jobs.errors import RunError

DAY = timedelta(days=1)


def parse_instant(text: str) -> datetime:
    """The UTC instant written as a date or an ISO date and time.

    >>> parse_instant("2026-01-05")
    datetime.datetime(2026, 1, 5, 0, 0, tzinfo=datetime.timezone.utc)
    >>> parse_instant("2026-01-05T03:00:00+02:00")
    datetime.datetime(2026, 1, 5, 1, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise RunError(f"{text!r} is not an ISO date or date and time, as 2026-01-05") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


@dataclass(frozen=True)
class Dates:
    """The dates from `first` up to and without `end`.

    >>> days = Dates(date(2026, 1, 1), date(2026, 1, 3))
    >>> [str(day) for day in days], str(days.last), date(2026, 1, 3) in days
    (['2026-01-01', '2026-01-02'], '2026-01-02', False)
    >>> days.widened(before=2)
    Dates(first=datetime.date(2025, 12, 30), end=datetime.date(2026, 1, 3))
    """

    first: date
    end: date

    def __post_init__(self) -> None:
        if self.first >= self.end:
            raise RunError(f"dates from {self.first} up to {self.end} are none")

    @property
    def last(self) -> date:
        return self.end - DAY

    def widened(self, before: int = 0, after: int = 0) -> Dates:
        """These dates and so many days more on each side."""
        return Dates(self.first - before * DAY, self.end + after * DAY)

    def __iter__(self) -> Iterator[date]:
        return (self.first + n * DAY for n in range((self.end - self.first).days))

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day < self.end


@dataclass(frozen=True)
class Interval:
    """The instants from `start` up to and without `end`, both UTC.

    >>> Interval.parse("2026-01-04", "2026-01-05").dates
    Dates(first=datetime.date(2026, 1, 4), end=datetime.date(2026, 1, 5))
    >>> Interval.parse("2026-01-04T22:00", "2026-01-05T02:00").dates.last
    datetime.date(2026, 1, 5)
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise RunError(f"interval start {self.start.isoformat()} is not before its end {self.end.isoformat()}")

    @staticmethod
    def parse(start: str, end: str) -> Interval:
        return Interval(parse_instant(start), parse_instant(end))

    @property
    def dates(self) -> Dates:
        """The dates on which some instant of the interval lies."""
        return Dates(self.start.date(), (self.end - timedelta(microseconds=1)).date() + DAY)

    @property
    def label(self) -> str:
        """The interval as part of a run id: dates, with the time of day only where there is one.

        >>> Interval.parse("2026-01-04", "2026-01-05").label
        '20260104-20260105'
        >>> Interval.parse("2026-01-04T01:00", "2026-01-04T02:00").label
        '20260104T0100-20260104T0200'
        """
        midnight = self.start.time() == self.end.time() == datetime.min.time()
        form = "%Y%m%d" if midnight else "%Y%m%dT%H%M"
        return f"{self.start:{form}}-{self.end:{form}}"
