"""All that a seeker did as one chain."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def histories(chains: DataFrame, most: int) -> DataFrame:
    """(chain_id, seeker_id, start_ts, actions): each seeker's chains one after the other, their latest `most` actions.

    `chain_id` and `start_ts` are those of the first of the chains.
    """
    each = F.sort_array(F.collect_list(F.struct("start_ts", "chain_id", "actions")))
    joined = chains.groupBy("seeker_id").agg(each.alias("each"))
    actions = F.flatten(F.transform("each", lambda chain: chain["actions"]))
    first = F.col("each")[0]
    return joined.select(
        first["chain_id"].alias("chain_id"),
        "seeker_id",
        first["start_ts"].alias("start_ts"),
        F.slice(actions, F.greatest(F.size(actions) - most + 1, F.lit(1)), most).alias("actions"),
    )
