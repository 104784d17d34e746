"""The contract's rules: every input row of a run is accepted, or quarantined for the first rule it breaks.

A row is judged by the rules in this order, and has one reason:

- `malformed line`: the reader could not read it;
- `null key: COLUMN`: a required column is null, an id is blank;
- `bad type: COLUMN`: a value that does not cast to the column's type (a NaN is no number);
- `unknown action`, `unknown actor`;
- `end before start`, `salary_min above salary_max`;
- a number out of bounds: `dwell_seconds below 0`, `list_position below 1`, `weight not above 0`;
- `date before 1900: COLUMN`: readers of Parquet disagree about such times, and no job board has any;
- `date in the future`: dated more than a day after its own arrival;
- `before history_start`: an event older than the lake's first date, arrived during this run's dates;
- `later than L days`: arrived in this interval, dated before what the run writes anew;
- `unknown job`: an event or a hire for a job that the lake does not know by the interval's end;
- `duplicate KEY`: of several rows with one key that break no other rule, all but one. The earliest stays,
  then the one whose content hashes lowest: the same one whatever the order of the rows.

Rows of other runs are not judged: dated at or after the end (later days of a static source), not arrived
yet, or of dates that an earlier run wrote and this one does not.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyspark.sql import Window as Over
from pyspark.sql import functions as F

from jobs.inputs.columns import ContractTable
from schemas import EMPLOYER_ACTIONS, SEEKER_ACTIONS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from jobs.inputs.window import Window

# A version that holds since before anyone knows: DESIGN calls it back-dated.
LONG_AGO = "1970-01-01"
_EARLIEST = "1900-01-01"

REASON, ROW = "_reason", "_row_json"
IN, NOT_YET, TOO_OLD, OTHER = "in", "not yet", "before history_start", "another run's"


def typed(raw: DataFrame, contract: ContractTable) -> DataFrame:
    """The rows with the contract's types, and the reason where they have no such type or no key."""
    reasons = [F.when(F.col("_malformed").isNotNull(), "malformed line")]
    reasons += [F.when(_is_null(raw, name), f"null key: {name}") for name in contract.required]
    reasons += [F.when(_does_not_cast(name, kind), f"bad type: {name}") for name, kind in contract.columns.items()]
    given = F.to_json(F.struct(*contract.columns))
    reason = F.coalesce(*reasons)
    columns = {name: F.expr(f"try_cast({name} AS {kind})") for name, kind in contract.columns.items()}
    return raw.select(
        *[column.alias(name) for name, column in columns.items()],
        *["_source", "_arrived", "_day"],
        reason.alias(REASON),
        F.when(reason.isNotNull(), F.coalesce("_malformed", given)).alias(ROW),
        (_lost(contract.time, "timestamp") if contract.time else F.lit(False)).alias("_time_lost"),
    )


def placed(rows: DataFrame, contract: ContractTable, window: Window, snapshot: bool = False) -> DataFrame:
    """The rows with their slice's `date` and `_scope`: in, not yet, before history_start, or another run's.

    A row that has no time is the run's whose dates it arrived on; where that is not known either, every
    run's. The rows of a snapshot, and those of a table without time, get no date: all that have arrived are
    the run's.
    """
    if contract.time is None or snapshot:
        arrived = F.coalesce(F.col("_arrived") < _instant(window.interval.end), F.lit(True))
        return rows.withColumn("_scope", F.when(arrived, IN).otherwise(NOT_YET))
    first, end = F.lit(window.dates.first), F.lit(window.dates.end)
    start = F.lit(window.history_start)
    day = F.to_date(_time(contract))
    date = F.greatest(day, start) if contract.clamps else day
    future = F.coalesce(_is_future(contract), F.lit(False))
    reference = F.when(future, F.to_date("_arrived")).otherwise(F.coalesce(date, F.to_date("_arrived"), F.col("_day")))
    within = F.coalesce((reference >= first) & (reference < end), F.lit(True))
    arrived_now = F.coalesce(
        (F.col("_arrived") >= _instant(window.arrivals_from)) & (F.col("_arrived") < _instant(window.interval.end)),
        F.lit(False),
    )
    horizon = _horizon(reference, window)
    not_yet = ~future & F.coalesce(_time(contract) >= horizon, F.lit(False))
    not_arrived = F.coalesce(F.col("_arrived") >= horizon, F.lit(False))
    too_old = F.coalesce(date < start, F.lit(False))
    scope = (
        F.when(not_yet | not_arrived, NOT_YET)
        .when(within | (arrived_now & (reference < first)), IN)
        .when(too_old & F.lit(window.is_history), TOO_OLD)
        .otherwise(OTHER)
    )
    return rows.withColumn("date", date).withColumn("_scope", scope)


def judged(rows: DataFrame, contract: ContractTable, window: Window) -> DataFrame:
    """The run's rows, with the first reason that their own columns and the run's dates give."""
    first, start = F.lit(window.dates.first), F.lit(window.history_start)
    reasons = [F.col(REASON), *_vocabulary(contract)]
    reasons += [F.when(F.col(low) > F.col(high), reason) for low, high, reason in contract.in_order]
    reasons += [F.when(~F.expr(condition), reason) for _, condition, reason in contract.floors]
    times = [name for name, kind in contract.columns.items() if kind == "timestamp"]
    reasons += [F.when(F.col(name) < F.lit(_EARLIEST).cast("timestamp"), f"date before 1900: {name}") for name in times]
    if "date" in rows.columns:
        reasons += [
            F.when(_is_future(contract), "date in the future"),
            F.when(F.col("date") < start, TOO_OLD),
            F.when(F.col("date") < first, f"later than {window.lateness_days} days"),
        ]
    return rows.where(F.col("_scope") == IN).withColumn(REASON, F.coalesce(*reasons))


