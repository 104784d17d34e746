"""A table's description rendered as Spark schema, Arrow schema, Delta DDL and data dictionary.

pyspark and pyarrow are imported where they are needed, so that each renderer works without the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from schemas.table import ArrayOf, Atom, MapOf, StructOf, Table, Type

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql.types import DataType, StructType

# Candidate and training slices must stay readable by time travel for as long as runs refer to them.
RETENTION = "interval 30 days"

# A CHECK is a property of its table, by this name and its own.
CONSTRAINT = "delta.constraints."


def spark_type(kind: Type) -> DataType:
    """The Spark type; elements, values and fields inside are nullable, as Spark's own functions make them."""
    from pyspark.sql import types as t

    if isinstance(kind, ArrayOf):
        return t.ArrayType(spark_type(kind.element))
    if isinstance(kind, MapOf):
        return t.MapType(spark_type(kind.key), spark_type(kind.value))
    if isinstance(kind, StructOf):
        return t.StructType([t.StructField(name, spark_type(field)) for name, field in kind.fields])
    atoms: dict[str, Any] = {
        "boolean": t.BooleanType, "int": t.IntegerType, "bigint": t.LongType, "float": t.FloatType,
        "double": t.DoubleType, "string": t.StringType, "date": t.DateType, "timestamp": t.TimestampType,
    }  # fmt: skip
    return atoms[kind.name]()


def spark_schema(table: Table) -> StructType:
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(c.name, spark_type(c.parsed), c.nullable) for c in table.columns])


def arrow_type(kind: Type) -> pyarrow.DataType:
    """The Arrow type as Spark's Arrow exchange expects it: microsecond UTC instants, 64-bit-free lists."""
    import pyarrow as pa

    if isinstance(kind, ArrayOf):
        return pa.list_(arrow_type(kind.element))
    if isinstance(kind, MapOf):
        return pa.map_(arrow_type(kind.key), arrow_type(kind.value))
    if isinstance(kind, StructOf):
        return pa.struct([pa.field(name, arrow_type(field)) for name, field in kind.fields])
    atoms: dict[str, pa.DataType] = {
        "boolean": pa.bool_(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(),
        "double": pa.float64(), "string": pa.string(), "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    return atoms[kind.name]


def arrow_schema(table: Table) -> pyarrow.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c.parsed), c.nullable) for c in table.columns])


def sql_type(kind: Type) -> str:
    if isinstance(kind, ArrayOf):
        return f"ARRAY<{sql_type(kind.element)}>"
    if isinstance(kind, MapOf):
        return f"MAP<{sql_type(kind.key)}, {sql_type(kind.value)}>"
    if isinstance(kind, StructOf):
        return f"STRUCT<{', '.join(f'{name}: {sql_type(field)}' for name, field in kind.fields)}>"
    assert isinstance(kind, Atom)
    return kind.name.upper()


def create_statement(table: Table, path: str) -> str:
    """CREATE TABLE for a Delta table at `path`, absolute, with its constraints.

    As properties they are there from the first commit on; each ALTER TABLE is a commit and a second of its own.
    """
    columns = ",\n  ".join(
        f"{c.name} {sql_type(c.parsed)}{'' if c.nullable else ' NOT NULL'} COMMENT {_quoted(c.meaning)}"
        for c in table.columns
    )
    partitioned = f"\nPARTITIONED BY ({', '.join(table.partition)})" if table.partition else ""
    properties = {"delta.logRetentionDuration": RETENTION, "delta.deletedFileRetentionDuration": RETENTION}
    properties |= {CONSTRAINT + name: condition for name, condition in _conditions(table).items()}
    listed = ",\n  ".join(f"{_quoted(name)} = {_quoted(value)}" for name, value in properties.items())
    return (
        f"CREATE TABLE IF NOT EXISTS delta.`{path}` (\n  {columns}\n)\nUSING DELTA{partitioned}\n"
        f"COMMENT {_quoted(table.meaning)}\n"
        f"TBLPROPERTIES (\n  {listed}\n)"
    )


def constraint_statements(table: Table, path: str, held: Mapping[str, str]) -> list[str]:
    """What gives a table, whose constraints are `held` by name, those that it lacks or has in an older form."""
    statements, alter = [], f"ALTER TABLE delta.`{path}`"
    for name, condition in _conditions(table).items():
        # Delta writes one that is added with a space between any two tokens
        if "".join(held.get(name, "").split()) == "".join(condition.split()):
            continue
        if name in held:
            statements.append(f"{alter} DROP CONSTRAINT {name}")
        statements.append(f"{alter} ADD CONSTRAINT {name} CHECK ({condition})")
    return statements


def _conditions(table: Table) -> dict[str, str]:
    # Delta takes a null for a violation (measured on 4.4); SQL's CHECK, and ours, lets it pass
    return {name: f"coalesce({condition}, true)" for name, condition in table.checks.items()}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def data_dictionary(tables: Iterable[Table]) -> str:
    """The data dictionary, as Markdown: one section a table, one row a column."""
    return "\n\n".join(
        ["# Data dictionary", "Generated from `schemas/` by `make docs`; a test holds the two together."]
        + [_dictionary_section(table) for table in tables]
    ) + "\n"  # fmt: skip


def _dictionary_section(table: Table) -> str:
    slices = {
        "date": "the dates that a run restates",
        "run": "one run's rows",
        "model": "one model version's rows",
        "version": "one content version's rows",
        "append": "nothing: rows are only added",
    }
    lines = [
        f"## `{table.name}`", "", table.meaning, "",
        f"- key: {', '.join(f'`{name}`' for name in table.key) or 'none'}",
        f"- partitioned by: {', '.join(f'`{name}`' for name in table.partition) or 'nothing'}",
        f"- a write replaces: {slices[table.grain]}",
        *[f"- check `{name}`: `{condition}`" for name, condition in table.checks.items()],
        "", "| column | type | null | meaning |", "|---|---|---|---|",
    ]  # fmt: skip
    for c in table.columns:
        unit = f" ({c.unit})" if c.unit else ""
        lines.append(f"| `{c.name}` | `{c.type}` | {'yes' if c.nullable else 'no'} | {c.meaning}{unit} |")
    return "\n".join(lines)
