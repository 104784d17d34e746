"""Which chain a refusal belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobs.chains.refusals import refused_jobs

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_refusal_belongs_to_the_latest_chain_begun_by_then(spark):
    chains = spark.createDataFrame(
        [(1, 7, NOON), (2, 7, NOON + 5 * HOUR), (3, 8, NOON), (4, 8, NOON)],
        "chain_id bigint, seeker_id bigint, start_ts timestamp",
    )
    events = [
        (7, 90, "dismiss", NOON - HOUR),  # before all chains: nobody's
        (7, 92, "dismiss", NOON),  # as the chain starts
        (7, 91, "dismiss", NOON + HOUR),
        (7, 91, "dismiss", NOON + 2 * HOUR),  # once
        (7, 95, "view", NOON + 2 * HOUR),  # no refusal
        (7, 93, "reject", NOON + 500 * HOUR),  # the employer's answer, long after
        (8, 94, "reject", NOON + HOUR),  # two chains began at one instant
        (9, 96, "dismiss", NOON),  # a seeker without chains
    ]
    refused = spark.createDataFrame(events, "seeker_id bigint, job_id bigint, action string, event_ts timestamp")
    found = {row.chain_id: row.refused for row in refused_jobs(refused, chains).collect()}
    assert found == {1: [91, 92], 2: [93], 4: [94]}
