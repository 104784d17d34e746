"""What a mapping may say in SQL, by Spark's parser: nothing here runs a job."""

from __future__ import annotations

import pytest

from jobs.errors import MappingError
from jobs.inputs.parsing import check_expression, check_query

INPUTS = ("views", "people")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM views JOIN people USING (id) WHERE id IN (SELECT id FROM people)",
        "WITH v AS (SELECT *, row_number() OVER (PARTITION BY id ORDER BY at) AS n FROM views) SELECT * FROM v",
        "SELECT id, word FROM views LATERAL VIEW explode(split(text, ' ')) AS word",
        "SELECT id FROM views UNION ALL SELECT n FROM range(3) AS t(n)",
        "FROM views |> WHERE id > 1 |> SELECT id",
    ],
)
def test_queries_over_inputs_are_taken(spark, query):
    check_query(spark, query, INPUTS, "here")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("INSERT INTO views SELECT * FROM people", "expected a SELECT"),
        ("WITH v AS (SELECT 1) INSERT INTO views SELECT * FROM v", "expected a SELECT"),
        ("FROM views INSERT INTO people SELECT *", "expected a SELECT"),
        ("DROP TABLE views", "expected a SELECT"),
        ("SET spark.sql.ansi.enabled = false", "expected a SELECT"),
        ("SELECT 1; DROP TABLE views", "expected a SELECT"),
        ("SELECT * FROM veiws", "'veiws' is not an input; did you mean 'views'?"),
        # tables named by their path, wherever they hide
        ("SELECT * FROM delta.`/lake/seekers`", "'delta./lake/seekers' is not an input"),
        ("SELECT (SELECT max(id) FROM parquet.`/x`) FROM views", "'parquet./x' is not an input"),
        ("WITH v AS (SELECT * FROM csv.`/etc/passwd`) SELECT * FROM v", "'csv./etc/passwd' is not an input"),
        ("SELECT * FROM IDENTIFIER('delta.`/x`')", "'delta./x' is not an input"),
        ("SELECT * FROM other.views", "'other.views' is not an input"),
        ("SELECT * FROM read_files('/x')", "table function read_files is refused"),
        ("SELECT * FROM views VERSION AS OF 3", "time travel is refused"),
        # code, and rows that differ from one reading to the next
        ("SELECT TRANSFORM(id) USING 'cat' AS (id) FROM views", "TRANSFORM is refused"),
        ("SELECT reflect('java.lang.System', 'getenv', 'KEY') FROM views", "function reflect is refused"),
        ("SELECT * FROM views TABLESAMPLE (10 PERCENT)", "TABLESAMPLE is refused"),
        ("SELECT *, current_timestamp() AS now FROM views", "current_timestamp is refused"),
        ("SELECT *, current_date AS today FROM views", "is refused"),
        ("SELECT id, rand() FROM views", "rand is refused"),
    ],
)
def test_anything_but_a_query_over_inputs_is_refused(spark, query, message):
    with pytest.raises(MappingError) as refused:
        check_query(spark, query, INPUTS, "jobs source 'x'")
    assert message in str(refused.value)
    assert "jobs source 'x'" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["`Job.ID`", "array(title)", "CASE WHEN a THEN 'view' END", "lag(at) OVER (PARTITION BY id ORDER BY at)"],
)
def test_expressions_are_taken(spark, text):
    check_expression(spark, text, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title, company", "expected an expression"),
        ("title AS name", "got AS"),
        ("*", "got a star"),
        ("(SELECT max(id) FROM delta.`/x`)", "got a subquery"),
        ("id IN (SELECT id FROM views)", "got a subquery"),
        ("uuid()", "uuid is refused"),
    ],
)
def test_what_is_no_expression_is_refused(spark, text, message):
    with pytest.raises(MappingError) as refused:
        check_expression(spark, text, "here")
    assert message in str(refused.value)
