"""Build the index of a run: terms and vectors of the jobs that can be candidates.

Reads `jobs`, `job_terms`, `events`, `segment_links` and the job embeddings; writes `job_vectors`, `job_nodes` and,
where the run keeps them, `job_neighbors` of the run's date, and the index files. A training run indexes the jobs
open at any time of its held-out days, so that each case can search what was open at its own instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from jobs.artifacts import written_folder
from jobs.chains.sessionize import APPLY_ACTIONS
from jobs.channels.inventory import (
    EXPLAINED_FIELDS,
    PROMOTED_FIELD,
    ROW,
    ShardSpec,
    build_shard,
    describe,
    shard_name,
)
from jobs.channels.jobs_open import inventory_rows, is_open, latest_versions, popularity
from jobs.channels.neighbors import COUNTRY, find_neighbors
from jobs.channels.queries import TERM_FIELDS
from jobs.channels.search import NEIGHBORS
from jobs.embeddings.model_files import has_model
from jobs.embeddings.vectors import job_vectors, load_model
from jobs.errors import SettingsError
from jobs.graph.nodes import assign_nodes
from jobs.intervals import DAY, Dates
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import keeps_neighbors, known_actions, neighbor_plan, of_interest, searched_times
from jobs.stage import run_stage, say
from jobs.terms.version import taxonomy_version
from jobs.threads import side_by_side
from schemas import JOB_NEIGHBORS, JOB_NODES, JOB_TERMS, JOB_VECTORS, JOBS, SEGMENT_LINKS
from schemas.render import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main(lake: Lake, run: Run) -> None:
    options = run.settings.build_index
    first, last = searched_times(run)
    require_neighbors(run)
    jobs = latest_versions(lake.read(JOBS), "job_id", run.interval.end)
    actions = of_interest(known_actions(lake, run))
    terms = latest_versions(
        lake.read(JOB_TERMS, taxonomy_version=taxonomy_version(lake, run)), "job_id", run.interval.end
    ).persist()
    (nodes, n_nodes), (vectors, spec_dim, fingerprint) = side_by_side(
        lambda: write_nodes(lake, run, terms), lambda: write_vectors(lake, run, terms)
    )
    if n_nodes is not None:
        run.record("jobs_with_nodes", n_nodes)
    rows = inventory_rows(
        jobs,
        terms=terms,
        nodes=nodes,
        vectors=vectors,
        demand=popularity(actions, first, options.popular_days),
        is_open=is_open(first, last),
        salt=str(run.date),
    )
    spec = ShardSpec(index_fields(terms), spec_dim, options.storage, fingerprint, options.shards)
    with written_folder(run.artifact("index"), lake.guard) as folder:
        n_open = build_shards(rows, spec, folder)
        describe(folder, spec)
    run.record("open_jobs", n_open)
    run.record("shards", options.shards)
    if not n_open:
        say(f"  no job is open between {first} and {last}: every candidate set will be empty")
    if spec.fingerprint and keeps_neighbors(run):
        write_neighbors(lake, run, terms, actions)


def require_neighbors(run: Run) -> None:
    """SettingsError where chains are to be served from neighbours and none are kept."""
    if run.settings.retrieve_candidates.chains == NEIGHBORS and not run.settings.build_index.neighbors:
        raise SettingsError("retrieve_candidates.chains is neighbors: expected build_index.neighbors above 0, got 0")


def write_neighbors(lake: Lake, run: Run, terms: DataFrame, actions: DataFrame) -> None:
    """The nearest open jobs of each job, in `job_neighbors` and as files of the run."""
    applied = actions.where(F.col("action").isin(*APPLY_ACTIONS)).select("job_id", F.lit(True).alias("is_applied"))
    jobs = terms.join(applied.distinct(), "job_id", "left").withColumn(
        "is_applied", F.coalesce("is_applied", F.lit(False))
    )
    options, version = run.settings.build_index, run.model("job_embeddings")
    plan = neighbor_plan(run)
    with written_folder(run.artifact("neighbors"), lake.guard) as folder:
        found = find_neighbors(jobs, plan, options.shards, folder)
        keyed = found.select(F.lit(version).alias("model_version"), F.lit(run.date).alias("date"), *found.columns)
        lake.replace(JOB_NEIGHBORS, {"model_version": version, "date": run.date}, keyed)


def index_fields(terms: DataFrame) -> tuple[str, ...]:
    """Every field that some job has, and those that channels ask for, whether or not a job has them."""
    present = terms.select(F.explode(F.map_keys("terms")).alias("field")).distinct().collect()
    return tuple(sorted({row["field"] for row in present} | {*EXPLAINED_FIELDS, *TERM_FIELDS, COUNTRY, PROMOTED_FIELD}))


def write_nodes(lake: Lake, run: Run, terms: DataFrame) -> tuple[DataFrame, int | None]:
    """(job_id, nodes) under the run's segment graph, kept in `job_nodes`, and how many; none where it has no graph."""
    version = run.model("segment_graph")
    if version is None:
        return lake.spark.createDataFrame([], "job_id bigint, nodes array<int>"), None
    links = lake.read(SEGMENT_LINKS, model_version=version)
    nodes = assign_nodes(terms, links, "job").select(
        F.lit(version).alias("model_version"), F.lit(run.date).alias("date"), "job_id", "nodes"
    )
    lake.replace(JOB_NODES, {"model_version": version, "date": run.date}, nodes)
    written = lake.read(JOB_NODES, Dates(run.date, run.date + DAY), model_version=version)
    return written, written.count()


def write_vectors(lake: Lake, run: Run, terms: DataFrame) -> tuple[DataFrame, int, str]:
    """Vectors of all known jobs, kept in `job_vectors`, their length, and the model's fingerprint."""
    version = run.model("job_embeddings")
    if version is None or not has_model(run.artifact("job_embeddings", version)):
        say("  no job embeddings: channels that need vectors stay empty")
        return lake.spark.createDataFrame([], spark_schema(JOB_VECTORS)), 1, ""
    path = run.artifact("job_embeddings", version)
    model = load_model(path)
    vectors = job_vectors(terms, path).select(
        F.lit(version).alias("model_version"), F.lit(run.date).alias("date"), "job_id", "vector", "is_cold"
    )
    lake.replace(JOB_VECTORS, {"model_version": version, "date": run.date}, vectors)
    written = lake.read(JOB_VECTORS, Dates(run.date, run.date + DAY), model_version=version)
    share = written.agg(F.avg(F.col("is_cold").cast("double"))).first()
    run.record("cold_job_share", share[0] if share else None)
    return written, model.dim, model.fingerprint


def build_shards(rows: DataFrame, spec: ShardSpec, folder: Path) -> int:
    """Build each shard in a task of its own, below `folder`; returns how many open jobs there are in all.

    `folder` must be one that all executors see. A shard's memory is what its jobs take, so `shards` bounds it.
    """

    def build(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        shard = key[0].as_py()
        typed = table.select(ROW.names).cast(ROW)
        n_open = build_shard(typed, spec, folder / shard_name(shard))
        return pa.table({"shard": pa.array([shard], pa.int32()), "n_open": pa.array([n_open], pa.int64())})

    shard = F.pmod(F.col("job_id"), F.lit(spec.n_shards)).cast("int")
    built = rows.withColumn("shard", shard).groupBy("shard").applyInArrow(build, "shard int, n_open bigint")
    return sum(row["n_open"] for row in built.collect())


if __name__ == "__main__":
    run_stage("build_index", main)
