from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.inputs import contract as rules
from jobs.inputs.columns import CONTRACT
from jobs.inputs.window import Newer, Window
from jobs.intervals import Dates, Interval

EVENTS, JOBS, SEEKERS, HIRES = (CONTRACT[name] for name in ("events", "jobs", "seekers", "hires"))

# The run of 10 January, two days of lateness: it writes the 8th to the 10th.
DAY = Window(
    interval=Interval.parse("2026-01-10", "2026-01-11"),
    dates=Dates(date(2026, 1, 8), date(2026, 1, 11)),
    history_start=date(2026, 1, 1),
    lateness_days=2,
)
# The run that takes the history.
FIRST = Window(
    interval=Interval.parse("2026-01-10", "2026-01-11"),
    dates=Dates(date(2026, 1, 1), date(2026, 1, 11)),
    history_start=date(2026, 1, 1),
    lateness_days=2,
)
KNOWN = ("j1", "j2")

EVENT = {
    "event_id": "e", "seeker_id": "s", "job_id": "j1", "action": "view", "event_ts": "2026-01-10 12:00:00",
    "ended_ts": None, "dwell_seconds": None, "list_position": None, "actor": None, "_arrived": "2026-01-10 12:00:05",
}  # fmt: skip

# What is changed in EVENT, and what becomes of the row: a reason, None where it is accepted, or its scope.
CASES = [
    ({}, None),
    # the edges of the dates written: the first instant, the one before it (arrived in time: an earlier run's), the last
    ({"event_ts": "2026-01-08 00:00:00", "_arrived": "2026-01-08 00:00:01"}, None),
    ({"event_ts": "2026-01-07 23:59:59", "_arrived": "2026-01-08 00:00:01"}, rules.OTHER),
    ({"event_ts": "2026-01-10 23:59:59", "_arrived": "2026-01-10 23:59:59"}, None),
    # the interval's end is exclusive, for what happened and for what arrived
    ({"event_ts": "2026-01-11 00:00:00", "_arrived": "2026-01-11 00:00:00"}, rules.NOT_YET),
    ({"_arrived": "2026-01-11 00:00:00"}, rules.NOT_YET),
    # a static source without arrivals holds later days too
    ({"event_ts": "2026-01-12 10:00:00", "_arrived": None}, rules.NOT_YET),
    ({"_malformed": "a,b,c"}, "malformed line"),
    ({"seeker_id": None}, "null key: seeker_id"),
    ({"job_id": "  "}, "null key: job_id"),
    ({"event_ts": None}, "null key: event_ts"),
    ({"event_ts": "yesterday"}, "bad type: event_ts"),
    ({"dwell_seconds": "long"}, "bad type: dwell_seconds"),
    ({"dwell_seconds": "NaN"}, "bad type: dwell_seconds"),
    ({"list_position": "1.5"}, "bad type: list_position"),
    ({"action": "aply"}, "unknown action"),
    ({"actor": "robot"}, "unknown actor"),
    ({"ended_ts": "2026-01-10 11:59:59"}, "end before start"),
    ({"ended_ts": "2026-01-10 12:00:00"}, None),
    ({"dwell_seconds": "-1"}, "dwell_seconds below 0"),
    ({"list_position": "0"}, "list_position below 1"),
    ({"event_ts": "0113-01-10 12:00:00"}, "date before 1900: event_ts"),
    # a clock may be wrong by a day, not by more
    ({"event_ts": "2026-01-10 18:00:00", "_arrived": "2026-01-09 18:00:00"}, None),
    ({"event_ts": "2026-01-10 18:00:01", "_arrived": "2026-01-09 18:00:00"}, "date in the future"),
    ({"event_ts": "2068-01-01 00:00:00"}, "date in the future"),
    # arrived in this interval, dated before what it writes; the same of a day that is not this run's to report
    ({"event_ts": "2026-01-07 23:59:59"}, "later than 2 days"),
    ({"event_ts": "2026-01-06 12:00:00", "_arrived": "2026-01-09 12:00:00"}, rules.OTHER),
    ({"event_ts": "2025-12-31 23:59:59"}, "before history_start"),
    ({"job_id": "j9"}, "unknown job"),
    # two rules broken: the first one in the order is the reason
    ({"action": "aply", "job_id": "j9"}, "unknown action"),
]  # fmt: skip


