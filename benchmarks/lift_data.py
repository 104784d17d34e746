"""Chains, held-out cases and shown lists of sample marketplaces with more or less hidden preference, by Spark.

Chains, cases and the jobs' terms are made by the pipeline's own code, from actions and postings without dirt, bots and
late rows. Postings say nothing of what is hidden: one set of them serves all shares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.chain_data import Board, Chain
from jobs.marketplace.config import MarketConfig
from jobs.settings import EvaluateRetrieval, RetrieveCandidates, StandardizeEntities

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CHAINS = ("click", "apply")
ROOT = Path(__file__).parents[1]
HELD_OUT_DAYS = 7
# Of a history; nobody has as many.
MOST_ACTIONS = 1_000_000
# Of a latent, before its seniority (2) and bias and, with a hidden share, the mean: `jobs.marketplace.latents`.
N_BY_FIELDS = 44
ACTIONS = {"opened": "view", "bookmarked": "save", "applied": "apply", "called": "call", "messaged": "message"}


@dataclass(frozen=True)
class Case:
    """An application in the held-out days: what was listed, as shown, how well each truly suits, and the chains.

    Jobs are positions in `LiftMarket.board`. `chains` has the jobs acted on before, by chain; none of them is listed.
    """

    seeker: int
    asked_s: int
    place: int
    listed: NDArray[np.int64]
    affinity: NDArray[np.float64]
    chains: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class LiftMarket:
    """A board whose first `n_known` jobs were posted before the held-out days, and its cases.

    `histories` are all that each seeker did before those days, a chain each, and beside each action what they left of
    the list that it was done in; the board's own chains are cut by pauses, with what their lists left, by chain.
    `latents` (jobs, dim) is what jobs truly are, less what an inner product with another job says nothing of: their
    seniority, and what makes them good for everyone.
    """

    config: MarketConfig
    board: Board
    n_known: int
    posted_s: NDArray[np.int64]
    closed_s: NDArray[np.int64]
    latents: NDArray[np.float32]
    cases: list[Case]
    histories: tuple[list[Chain], list[list[list[int]]]]

    @property
    def known(self) -> Board:
        """What training sees."""
        n = self.n_known
        return replace(self.board, n_jobs=n, features=self.board.features[:n], markets=self.board.markets[:n])

    @property
    def remembered(self) -> LiftMarket:
        """Trained on histories instead."""
        chains, left = self.histories
        return replace(self, board=replace(self.board, chains=chains, refused=left))

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(self.board.hash.encode())
        for case in self.cases:
            digest.update(repr((case.seeker, case.asked_s, case.place)).encode())
            for jobs in (case.listed, *case.chains.values()):
                digest.update(jobs.tobytes())
        return digest.hexdigest()[:12]


def lift_markets(
    spark: SparkSession, config: MarketConfig, shares: Sequence[float], folder: Path
) -> Iterator[LiftMarket]:
    """A market a hidden share, alike in seekers, jobs and what is searched for."""
    from jobs.marketplace import population
    from jobs.marketplace.dictionary import load_dictionary
    from jobs.marketplace.inventory import open_jobs

    words = load_dictionary()
    population.jobs(spark, config, words).write.parquet(f"{folder}/jobs")
    jobs = spark.read.parquet(f"{folder}/jobs")
    open_jobs(jobs, config).write.parquet(f"{folder}/inventory")
    features = posting_features(spark, jobs, config, folder)
    rows = jobs.orderBy("posted_s", "job").select("job", "posting_ref", "posted_s", "closed_s").collect()
    place = {row["job"]: at for at, row in enumerate(rows)}
    posted, closed = (np.array([row[name] for row in rows]) for name in ("posted_s", "closed_s"))
    keys = [features.get(row["posting_ref"], []) for row in rows]
    numbers = jobs.select("job", "posting_ref")
    for share in shares:
        changed = replace(config, hidden_share=share)
        shown = _shown(spark, changed, folder)
        events = _events(shown, numbers, changed).persist()
        (chains, left), histories = _chains(events, shown, place, changed)
        cases = _cases(events, shown, place, changed)
        events.unpersist()
        name = f"hidden share {share:g}"
        board = Board(name, len(rows), keys, np.full(len(rows), -1), chains, [], refused=left)
        n_known, latents = int((posted < split_s(config)).sum()), _latents(spark, jobs, changed)
        yield LiftMarket(changed, board, n_known, posted, closed, latents, cases, histories)


def _latents(spark: SparkSession, jobs: DataFrame, config: MarketConfig) -> NDArray[np.float32]:
    """Families, work, region and, where some is hidden, character, in the order of the board."""
    from jobs.marketplace import population, truth
    from jobs.marketplace.dictionary import load_dictionary

    words = load_dictionary()
    written = truth.job_latents(jobs, population.works(spark, words), population.places(spark, words), config)
    rows = written.join(jobs, "posting_ref").orderBy("posted_s", "job").select("latent").collect()
    latents = np.array([row["latent"] for row in rows], np.float32)
    return np.delete(latents, range(N_BY_FIELDS, min(N_BY_FIELDS + 4, latents.shape[1])), axis=1)


def split_s(config: MarketConfig) -> int:
    return config.end_s - HELD_OUT_DAYS * 86_400


def posting_features(spark: SparkSession, jobs: DataFrame, config: MarketConfig, folder: Path) -> dict[str, list[int]]:
    """The feature keys of each posting, by its reference, as ingest and standardize_entities make them."""
    from jobs.channels.jobs_open import latest_versions
    from jobs.embeddings.features import feature_keys, term_fields
    from jobs.inputs.versions import history_versions
    from jobs.terms.dictionary import entity_terms, new_terms
    from jobs.terms.fields import job_fields, long_texts
    from jobs.terms.lookup import surface_forms, text_terms
    from schemas import TERM_DICTIONARY
    from schemas.render import spark_schema

    postings, taxonomy = _taken_in(spark, jobs, config, folder)
    newest = latest_versions(history_versions(postings), "job_id", datetime.fromtimestamp(config.end_s, UTC))
    options, key = StandardizeEntities(), ("job_id",)
    long = long_texts(newest, key, job_fields()).localCheckpoint()
    texts = long.where("text IS NOT NULL").select("dictionary", "how", "text").distinct()
    forms = surface_forms(taxonomy, options.max_entities_a_surface, options.max_ngram)
    terms = text_terms(texts, forms, options.max_ngram).localCheckpoint()
    dictionary = new_terms(terms, spark.createDataFrame([], spark_schema(TERM_DICTIONARY)), taxonomy)
    rows = entity_terms(long, terms, dictionary, key).localCheckpoint()
    found = rows.select("job_id", feature_keys(term_fields(rows)).alias("keys")).collect()
    return {row["job_id"]: row["keys"] for row in found}


def _taken_in(spark: SparkSession, jobs: DataFrame, config: MarketConfig, folder: Path) -> tuple[DataFrame, DataFrame]:
    """The postings and the taxonomy by the contract, through the demo's mapping."""
    from jobs.inputs.contract import accepted
    from jobs.inputs.judging import judge, placed_rows
    from jobs.inputs.mapping import load_mapping
    from jobs.inputs.window import Window
    from jobs.intervals import Interval
    from jobs.marketplace import wording
    from jobs.marketplace.dictionary import load_dictionary, title_dictionary
    from jobs.marketplace.market import Folder

    words, out = load_dictionary(), Folder(spark, f"{folder}/market")
    out.write("postings", wording.postings(jobs, config, words), csv=True)
    out.write("companies", wording.companies(spark, config, words))
    out.write("places", wording.places(spark, words))
    columns = "kind string, written string, code string, label string"
    out.write("title_dictionary", spark.createDataFrame(title_dictionary(words), columns))
    mapping = load_mapping(ROOT / "examples/demo/mapping.toml", {"DEMO_MARKET": out.root})
    period = Interval(*(datetime.fromtimestamp(at, UTC) for at in (config.start_s, config.end_s)))
    window = Window(interval=period, dates=period.dates, history_start=config.start, lateness_days=0)
    placed = {table: placed_rows(spark, mapping, table, window) for table in ("jobs", "taxonomy")}
    return tuple(accepted(judge(rows, table, window, None, None)) for table, rows in placed.items())  # type: ignore[return-value]


