"""Chains of one seeker as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.chains.histories import histories

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(("most", "kept"), [(10, [5, 6, 7, 8]), (4, [5, 6, 7, 8]), (3, [6, 7, 8]), (1, [8])])
def test_a_seekers_chains_one_after_the_other_and_the_latest_of_their_actions(spark, most, kept):
    later, other = NOON + timedelta(days=3), NOON - timedelta(days=1)
    rows = [(9, 1, later, [(7,), (8,)]), (40, 1, NOON, [(5,), (6,)]), (3, 2, other, [(5,)])]
    schema = "chain_id bigint, seeker_id bigint, start_ts timestamp, actions array<struct<job_id bigint>>"
    found = {row.seeker_id: row for row in histories(spark.createDataFrame(rows, schema), most).collect()}
    assert [action.job_id for action in found[1].actions] == kept
    assert (found[1].chain_id, found[1].start_ts) == (40, NOON.replace(tzinfo=None))
    assert (found[2].chain_id, [action.job_id for action in found[2].actions]) == (3, [5])
