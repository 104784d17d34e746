"""What the README shows, run as it stands there."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import ROOT

# the first test of the session takes the market through the whole pipeline
pytestmark = pytest.mark.timeout(2400)

BLOCKS = re.findall(r"```python demo\n# (.+?)\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readme_shows_three_ways():
    assert [title.split(",")[0].split(":")[0] for title, _ in BLOCKS] == ["Spark", "delta-rs", "DuckDB"]


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title.split(",")[0].split(":")[0] for title, _ in BLOCKS])
def test_tables_are_read_as_the_readme_shows(title, code, published, spark, capfd):
    exec(compile(code, f"README.md: {title}", "exec"), {"LAKE": str(published.lake), "spark": spark})
    # rows, not just their header
    assert re.search("organic|promoted|click_chain|terms|popular", capfd.readouterr().out)