def raw(spark, contract, rows):
    """Rows as `read_source` gives them, all columns texts or arrays of texts."""
    columns = [(n, "array<string>" if t.startswith("array") else "string") for n, t in contract.columns.items()]
    columns += [("_arrived", "timestamp"), ("_day", "date"), ("_malformed", "string"), ("_source", "string")]
    schema = ", ".join(f"{name} {kind}" for name, kind in columns)

    def value(row, name, kind):
        given = row.get(name, "src" if name == "_source" else None)
        return datetime.fromisoformat(given) if kind == "timestamp" and given else given

    return spark.createDataFrame([tuple(value(r, n, k) for n, k in columns) for r in rows], schema)


def judged(spark, contract, rows, window, known=None):
    placed = rules.placed(rules.typed(raw(spark, contract, rows), contract), contract, window)
    inside = rules.judged(placed, contract, window)
    if known is not None:
        inside = rules.without_unknown_jobs(inside, spark.createDataFrame([(j,) for j in known], "job_id string"))
    return placed, rules.without_repeats(inside, contract.key, contract.time)


def outcomes(spark, rows, window):
    placed, inside = judged(spark, EVENTS, rows, window, KNOWN)
    reasons = {r["surface"]: r[rules.REASON] for r in inside.select("surface", rules.REASON).collect()}
    scopes = {r["surface"]: r["_scope"] for r in placed.select("surface", "_scope").collect()}
    return {name: reasons[name] if scope == rules.IN else scope for name, scope in scopes.items()}


def test_every_event_is_accepted_refused_for_its_first_reason_or_another_runs(spark):
    # `surface` takes any text: it carries the number of the case
    rows = [EVENT | {"event_id": f"e{n}", "surface": str(n)} | change for n, (change, _) in enumerate(CASES)]
    found = outcomes(spark, rows, DAY)
    assert [found[str(n)] for n in range(len(CASES))] == [expected for _, expected in CASES]


def test_the_run_that_takes_the_history_reads_it_whole(spark):
    cases = [
        ({"event_ts": "2026-01-01 00:00:00", "_arrived": "2026-01-01 00:00:00"}, None),
        # arrived while the board was watched, dated before: refused; arrived before that: not read at all
        ({"event_ts": "2025-12-31 23:59:59", "_arrived": "2026-01-01 00:00:00"}, "before history_start"),
        ({"event_ts": "2025-12-31 23:59:59", "_arrived": "2025-12-31 23:59:59"}, rules.TOO_OLD),
        ({"event_ts": "2025-06-01 00:00:00", "_arrived": None}, rules.TOO_OLD),
        # nothing says when it came: every run's
        ({"event_ts": "soon", "_arrived": None}, "bad type: event_ts"),
    ]
    rows = [EVENT | {"event_id": f"e{n}", "surface": str(n)} | change for n, (change, _) in enumerate(cases)]
    found = outcomes(spark, rows, FIRST)
    assert [found[str(n)] for n in range(len(cases))] == [expected for _, expected in cases]


def test_a_backfill_keeps_the_late_rows_that_a_newer_run_took_in(spark):
    newer = Newer(dates=Dates(date(2026, 1, 9), date(2026, 1, 12)), until=datetime(2026, 1, 12, tzinfo=UTC))
    again = Window(
        interval=DAY.interval,
        dates=DAY.dates,
        history_start=DAY.history_start,
        lateness_days=2,
        newer=(newer,),
    )
    late = {"_arrived": "2026-01-11 09:00:00"}
    rows = [
        # of the 10th, arrived on the 11th: the run of the 11th wrote it
        EVENT | late | {"event_id": "a", "surface": "kept"},
        # of the 8th: the run of the 11th did not write that date
        EVENT | late | {"event_id": "b", "surface": "not taken", "event_ts": "2026-01-08 10:00:00"},
    ]
    assert outcomes(spark, rows, again) == {"kept": None, "not taken": rules.NOT_YET}
    assert outcomes(spark, rows, DAY) == {"kept": rules.NOT_YET, "not taken": rules.NOT_YET}


