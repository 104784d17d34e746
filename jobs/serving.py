"""What the stages that serve candidates share: what a run knows of seekers, and how it asks and blends.

A run knows what had reached the board before its interval's end. So an older day done again after newer days,
whose runs have put late events into the shared tables, gives its own candidates again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.chains.refusals import DISMISS
from jobs.chains.sessionize import Cut, people_actions
from jobs.channels.audiences import AudiencePlan
from jobs.channels.blend import BlendPlan
from jobs.channels.jobs_open import is_open, latest_versions
from jobs.channels.neighbors import NeighborPlan
from jobs.channels.queries import Memory, build_queries, quality_bands
from jobs.channels.search import NEIGHBORS, ORGANIC, PROMOTED, VECTORS, SearchPlan
from jobs.graph.frames import held
from jobs.graph.liquidity import enough_nodes
from jobs.graph.nodes import assign_nodes
from jobs.intervals import DAY, Dates
from jobs.lake import Lake
from jobs.runs import TRAINING, Run
from jobs.terms.version import taxonomy_version
from schemas import EVENTS, JOB_NODES, JOB_TERMS, JOBS, SEEKER_NODES, SEEKER_TERMS, SEGMENT_LINKS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def searched_times(run: Run) -> tuple[datetime, datetime]:
    """The instants at which a query of this run may be asked: one for a daily run, the held-out days for training."""
    return (run.trained_until if run.dag == TRAINING else run.interval.end), run.interval.end


def known(rows: DataFrame, run: Run) -> DataFrame:
    """The rows that had reached the board before the run's interval ended."""
    return rows.where(F.col("arrived_ts") < F.lit(run.interval.end))


def known_actions(lake: Lake, run: Run) -> DataFrame:
    """(seeker_id, job_id, action, event_ts) of the days that serving looks back on, dismissals included.

    Bots' days and glances are left out, by the rules of chains.
    """
    end = run.interval.dates.end
    first = searched_times(run)[0].date() - run.settings.serving.lookback_days * DAY
    events = known(lake.read(EVENTS, Dates(first, end)), run).where(F.col("event_ts") < F.lit(run.interval.end))
    columns = ("seeker_id", "job_id", "action", "event_ts")
    dismissed = events.where(F.col("action") == DISMISS).select(*columns)
    return people_actions(events, cut_of(run)).select(*columns).unionByName(dismissed)


def of_interest(actions: DataFrame) -> DataFrame:
    return actions.where(F.col("action") != DISMISS)


def cut_of(run: Run) -> Cut:
    settings = run.settings.sessionize_chains
    return Cut(
        gap=timedelta(minutes=settings.gap_minutes),
        max_span=timedelta(hours=settings.max_span_hours),
        max_actions=settings.max_actions,
        min_actions=settings.min_actions,
        max_actions_a_day=settings.max_actions_a_day,
        min_dwell_seconds=settings.min_dwell_seconds,
    )


def run_queries(
    lake: Lake, run: Run, cases: DataFrame, actions: DataFrame, excluded_actions: list[str] | None = None
) -> DataFrame:
    """The queries of these cases under the run's models; see `build_queries`."""
    options = run.settings.retrieve_candidates
    taxonomy = taxonomy_version(lake, run)
    seeker_terms = lake.read_or_empty(SEEKER_TERMS, taxonomy_version=taxonomy)
    nodes, bands = seeker_nodes(lake, run, latest_versions(seeker_terms, "seeker_id", first_case(run)))
    return build_queries(
        cases,
        actions=actions,
        seeker_terms=seeker_terms,
        job_terms=latest_versions(lake.read(JOB_TERMS, taxonomy_version=taxonomy), "job_id", run.interval.end),
        seeker_nodes=nodes,
        node_bands=bands,
        n_bands=options.quality_bands,
        excluded_actions=excluded_actions or options.excluded_actions,
        memory=Memory(
            max_actions=options.max_actions,
            half_life_actions=options.half_life_actions,
            dormant_days=options.dormant_days,
            dormant_weight=options.dormant_weight,
        ),
        max_terms=options.max_terms,
    )


def first_case(run: Run) -> datetime:
    """Profiles behind node ids are as of this instant: a training run's are those of before its held-out days."""
    return run.trained_until if run.dag == TRAINING else run.interval.end


