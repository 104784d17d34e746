"""A source's rows, under the contract's column names, before any rule is applied to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from jobs.errors import MappingError, nearest
from jobs.inputs.columns import CONTRACT
from jobs.inputs.parsing import check_query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.inputs.mapping import Input, Mapping, Source
    from jobs.inputs.window import Window

# Where Spark's CSV and JSON readers put a line that they cannot read.
CORRUPT = "_corrupt_record"

# Types that no cast makes of the type given without guessing: 1418158800000 is a second or a millisecond.
_GUESSES = {"timestamp": ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "boolean")}


def read_source(spark: SparkSession, mapping: Mapping, source: Source, window: Window | None = None) -> DataFrame:
    """The source's rows: the contract's columns in the types they came in, null where not mapped.

    Beside them `_source`, `_arrived` (timestamp), `_day` (date) and `_malformed` (the line that could not
    be read). With a window, rows whose `date_column` lies outside it are not read. Raises MappingError.
    """
    rows = _query(spark, mapping, source) if source.query else read_input(spark, mapping.inputs[source.input])
    if window is not None and source.date_column:
        rows = rows.where(_day_in(window, source))
    contract = CONTRACT[source.table]
    columns = {name: F.expr(source.columns.get(name, "NULL")) for name in contract.columns}
    columns["_arrived"] = F.expr(f"try_cast({source.arrived or 'NULL'} AS timestamp)")
    columns["_day"] = F.expr(f"try_cast({source.date_column or 'NULL'} AS date)")
    columns["_malformed"] = F.col(CORRUPT) if CORRUPT in rows.columns else F.lit(None).cast("string")
    columns["_source"] = F.lit(source.source)
    try:
        mapped = rows.select(*[column.alias(name) for name, column in columns.items()])
    except AnalysisException as error:
        raise _explained(rows, source, error) from None
    _check_types(mapped, source)
    return mapped


def read_input(spark: SparkSession, given: Input) -> DataFrame:
    """The input's rows. CSV columns are text: their types are the contract's to decide."""
    reader = spark.read.format(given.format).options(**given.options)
    try:
        if given.format == "csv":
            schema = reader.option("inferSchema", "false").load(given.path).schema.add(CORRUPT, "string")
            # enforceSchema off: two files whose headers differ are an error, not swapped columns.
            # columnPruning off: with it, a line of too few or too many fields passes for a good one.
            checks = {
                "enforceSchema": "false",
                "columnPruning": "false",
                "columnNameOfCorruptRecord": CORRUPT,
            }
            reader = reader.schema(schema).options(**checks)
        elif given.format == "json":
            reader = reader.option("columnNameOfCorruptRecord", CORRUPT)
        return reader.load(given.path)
    except AnalysisException as error:
        raise MappingError(f"input {given.name!r}: cannot read {given.path}: {_first_line(error)}") from None


def _query(spark: SparkSession, mapping: Mapping, source: Source) -> DataFrame:
    """The query's rows; its names are resolved in a session of its own, which holds the inputs alone."""
    from pyspark.sql.classic.dataframe import DataFrame

    apart = spark.newSession()
    apart.conf.set("spark.sql.session.timeZone", "UTC")
    for name in check_query(spark, source.query, mapping.inputs, source.where):
        read_input(apart, mapping.inputs[name]).createOrReplaceTempView(name)
    try:
        resolved = apart.sql(source.query)._jdf.queryExecution().analyzed()
    except AnalysisException as error:
        raise MappingError(f"{source.where}: query: {_first_line(error)}") from None
    datasets: Any = getattr(spark._jvm, "org.apache.spark.sql.classic.Dataset$")
    return DataFrame(datasets.__getattr__("MODULE$").ofRows(spark._jsparkSession, resolved), spark)


def _day_in(window: Window, source: Source) -> Any:
    """Rows of, or arrived on, the window's dates; a snapshot's rows are those of the interval's last date."""
    day = F.expr(f"try_cast({source.date_column} AS date)")
    last = window.interval.dates.last
    if source.kind == "snapshot":
        return day == F.lit(last)
    until = max([last, *(newer.dates.last for newer in window.newer)])
    return day.isNull() | day.between(F.lit(window.dates.first), F.lit(until))


def _explained(rows: DataFrame, source: Source, error: AnalysisException) -> MappingError:
    """Which expression it is, and the nearest column that the source does have."""
    texts = {**{f"column {n}": e for n, e in source.columns.items()}, "arrived": source.arrived}
    for place, text in {**texts, "date_column": source.date_column}.items():
        try:
            rows.select(F.expr(text or "NULL"))
        except AnalysisException as cause:
            missing = (cause.getMessageParameters() or {}).get("objectName", "").strip("`")
            known = [name for name in rows.columns if name != CORRUPT]
            if cause.getCondition() == "UNRESOLVED_COLUMN.WITH_SUGGESTION":
                return MappingError(f"{source.where}: {place}: no column {missing!r}; {nearest(missing, known)}")
            return MappingError(f"{source.where}: {place}: {text!r}: {_first_line(cause)}")
    return MappingError(f"{source.where}: {_first_line(error)}")


def _check_types(mapped: DataFrame, source: Source) -> None:
    """MappingError where what an expression gives cannot become the column's type, whatever the row."""
    given = {field.name: field.dataType.simpleString() for field in mapped.schema}
    for name, wanted in CONTRACT[source.table].columns.items():
        got = given[name]
        nested = [t.partition("<")[0] for t in (wanted, got) if "<" in t]
        clash = got != "void" and (len(nested) == 1 or len(set(nested)) > 1)
        if clash or got.partition("(")[0] in _GUESSES.get(wanted, ()):
            hint = "; say which: timestamp_seconds(…) or timestamp_millis(…)" if wanted == "timestamp" else ""
            hint = "; array(…) or split(…) makes one" if wanted.startswith("array") else hint
            raise MappingError(f"{source.where}: column {name}: expected {wanted}, the expression gives {got}{hint}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
