"""The sweep of cuts on the sample marketplace, and on its report; it writes to no table."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from jobs import sweep_session_gap
from jobs.errors import SettingsError
from jobs.runs import frozen_run
from schemas import TABLES
from tests.e2e.conftest import TRAINING_RUN

pytestmark = pytest.mark.timeout(2400)

ASKED = {"gaps": "30m", "windows": "1w", "dimensions": "8", "negatives": ""}


def test_every_setting_is_tried_and_reported(pipeline):
    lake = pipeline.lake
    run = frozen_run(lake, TRAINING_RUN)
    before = {table.name: lake.version(table) for table in TABLES if lake.exists(table)}
    rows = sweep_session_gap.main(lake, run, Namespace(**ASKED))
    assert [(row["kind"], row["value"]) for row in rows] == [("pause", "30m"), ("window", "1w"), ("dimension", "8")]
    short, week, usual = rows
    # whoever pauses for half an hour pauses often: shorter chains, and fewer pairs
    assert short["actions_a_chain"] < usual["actions_a_chain"] < week["actions_a_chain"]
    assert short["pairs"] < usual["pairs"] < week["pairs"]
    for row in rows:
        assert row["low"] <= row["position"] <= row["high"]
        assert 0.3 < row["auc"] < 1.0
    assert {table.name: lake.newest_version(table) for table in TABLES if lake.exists(table)} == before
    page = Path(sweep_session_gap.write_report(lake.root, run, rows)).read_text()
    assert "Where chains are cut" in page
    assert "window 1w" in page


@pytest.mark.parametrize("wrong", [{"gaps": "6"}, {"windows": "0h"}, {"dimensions": "-3"}, {"negatives": "many"}])
def test_a_setting_that_cannot_be_is_refused(wrong):
    nothing = dict.fromkeys(ASKED, "")
    cut, options = sweep_session_gap.Cut(), sweep_session_gap.SkipGram()
    with pytest.raises(SettingsError, match=repr(next(iter(wrong.values())))):
        list(sweep_session_gap.trials(cut, options, Namespace(**nothing | wrong)))
