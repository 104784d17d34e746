"""Which events become cases, and what counts as before them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from jobs.chains.sessionize import APPLY_ACTIONS, CLICK_ACTIONS
from jobs.evaluation import earlier_jobs, next_action_cases, shown_lists

START, END = datetime(2026, 1, 10), datetime(2026, 1, 12)
SECOND = timedelta(seconds=1)
SEED_THAT_DIFFERS = 3
COLUMNS = (
    "event_id string, seeker_id bigint, job_id bigint, actor string, action string, event_ts timestamp, "
    "list_id string, list_position int"
)

EVENTS = [
    # seeker 1: history before the split, then targets either side of both edges
    ("h1", 1, 10, "seeker", "view", START - timedelta(days=3), None, None),
    ("early", 1, 11, "seeker", "apply", START - SECOND, None, None),
    ("first", 1, 12, "seeker", "apply", START, "list-a", 2),
    ("last", 1, 13, "seeker", "apply", END - SECOND, None, None),
    ("late", 1, 14, "seeker", "apply", END, None, None),
    # seeker 2: the only earlier action is at the very same instant, so it is not before
    ("v2", 2, 20, "seeker", "view", START + SECOND, None, None),
    ("tied", 2, 21, "seeker", "apply", START + SECOND, None, None),
    # seeker 3: the prefix lies inside the test period, which is allowed
    ("v3", 3, 30, "seeker", "view", START, None, None),
    ("inside", 3, 30, "seeker", "apply", START + SECOND, None, None),
    # seeker 4: a shown list is the board's doing and a dismissal no interest, an answer is the employer's
    ("i4", 4, 40, "seeker", "impression", START, "list-a", 1),
    ("d4", 4, 40, "seeker", "dismiss", START, None, None),
    ("e4", 4, 40, "employer", "reply", START, None, None),
    ("unknown", 4, 41, "seeker", "apply", START + SECOND, None, None),
    # the list that seeker 1 applied from: job 12 twice, a job without a position, and another seeker's rows
    # above
    ("i1", 1, 15, "seeker", "impression", START - SECOND, "list-a", 1),
    ("i2", 1, 12, "seeker", "impression", START - SECOND, "list-a", 2),
    ("i3", 1, 12, "seeker", "impression", START - SECOND, "list-a", 9),
    ("i5", 1, 16, "seeker", "impression", START - SECOND, "list-a", 3),
    ("i6", 1, 17, "seeker", "impression", START - SECOND, "list-a", None),
    # before `first`: views of 18 and twice of 10, the later one an hour before
    ("h2", 1, 18, "seeker", "save", START - timedelta(days=2), None, None),
    ("h3", 1, 10, "seeker", "view", START - timedelta(hours=1), None, None),
]


@pytest.fixture(scope="module")
def events(spark):
    return spark.createDataFrame(EVENTS, COLUMNS).cache()


def every_apply(events, max_cases=100, seed=7):
    return next_action_cases(events, "apply", START, END, max_cases, seed, new_jobs_only=False)


def test_targets_of_the_interval_with_an_action_before(events):
    cases = every_apply(events).collect()
    assert {(c.event_id, c.seeker_id, c.target_job_id, c.as_of_ts, c.list_id) for c in cases} == {
        ("first", 1, 12, START, "list-a"),
        ("last", 1, 13, END - SECOND, None),
        ("inside", 3, 30, START + SECOND, None),
    }
    assert len({c.query_id for c in cases}) == 3
    assert min(c.query_id for c in cases) >= 0


TOUCHES = [
    # an action before everything, so that each touch below has one before it
    ("a0", 5, 50, "seeker", "view", START - timedelta(days=1), None, None),
    # viewed in the test period, from a list, then applied to twice: one case, at the view, from its list
    ("a1", 5, 51, "seeker", "view", START, "list-v", 1),
    ("a2", 5, 51, "seeker", "apply", START + SECOND, "list-w", 1),
    ("a3", 5, 51, "seeker", "apply", START + 2 * SECOND, None, None),
    # applied to without a look: the application is the first touch
    ("a4", 5, 52, "seeker", "apply", START + SECOND, "list-w", 2),
    # first touched before the split: what leads to it was there to be learnt from
    ("a5", 5, 53, "seeker", "save", START - SECOND, None, None),
    ("a6", 5, 53, "seeker", "apply", START, None, None),
    # applied to after the end, though viewed before it
    ("a7", 5, 54, "seeker", "view", END - SECOND, None, None),
    ("a8", 5, 54, "seeker", "apply", END, None, None),
    # the first touch is the first action of all
    ("b1", 6, 51, "seeker", "view", START, None, None),
    ("b2", 6, 51, "seeker", "apply", START + SECOND, None, None),
]


def test_cases_at_the_first_touch(spark):
    events = spark.createDataFrame(TOUCHES, COLUMNS)
    cases = next_action_cases(events, "apply", START, END, 100, seed=7, new_jobs_only=True).collect()
    assert {(c.event_id, c.seeker_id, c.target_job_id, c.as_of_ts, c.list_id) for c in cases} == {
        ("a2", 5, 51, START, "list-v"),
        ("a4", 5, 52, START + SECOND, "list-w"),
    }


def test_more_than_max_cases_are_drawn_by_seeded_hash(events):
    def drawn(seed, max_cases):
        return {c.event_id for c in every_apply(events, max_cases, seed).collect()}

    one, two, again, other = drawn(0, 1), drawn(0, 2), drawn(0, 2), drawn(SEED_THAT_DIFFERS, 2)
    assert len(one) == 1
    assert len(two) == 2
    assert one < two
    assert two == again != other


def test_no_case_where_nothing_happened(events):
    later = END + timedelta(days=1)
    assert next_action_cases(events, "apply", later, later + SECOND, 100, 7, new_jobs_only=False).count() == 0


def test_earlier_jobs_are_the_latest_and_each_once(events):
    cases = every_apply(events).where("event_id in ('first', 'inside')")
    by_event = {c.query_id: c.event_id for c in cases.collect()}

    def chains(actions, max_actions):
        rows = earlier_jobs(cases, events, actions, max_actions).collect()
        return {by_event[row.query_id]: row.job_ids for row in rows}

    assert chains(CLICK_ACTIONS, 50) == {"first": [10, 18], "inside": [30]}
    assert chains(CLICK_ACTIONS, 1) == {"first": [10], "inside": [30]}
    # the apply of the case itself is not before it; seeker 3 had applied to nothing
    assert chains(APPLY_ACTIONS, 50) == {"first": [11]}


def test_shown_lists_are_the_seekers_own_in_order(events):
    cases = every_apply(events)
    assert [row.job_ids for row in shown_lists(cases, events).collect()] == [[15, 12, 16]]
