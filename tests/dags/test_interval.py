"""The interval of a run: the scheduler's, the one that the parameters say, or a refusal that names them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def run(run_type: str, start: datetime | None = None, end: datetime | None = None) -> SimpleNamespace:
    return SimpleNamespace(run_type=run_type, data_interval_start=start, data_interval_end=end)


@pytest.fixture(scope="module")
def run_interval():
    from shortlist_dags.interval import run_interval

    return run_interval


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_scheduled_runs_take_the_data_interval(run_interval, run_type):
    assert run_interval(run(run_type, MONDAY, MONDAY + DAY), {}, DAY) == (MONDAY, MONDAY + DAY)


def test_the_run_type_may_be_airflows_enum(run_interval):
    from airflow.utils.types import DagRunType

    scheduled = run(DagRunType.SCHEDULED, MONDAY, MONDAY + WEEK)
    assert run_interval(scheduled, {}, WEEK) == (MONDAY, MONDAY + WEEK)


@pytest.mark.parametrize(
    "start",
    [
        "2026-01-05",  # a date is its midnight in UTC
        "2026-01-05T00:00:00Z",
        "2026-01-05T01:00:00+01:00",  # an offset is honoured: midnight in UTC
    ],
)
def test_manual_runs_take_the_parameters(run_interval, start):
    given = {"start": start, "end": "2026-01-06"}
    assert run_interval(run("manual"), given, DAY) == (MONDAY, MONDAY + DAY)


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered"])
def test_a_run_without_interval_names_the_parameters(run_interval, run_type):
    # `airflow dags test` and the web UI give manual runs an interval that is a day off the scheduler's.
    with pytest.raises(Exception, match=r"parameters `start` and `end`, 7 days apart.*2026-01-12"):
        run_interval(run(run_type, MONDAY, MONDAY + WEEK), {"start": None, "end": None}, WEEK)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-01-05", None, "parameter `end` is missing"),
        (None, "2026-01-06", "parameter `start` is missing"),
        ("05/01/2026", "2026-01-06", r"parameter `start`: expected an ISO date .* got '05/01/2026'"),
        ("2026-01-05", 20260106, "parameter `end`: expected an ISO date .* got 20260106"),
        ("2026-01-06", "2026-01-06", "`start` 2026-01-06 is not before `end` 2026-01-06"),
        ("2026-01-06", "2026-01-05", "`start` 2026-01-06 is not before `end` 2026-01-05"),
        ("2026-01-05", "2026-01-07", "expected 1 day, got 2 days"),
        # a second either side of midnight
        ("2026-01-04T23:59:59", "2026-01-05T23:59:59", "`start`: expected a midnight in UTC"),
        ("2026-01-05T00:00:00", "2026-01-06T00:00:01", "`end`: expected a midnight in UTC"),
        # midnight in Berlin
        ("2026-01-05T00:00:00+01:00", "2026-01-06T00:00:00+01:00", "`start`: expected a midnight in UTC"),
    ],
)
def test_wrong_parameters_are_refused_by_name(run_interval, start, end, message):
    with pytest.raises(Exception, match=message):
        run_interval(run("manual"), {"start": start, "end": end}, DAY)


def test_a_scheduled_run_refuses_parameters(run_interval):
    # A backfill with them would run the same interval once a day.
    given = {"start": "2026-01-05", "end": "2026-01-06"}
    with pytest.raises(Exception, match="are for manual runs"):
        run_interval(run("backfill", MONDAY, MONDAY + DAY), given, DAY)


def test_a_schedule_off_the_grain_is_refused(run_interval):
    berlin = timezone(timedelta(hours=1))
    start = datetime(2026, 1, 5, tzinfo=berlin)
    with pytest.raises(Exception, match="expected a midnight in UTC, got 2026-01-04T23:00:00"):
        run_interval(run("scheduled", start, start + DAY), {}, DAY)


def test_a_refusal_is_not_retried(run_interval):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException):
        run_interval(run("manual"), {}, DAY)
