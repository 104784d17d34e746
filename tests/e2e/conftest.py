"""A small sample marketplace taken through the whole pipeline once; each module of this folder has a copy of the lake."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.lake import Lake
    from jobs.runs import Run

ROOT = Path(__file__).parents[2]

MARKET = {"n_seekers": 300, "n_jobs": 500, "start": date(2026, 1, 1), "days": 20, "seed": 7}
TRAINED, FIRST, SECOND = ("2026-01-11", "2026-01-18"), ("2026-01-18", "2026-01-19"), ("2026-01-19", "2026-01-20")

DAILY, TRAINING = "candidates_daily", "training_weekly"
RUN_1, RUN_2 = "candidates_daily-20260118-20260119-1", "candidates_daily-20260119-20260120-1"
TRAINING_RUN = "training_weekly-20260111-20260118-1"

SETTINGS = """
[training]
holdout_days = 2
[train_job_embeddings]
dim = 16
epochs = 2
[retrieve_candidates]
k = 50
checked_seekers = 20
[blend_candidates]
organic_quota = 50
promoted_quota = 10
[evaluate_retrieval]
k = [10, 50]
bootstrap = 50
truth = "${DEMO_MARKET}/truth"
"""


class Pipeline:
    """Runs DAGs stage by stage in one Spark session, in the order in which the DAGs have them."""

    def __init__(self, spark: SparkSession, root: Path, market: Path) -> None:
        from jobs.lake import Lake

        self.lake: Lake = Lake(spark, str(root / "lake"))
        self.market = market
        self.environ = {**os.environ, "DEMO_MARKET": str(market)}
        self.settings = root / "settings.toml"
        self.settings.write_text(SETTINGS)

    def open(self, dag: str, interval: tuple[str, str], models: dict[str, str] | None = None) -> Run:
        from jobs.inputs.mapping import load_mapping
        from jobs.intervals import Interval
        from jobs.runs import open_attempt
        from jobs.settings import Settings

        mapping = load_mapping(ROOT / "examples/demo/mapping.toml", self.environ)
        settings = Settings.load(self.settings, self.environ)
        return open_attempt(self.lake, dag, Interval.parse(*interval), settings, mapping.to_dict(), models or {})

    def stage(self, name: str, dag: str, interval: tuple[str, str]) -> None:
        from jobs.intervals import Interval
        from jobs.runs import open_run
        from jobs.stage import run_open_stage

        run = open_run(self.lake, dag, Interval.parse(*interval))
        run_open_stage(name, stage_mains()[name], self.lake, run)

    def run(self, dag: str, interval: tuple[str, str], models: dict[str, str] | None = None) -> Run:
        from jobs.runs import STAGES

        run = self.open(dag, interval, models)
        for name in STAGES[dag]:
            self.stage(name, dag, interval)
        return run


def stage_mains() -> dict[str, Callable[[Lake, Run], None]]:
    from importlib import import_module

    from jobs.runs import STAGES

    names = {name for stages in STAGES.values() for name in stages}
    return {name: import_module(f"jobs.{name}").main for name in names}


@dataclass(frozen=True)
class Published:
    """A market and the lake of one training run and two daily ones on it; tests only read it."""

    market: Path
    lake: Path


@pytest.fixture(scope="session")
def published(spark, tmp_path_factory) -> Published:
    """Made once a session, whichever of pytest-xdist's workers gets there first; the others wait for it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made, done = Published(shared / "board", shared / "published/lake"), shared / "published/done"
    with open(shared / "published.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make_published(spark, made)
            done.touch()
    return made


def make_published(spark: SparkSession, made: Published) -> None:
    from jobs.marketplace.config import MarketConfig
    from jobs.marketplace.market import simulate

    simulate(spark, MarketConfig(**MARKET), str(made.market), False, print)
    made.lake.parent.mkdir(exist_ok=True)
    pipeline = Pipeline(spark, made.lake.parent, made.market)
    pipeline.run("training_weekly", TRAINED)
    pipeline.run("candidates_daily", FIRST)
    pipeline.run("candidates_daily", SECOND)


@pytest.fixture(scope="module")
def pipeline(spark, published, tmp_path_factory) -> Pipeline:
    """Those three runs in a lake of the module's own, for its tests to write to."""
    root = tmp_path_factory.mktemp("pipeline")
    shutil.copytree(published.lake, root / "lake")
    return Pipeline(spark, root, published.market)


def content(frame: DataFrame, *without: str) -> tuple[int, int]:
    """How many rows, and a hash of them all whatever their order."""
    columns = sorted(set(frame.columns) - set(without))
    text = F.xxhash64(F.to_json(F.struct(*[F.col(name) for name in columns])))
    row = frame.agg(F.count("*").alias("n"), F.sum(text.cast("decimal(38,0)")).alias("hash")).first()
    return row.n, int(row.hash or 0)
