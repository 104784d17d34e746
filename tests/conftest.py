"""Fixtures that all tests share: one Spark session, and a lake in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two workers share the files: who makes the pipeline of tests/e2e first, who waits for it last."""
    places = {"test_pipeline.py": 0, "e2e": 2}
    items.sort(key=lambda item: places.get(item.path.name, places.get(item.path.parent.name, 1)))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Local Spark with Delta, as small as it goes."""
    from jobs.stage import start_spark

    session = start_spark("tests")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path) -> Lake:
    """An empty lake."""
    from jobs.lake import Lake

    return Lake(spark, str(tmp_path / "lake"))
