"""A job's local market: by its terms where they say, else by the co-apply graph.

The graph has a vertex a chain and a vertex a job, and an edge from each chain to each job that it applied for: as many
edges as a chain has jobs, where to join its jobs in pairs would take their square. It has two sides, which is what the
graph engine's label propagation settles on. Jobs joined by which followed which would have none: on a row of four jobs
it stops at {1}, {2}, {3, 4}.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.chains.sessionize import APPLY_ACTIONS, CHAIN_ACTIONS
from jobs.embeddings.sampling import NO_MARKET
from jobs.figures import Figure
from jobs.graph.engine import GraphEngine, verify_communities
from jobs.graph.frames import held

# Where a job's market is from.
TERMS, NAMED, OWN, NONE = "terms", "community's market", "community", "none"


def term_market(fields: list[str]) -> Column:
    """A number of 0 or more a combination of the first terms of `fields`; NO_MARKET where `terms` lacks one."""
    if not fields:
        return F.lit(NO_MARKET)
    first = [F.get(F.col("terms")[field], F.lit(0)) for field in fields]
    known = F.lit(True)
    for term in first:
        known &= term.isNotNull()
    return F.when(known, F.xxhash64(*first).bitwiseAND(F.lit(2**63 - 1))).otherwise(F.lit(NO_MARKET))


def community_markets(
    encoded_chains: DataFrame, job_terms: DataFrame, market_fields: list[str], engine: GraphEngine
) -> tuple[DataFrame, list[Figure]]:
    """(job_id, market) of jobs in chains that have none by their terms and are in a community; and figures.

    Such a job's market is the one that most jobs of its community have by their terms, ties to the least number. Where
    none of them has one it is the community itself, numbered -2 less its least job id: below NO_MARKET, where no market
    of terms is. The engine is asked for nothing where all jobs have a market by their terms.
    """
    by_terms = job_terms.select("job_id", term_market(market_fields).alias("market")).where(f"market <> {NO_MARKET}")
    acted = encoded_chains.select(F.explode("jobs").alias("job_id")).distinct()
    jobs = held(acted.join(by_terms, "job_id", "left"))
    lacking = jobs.where("market IS NULL")
    if lacking.isEmpty():
        return lacking, market_figures(jobs.count(), {})
    edges, used = co_action_edges(encoded_chains)
    figures = [Figure("graph_engine", 1, engine.name), Figure("co_action_edges", edges.count(), used)]
    communities = held(job_communities(edges, engine))
    placed = held(
        lacking.select("job_id")
        .join(communities, "job_id", "left")
        .join(community_names(communities, jobs), "community", "left")
        .select("job_id", F.coalesce("named", F.lit(-2) - F.col("least")).alias("market"), _origin().alias("origin"))
    )
    figures.append(Figure("communities", communities.select("community").distinct().count()))
    n_placed = {row["origin"]: row["count"] for row in placed.groupBy("origin").count().collect()}
    figures += market_figures(jobs.count(), n_placed)
    return placed.where("market IS NOT NULL").select("job_id", "market"), figures


def _origin() -> Column:
    named = F.when(F.col("named").isNotNull(), F.lit(NAMED))
    return named.when(F.col("least").isNotNull(), F.lit(OWN)).otherwise(F.lit(NONE))


def market_figures(n_jobs: int, n_placed: dict[str, int]) -> list[Figure]:
    """How many jobs in chains have their market from where; `n_placed` are those that have none by their terms."""
    counts = {TERMS: n_jobs - sum(n_placed.values()), NAMED: 0, OWN: 0, NONE: 0} | n_placed
    return [Figure("jobs_by_market", count, origin) for origin, count in counts.items()]


def co_action_edges(encoded_chains: DataFrame) -> tuple[DataFrame, str]:
    """One edge a chain and job that it applied for, of chains that applied for two jobs, and what the edges are.

    Of all actions where no chain applied for two. `src` is the chain, below 0 where no job id is; `dst` the job.
    """
    edges = held(_edges(encoded_chains, APPLY_ACTIONS))
    if not edges.isEmpty():
        return edges, "applications"
    return held(_edges(encoded_chains, CHAIN_ACTIONS)), "all actions"


def _edges(encoded_chains: DataFrame, actions: Sequence[str]) -> DataFrame:
    codes = [CHAIN_ACTIONS.index(action) for action in actions]
    # must match the codes of encode_chains
    used = F.filter("jobs", lambda _, at: F.get("actions", at).isin(codes))
    chains = encoded_chains.select("chain_id", F.array_distinct(used).alias("jobs")).where(F.size("jobs") >= 2)
    return chains.select(F.bitwise_not("chain_id").alias("src"), F.explode("jobs").alias("dst"))


def job_communities(edges: DataFrame, engine: GraphEngine) -> DataFrame:
    """(job_id, community) of the jobs at the edges. StageError where a community spans two components."""
    if edges.isEmpty():
        return edges.sparkSession.createDataFrame([], "job_id bigint, community bigint")
    components, communities = engine.components(edges), held(engine.communities(edges))
    verify_communities(components, communities, engine.name)
    return communities.where("id >= 0").withColumnRenamed("id", "job_id")


def community_names(communities: DataFrame, jobs: DataFrame) -> DataFrame:
    """(community, named, least): its jobs' commonest market, ties to the least, or null; its least job id."""
    # Nulls are not counted.
    commonest = F.mode("market", deterministic=True).alias("named")
    members = communities.join(jobs, "job_id", "inner")
    return members.groupBy("community").agg(commonest, F.min("job_id").alias("least"))