def _shown(spark: SparkSession, config: MarketConfig, folder: Path) -> DataFrame:
    from jobs.marketplace import population
    from jobs.marketplace.behaviour import impressions
    from jobs.marketplace.dictionary import load_dictionary
    from jobs.marketplace.sessions import lists

    words = load_dictionary()
    wants = population.bursts(population.seekers(spark, config, words), config, words)
    inventory = spark.read.parquet(f"{folder}/inventory")
    works, places = population.works(spark, words), population.places(spark, words)
    path = f"{folder}/shown"
    impressions(lists(wants, config), inventory, works, places, config, words).write.mode("overwrite").parquet(path)
    return spark.read.parquet(path)


def _events(shown: DataFrame, numbers: DataFrame, config: MarketConfig) -> DataFrame:
    """What seekers did, with the columns of `events` that chains and cases are made from."""
    from pyspark.sql import functions as F

    from jobs.marketplace.activity import applications_actions, seekers_actions
    from jobs.marketplace.behaviour import first_applications
    from jobs.marketplace.dictionary import load_dictionary
    from jobs.marketplace.employers import ANSWERS

    words = load_dictionary()
    unanswered = {name: F.lit(None).cast("bigint") for name in ANSWERS}
    applied = first_applications(shown, config).withColumns(unanswered)
    rows = seekers_actions(shown, config, words).where("kind IN ('opened', 'bookmarked', 'called', 'messaged')")
    rows = rows.unionByName(applications_actions(applied, config, words))
    seekers = shown.select(F.col("seeker").alias("seeker_id"), "user_uuid").distinct()
    at = F.timestamp_seconds("at_s")
    names = F.create_map(*[F.lit(word) for pair in ACTIONS.items() for word in pair])
    return rows.join(F.broadcast(numbers), "posting_ref").join(F.broadcast(seekers), "user_uuid").select(
        F.col("activity_id").alias("event_id"),
        "seeker_id",
        F.col("job").alias("job_id"),
        F.lit("seeker").alias("actor"),
        names[F.col("kind")].alias("action"),
        at.alias("event_ts"),
        F.to_date(at).alias("date"),
        (F.col("until_s") - F.col("at_s")).cast("double").alias("dwell_seconds"),
        at.alias("arrived_ts"),
        F.col("list_ref").alias("list_id"),
    )  # fmt: skip


