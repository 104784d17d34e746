from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from jobs.errors import MappingError
from jobs.inputs.mapping import Mapping
from jobs.inputs.sources import read_source
from jobs.inputs.window import Window
from jobs.intervals import Dates, Interval


@pytest.fixture
def board(tmp_path):
    """Views as a CSV file of quotes, commas and one short line; jobs as JSON, two lines of which one is no JSON."""
    (tmp_path / "views.csv").write_text(
        "who,Job.ID,seen,day\n"
        's1,"Toys ""R"" Us, Inc",2026-01-05 10:00:00,2026-01-05\n'
        "s2,j2,2026-01-06 10:00:00,2026-01-06\n"
        "s3,j3\n"
    )
    (tmp_path / "jobs.json").write_text('{"id": 7, "paid": 1.5, "loaded": 1767225600000}\n{"id": 8, "paid"\n')
    return tmp_path


def mapping(board, table, columns, **source):
    read = {"query": source["query"]} if "query" in source else {"input": source.get("input", "views")}
    rest = {k: v for k, v in source.items() if k not in ("query", "input")}
    own = {"source": "own", "columns": columns, **read, **rest}
    jobs = {"source": "j", "input": "postings", "columns": {"job_id": "id"}}
    tables = {"jobs": [own]} if table == "jobs" else {"jobs": [jobs], table: [own]}
    return Mapping.from_dict(
        {
            "board": {"name": "b", "history_start": "2026-01-01"},
            "inputs": {
                "views": {
                    "path": f"{board}/views.csv", "format": "csv", "options": {"header": True, "escape": '"'}
                },
                "postings": {"path": f"{board}/jobs.json", "format": "json"},
                "absent": {"path": f"{board}/absent", "format": "parquet"},
            },
            **tables,
        }
    )  # fmt: skip


EVENT = {"event_id": "who", "seeker_id": "who", "job_id": "`Job.ID`", "action": "'view'", "event_ts": "seen"}


def read(spark, given, table="events", window=None):
    return read_source(spark, given, given.of(table)[0], window)


def test_csv_is_read_as_text_and_a_short_line_is_malformed(spark, board):
    rows = {r["seeker_id"]: r for r in read(spark, mapping(board, "events", EVENT)).collect()}
    assert rows["s1"]["job_id"] == 'Toys "R" Us, Inc'
    assert rows["s1"]["event_ts"] == "2026-01-05 10:00:00"
    assert rows["s1"]["_malformed"] is None
    assert rows["s3"]["_malformed"] == "s3,j3"
    assert rows["s1"]["_source"] == "own"
    assert rows["s1"]["list_id"] is None


def test_a_query_reads_inputs_by_name_even_where_the_session_has_a_view_of_that_name(spark, board):
    spark.range(3).createOrReplaceTempView("views")
    query = "SELECT v.*, p.id FROM views v CROSS JOIN postings p WHERE p.id IS NOT NULL AND v.seen IS NOT NULL"
    rows = read(spark, mapping(board, "events", EVENT | {"surface": "id"}, query=query, arrived="seen"))
    assert rows.sparkSession is spark
    assert sorted(r["surface"] for r in rows.collect()) == [7, 7]
    assert rows.first()["_arrived"] == datetime(2026, 1, 5, 10)
    spark.catalog.dropTempView("views")


def test_only_the_windows_days_are_read(spark, board):
    window = Window(
        interval=Interval(datetime(2026, 1, 6, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)),
        dates=Dates(date(2026, 1, 6), date(2026, 1, 7)), history_start=date(2026, 1, 1), lateness_days=0,
    )  # fmt: skip
    given = mapping(board, "events", EVENT, date_column="day")
    # the 5th is another day; a row without a day may be of any
    assert sorted(r["seeker_id"] for r in read(spark, given, window=window).collect()) == ["s2", "s3"]


@pytest.mark.parametrize(
    ("table", "columns", "source", "message"),
    [
        ("events", EVENT | {"query": "whoo"}, {}, "column query: no column 'whoo'; did you mean 'who'?"),
        ("events", EVENT, {"arrived": "sen"}, "arrived: no column 'sen'; did you mean 'seen'?"),
        ("events", EVENT | {"query": "upper(who, 2)"}, {}, "column query: 'upper(who, 2)'"),
        ("events", EVENT, {"query": "SELECT whoo FROM views"}, "events source 'own': query: "),
        ("events", EVENT, {"input": "absent"}, "input 'absent': cannot read"),
        # a number is no time before someone says whether of seconds or milliseconds
        (
            "jobs", {"job_id": "id", "valid_from": "loaded"}, {"input": "postings"},
            "expected timestamp, the expression gives bigint",
        ),
        (
            "jobs", {"job_id": "id", "skills": "id"}, {"input": "postings"},
            "expected array<string>, the expression gives bigint",
        ),
        (
            "jobs", {"job_id": "id", "title": "array('a')"}, {"input": "postings"},
            "expected string, the expression gives array<string>",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_the_nearest_column(spark, board, table, columns, source, message):
    with pytest.raises(MappingError) as refused:
        read(spark, mapping(board, table, columns, **source), table)
    assert message in str(refused.value)
