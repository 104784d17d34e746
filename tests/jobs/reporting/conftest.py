"""The small board of `world`, written once."""

from __future__ import annotations

import pytest

from jobs.lake import LakeReader
from tests.jobs.reporting.world import build


@pytest.fixture(scope="session")
def board(tmp_path_factory) -> LakeReader:
    root = tmp_path_factory.mktemp("board")
    build(root)
    return LakeReader(str(root))
