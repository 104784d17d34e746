"""Fixtures that all tests share: one Spark session, and a lake in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under pytest-xdist a file stays on one worker, e2e as a whole; e2e goes first, as it takes longest."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        group = "e2e" if item.path.parent.name == "e2e" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path.parent.name != "e2e")


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
