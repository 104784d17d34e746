"""A whole market: every table of the board and of its truth, written in an order that ends with the marker."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.marketplace import activity, dirt, employers, population, truth, wording
from jobs.marketplace.behaviour import first_applications, impressions
from jobs.marketplace.config import MarketConfig, MarketError
from jobs.marketplace.dictionary import Dictionary, load_dictionary, title_dictionary
from jobs.marketplace.files import MARKER, delete, read_json, write_json
from jobs.marketplace.inventory import open_jobs
from jobs.marketplace.sessions import lists
from jobs.marketplace.users import users

SCRATCH = "_scratch"

# Seekers whose activity of one day of arrival goes to one file: about a million rows.
SEEKERS_A_FILE = 100_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Folder:
    """Where a market is written, and how: each table once, read back from there by what builds on it."""

    spark: SparkSession
    root: str
    say: Say

    def write(self, name: str, rows: DataFrame, partition_by: str | None = None, csv: bool = False) -> DataFrame:
        path = f"{self.root}/{name}"
        writer = rows.write.mode("overwrite")
        if partition_by is not None:
            writer = writer.partitionBy(partition_by)
        if csv:
            # The quote is the escape too, as in RFC 4180: what other readers of CSV expect.
            writer.csv(path, header=True, escape='"')
            return self.spark.read.csv(path, header=True, escape='"')
        writer.parquet(path)
        return self.spark.read.parquet(path)


def simulate(spark: SparkSession, config: MarketConfig, out: str, overwrite: bool, say: Say) -> dict:
    """Write the market to `out` and return its market.json; what is there already with this configuration
    stays.

    Raises MarketError where another configuration's market is there and `overwrite` is not given.
    """
    marker = f"{out}/{MARKER}"
    there = read_json(spark, marker)
    if there is not None and there["config_hash"] == config.hash and not overwrite:
        say(f"market {config.hash} is in {out} already: nothing to do")
        return there
    if there is not None and not overwrite:
        raise MarketError(
            f"{out}: expected market {config.hash}, found {there['config_hash']}; --overwrite replaces it"
        )
    delete(spark, marker)
    rows = write_market(Folder(spark, out, say), config, load_dictionary())
    content = {"config_hash": config.hash, "config": config.as_json(), "rows": rows}
    write_json(spark, marker, content)
    return content


def write_market(folder: Folder, config: MarketConfig, words: Dictionary) -> dict[str, int]:
    """Write all of it but the marker; the number of rows of each of the board's tables."""
    spark, say = folder.spark, folder.say
    works, places = population.works(spark, words), population.places(spark, words)
    say(f"market {config.hash}: {config.n_seekers:,} seekers, {config.n_jobs:,} jobs, {config.days} days")
    seekers = population.seekers(spark, config, words)
    bursts = population.bursts(seekers, config, words)
    jobs = folder.write(f"{SCRATCH}/jobs", population.jobs(spark, config, words))
    inventory = folder.write(f"{SCRATCH}/inventory", open_jobs(jobs, config))
    say("showing lists")
    shown = impressions(lists(bursts, config), inventory, works, places, config, words)
    shown = folder.write(f"{SCRATCH}/impressions", shown)
    answered = employers.answered(first_applications(shown, config), words, config)
    answered = folder.write(f"{SCRATCH}/answered", answered.join(jobs.select("job", "company"), "job"))
    say("writing the board's tables")
    tables = {
        "users": folder.write("users", users(seekers, bursts, answered, config, words)),
        "companies": folder.write("companies", wording.companies(spark, config, words)),
        "places": folder.write("places", wording.places(spark, words).coalesce(1)),
        "placements": folder.write("placements", employers.placements(answered, config)),
        "title_dictionary": folder.write("title_dictionary", _dictionary_rows(spark, words)),
    }
    bots = activity.bots(spark, config)
    tables["postings"], dirty_postings = _write_postings(folder, jobs, config, words)
    tables["activity"], clean, dirty_rows = _write_activity(folder, shown, answered, bots, inventory, config, words)
    say("writing the truth")
    dirty = _dirt_rows(dirty_rows, dirty_postings)
    _write_truth(folder, seekers, bursts, jobs, works, places, bots, clean, dirty, config, words)
    delete(spark, f"{folder.root}/{SCRATCH}")
    return {name: rows.count() for name, rows in sorted(tables.items())}


