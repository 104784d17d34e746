"""Fixtures that all tests share: one Spark session, and a lake in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/e2e goes first: it takes longest."""
    items.sort(key=lambda item: item.path.parent.name != "e2e")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays on one worker, and tests/e2e as a whole: who takes the market through it, does so once.

    pytest-xdist's own groups (3.8) are lost on pytest 9.2, which keeps node ids elsewhere.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/e2e" if file.startswith("tests/e2e/") else file

    return ByFile(config, log)


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