def test_of_rows_with_one_id_the_earliest_good_one_stays_whatever_their_order(spark):
    rows = [
        EVENT | {"surface": "later", "event_ts": "2026-01-10 12:00:01"},
        EVENT | {"surface": "first"},
        # earlier, but no row that could stay
        EVENT | {"surface": "bad", "event_ts": "2026-01-10 11:00:00", "action": "aply"},
    ]
    expected = {"first": None, "later": "duplicate event id", "bad": "unknown action"}
    assert outcomes(spark, rows, DAY) == outcomes(spark, rows[::-1], DAY) == expected
    # rows that are the same in everything: one stays
    _, inside = judged(spark, EVENTS, [EVENT, EVENT, EVENT], DAY, KNOWN)
    assert sorted(str(r[rules.REASON]) for r in inside.collect()) == ["None"] + ["duplicate event id"] * 2


def test_versions_and_hires(spark):
    jobs = [
        # no valid_from: it holds since long ago, in the slice of the history's first date
        {"job_id": "a", "title": None},
        {"job_id": "b", "valid_from": "2020-05-05 00:00:00", "title": None},
        {"job_id": "c", "posted_ts": "2026-01-02 00:00:00", "closed_ts": "2026-01-01 00:00:00",
         "title": "end before start"},
        {"job_id": "d", "salary_min": "20", "salary_max": "10", "title": "salary_min above salary_max"},
        {"job_id": "e", "valid_from": "2026-01-11 00:00:00", "title": rules.NOT_YET},
    ]  # fmt: skip
    placed, inside = judged(spark, JOBS, jobs, FIRST)
    reasons = {r["job_id"]: r[rules.REASON] for r in inside.collect()}
    scopes = {r["job_id"]: (r["_scope"], r["date"]) for r in placed.collect()}
    assert reasons == {j["job_id"]: j["title"] for j in jobs if j["job_id"] != "e"}
    assert scopes["a"] == scopes["b"] == (rules.IN, date(2026, 1, 1))
    assert scopes["e"][0] == rules.NOT_YET
    # a later run does not write the first slice
    assert {r["_scope"] for r in judged(spark, JOBS, jobs[:4], DAY)[0].collect()} == {rules.OTHER}

    hires = [
        {"seeker_id": "s", "job_id": "j1", "hired_ts": "2019-01-01 00:00:00", "weight": "0.5"},
        {"seeker_id": "s", "job_id": "j1", "hired_ts": "2019-02-01 00:00:00"},
        {"seeker_id": "s", "job_id": "j2", "hired_ts": "2019-01-01 00:00:00", "weight": "0"},
    ]
    found = [
        r[rules.REASON] for r in judged(spark, HIRES, hires, FIRST, KNOWN)[1].orderBy("job_id", "hired_ts").collect()
    ]
    assert found == [None, "duplicate seeker_id job_id", "weight not above 0"]
    stored = spark.createDataFrame([("s", "j1")], "seeker_id string, job_id string")
    placed, inside = judged(spark, HIRES, hires[:1], FIRST, KNOWN)
    again = rules.without_stored(inside, stored, HIRES.key).collect()
    assert [r[rules.REASON] for r in again] == ["duplicate seeker_id job_id"]


instants = st.datetimes(datetime(2025, 12, 28), datetime(2026, 1, 14)).map(
    lambda t: t.replace(microsecond=0).isoformat(" ")
)
event_rows = st.lists(
    st.fixed_dictionaries(
        {
            "event_id": st.sampled_from(["e1", "e2", "e3", None]),
            "seeker_id": st.sampled_from(["s1", "", None]),
            "job_id": st.sampled_from(["j1", "j2", "j9"]),
            "action": st.sampled_from(["view", "apply", "aply"]),
            "event_ts": instants | st.sampled_from([None, "soon", "2068-01-01"]),
            "_arrived": instants | st.none(),
        }
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=5, deadline=None)
@given(event_rows)
def test_rows_in_are_those_accepted_and_those_quarantined(spark, rows):
    placed, inside = judged(spark, EVENTS, rows, DAY, KNOWN)
    scope = placed.groupBy("_scope").count().collect()
    accepted, refused = rules.accepted(inside), rules.quarantined(inside, EVENTS, "run")
    ids = [r["event_id"] for r in accepted.select("event_id").collect()]
    assert sum(r["count"] for r in scope) == len(rows)
    assert len(ids) + refused.count() == sum(r["count"] for r in scope if r["_scope"] == rules.IN)
    assert len(set(ids)) == len(ids)


def test_the_edges_of_a_window():
    assert FIRST.is_history
    assert not DAY.is_history
    assert not DAY.is_backfill
    assert DAY.arrivals_from == DAY.interval.start
    assert FIRST.arrivals_from == FIRST.interval.start - timedelta(days=9)