def _dictionary_rows(spark: SparkSession, words: Dictionary) -> DataFrame:
    columns = "kind string, written string, code string, label string"
    return spark.createDataFrame(title_dictionary(words), columns).coalesce(1)


def _write_postings(
    folder: Folder, jobs: DataFrame, config: MarketConfig, words: Dictionary
) -> tuple[DataFrame, DataFrame]:
    clean = folder.write(f"{SCRATCH}/postings", wording.postings(jobs, config, words))
    dirty = dirt.dirty_postings(clean, config)
    return folder.write("postings", clean.unionByName(dirty.drop("dirt")), csv=True), dirty


def _write_activity(
    folder: Folder, shown: DataFrame, answered: DataFrame, bots: DataFrame, inventory: DataFrame,
    config: MarketConfig, words: Dictionary,
) -> tuple[DataFrame, DataFrame, DataFrame]:  # fmt: skip
    """The activity as written, its clean rows, and its dirty rows."""
    rows = activity.seekers_actions(shown, config, words)
    rows = rows.unionByName(activity.applications_actions(answered, config, words))
    rows = rows.unionByName(activity.bots_actions(bots, inventory, config, words))
    clean = folder.write(f"{SCRATCH}/activity", activity.with_arrival(rows, config))
    dirty = dirt.dirty_activity(clean, config)
    written = activity.as_written(clean.unionByName(dirty.drop("dirt")))
    # One file a day and SEEKERS_A_FILE seekers, not one a day and task.
    part = F.pmod(F.xxhash64("activity_id"), F.lit(math.ceil(config.n_seekers / SEEKERS_A_FILE)))
    return folder.write("activity", written.repartition("received_on", part), "received_on"), clean, dirty


def _dirt_rows(activity_rows: DataFrame, postings_rows: DataFrame) -> DataFrame:
    """table_name, dirt, key and the day of arrival (null for postings)."""
    day = F.to_date(F.timestamp_seconds("received_s"))
    rows = activity_rows.select(
        F.lit("activity").alias("table_name"), "dirt", F.col("activity_id").alias("key"), day.alias("day")
    )
    return rows.unionByName(
        postings_rows.select(
            F.lit("postings").alias("table_name"),
            "dirt",
            F.col("posting_ref").alias("key"),
            F.lit(None).cast("date").alias("day"),
        )
    )


def _write_truth(
    folder: Folder, seekers: DataFrame, bursts: DataFrame, jobs: DataFrame, works: DataFrame, places:
    DataFrame, bots: DataFrame, clean: DataFrame, dirty: DataFrame, config: MarketConfig, words: Dictionary,
) -> None:  # fmt: skip
    folder.write("truth/seeker_latent", truth.seeker_latents(bursts, works, places, config))
    folder.write("truth/job_latent", truth.job_latents(jobs, works, places))
    folder.write("truth/seekers", truth.seeker_facts(seekers, words))
    folder.write("truth/jobs", truth.job_facts(jobs, words))
    folder.write("truth/hire_pairs", truth.planted_pairs(folder.spark, words).coalesce(1))
    folder.write("truth/bots", bots.select("user_uuid"))
    dirty = folder.write("truth/dirt", dirty.coalesce(1))
    counts = truth.count_dirt(clean, dirty, bots.select("user_uuid"))
    write_json(folder.spark, f"{folder.root}/truth/dirt.json", counts)
    write_json(folder.spark, f"{folder.root}/truth/behaviour.json", truth.behaviour_facts())
