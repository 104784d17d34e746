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
from jobs.marketplace.files import MARKER, delete, names_in, read_json, write_json
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

    def write(self, name: str, rows: DataFrame, partition_by: str | None = None, csv: bool = False) -> DataFrame:
        path = f"{self.root}/{name}"
        # A dictionary of ids that are each there once is built, and thrown away: a tenth of the time.
        writer = rows.write.mode("overwrite").option("parquet.enable.dictionary#activity_id", "false")
        # Where the session's mode is dynamic, days of the market that was there before would stay.
        writer = writer.option("partitionOverwriteMode", "static")
        if partition_by is not None:
            writer = writer.partitionBy(partition_by)
        if csv:
            # The quote is the escape too, as in RFC 4180: what other readers of CSV expect.
            writer.csv(path, header=True, escape='"')
            return self.spark.read.csv(path, header=True, escape='"')
        writer.parquet(path)
        return self.spark.read.parquet(path)


@dataclass(frozen=True, kw_only=True)
class World:
    """The tables that a market is made from: who and what is in it, and the directions of `latents`."""

    seekers: DataFrame
    bursts: DataFrame
    jobs: DataFrame
    inventory: DataFrame
    bots: DataFrame
    works: DataFrame
    places: DataFrame


def simulate(spark: SparkSession, config: MarketConfig, out: str, overwrite: bool, say: Say) -> dict:
    """The market.json of the market in `out`: the one that is there with this configuration, or a new one.

    A market that was not finished is written anew. Raises MarketError where, without `overwrite`, another market or
    anything else is there.
    """
    marker, scratch = f"{out}/{MARKER}", f"{out}/{SCRATCH}"
    there = read_json(spark, marker)
    if there is not None and there["config_hash"] == config.hash and not overwrite:
        say(f"market {config.hash} is in {out} already: nothing to do")
        delete(spark, scratch)
        return there
    if not overwrite:
        refuse_other(out, config, there, names_in(spark, out))
    delete(spark, marker)
    rows = write_market(Folder(spark, out), config, load_dictionary(), say)
    content = {"config_hash": config.hash, "config": config.as_json(), "rows": rows}
    write_json(spark, marker, content)
    # Last: until the marker is there, the scratch says that what lies beside it is an unfinished market.
    delete(spark, scratch)
    return content


def refuse_other(out: str, config: MarketConfig, there: dict | None, names: list[str]) -> None:
    """MarketError where `there` is another market's marker, or `names` are in the folder and no market's scratch is."""
    if there is not None:
        raise MarketError(
            f"{out}: expected market {config.hash}, found {there['config_hash']}; --overwrite replaces it"
        )
    if names and SCRATCH not in names:
        raise MarketError(f"{out}: expected an empty folder, found {sorted(names)[0]}; --overwrite writes over it")


def write_market(folder: Folder, config: MarketConfig, words: Dictionary, say: Say) -> dict[str, int]:
    """Write all of it but the marker; the number of rows of each of the board's tables."""
    say(f"market {config.hash}: {config.n_seekers:,} seekers, {config.n_jobs:,} jobs, {config.days} days")
    world = _world(folder, config, words)
    say("showing lists")
    shown = impressions(lists(world.bursts, config), world.inventory, world.works, world.places, config, words)
    shown = folder.write(f"{SCRATCH}/impressions", shown)
    answered = employers.answered(first_applications(shown, config), words, config)
    answered = folder.write(f"{SCRATCH}/answered", answered.join(world.jobs.select("job", "company"), "job"))
    say("writing the board's tables")
    spark = folder.spark
    tables = {
        "users": folder.write("users", users(world.seekers, world.bursts, answered, config, words)),
        "companies": folder.write("companies", wording.companies(spark, config, words)),
        "places": folder.write("places", wording.places(spark, words).coalesce(1)),
        "placements": folder.write("placements", employers.placements(answered, config)),
        "title_dictionary": folder.write("title_dictionary", _dictionary_rows(spark, words)),
    }
    tables["postings"], dirty_postings = _write_postings(folder, world, config, words)
    tables["activity"], clean, dirty = _write_activity(folder, world, shown, answered, config, words)
    say("writing the truth")
    _write_truth(folder, world, config, words)
    _write_dirt(folder, world, clean, dirt.named("activity", dirty).unionByName(dirt.named("postings", dirty_postings)))
    return {name: rows.count() for name, rows in sorted(tables.items())}