def without_unknown_jobs(rows: DataFrame, known: DataFrame) -> DataFrame:
    """The same rows; those for a job not in `known.job_id` (the board's ids, distinct) have that reason."""
    jobs = known.select(F.col("job_id").alias("_known_job"))
    joined = rows.join(jobs, F.col("job_id") == F.col("_known_job"), "left")
    unknown = F.when(F.col("_known_job").isNull(), "unknown job")
    return joined.withColumn(REASON, F.coalesce(REASON, unknown)).drop("_known_job")


def without_stored(rows: DataFrame, stored: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """The same rows; those whose key is among `stored` (distinct) have that reason."""
    keys = stored.select(*key).withColumn("_stored", F.lit(True))
    joined = rows.join(keys, list(key), "left")
    repeat = F.when(F.col("_stored"), f"duplicate {' '.join(key)}")
    return joined.withColumn(REASON, F.coalesce(REASON, repeat)).drop("_stored")


def without_repeats(rows: DataFrame, key: tuple[str, ...], time: str | None) -> DataFrame:
    """The same rows; of those that break no rule and share a key, all but the first have that reason."""
    what = "event id" if key == ("event_id",) else " ".join(key)
    own = [c for c in rows.columns if not c.startswith("_")]
    # a hash passes nulls over: which columns are null is part of the content
    arrays = {name for name, kind in rows.dtypes if kind.startswith("array")}
    values = [F.to_json(name) if name in arrays else F.col(name) for name in own]
    content = F.xxhash64(*values, F.array(*[F.col(name).isNull() for name in own]), F.col("_source"))
    # rows that break a rule are each alone: a million null keys make no window
    alone = F.when(F.col(REASON).isNotNull(), F.monotonically_increasing_id())
    order = [F.col(time)] if time else []
    over = Over.partitionBy(*key, "_alone").orderBy(*order, "_content")
    ranked = rows.withColumn("_content", content).withColumn("_alone", alone)
    ranked = ranked.withColumn("_place", F.row_number().over(over))
    repeat = F.when(F.col("_place") > 1, f"duplicate {what}")
    return ranked.withColumn(REASON, F.coalesce(REASON, repeat)).drop("_content", "_alone", "_place")


def accepted(rows: DataFrame) -> DataFrame:
    """The rows that break no rule, without the columns that rules needed; `_source` and `_arrived` stay."""
    return rows.where(F.col(REASON).isNull()).drop(REASON, ROW, "_day", "_scope", "_time_lost")


def quarantined(rows: DataFrame, contract: ContractTable, run_id: str) -> DataFrame:
    """The other rows, as `quarantine` holds them: as they came where they did not cast, else as cast."""
    as_cast = F.to_json(F.struct(*contract.columns))
    return rows.where(F.col(REASON).isNotNull()).select(
        F.lit(run_id).alias("run_id"),
        F.lit(contract.name).alias("table_name"),
        F.col("_source").alias("source"),
        F.col(REASON).alias("reason"),
        F.coalesce(ROW, as_cast).alias("row_json"),
    )


def _is_null(raw: DataFrame, name: str) -> Column:
    blank = F.trim(F.col(name).cast("string")) == ""
    return F.col(name).isNull() | (blank if name.endswith("_id") else F.lit(False))


def _lost(name: str, kind: str) -> Column:
    return F.col(name).isNotNull() & F.expr(f"try_cast({name} AS {kind})").isNull()


def _does_not_cast(name: str, kind: str) -> Column:
    lost = _lost(name, kind)
    return lost | F.isnan(F.expr(f"try_cast({name} AS double)")) if kind == "double" else lost


def _vocabulary(contract: ContractTable) -> list[Column]:
    if contract.name != "events":
        return []
    actions = SEEKER_ACTIONS + EMPLOYER_ACTIONS
    return [
        F.when(~F.col("action").isin(*actions), "unknown action"),
        F.when(~F.col("actor").isin("seeker", "employer"), "unknown actor"),
    ]


def _time(contract: ContractTable) -> Column:
    """The row's time. A version without one holds since long ago; one that has a bad one has none."""
    time = F.col(contract.time or "")
    long_ago = F.when(~F.col("_time_lost"), F.lit(LONG_AGO).cast("timestamp"))
    return time if contract.time in contract.required else F.coalesce(time, long_ago)


def _is_future(contract: ContractTable) -> Column:
    return F.col(contract.time or "") > F.col("_arrived") + F.expr("INTERVAL 1 DAY")


def _horizon(reference: Column, window: Window) -> Column:
    """What happened and arrived before this is in: the end of the interval or of a newer run of the date."""
    ends = [_instant(window.interval.end)]
    for newer in window.newer:
        covered = (reference >= F.lit(newer.dates.first)) & (reference < F.lit(newer.dates.end))
        ends.append(F.when(covered, _instant(newer.until)))
    return F.greatest(*ends) if len(ends) > 1 else ends[0]


def _instant(instant: datetime) -> Column:
    return F.lit(instant.isoformat()).cast("timestamp")
