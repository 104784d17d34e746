"""The lake: the only place that opens its Delta tables.

`Lake` reads by contract and writes one slice a commit, through Spark. `LakeReader` answers small questions
about a lake without Spark, through delta-rs. `current_sql` renders the query that any engine runs to see just
the published rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from jobs.errors import LakeError
from jobs.intervals import Dates
from schemas import AUDIENCES, CANDIDATES, CHANNEL_CANDIDATES, RUN_METRICS, RUNS, TABLES, Table
from schemas.render import CONSTRAINT, constraint_statements, create_statement, spark_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

Slice = Mapping[str, Any]

ARTIFACTS = "_artifacts"
REPORTS = "_reports"

# Which DAG's published runs a reader of the table wants, unless it says another.
PUBLISHED_BY = {table.name: "candidates_daily" for table in (CANDIDATES, CHANNEL_CANDIDATES, AUDIENCES)}

# Two writers of one slice: Delta lets one win and tells the other. What it would write is computed anew.
WRITE_TRIES = 4


class Lake:
    """The Delta tables under `root`: a folder or an object-store prefix.

    `guard`, where given, is called before every write and raises where the run may write no more.
    """

    def __init__(self, spark: SparkSession, root: str, guard: Callable[[], None] | None = None) -> None:
        self.spark = spark
        self.root = absolute(root)
        self.guard = guard
        self.versions: dict[str, int] = {}
        self._ready: set[str] = set()

    def path(self, table: Table) -> str:
        return f"{self.root}/{table.name}"

    def exists(self, table: Table) -> bool:
        from delta.tables import DeltaTable

        return table.name in self._ready or DeltaTable.isDeltaTable(self.spark, self.path(table))

    def read(self, table: Table, dates: Dates | None = None, **where: Any) -> DataFrame:
        """The table's rows of those dates, with partition columns equal to `where`.

        LakeError where the table is not there, or a name in `where` is not one of its partition columns.
        """
        if not self.exists(table):
            raise LakeError(f"the lake at {self.root} has no table {table.name} yet: run the stage that writes it")
        self._check_slice(table, where)
        rows = self.spark.read.format("delta").load(self.path(table))
        self.versions[f"read:{table.name}"] = self.version(table)
        condition = _condition(dict(where) | ({"date": dates} if dates is not None else {}))
        return rows.where(condition) if condition else rows

    def read_or_empty(self, table: Table, dates: Dates | None = None, **where: Any) -> DataFrame:
        """As `read`, and no rows where the table is not there yet."""
        if self.exists(table):
            return self.read(table, dates, **where)
        return self.spark.createDataFrame([], spark_schema(table))

    def replace(self, table: Table, slices: Slice, rows: DataFrame) -> None:
        """Put `rows` in the place of the slice, in one commit; the rest of the table stays as it is.

        `slices` maps partition columns to a value or to `Dates`. LakeError where the rows' columns or types
        are not the table's; Delta's own error where a row lies outside the slice or breaks a constraint.
        """
        if not slices:
            raise LakeError(f"{table.name}: a write must name the slice that it replaces")
        self._check_slice(table, slices)
        fitted = self._fitted(table, rows)
        self.create(table)

        def commit() -> None:
            writer = fitted.write.format("delta").mode("overwrite").option("replaceWhere", _condition(slices))
            writer.save(self.path(table))

        self._commit(table, commit)

    def append(self, table: Table, rows: DataFrame, once: str | None = None) -> None:
        """Add rows. With `once`, a second append of the same name is one that Delta skips or refuses."""
        fitted = self._fitted(table, rows)
        self.create(table)
        writer = fitted.write.format("delta").mode("append")
        if once is not None:
            writer = writer.option("txnAppId", once).option("txnVersion", 1)
        self._commit(table, lambda: writer.save(self.path(table)), tries=1 if once else WRITE_TRIES)

    def merge_new(self, table: Table, rows: DataFrame) -> None:
        """Add the rows whose key the table does not have; of two writers with one key, one wins."""
        self._merge(table, rows, lambda merge: merge)

    def put(self, table: Table, rows: DataFrame) -> None:
        """Add the rows, each in the place of the one with its key where there is one."""
        self._merge(table, rows, lambda merge: merge.whenMatchedUpdateAll())

    def _merge(self, table: Table, rows: DataFrame, matched: Callable[[Any], Any]) -> None:
        from delta.tables import DeltaTable

        fitted = self._fitted(table, rows)
        self.create(table)
        same_key = " AND ".join(f"old.{name} = new.{name}" for name in table.key)

        def commit() -> None:
            target = DeltaTable.forPath(self.spark, self.path(table)).alias("old")
            matched(target.merge(fitted.alias("new"), same_key)).whenNotMatchedInsertAll().execute()

        self._commit(table, commit)

    def current(self, table: Table, dag: str | None = None) -> DataFrame:
        """The rows of the published run that readers should see: greatest interval end, then attempt."""
        self.read(RUNS).createOrReplaceTempView(RUNS.name)
        self.read(table).createOrReplaceTempView(table.name)
        return self.spark.sql(current_sql(table, dag))

    def create(self, table: Table) -> None:
        """Make the table, with its constraints, unless it is there; one made with others before gets today's."""
        if table.name in self._ready:
            return
        if not self.exists(table):
            self.spark.sql(create_statement(table, self.path(table)))
        properties = self._newest(table).metadata().configuration()
        keys = {name: f"{CONSTRAINT}{name}" for name in table.checks}
        held = {name: properties.apply(key) for name, key in keys.items() if properties.contains(key)}
        for statement in constraint_statements(table, self.path(table), held):
            self.spark.sql(statement)
        self._ready.add(table.name)

    def version(self, table: Table) -> int:
        """The Delta version of the table that this process last saw."""
        return int(self._log(table).unsafeVolatileSnapshot().version())

    def newest_version(self, table: Table) -> int:
        """The newest Delta version of the table, whichever process wrote it."""
        return int(self._newest(table).version())

    def _newest(self, table: Table) -> Any:
        log = self._log(table)
        # Scala's default arguments, which Python cannot leave out
        return log.update(*[getattr(log, f"update$default${n}")() for n in (1, 2, 3)])

    def _log(self, table: Table) -> Any:
        jvm: Any = self.spark._jvm
        return jvm.org.apache.spark.sql.delta.DeltaLog.forTable(self.spark._jsparkSession, self.path(table))

    def size(self, table: Table) -> tuple[int, int]:
        """(files, bytes) of the table's newest version."""
        detail = self.spark.sql(f"DESCRIBE DETAIL delta.`{self.path(table)}`").collect()[0]
        return detail["numFiles"], detail["sizeInBytes"]

    def optimize(self, table: Table) -> None:
        """Compact small files into large ones; what readers see stays as it is."""
        self._commit(table, lambda: self.spark.sql(f"OPTIMIZE delta.`{self.path(table)}`"))

    def vacuum(self, table: Table, keep_days: int) -> int:
        """Remove files that no version of the last `keep_days` days refers to; how many there were.

        Time travel reaches back as far, and no farther, from then on.
        """
        # VACUUM lists folders in 10,000 tasks unless told otherwise: two minutes for a table of six files
        cores = self.spark.sparkContext.defaultParallelism
        self.spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", cores)
        wanted = f"interval {keep_days} days"
        properties = self.spark.sql(f"SHOW TBLPROPERTIES delta.`{self.path(table)}`").collect()
        # VACUUM ignores its own RETAIN: the table's property decides
        if {row["key"]: row["value"] for row in properties}.get("delta.deletedFileRetentionDuration") != wanted:
            kept = f"'delta.deletedFileRetentionDuration' = '{wanted}'"
            self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ({kept})")
        self.spark.sql(f"VACUUM delta.`{self.path(table)}`")
        last = self.spark.sql(f"DESCRIBE HISTORY delta.`{self.path(table)}` LIMIT 1").collect()[0]
        return int((last["operationMetrics"] or {}).get("numDeletedFiles", 0))

    def _check_slice(self, table: Table, slices: Slice) -> None:
        unknown = set(slices) - set(table.partition)
        if unknown:
            raise LakeError(f"{table.name} is not sliced by {sorted(unknown)} but by {list(table.partition)}")

    def _fitted(self, table: Table, rows: DataFrame) -> DataFrame:
        """The rows with the table's columns, in its order; LakeError lists every difference at once."""
        from pyspark.sql import functions as F

        wanted, given = spark_schema(table), {f.name: f.dataType for f in rows.schema}
        differences = [f"unknown column {name}" for name in given if name not in table.column_names]
        for column in wanted:
            if column.name not in given:
                differences.append(f"missing column {column.name}")
            elif not _same_type(given[column.name].jsonValue(), column.dataType.jsonValue()):
                expected, got = column.dataType.simpleString(), given[column.name].simpleString()
                differences.append(f"column {column.name}: expected {expected}, got {got}")
        if differences:
            raise LakeError(f"rows for {table.name} do not fit it: {'; '.join(differences)}")
        return rows.select(*[F.col(name) for name in table.column_names])

    def _commit(self, table: Table, commit: Callable[[], Any], tries: int = WRITE_TRIES) -> None:
        for left in reversed(range(tries)):
            if self.guard is not None:
                self.guard()
            try:
                commit()
                break
            except Exception as error:
                if not _lost_a_race(error) or not left:
                    raise
        self.versions[f"wrote:{table.name}"] = self.version(table)


