"""Which chain a refusal belongs to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobs.chains.refusals import passed_over, passed_over_by_action, refused_jobs

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


def test_what_a_list_showed_beside_the_jobs_acted_on_was_passed_over(spark):
    chains = spark.createDataFrame(
        [(1, 7, [("a",), ("b",)]), (2, 7, [("c",), ("late",)]), (3, 8, [("d",)])],
        "chain_id bigint, seeker_id bigint, actions array<struct<event_id string>>",
    )
    events = [
        ("a", 7, 50, "view", "L1"),
        ("b", 7, 51, "apply", "L2"),
        ("c", 7, 50, "view", "L2"),
        ("d", 8, 60, "view", None),
        ("e", 7, 52, "dismiss", "L2"),  # no action of a chain
        *[(None, 7, job, "impression", "L1") for job in (50, 53)],
        # Chain 1 acted on 51 and chain 2 on 50; 53 was in both lists; `late` is not among the events.
        *[(None, 7, job, "impression", "L2") for job in (50, 51, 53, 52)],
        (None, 7, 54, "impression", "L3"),  # nobody acted in that list
        (None, 7, 56, "impression", None),
        (None, 8, 55, "impression", "L1"),  # another seeker's list of that name
    ]
    rows = spark.createDataFrame(
        events, "event_id string, seeker_id bigint, job_id bigint, action string, list_id string"
    )
    found = {row.chain_id: row.refused for row in passed_over(rows, chains).collect()}
    assert found == {1: [52, 53], 2: [51, 52, 53]}
    # By list: what one chain acted on in it, another did not pass over.
    found = {row.chain_id: row.refused for row in passed_over_by_action(rows, chains).collect()}
    assert found == {1: [[53], [52, 53]], 2: [[52, 53], []], 3: [[]]}
