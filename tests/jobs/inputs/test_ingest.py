"""Days of a small board, taken in one after the other, and an older one after a newer one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from jobs import ingest, standardize_entities
from jobs.errors import StageError
from jobs.inputs.check import check_report
from jobs.inputs.mapping import Mapping
from jobs.intervals import Interval
from jobs.runs import close_attempt, open_attempt
from jobs.settings import Settings
from jobs.stage import run_open_stage
from jobs.terms.version import taxonomy_version
from schemas import (
    ENTITY_IDS,
    EVENTS,
    HIRES,
    JOBS,
    QUARANTINE,
    RUN_METRICS,
    SEEKER_TERMS,
    SEEKERS,
    TERM_DICTIONARY,
)

SETTINGS = Settings.parse({"ingest": {"lateness_days": 2}})
THIRD, FOURTH = Interval.parse("2026-01-03", "2026-01-04"), Interval.parse("2026-01-04", "2026-01-05")

ACTIVITY = [
    ("e1", "s1", "j1", "view", "2026-01-02 10:00:00", "2026-01-02 10:00:01"),
    # an event of a seeker without a profile
    ("e2", "s9", "j2", "apply", "2026-01-03 10:00:00", "2026-01-03 10:00:01"),
    # of the third, arrived on the fourth: the run of the fourth takes it in
    ("e3", "s1", "j2", "view", "2026-01-03 11:00:00", "2026-01-04 08:00:00"),
    ("e4", "s2", "j1", "reply", "2026-01-04 09:00:00", "2026-01-04 09:00:01"),
    # no action of the contract
    ("e5", "s2", "j1", "aply", "2026-01-03 12:00:00", "2026-01-03 12:00:01"),
    # of the first, arrived on the fourth, which writes the second to the fourth
    ("e6", "s2", "j1", "view", "2026-01-01 09:00:00", "2026-01-04 09:00:00"),
]
POSTINGS = [("j1", "Nurse (nights)", "2026-01-01"), ("j2", "Truck drivers", "2026-01-02")]
PEOPLE = [("s1", "Registered Nurse"), ("s2", "Cook")]


def write(folder, name, columns, rows):
    lines = [json.dumps(dict(zip(columns.split(), row, strict=True))) for row in rows]
    (folder / f"{name}.json").write_text("\n".join(lines))


def mapping(folder, share):
    inputs = {
        name: {"path": f"{folder}/{name}.json", "format": "json"}
        for name in ("activity", "postings", "people", "words")
    }
    return {
        "board": {"name": "small", "history_start": "2026-01-01", "max_quarantined_share": share},
        "inputs": inputs,
        "jobs": [{"source": "postings", "input": "postings",
                  "columns": {"job_id": "id", "title": "title", "posted_ts": "opened", "valid_from": "opened"}}],
        "seekers": [{"source": "people", "kind": "snapshot", "input": "people",
                     "columns": {"seeker_id": "id", "titles": "array(title)"}}],
        "events": [{"source": "activity", "input": "activity", "arrived": "arrived",
                    "columns": {"event_id": "id", "seeker_id": "who", "job_id": "job", "action": "kind",
                                "event_ts": "at"}}],
        "hires": [{"source": "applies", "query": "SELECT * FROM activity WHERE kind = 'apply'", "stands_for": "apply",
                   "columns": {"seeker_id": "who", "job_id": "job", "hired_ts": "at", "weight": "0.1"}}],
        "taxonomy": [{"source": "words", "input": "words",
                      "columns": {"field": "'occupation'", "surface": "word", "entity": "code", "label": "word"}}],
    }  # fmt: skip


@pytest.fixture
def board(tmp_path):
    write(tmp_path, "activity", "id who job kind at arrived", ACTIVITY)
    write(tmp_path, "postings", "id title opened", POSTINGS)
    write(tmp_path, "people", "id title", PEOPLE)
    write(tmp_path, "words", "word code", [("Nurse", "N"), ("Truck Driver", "T"), ("Cook", "C")])
    return tmp_path


def take_in(lake, interval, given):
    run = open_attempt(lake, "training_weekly", interval, SETTINGS, given)
    run_open_stage("ingest", ingest.main, lake, run)
    return run


def rows(lake, table, *columns):
    return sorted(tuple(r) for r in lake.read(table).select(*columns).collect())


def contents(lake):
    """All that an ingest writes but its quarantine and its metrics."""
    tables = (EVENTS, HIRES, JOBS, SEEKERS, ENTITY_IDS)
    return {t.name: rows(lake, t, F.to_json(F.struct("*"))) for t in tables}


@pytest.mark.timeout(900)
def test_days_are_taken_in_once_each_and_in_any_order(lake, board):
    with pytest.raises(StageError, match=r"events: 1 of 3 rows are quarantined, above the share of 0 .*unknown action"):
        take_in(lake, THIRD, mapping(board, 0))
    assert not lake.exists(EVENTS)
    assert rows(lake, QUARANTINE, "source", "reason") == [("activity", "unknown action")]

    third = take_in(lake, THIRD, mapping(board, 0.5))
    external = {r["entity_id"]: r["external_id"] for r in lake.read(ENTITY_IDS).collect()}
    assert sorted(external.values()) == ["j1", "j2", "s1", "s2", "s9"]
    assert rows(lake, EVENTS, "event_id") == [("e1",), ("e2",)]
    (seeker, job, *rest) = rows(lake, HIRES, "seeker_id", "job_id", "source", "weight")[0]
    assert (external[seeker], external[job], *rest) == ("s9", "j2", "apply", 0.1)
    history_start = datetime(2026, 1, 1)
    assert rows(lake, SEEKERS, "external_id", "valid_from", "is_backdated") == [
        ("s1", history_start, True), ("s2", history_start, True)
    ]  # fmt: skip
    close_attempt(lake, third, "published", {})

    # on the fourth a seeker has another title
    write(board, "people", "id title", [("s1", "Registered Nurse"), ("s2", "Truck driver")])
    fourth = take_in(lake, FOURTH, mapping(board, 0.5))
    assert rows(lake, EVENTS, "event_id", "actor") == [
        ("e1", "seeker"), ("e2", "seeker"), ("e3", "seeker"), ("e4", "employer")
    ]  # fmt: skip
    refused = lake.read(QUARANTINE, run_id=fourth.run_id).select("reason").collect()
    assert sorted(r["reason"] for r in refused) == ["later than 2 days", "unknown action"]
    changed = [("s2", datetime(2026, 1, 4), False)]
    assert rows(lake, SEEKERS, "external_id", "valid_from", "is_backdated")[2:] == changed
    figures = lake.read(RUN_METRICS, run_id=fourth.run_id).where("label = 'events' AND metric LIKE 'rows%'").collect()
    assert {r["metric"]: r["value"] for r in figures} == {
        "rows_in": 6,
        "rows_accepted": 4,
        "rows_quarantined": 2,
    }

    standardize(lake, fourth)
    close_attempt(lake, fourth, "published", {})
    before = contents(lake)
    take_in(lake, THIRD, mapping(board, 0.5))
    assert contents(lake) == before


def standardize(lake, run):
    run_open_stage("standardize_entities", standardize_entities.main, lake, run)
    names = {(r["field"], r["term_id"]): r["term"] for r in lake.read(TERM_DICTIONARY).collect()}
    terms = lake.read(SEEKER_TERMS, taxonomy_version=taxonomy_version(lake, run))
    people = lake.read(SEEKERS).select("seeker_id", "valid_from", "external_id")
    found = terms.join(people, ["seeker_id", "valid_from"]).collect()
    occupations = {(r["external_id"], names["occupation", i]) for r in found for i in r["terms"]["occupation"]}
    assert occupations == {("s1", "N"), ("s2", "C"), ("s2", "T")}


def test_a_check_says_what_there_is_and_writes_nothing(spark, board):
    given = Mapping.from_dict(mapping(board, 0.1) | {"seekers": []})
    report = check_report(spark, given, datetime(2026, 1, 5, tzinfo=UTC), "mapping.toml")
    for line in (
        "events (from activity)",
        "             6 rows in, 5 accepted",
        "             1 quarantined: unknown action",
        "        100.0% event_id",
        "hires (from applies; stand-in for confirmed hires: apply)",
        "yes   segment graph, graph channel (from 1 hires), without profiles",
        "no    skills as terms: the board has no jobs.skills",
        "no    position lift: the board has no impressions with list positions",
        "An ingest would stop: events: 1 of 6 rows are quarantined",
    ):
        assert line in report
    assert {p.name for p in board.iterdir()} == {
        "activity.json",
        "postings.json",
        "people.json",
        "words.json",
    }
