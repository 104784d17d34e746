"""What a run says about its chains."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# Label of a bucket of chain lengths -> the longest chain in it; the last has no end.
LENGTHS: dict[str, int | None] = {"1": 1, "2": 2, "3-5": 5, "6-10": 10, "11+": None}


@dataclass(frozen=True, kw_only=True)
class ChainFigures:
    n_chains: int
    n_actions: int
    n_by_length: dict[str, int]


def chain_figures(chains: DataFrame) -> ChainFigures:
    """How many chains and actions there are, and chains by the labels of `LENGTHS`, each present."""
    label = F.lit(None)
    for name, longest in reversed(LENGTHS.items()):
        label = F.lit(name) if longest is None else F.when(F.col("n_actions") <= longest, name).otherwise(label)
    n_chains = F.count(F.lit(1)).alias("n_chains")
    rows = chains.groupBy(label.alias("label")).agg(n_chains, F.sum("n_actions").alias("n_actions")).collect()
    counted = {row.label: row.n_chains for row in rows}
    return ChainFigures(
        n_chains=sum(counted.values()),
        n_actions=sum(row.n_actions for row in rows),
        n_by_length={name: counted.get(name, 0) for name in LENGTHS},
    )