def _world(folder: Folder, config: MarketConfig, words: Dictionary) -> World:
    spark = folder.spark
    jobs = folder.write(f"{SCRATCH}/jobs", population.jobs(spark, config, words))
    seekers = population.seekers(spark, config, words)
    return World(
        seekers=seekers,
        bursts=population.bursts(seekers, config, words),
        jobs=jobs,
        inventory=folder.write(f"{SCRATCH}/inventory", open_jobs(jobs, config)),
        bots=activity.bots(spark, config),
        works=population.works(spark, words),
        places=population.places(spark, words),
    )


def _dictionary_rows(spark: SparkSession, words: Dictionary) -> DataFrame:
    columns = "kind string, written string, code string, label string"
    return spark.createDataFrame(title_dictionary(words), columns).coalesce(1)


def _write_postings(
    folder: Folder, world: World, config: MarketConfig, words: Dictionary
) -> tuple[DataFrame, DataFrame]:
    """The postings as written, and the dirty rows."""
    clean = folder.write(f"{SCRATCH}/postings", wording.postings(world.jobs, config, words))
    dirty = dirt.dirty_postings(clean, config)
    return folder.write("postings", clean.unionByName(dirty.drop("dirt")), csv=True), dirty


def _write_activity(
    folder: Folder, world: World, shown: DataFrame, answered: DataFrame, config: MarketConfig, words: Dictionary
) -> tuple[DataFrame, DataFrame, DataFrame]:
    """The activity as written, its clean rows, and its dirty rows."""
    rows = activity.seekers_actions(shown, config, words)
    rows = rows.unionByName(activity.applications_actions(answered, config, words))
    rows = rows.unionByName(activity.bots_actions(world.bots, world.inventory, config, words))
    clean = folder.write(f"{SCRATCH}/activity", activity.with_arrival(rows, config))
    dirty = dirt.dirty_activity(clean, config)
    written = activity.as_written(clean.unionByName(dirty.drop("dirt")))
    # One file a day and SEEKERS_A_FILE seekers, not one a day and task.
    part = F.pmod(F.xxhash64("activity_id"), F.lit(math.ceil(config.n_seekers / SEEKERS_A_FILE)))
    return folder.write("activity", written.repartition("received_on", part), "received_on"), clean, dirty


def _write_truth(folder: Folder, world: World, config: MarketConfig, words: Dictionary) -> None:
    wants = truth.seeker_latents(world.bursts, world.works, world.places, config)
    folder.write("truth/seeker_latent", wants)
    folder.write("truth/job_latent", truth.job_latents(world.jobs, world.works, world.places, config))
    folder.write("truth/seekers", truth.seeker_facts(world.seekers, words))
    folder.write("truth/jobs", truth.job_facts(world.jobs, words))
    folder.write("truth/hire_pairs", truth.planted_pairs(folder.spark, words).coalesce(1))
    write_json(folder.spark, f"{folder.root}/truth/behaviour.json", truth.behaviour_facts())


def _write_dirt(folder: Folder, world: World, clean: DataFrame, dirty: DataFrame) -> None:
    bots = folder.write("truth/bots", world.bots.select("user_uuid"))
    dirty = folder.write("truth/dirt", dirty.coalesce(1))
    write_json(folder.spark, f"{folder.root}/truth/dirt.json", truth.count_dirt(clean, dirty, bots))