def _chains(
    events: DataFrame, shown: DataFrame, place: dict[int, int], config: MarketConfig
) -> tuple[tuple[list[Chain], list], tuple[list[Chain], list]]:  # type: ignore[type-arg]
    """The chains that training sees and what each passed over; then the same of histories, by action."""
    from pyspark.sql import functions as F

    from jobs.chains.histories import histories
    from jobs.chains.refusals import IMPRESSION, passed_over, passed_over_by_action
    from jobs.chains.sessionize import Cut, chain_events

    split = datetime.fromtimestamp(split_s(config), UTC)
    seen = events.where(F.col("event_ts") < F.lit(split))
    chains = chain_events(seen, Cut()).persist()
    lists = F.concat(F.lit("L"), F.col("list").cast("string")).alias("list_id")
    seeker, job = F.col("seeker").alias("seeker_id"), F.col("job").alias("job_id")
    impressions = shown.select(seeker, lists, job, F.lit(IMPRESSION).alias("action"))
    listed = seen.unionByName(impressions, allowMissingColumns=True)
    whole = histories(chains, MOST_ACTIONS)
    found = _placed(chains, passed_over(listed, chains), split, place)
    remembered = _placed(whole, passed_over_by_action(listed, whole), split, place)
    chains.unpersist()
    return found, remembered


def _placed(chains: DataFrame, left: DataFrame, split: datetime, place: dict[int, int]) -> tuple[list[Chain], list]:  # type: ignore[type-arg]
    """The chains by id, jobs as positions, and beside each what was left: a list of jobs, or one of those an action."""
    from jobs.embeddings.corpus import encode_chains

    def positions(jobs: Any) -> Any:
        return [place[job] if isinstance(job, int) else positions(job) for job in jobs or ()]

    found = encode_chains(chains, split).join(left, "chain_id", "left").orderBy("chain_id").toArrow()
    jobs, left_of = (positions(found[name].to_pylist()) for name in ("jobs", "refused"))
    return list(zip(jobs, found["actions"].to_pylist(), strict=True)), left_of


def _cases(events: DataFrame, shown: DataFrame, place: dict[int, int], config: MarketConfig) -> list[Case]:
    """Applications of the held-out days whose list and click chain are known, as evaluate_retrieval draws them."""
    from pyspark.sql import functions as F

    from jobs.chains.sessionize import APPLY_ACTIONS, CLICK_ACTIONS
    from jobs.evaluation import earlier_jobs, next_action_cases

    options, most = EvaluateRetrieval(), RetrieveCandidates().max_actions
    start, end = (datetime.fromtimestamp(at, UTC) for at in (split_s(config), config.end_s))
    cases = next_action_cases(events, "apply", start, end, options.max_cases, options.seed, True).persist()
    listed = shown.withColumn("list_id", F.concat(F.lit("L"), F.col("list").cast("string")))
    listed = listed.join(F.broadcast(cases.select("list_id").distinct()), "list_id", "left_semi")
    entries = F.sort_array(F.collect_list(F.struct("position", "job", "affinity")))
    rows = cases.join(listed.groupBy("list_id").agg(entries.alias("listed")), "list_id")
    for name, actions in zip(CHAINS, (CLICK_ACTIONS, APPLY_ACTIONS), strict=True):
        chain = earlier_jobs(cases, events, actions, most).withColumnRenamed("job_ids", name)
        rows = rows.join(chain, "query_id", "left")
    found = [_case(row, place) for row in rows.orderBy("query_id").collect()]
    cases.unpersist()
    return [case for case in found if len(case.listed) > 1 and len(case.chains["click"])]


def _case(row: Any, place: dict[int, int]) -> Case:
    listed = [entry["job"] for entry in row["listed"]]
    chains = {name: [place[job] for job in row[name] or [] if job not in listed] for name in CHAINS}
    return Case(
        seeker=row["seeker_id"],
        asked_s=int(row["as_of_ts"].replace(tzinfo=UTC).timestamp()),
        place=listed.index(row["target_job_id"]),
        listed=np.array([place[job] for job in listed]),
        affinity=np.array([entry["affinity"] for entry in row["listed"]]),
        chains={name: np.array(jobs, np.int64) for name, jobs in chains.items()},
    )
