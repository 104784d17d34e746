"""Airflow as the DAG tests need it: a home of their own, and the DAGs parsed once."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"

# Airflow reads its configuration when it is first imported, and writes into its home.
_home = tempfile.TemporaryDirectory(prefix="shortlist-dag-tests-")
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_home.name}/airflow.db"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(DAGS)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# What Airflow does for the folder of a bundle.
sys.path.insert(0, str(DAGS))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def parse() -> Callable[[], DagBag]:
    """Parses the DAG files anew."""
    from airflow.dag_processing.dagbag import DagBag

    return lambda: DagBag(str(DAGS), known_pools={"shortlist_lake"}, bundle_path=DAGS, bundle_name="dags-folder")


@pytest.fixture(scope="session")
def bag(parse: Callable[[], DagBag]) -> DagBag:
    """The DAGs, parsed once."""
    return parse()