def absolute(root: str) -> str:
    """`root` as jobs on any host see it: a URI as it is, a folder as an absolute path."""
    return root.rstrip("/") if "://" in root else os.path.abspath(root)


def current_sql(table: Table, dag: str | None = None) -> str:
    """SQL for the published rows, the same for Spark, DuckDB and delta-rs, over views `runs` and the table's.

    KeyError where the table is not published by a DAG and none is given.
    """
    if "run_id" not in table.partition:
        raise LakeError(f"{table.name} is not keyed by run: read it as it is")
    dag = dag or PUBLISHED_BY[table.name]
    return (
        f"SELECT * FROM {table.name} WHERE run_id = (\n"
        f"  SELECT run_id FROM runs WHERE dag = '{dag}' AND event = 'published'\n"
        f"  ORDER BY interval_end DESC, attempt DESC LIMIT 1)"
    )


class LakeReader:
    """Small questions about a lake, answered by delta-rs without Spark."""

    def __init__(self, root: str) -> None:
        self.root = absolute(root)

    def sql(self, query: str) -> pa.Table:
        """The query's answer; it may name any table of the lake. LakeError names one that is not there."""
        import pyarrow as pa
        from deltalake import DeltaTable, QueryBuilder
        from deltalake.exceptions import TableNotFoundError

        builder = QueryBuilder()
        for table in TABLES:
            if re.search(rf"(?i)\b(from|join)\s+{table.name}\b", query):
                try:
                    builder = builder.register(table.name, DeltaTable(f"{self.root}/{table.name}"))
                except TableNotFoundError:
                    raise LakeError(f"the lake at {self.root} has no table {table.name} yet") from None
        return pa.table(builder.execute(query))

    def exists(self, table: Table) -> bool:
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(f"{self.root}/{table.name}")

    def rows(self, query: str) -> list[dict[str, Any]]:
        return self.sql(query).to_pylist()

    def current(self, table: Table, dag: str | None = None) -> str:
        return current_sql(table, dag)

    def metrics(self, run_id: str) -> list[dict[str, Any]]:
        """Every figure that the run recorded."""
        return self.rows(f"SELECT stage, metric, label, value FROM {RUN_METRICS.name} WHERE run_id = '{run_id}'")


def _condition(slices: Slice) -> str:
    return " AND ".join(_term(name, value) for name, value in slices.items())


def _term(name: str, value: Any) -> str:
    if isinstance(value, Dates):
        return f"{name} >= DATE'{value.first}' AND {name} < DATE'{value.end}'"
    if isinstance(value, date):
        return f"{name} = DATE'{value}'"
    if isinstance(value, str):
        if "'" in value or "\\" in value:
            raise LakeError(f"{name}: {value!r} has a quote in it")
        return f"{name} = '{value}'"
    return f"{name} = {value}"


def _same_type(given: Any, wanted: Any) -> bool:
    """Equal types, whatever they say about nulls inside."""
    if isinstance(given, dict) and isinstance(wanted, dict):
        names = (set(given) | set(wanted)) - {"nullable", "containsNull", "valueContainsNull", "metadata"}
        return all(_same_type(given.get(name), wanted.get(name)) for name in names)
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(_same_type, given, wanted))
    return bool(given == wanted)


def _lost_a_race(error: Exception) -> bool:
    text = f"{type(error).__name__} {error}"
    return any(name in text for name in ("Concurrent", "CONCURRENT", "ProtocolChanged", "MetadataChanged"))
