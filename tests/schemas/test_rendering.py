"""Each table's description, rendered for every engine, says the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from schemas import CANDIDATES, TABLES, Column, Table
from schemas.render import (
    arrow_schema,
    create_statement,
    data_dictionary,
    spark_schema,
)
from schemas.table import ArrayOf, Atom, MapOf, StructOf, parse_type

ROOT = Path(__file__).parents[2]
DDL = ROOT / "tests/golden/schemas.sql"
DICTIONARY = ROOT / "docs/data_dictionary.md"


def ddl() -> str:
    statements = [create_statement(t, f"/lake/{t.name}") for t in TABLES]
    return ";\n\n".join(statements) + ";\n"


def test_ddl_is_the_golden_one():
    if os.environ.get("REWRITE_GOLDENS"):
        DDL.write_text(ddl(), encoding="utf-8")
        pytest.skip(f"wrote {DDL.relative_to(ROOT)}")
    assert DDL.read_text(encoding="utf-8") == ddl(), "run with REWRITE_GOLDENS=1 and read the difference"


def test_data_dictionary_is_up_to_date():
    assert DICTIONARY.read_text(encoding="utf-8") == data_dictionary(TABLES), (
        "run python -m schemas docs/data_dictionary.md"
    )


def test_dictionary_names_every_column_and_check():
    text = data_dictionary(TABLES)
    for table in TABLES:
        section = text.partition(f"## `{table.name}`\n")[2].partition("\n## ")[0]
        assert all(f"| `{column.name}` | `{column.type}` |" in section for column in table.columns)
        assert all(f"- check `{name}`" in section for name in table.checks)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_spark_and_arrow_agree(spark, table):
    given = spark.createDataFrame([], spark_schema(table)).toArrow().schema
    assert _plain(given) == _plain(arrow_schema(table))
    assert [f.nullable for f in spark_schema(table)] == [column.nullable for column in table.columns]


def test_the_ddl_makes_the_schema(lake):
    # the table with the deepest types, a check and a partition, as Delta understands them
    lake.create(CANDIDATES)
    made, wanted = lake.read(CANDIDATES).schema, spark_schema(CANDIDATES)
    names = ("name", "dataType", "nullable")
    assert [[getattr(f, n) for n in names] for f in made] == [[getattr(f, n) for n in names] for f in wanted]
    detail = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.path(CANDIDATES)}`").collect()[0]
    assert tuple(detail.partitionColumns) == CANDIDATES.partition
    assert detail.description == CANDIDATES.meaning
    assert {f"delta.constraints.{name}" for name in CANDIDATES.checks} <= set(detail.properties)


def test_types_are_read_as_spark_writes_them(spark):
    for table in TABLES:
        for column, field in zip(table.columns, spark_schema(table), strict=True):
            assert field.dataType.simpleString() == column.type, f"{table.name}.{column.name}"


def test_nested_types():
    assert parse_type("map<string,array<struct<a:int,b:map<string,date>>>>") == MapOf(
        Atom("string"), ArrayOf(StructOf((("a", Atom("int")), ("b", MapOf(Atom("string"), Atom("date"))))))
    )
    for broken in ("array<int", "array", "struct<a>", "map<int>", "int>", "int;"):
        with pytest.raises((ValueError, IndexError)):
            parse_type(broken)


def test_a_table_that_contradicts_itself_is_refused():
    columns = (Column("a", "int", "A."),)
    with pytest.raises(ValueError, match="'b' is not among its columns"):
        Table(name="t", meaning="T.", grain="run", key=("a",), partition=("b",), columns=columns)
    with pytest.raises(ValueError, match="named twice"):
        Table(name="t", meaning="T.", grain="run", key=("a",), partition=(), columns=columns * 2)


def test_quotes_in_meanings_are_escaped():
    table = Table(
        name="t",
        meaning="A seeker's \\ row.",
        grain="append",
        key=(),
        partition=(),
        columns=(Column("a", "int", "It's."),),
    )
    assert "COMMENT 'A seeker\\'s \\\\ row.'" in create_statement(table, "/t")
    assert "a INT COMMENT 'It\\'s.'" in create_statement(table, "/t")


def _plain(schema: pa.Schema) -> list[tuple[str, str]]:
    """Names and types, whatever they say about nulls inside: `render` says what it leaves open."""
    return [(field.name, _text(field.type)) for field in schema]


def _text(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list<{_text(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{_text(kind.key_type)}, {_text(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_text(field.type)}' for field in kind)}>"
    return str(kind)
