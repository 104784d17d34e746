"""A day's edges, a second either side of each."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from jobs.errors import RunError
from jobs.intervals import Dates, Interval, parse_instant

SECOND = timedelta(seconds=1)
START, END = datetime(2026, 1, 4, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "first", "end_date"),
    [
        (START, END, date(2026, 1, 4), date(2026, 1, 5)),  # a day is that date alone
        (START, END + SECOND, date(2026, 1, 4), date(2026, 1, 6)),  # a second more is a date more
        (START, END - SECOND, date(2026, 1, 4), date(2026, 1, 5)),
        (START - SECOND, END, date(2026, 1, 3), date(2026, 1, 5)),
        (START + SECOND, END, date(2026, 1, 4), date(2026, 1, 5)),
    ],
)
def test_an_interval_covers_the_dates_on_which_an_instant_of_it_lies(start, end, first, end_date):
    assert Interval(start, end).dates == Dates(first, end_date)


def test_an_interval_that_is_empty_or_backwards_is_refused():
    for end in (START, START - SECOND):
        with pytest.raises(RunError, match="is not before its end"):
            Interval(START, end)
    with pytest.raises(RunError, match="are none"):
        Dates(date(2026, 1, 4), date(2026, 1, 4))


def test_instants_are_utc_whatever_zone_they_are_written_in():
    assert parse_instant("2026-01-04T02:00:00+02:00") == START == parse_instant("2026-01-04")
    with pytest.raises(RunError, match="'yesterday' is not an ISO date"):
        parse_instant("yesterday")
