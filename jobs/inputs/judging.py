"""All of a mapping's rows, judged by the contract: what an ingest writes, and what a check only counts."""

from __future__ import annotations

from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.inputs import contract as rules
from jobs.inputs.columns import CONTRACT
from jobs.inputs.sources import read_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.inputs.mapping import Mapping
    from jobs.inputs.window import Window


@dataclass(frozen=True)
class Tally:
    """What became of one table's rows: accepted + quarantined = in; and how many are not this run's."""

    accepted: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)

    @property
    def rows_in(self) -> int:
        return self.accepted + sum(self.quarantined.values())

    @property
    def quarantined_share(self) -> float:
        return sum(self.quarantined.values()) / self.rows_in if self.rows_in else 0.0

    @property
    def commonest_reason(self) -> str:
        return max(sorted(self.quarantined), key=lambda reason: self.quarantined[reason])

    def coverage(self, column: str) -> float | None:
        """Share of accepted rows that have a value in the column; None where there are no rows."""
        return self.filled[column] / self.accepted if self.accepted else None


def placed_rows(spark: SparkSession, mapping: Mapping, table: str, window: Window) -> DataFrame:
    """The rows of all of a table's sources, cast to the contract's types, with their scope."""
    contract = CONTRACT[table]
    raw = [read_source(spark, mapping, source, window) for source in mapping.of(table)]
    cast = reduce(lambda a, b: a.unionByName(b), [rules.typed(rows, contract) for rows in raw])
    return rules.placed(cast, contract, window, snapshot=mapping.kind_of(table) == "snapshot")


def judge(placed: DataFrame, table: str, window: Window, jobs: DataFrame | None, stored: DataFrame | None) -> DataFrame:
    """The run's rows of a table, each with its reason where it breaks a rule.

    `jobs` are the ids of the jobs that the lake knows, which events and hires are checked against; `stored`
    are keys that the lake holds on dates that the run does not write.
    """
    contract = CONTRACT[table]
    rows = rules.judged(placed, contract, window)
    if jobs is not None:
        rows = rules.without_unknown_jobs(rows, jobs)
    if stored is not None:
        rows = rules.without_stored(rows, stored, contract.key)
    snapshot = contract.clamps and "date" not in rows.columns
    return rules.without_repeats(rows, contract.key[:1] if snapshot else contract.key, contract.time)


def tally(judged: DataFrame, placed: DataFrame, table: str) -> Tally:
    """The counts of one table: two small aggregates."""
    columns = list(CONTRACT[table].columns)
    filled = [F.count(F.col(name)).alias(name) for name in columns]
    by_reason = judged.groupBy(rules.REASON).agg(F.count(F.lit(1)).alias("_rows"), *filled).collect()
    others = placed.where(F.col("_scope").isin(rules.NOT_YET, rules.TOO_OLD)).groupBy("_scope").count()
    out = others.collect() if "date" in placed.columns else []
    good = next((row for row in by_reason if row[rules.REASON] is None), None)
    return Tally(
        accepted=good["_rows"] if good else 0,
        quarantined={row[rules.REASON]: row["_rows"] for row in by_reason if row[rules.REASON] is not None},
        filled={name: good[name] if good else 0 for name in columns},
        out_of_range={row["_scope"]: row["count"] for row in out},
    )


def above_share(tallies: Names[str, Tally], share: float) -> str | None:
    """The one line that says which table has more quarantined rows than it may; None where none has."""
    for table, counts in tallies.items():
        if counts.quarantined_share > share:
            return (
                f"{table}: {sum(counts.quarantined.values())} of {counts.rows_in} rows are quarantined, "
                f"above the share of {share:g} that the mapping allows; "
                f"most often: {counts.commonest_reason} "
                f"({counts.quarantined[counts.commonest_reason]} rows)"
            )
    return None
