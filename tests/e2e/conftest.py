"""A small sample marketplace taken through the whole pipeline once, for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake
    from jobs.runs import Run

ROOT = Path(__file__).parents[2]

MARKET = {"n_seekers": 300, "n_jobs": 500, "start": date(2026, 1, 1), "days": 20, "seed": 7}
TRAINED, FIRST, SECOND = ("2026-01-11", "2026-01-18"), ("2026-01-18", "2026-01-19"), ("2026-01-19", "2026-01-20")

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
        run = self.open(dag, interval, models)
        for name in STAGES[dag]:
            self.stage(name, dag, interval)
        return run


STAGES = {
    "training_weekly": (
        "ingest", "standardize_entities", "sessionize_chains", "build_segment_graph", "train_job_embeddings",
        "build_index", "evaluate_retrieval", "publish",
    ),
    "candidates_daily": (
        "ingest", "standardize_entities", "sessionize_chains", "build_index", "retrieve_candidates",
        "blend_candidates", "publish",
    ),
}  # fmt: skip


def stage_mains() -> dict[str, Callable[[Lake, Run], None]]:
    from importlib import import_module

    names = {name for stages in STAGES.values() for name in stages}
    return {name: import_module(f"jobs.{name}").main for name in names}


@pytest.fixture(scope="session")
def market(spark, tmp_path_factory) -> Path:
    from jobs.marketplace.config import MarketConfig
    from jobs.marketplace.market import simulate

    folder = tmp_path_factory.mktemp("market") / "board"
    simulate(spark, MarketConfig(**MARKET), str(folder), False, print)
    return folder


@pytest.fixture(scope="session")
def pipeline(spark, market, tmp_path_factory) -> Pipeline:
    """One training run and two daily ones, published."""
    pipeline = Pipeline(spark, tmp_path_factory.mktemp("pipeline"), market)
    pipeline.run("training_weekly", TRAINED)
    pipeline.run("candidates_daily", FIRST)
    pipeline.run("candidates_daily", SECOND)
    shutil.copytree(pipeline.lake.root, published_copy(pipeline))
    return pipeline


@pytest.fixture(scope="session")
def published_lake(pipeline) -> Path:
    """The lake as it was after those three runs, whatever tests have done to it since."""
    return published_copy(pipeline)


def published_copy(pipeline: Pipeline) -> Path:
    return Path(f"{pipeline.lake.root}.published")