def seeker_nodes(lake: Lake, run: Run, terms: DataFrame) -> tuple[DataFrame, DataFrame]:
    """(seeker_id, nodes), kept in `seeker_nodes`, and the links' quality bands; both empty without a graph."""
    version = run.model("segment_graph")
    if version is None:
        spark = lake.spark
        return (
            spark.createDataFrame([], "seeker_id bigint, nodes array<int>"),
            spark.createDataFrame([], "node_id int, band int"),
        )
    links = lake.read(SEGMENT_LINKS, model_version=version)
    nodes = enough(lake, run, version, links, assign_nodes(terms, links, "seeker")).select(
        F.lit(version).alias("model_version"), F.lit(run.date).alias("date"), "seeker_id", "nodes"
    )
    lake.replace(SEEKER_NODES, {"model_version": version, "date": run.date}, nodes)
    written = lake.read(SEEKER_NODES, Dates(run.date, run.date + DAY), model_version=version)
    return written, quality_bands(links, run.settings.retrieve_candidates.quality_bands)


def enough(lake: Lake, run: Run, version: str, links: DataFrame, nodes: DataFrame) -> DataFrame:
    """The nodes that each seeker needs to reach the liquidity asked for; all of them where none is."""
    target = run.settings.retrieve_candidates.liquidity_target
    if not target:
        return nodes
    first, last = searched_times(run)
    jobs = latest_versions(lake.read(JOBS), "job_id", run.interval.end).where(is_open(first, last))
    open_nodes = lake.read(JOB_NODES, Dates(run.date, run.date + DAY), model_version=version)
    found = enough_nodes(held(nodes), links, open_nodes.join(jobs.select("job_id"), "job_id", "left_semi"), target)
    run.record_all(found.figures())
    return found.nodes


def search_plan(
    run: Run,
    *,
    at_its_time: bool = False,
    k: int | None = None,
    flows: tuple[str, ...] = (ORGANIC, PROMOTED),
    both_ways: bool = False,
) -> SearchPlan:
    """`at_its_time`: queries are of different instants, each over the jobs open at its own."""
    options = run.settings.retrieve_candidates
    return SearchPlan(
        inventory=run.artifact("index"),
        k=k or options.k,
        memory_budget=options.memory_mb << 20,
        device=options.device,
        device_memory=options.device_memory_mb << 20,
        at_its_time=at_its_time,
        flows=flows,
        chain_popularity=options.chain_popularity,
        new_popularity=options.new_popularity,
        new_weight=options.new_weight,
        chains=options.chains,
        neighbors=run.artifact("neighbors"),
        both_ways=both_ways,
        attribute_weight=options.attribute_weight,
        model=job_embeddings(run) or "",
    )


def job_embeddings(run: Run) -> str | None:
    """Where the run's model of job vectors lies; None where it has none."""
    version = run.model("job_embeddings")
    return None if version is None else run.artifact("job_embeddings", version)


def neighbor_plan(run: Run) -> NeighborPlan:
    options = run.settings.retrieve_candidates
    return NeighborPlan(
        inventory=run.artifact("index"),
        n=run.settings.build_index.neighbors,
        memory_budget=options.memory_mb << 20,
        device=options.device,
        device_memory=options.device_memory_mb << 20,
    )


def keeps_neighbors(run: Run) -> bool:
    """A training run, for people to read and to measure; a daily one where its chain channels are served from them."""
    wanted = run.dag == TRAINING or run.settings.retrieve_candidates.chains == NEIGHBORS
    return wanted and run.settings.build_index.neighbors > 0


def blend_plan(run: Run, quotas: dict[str, int] | None = None) -> BlendPlan:
    options, asked = run.settings.blend_candidates, run.settings.retrieve_candidates
    return BlendPlan(
        inventory=run.artifact("index"),
        quotas=quotas or {ORGANIC: options.organic_quota, PROMOTED: options.promoted_quota},
        weights=options.weights,
        rrf_k=options.rrf_k,
        with_attributes=asked.attribute_weight > 0 and asked.chains == VECTORS,
    )


def audience_plan(run: Run) -> AudiencePlan:
    cap, memory_mb = run.settings.blend_candidates.audience, run.settings.retrieve_candidates.memory_mb
    return AudiencePlan(inventory=run.artifact("index"), cap=cap, memory_budget=memory_mb << 20)
