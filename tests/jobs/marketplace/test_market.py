"""One small market, and what must be found in it. Statistical checks have wide margins and a fixed seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from pyspark.sql import functions as F

from jobs.inputs.contract import REASON
from jobs.inputs.judging import judge, placed_rows
from jobs.inputs.mapping import load_mapping
from jobs.inputs.window import Window
from jobs.intervals import Interval
from jobs.marketplace import hidden, population, truth
from jobs.marketplace.activity import BOT_VIEWS
from jobs.marketplace.behaviour import impressions, with_affinity
from jobs.marketplace.config import MarketConfig, MarketError
from jobs.marketplace.dictionary import VARIANTS, load_dictionary
from jobs.marketplace.files import names_in, read_json
from jobs.marketplace.inventory import open_jobs
from jobs.marketplace.market import SCRATCH, refuse_other, simulate
from jobs.marketplace.sessions import lists

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Three times the usual dirt, so that each kind has rows in a market this small.
CONFIG = MarketConfig(n_seekers=300, n_jobs=500, start=date(2026, 1, 1), days=20, seed=7, dirt=3.0)
WORDS = load_dictionary()
DEMO_MAPPING = Path(__file__).parents[3] / "examples/demo/mapping.toml"

OWN_ACTIONS = ("shown", "opened", "bookmarked", "applied", "called", "messaged", "hidden")
ANSWERS = ("cv_opened", "answered", "invited", "declined")


class Market(NamedTuple):
    spark: SparkSession
    path: str

    def table(self, name: str) -> DataFrame:
        if name == "postings":
            return self.spark.read.csv(f"{self.path}/{name}", header=True, escape='"')
        return self.spark.read.parquet(f"{self.path}/{name}")

    @property
    def dirt(self) -> dict:
        return read_json(self.spark, f"{self.path}/truth/dirt.json")


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def market(spark, tmp_path_factory) -> Market:
    path = str(tmp_path_factory.mktemp("market"))
    simulate(spark, CONFIG, path, overwrite=False, say=silent)
    return Market(spark, path)


@pytest.fixture(scope="module")
def clean(market) -> Iterator[DataFrame]:
    """The activity without its dirt, as the truth has it."""
    dirty = market.table("truth/dirt").where("table_name = 'activity' AND dirt != 'duplicate'")
    rows = market.table("activity").join(dirty, F.col("activity_id") == F.col("key"), "left_anti")
    rows = rows.dropDuplicates(["activity_id"]).coalesce(2).persist()
    yield rows
    rows.unpersist()


@pytest.fixture(scope="module")
def rated(market, clean) -> list[tuple]:
    """(position, affinity, opened, applied) of every shown job."""
    shown = clean.where(F.col("kind").isin("shown", "opened", "applied"))
    keys = ["user_uuid", "posting_ref", "list_ref", "rank"]
    shown = (
        shown.where("list_ref IS NOT NULL")
        .groupBy(*keys)
        .agg(
            F.min("at").alias("at"),
            F.max((F.col("kind") == "opened").cast("int")).alias("opened"),
            F.max((F.col("kind") == "applied").cast("int")).alias("applied"),
        )
    )
    wants = market.table("truth/seeker_latent").select("user_uuid", "valid_from", F.col("latent").alias("want"))
    held = shown.join(wants, "user_uuid").where("valid_from <= at")
    held = held.groupBy(*keys, "opened", "applied").agg(F.max_by("want", "valid_from").alias("want"))
    held = held.join(market.table("truth/job_latent"), "posting_ref")
    affinity = F.call_function("vector_inner_product", "want", "latent")
    return held.select("rank", affinity, "opened", "applied").collect()


def test_a_market_that_is_there_stays_and_another_one_is_refused(market):
    said: list[str] = []
    before = read_json(market.spark, f"{market.path}/market.json")
    assert simulate(market.spark, CONFIG, market.path, overwrite=False, say=said.append) == before
    assert said == [f"market {CONFIG.hash} is in {market.path} already: nothing to do"]
    other = dataclasses.replace(CONFIG, seed=8)
    with pytest.raises(MarketError, match=f"expected market {other.hash}, found {CONFIG.hash}"):
        simulate(market.spark, other, market.path, overwrite=False, say=said.append)


def test_a_folder_of_something_else_is_refused_and_an_unfinished_market_is_not(spark, tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(MarketError, match="expected an empty folder, found letters"):
        simulate(spark, CONFIG, str(tmp_path), overwrite=False, say=silent)
    # A market's scratch is there from its first table on until its marker is.
    (tmp_path / SCRATCH).mkdir()
    refuse_other(str(tmp_path), CONFIG, None, names_in(spark, str(tmp_path)))


def test_the_marker_counts_the_rows_and_nothing_else_is_left(market):
    rows = read_json(market.spark, f"{market.path}/market.json")["rows"]
    assert rows == {name: market.table(name).count() for name in rows}
    assert min(rows.values()) > 0
    with pytest.raises(Exception, match="PATH_NOT_FOUND"):
        market.table("_scratch/jobs")


def test_the_same_rows_whatever_the_number_of_partitions(market, tmp_path):
    settings = {"spark.sql.leafNodeDefaultParallelism": "5", "spark.sql.shuffle.partitions": "3"}
    for name, value in settings.items():
        market.spark.conf.set(name, value)
    try:
        simulate(market.spark, CONFIG, str(tmp_path), overwrite=False, say=silent)
    finally:
        for name in settings:
            market.spark.conf.unset(name)
    again = Market(market.spark, str(tmp_path))
    assert again.dirt == market.dirt
    for name in ("activity", "users", "postings", "placements", "truth/seeker_latent", "truth/job_latent"):
        assert _content(again.table(name)) == _content(market.table(name)), name


def _content(table: DataFrame) -> tuple:
    """Number of rows and a sum of hashes: the same for the same rows in any order."""
    hashes = F.xxhash64(*sorted(table.columns)).cast("decimal(38,0)")
    return tuple(table.agg(F.count("*"), F.sum(hashes)).first())


def test_another_seed_gives_other_rows(spark):
    ours = population.seekers(spark, CONFIG, WORDS)
    others = population.seekers(spark, dataclasses.replace(CONFIG, seed=8), WORDS)
    assert ours.join(others, "user_uuid").count() == 0
    same = ours.alias("a").join(others.alias("b"), "seeker").where("a.occupation = b.occupation").count()
    assert same < 0.1 * CONFIG.n_seekers  # a few by chance


def test_the_counts_of_dirty_activity_are_exact(market):
    activity, counts = market.table("activity"), market.dirt["activity"]
    jobs = market.table("truth/jobs").select("posting_ref")
    found = {
        "null_seeker": activity.where("user_uuid IS NULL").count(),
        "unknown_action": activity.where(~F.col("kind").isin(*OWN_ACTIONS, *ANSWERS)).count(),
        "end_before_start": activity.where("until < at").count(),
        "unknown_job": activity.join(jobs, "posting_ref", "left_anti").count(),
        "future_date": activity.where("at > received_at + INTERVAL 1 DAY").count(),
        "duplicate": activity.count() - activity.select("activity_id").distinct().count(),
    }
    assert {kind: entry["rows"] for kind, entry in counts.items()} == found
    assert min(found.values()) > 0
    # and each is known by name and day, for a reader that sees a part of the days
    by_day = activity.where("user_uuid IS NULL").groupBy("received_on").count().collect()
    assert counts["null_seeker"]["by_day"] == {str(day): n for day, n in by_day}


def test_a_duplicate_is_the_whole_row_again(market):
    activity = market.table("activity")
    n_distinct = activity.distinct().count()
    assert activity.count() - n_distinct == market.dirt["activity"]["duplicate"]["rows"]


def test_the_counts_of_dirty_postings_are_exact_and_nobody_acts_on_them(market):
    postings, counts = market.table("postings"), market.dirt["postings"]
    bad_salary = postings.where("pay_from IS NOT NULL AND try_cast(pay_from AS double) IS NULL")
    bad_time = postings.where("try_cast(opened_at AS timestamp) IS NULL")
    assert counts["bad_salary"]["rows"] == bad_salary.count() > 0
    assert counts["bad_time"]["rows"] == bad_time.count() > 0
    dirty = bad_salary.unionByName(bad_time).select("posting_ref").distinct()
    assert market.table("activity").join(dirty, "posting_ref").count() == 0


def test_late_rows_and_bots_are_counted(market, clean):
    counts = market.dirt
    lateness = F.datediff(F.to_date("received_at"), F.to_date("at"))
    late = {str(days): n for days, n in clean.groupBy(lateness).count().collect() if days > 0}
    assert counts["late"] == late
    assert late["1"] > late["2"] > 0  # mostly a day
    assert sum(n for days, n in late.items() if int(days) > 3) > 0  # some later than most readers wait
    bots = market.table("truth/bots")
    views = (
        clean.join(bots, "user_uuid")
        .groupBy("user_uuid")
        .agg(F.count("*").alias("n"), (F.max(F.unix_timestamp("at")) - F.min(F.unix_timestamp("at"))).alias("seconds"))
    )
    assert counts["bots"] == {"seekers": bots.count(), "rows": clean.join(bots, "user_uuid").count()}
    for row in views.collect():
        assert BOT_VIEWS / 3 < row["n"] <= BOT_VIEWS
        assert row["seconds"] < 1800


def test_clean_rows_are_of_jobs_open_then_and_answers_come_after_the_application(market, clean):
    jobs = market.table("truth/jobs").select("posting_ref", "posted_at", "closed_at")
    own = clean.where("side = 'candidate'")
    assert own.join(jobs, "posting_ref").where("at >= posted_at AND at < closed_at").count() == own.count()
    applied = clean.where("kind = 'applied'").select("user_uuid", "posting_ref", F.col("at").alias("applied_at"))
    assert applied.count() == applied.select("user_uuid", "posting_ref").distinct().count()
    answers = clean.where(F.col("kind").isin(*ANSWERS))
    after = answers.join(applied, ["user_uuid", "posting_ref"]).where("at > applied_at")
    assert after.count() == answers.count() > 0
    hires = market.table("placements").join(applied, ["user_uuid", "posting_ref"])
    assert hires.where("agreed_at > applied_at").count() == market.table("placements").count() > 0


def test_a_list_has_positions_from_one_without_gap_or_repeat(clean):
    shown = clean.where("kind = 'shown'")
    lists = shown.groupBy("list_ref").agg(
        F.count("*").alias("n"), F.countDistinct("posting_ref").alias("jobs"),
        F.countDistinct("rank").alias("ranks"), F.min("rank").alias("low"), F.max("rank").alias("high"),
    )  # fmt: skip
    assert lists.where("n != jobs OR n != ranks OR low != 1 OR high != n").count() == 0
    assert shown.count() > 10 * clean.where("kind = 'applied'").count()


def test_seekers_come_in_bursts_and_some_cross_midnight_or_have_no_profile(market, clean):
    shown = clean.where("kind = 'shown'")
    days = shown.groupBy("user_uuid").agg(
        F.countDistinct(F.to_date("at")).alias("active"),
        F.datediff(F.max(F.to_date("at")), F.min(F.to_date("at"))).alias("span"),
    )
    assert days.where("span >= 2 * active").count() > 0.1 * CONFIG.n_seekers  # gone in between, and back
    assert shown.where("hour(at) = 0").count() > 0
    without = shown.select("user_uuid").distinct().join(market.table("users"), "user_uuid", "left_anti")
    assert 0 < without.count() < 0.15 * CONFIG.n_seekers
    wants = market.table("truth/seeker_latent").groupBy("user_uuid").agg(F.countDistinct("latent").alias("n"))
    assert wants.where("n > 1").count() > 0.1 * CONFIG.n_seekers  # want something else later


def test_position_and_affinity_both_decide_on_a_view(rated):
    position, affinity, opened, applied = (np.array(column, dtype=float) for column in zip(*rated, strict=True))
    low, high = np.quantile(affinity, [1 / 3, 2 / 3])
    suits = affinity > high
    first, late = suits & (position <= 2), suits & (position >= 8)
    assert opened[first].mean() > 1.5 * opened[late].mean()  # the same affinity, further down
    assert opened[suits].mean() > 3 * opened[affinity < low].mean()
    assert applied[suits].mean() > 4 * applied[affinity < low].mean()


def test_the_oracle_ranks_what_was_applied_for_far_above_chance(market, clean):
    applied = clean.where("kind = 'applied'")
    wants = market.table("truth/seeker_latent").select("user_uuid", "valid_from", F.col("latent").alias("want"))
    cases = applied.join(wants, "user_uuid").where("valid_from <= at")
    cases = cases.groupBy("activity_id", "posting_ref", "at").agg(F.max_by("want", "valid_from").alias("want"))
    jobs = market.table("truth/job_latent").join(market.table("truth/jobs"), "posting_ref").toPandas()
    vectors = np.stack(jobs["latent"])
    above = []
    for case in cases.collect():
        is_open = ((jobs["posted_at"] <= case["at"]) & (jobs["closed_at"] > case["at"])).to_numpy()
        scores = vectors @ np.array(case["want"])
        own = scores[(jobs["posting_ref"] == case["posting_ref"]).to_numpy()][0]
        above.append((scores[is_open] > own).mean())
    assert len(above) > 300
    assert np.mean(above) < 0.1  # chance is 0.5
    assert np.mean(above) > 0.005  # and yet no list of one


def test_hires_are_of_planted_pairs(market, clean):
    hires = market.table("placements").dropDuplicates(["user_uuid", "posting_ref"])
    seekers = market.table("truth/seekers").selectExpr(
        "user_uuid", "occupation AS seeker_occupation", "seniority AS seeker_seniority"
    )
    jobs = market.table("truth/jobs").selectExpr(
        "posting_ref", "occupation AS job_occupation", "seniority AS job_seniority"
    )
    pairs = market.table("truth/hire_pairs")
    keys = ["seeker_occupation", "seeker_seniority", "job_occupation", "job_seniority"]

    def kinds(rows: DataFrame) -> dict:
        named = (
            rows.select("user_uuid", "posting_ref")
            .join(seekers, "user_uuid")
            .join(jobs, "posting_ref")
            .join(pairs, keys, "left")
        )
        return dict(named.groupBy(F.coalesce("kind", F.lit("else"))).count().collect())

    applied = kinds(clean.where("kind = 'applied'"))
    hired = kinds(hires)
    assert hired["same"] + hired["move"] > 0.9 * sum(hired.values())
    assert hired["move"] > 5  # people change occupation
    assert applied["dream"] > 10
    assert "dream" not in hired


@pytest.mark.parametrize(("share", "dimensions"), [(0.0, 47), (0.6, 52)])
def test_affinity_is_the_inner_product_of_the_written_latents(market, share, dimensions):
    spark, config = market.spark, dataclasses.replace(CONFIG, hidden_share=share)
    works, places = population.works(spark, WORDS), population.places(spark, WORDS)
    bursts = population.bursts(population.seekers(spark, config, WORDS).where("seeker < 15"), config, WORDS)
    wants = bursts.where("burst = 0")
    jobs = population.jobs(spark, config, WORDS).where("job < 40")
    renamed = {"seniority": "job_seniority", "region": "job_region", "work": "job_work"}
    pairs = wants.select("seeker", "user_uuid", "wanted_work", "wanted_seniority", "wanted_region").crossJoin(
        jobs.withColumnsRenamed(renamed).select("job", "posting_ref", *renamed.values(), "is_remote", "appeal")
    )
    rated = with_affinity(pairs, works, places, config)
    latents = truth.seeker_latents(wants, works, places, config).select("user_uuid", F.col("latent").alias("s"))
    rated = rated.join(latents, "user_uuid").join(truth.job_latents(jobs, works, places, config), "posting_ref")
    product = F.call_function("vector_inner_product", "s", "latent")
    worst, n, remote, size = rated.agg(
        F.max(F.abs(product - F.col("affinity"))), F.count("*"), F.max("is_remote"), F.max(F.size("s"))
    ).first()
    assert (n, remote, size) == (600, True, dimensions)  # remote jobs have no region: among them
    assert worst < 1e-4


def test_hidden_preference_takes_its_share_and_leaves_the_rest(spark):
    config = dataclasses.replace(CONFIG, n_seekers=600, hidden_share=0.6)
    jobs = population.jobs(spark, config, WORDS).persist()
    works, places = population.works(spark, WORDS), population.places(spark, WORDS)
    wants = population.bursts(population.seekers(spark, config, WORDS), config, WORDS)
    shown = impressions(lists(wants, config), open_jobs(jobs, config), works, places, config, WORDS)
    columns = "seeker", "job", "wanted_region", "wanted_work", "wanted_seniority", "job_region", "job_work"
    shown = shown.select("did_view", "affinity", *columns, "job_seniority", "is_remote", "appeal").persist()
    told = with_affinity(shown.withColumnRenamed("affinity", "truly"), works, places, CONFIG)
    near = F.abs(F.col("job_seniority") - F.col("wanted_seniority")) <= 1
    same_work = F.floor(F.col("job_work") / len(VARIANTS)) == F.floor(F.col("wanted_work") / len(VARIANTS))
    wanted = same_work & (F.col("job_region") == F.col("wanted_region")) & near
    rows = told.select("truly", "affinity", "did_view", wanted.alias("wanted"), "seeker").toPandas()
    affinity, by_fields, viewed, wanted, seekers = (rows[name].to_numpy() for name in rows)
    jobs.unpersist(), shown.unpersist()
    # As much variance as without, and 0.4 of it from fields: the truth's order and theirs drift apart.
    assert affinity.std() == pytest.approx(by_fields.std(), rel=0.1)
    assert affinity.mean() == pytest.approx(by_fields.mean(), abs=0.3)  # the constants are of a larger market
    assert np.corrcoef(affinity, by_fields)[0, 1] ** 2 == pytest.approx(0.4, abs=0.06)
    # Behaviour follows what is hidden: of jobs that fields rate alike, those that suit are opened more.
    unexplained = affinity - np.sqrt(0.4) * by_fields
    likes, dislikes = unexplained > np.quantile(unexplained, 0.8), unexplained < np.quantile(unexplained, 0.2)
    assert by_fields[likes].mean() == pytest.approx(by_fields[dislikes].mean(), abs=0.15)
    assert viewed[likes].mean() > 2.5 * viewed[dislikes].mean()
    # A seeker still wants the jobs of one group most: they stand in for one another as far as fields tell.
    ahead, by_fields_ahead = (_ahead(a, wanted) for a in (affinity, by_fields))
    error = _error_of_ahead(unexplained, wanted, seekers)
    assert 4 * error < 0.25 * np.sqrt(0.4) * by_fields_ahead  # or else what follows could not fail
    assert abs(ahead - np.sqrt(0.4) * by_fields_ahead) < 4 * error
    assert ahead > affinity.std()


def _ahead(values: np.ndarray, chosen: np.ndarray) -> float:
    return values[chosen].mean() - values[~chosen].mean()


def _error_of_ahead(values: np.ndarray, chosen: np.ndarray, seekers: np.ndarray) -> float:
    """Standard error of `_ahead`: tastes are drawn a seeker, so that the rows of one are no more than one draw."""
    parts = np.where(chosen, (values - values[chosen].mean()) / chosen.sum(), 0.0)
    parts -= np.where(chosen, 0.0, (values - values[~chosen].mean()) / (~chosen).sum())
    return np.sqrt((np.bincount(seekers, parts) ** 2).sum())


def test_without_a_hidden_share_nothing_is_added(spark):
    affinity = F.col("affinity")
    assert hidden.affinity(affinity, CONFIG, F.col("seeker"), F.col("job")) is affinity
    assert hidden.seeker_latent(affinity, CONFIG, F.col("seeker")) is affinity
    assert hidden.job_latent(affinity, CONFIG, F.col("job")) is affinity


def test_the_demos_mapping_takes_all_but_the_dirt(market):
    mapping = load_mapping(DEMO_MAPPING, {"DEMO_MARKET": market.path})
    start = datetime(2026, 1, 1, tzinfo=UTC)
    interval = Interval(start, start + timedelta(days=60))  # the last late row is in
    window = Window(interval=interval, dates=interval.dates, history_start=start.date(), lateness_days=3)

    def refused(table: str, jobs: DataFrame | None = None) -> dict[str, int]:
        placed = placed_rows(market.spark, mapping, table, window)
        reasons = judge(placed, table, window, jobs, None).groupBy(REASON).count().collect()
        return {reason: n for reason, n in reasons if reason is not None}

    counts = {kind: entry["rows"] for table in ("activity", "postings") for kind, entry in market.dirt[table].items()}
    known = market.table("truth/jobs").select(F.col("posting_ref").alias("job_id"))
    assert refused("events", known) == {
        "null key: seeker_id": counts["null_seeker"],
        "unknown action": counts["unknown_action"],
        "end before start": counts["end_before_start"],
        "unknown job": counts["unknown_job"],
        "date in the future": counts["future_date"],
        "duplicate event id": counts["duplicate"],
    }
    jobs = refused("jobs")
    # A time that cannot be read is the start of the version, or of the posting where that was revised later.
    assert jobs.pop("bad type: valid_from") + jobs.pop("bad type: posted_ts", 0) == counts["bad_time"]
    assert jobs == {"bad type: salary_min": counts["bad_salary"]}
    assert refused("seekers") == refused("hires", known) == {}
