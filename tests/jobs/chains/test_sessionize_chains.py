"""The stage on a lake: what it restates, what it leaves, and what it records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobs.intervals import DAY, Dates, Interval
from jobs.runs import Run
from jobs.sessionize_chains import main
from jobs.settings import Settings
from schemas import BEHAVIOR_CHAINS, EVENTS
from schemas.render import spark_schema

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run_of(lake, day, takes_history=False):
    settings = Settings.parse({"ingest": {"lateness_days": 1}, "sessionize_chains": {"max_actions_a_day": 3}})
    mapping = {"board": {"history_start": "2026-01-05"}}
    return Run("candidates_daily", Interval(day, day + DAY), 1, settings, mapping, {}, lake.root, takes_history)


def put_events(lake, dates, *events):
    rows = [
        (event_id, seeker, 100, "seeker", "view", at, at.date(), at, None, None, None, None, None, None, None)
        for event_id, seeker, at in events
    ]
    lake.replace(EVENTS, {"date": dates}, lake.spark.createDataFrame(rows, spark_schema(EVENTS)))


def chains_in(lake):
    rows = lake.read(BEHAVIOR_CHAINS).orderBy("start_ts").collect()
    return [(row.date.day, [point.event_id for point in row.actions]) for row in rows]


def recorded(run):
    return {(metric, label): value for metric, label, value in run.metrics}


def test_the_stage_restates_its_dates_and_no_others(lake, capsys):
    monday, tuesday, wednesday = (MONDAY.date() + n * DAY for n in range(3))

    # A board without events yet: a run without chains, that says so.
    put_events(lake, Dates(monday, tuesday))
    empty = run_of(lake, MONDAY, takes_history=True)
    main(lake, empty)
    assert chains_in(lake) == []
    assert recorded(empty)["chains", ""] == recorded(empty)["chain_length", "11+"] == 0
    assert "no chain starts from 2026-01-05 to 2026-01-05" in capsys.readouterr().out

    put_events(
        lake,
        Dates(monday, wednesday),
        ("a", 1, MONDAY + 2 * HOUR),  # before what Wednesday's run restates
        ("b", 1, MONDAY + 23 * HOUR),  # waits for c, which is late
        *((f"bot{n}", 2, MONDAY + (30 + n) * HOUR) for n in range(4)),  # one more than a seeker's day holds
    )
    first = run_of(lake, MONDAY + DAY, takes_history=True)
    main(lake, first)
    assert chains_in(lake) == [(5, ["a"]), (5, ["b"])]
    figures = recorded(first)
    names = ("chains", "chain_actions", "capped_seeker_days")
    assert [figures[name, ""] for name in names] == [2, 2, 1]
    assert [figures["chain_length", x] for x in ("1", "2", "3-5", "6-10", "11+")] == [2, 0, 0, 0, 0]

    put_events(lake, Dates(tuesday, wednesday + DAY), ("c", 1, MONDAY + 25 * HOUR), ("d", 1, MONDAY + 50 * HOUR))
    main(lake, run_of(lake, MONDAY + 2 * DAY))
    assert chains_in(lake) == [(5, ["a"]), (5, ["b", "c"]), (7, ["d"])]
