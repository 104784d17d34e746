"""Fixtures that all tests share: one Spark session, and a lake in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two workers share the files, in this order: who makes the pipeline of tests/e2e comes first.

    Who waits for it comes when it is there, and not last, where the longest of them would keep one worker alone.
    """
    early, late = 1, 3
    places = {"test_pipeline.py": 0, "e2e": 2, "inputs": late, "marketplace": late, "reporting": late, "terms": late}
    items.sort(key=lambda item: places.get(item.path.name, places.get(item.path.parent.name, early)))


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
