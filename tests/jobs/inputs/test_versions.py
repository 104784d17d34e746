from __future__ import annotations

from datetime import date, datetime

from jobs.inputs.rows import with_defaults
from jobs.inputs.versions import history_versions, snapshot_versions
from jobs.inputs.window import Window
from jobs.intervals import Dates, Interval

DAY = Window(
    interval=Interval.parse("2026-01-10", "2026-01-11"),
    dates=Dates(date(2026, 1, 8), date(2026, 1, 11)),
    history_start=date(2026, 1, 1),
    lateness_days=2,
)
ROW = "job_id string, title string, skills array<string>, posted_ts timestamp, closed_ts timestamp, is_promoted boolean, _source string"
VERSION = ROW.replace(", _source string", ", valid_from timestamp, date date")


def test_a_snapshot_is_compared_with_the_last_versions_before_it(spark):
    def version(job, title, day, closed=None):
        return (job, title, None, None, closed, False, datetime(2026, 1, day), date(2026, 1, day))

    before = spark.createDataFrame(
        [
            version("same", "cook", 1),
            version("changed", "cook", 1),
            # what counts is the newest version, not that it was ever so
            version("back", "nurse", 1),
            version("back", "cook", 5),
            version("gone", "cook", 1),
            version("closed before", "cook", 1, closed=datetime(2026, 1, 4)),
            version("refused", "cook", 1),
        ],
        VERSION,
    )
    rows = [("same", "cook"), ("changed", "chef"), ("back", "nurse"), ("new", "cook")]
    snapshot = spark.createDataFrame([(j, t, None, None, None, None, "jobs") for j, t in rows], ROW)
    # an unmapped flag is null here and false in the lake: no change
    snapshot = with_defaults(snapshot)
    # `refused` is in the snapshot, but broke a rule: it is not gone
    seen = spark.createDataFrame([(j,) for j, _ in rows] + [("refused",)], "job_id string")
    found = {r["job_id"]: r for r in snapshot_versions(snapshot, seen, before, False, "job", DAY).collect()}
    assert set(found) == {"changed", "back", "new", "gone"}
    assert {r["valid_from"] for r in found.values()} == {datetime(2026, 1, 10)}
    assert {r["date"] for r in found.values()} == {date(2026, 1, 10)}
    assert found["gone"]["closed_ts"] == datetime(2026, 1, 10)
    assert found["changed"]["closed_ts"] is None
    assert not any(r["is_backdated"] for r in found.values())

    first = snapshot_versions(snapshot, seen, before.limit(0), True, "job", DAY).collect()
    assert {(r["valid_from"], r["date"], r["is_backdated"]) for r in first} == {
        (datetime(2026, 1, 1), date(2026, 1, 1), True)
    }
    assert len(first) == len(rows)


def test_a_version_of_unknown_age_is_back_dated_and_flagged(spark):
    rows = spark.createDataFrame([("a", None), ("b", datetime(2026, 1, 5))], "job_id string, valid_from timestamp")
    found = {r["job_id"]: (r["valid_from"], r["is_backdated"]) for r in history_versions(rows).collect()}
    assert found == {"a": (datetime(1970, 1, 1), True), "b": (datetime(2026, 1, 5), False)}
