"""Chains: each rule on rows that hang on it, and day-by-day cutting against cutting the whole history."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.chains.sessionize import (
    CHAIN_ACTIONS,
    DAYS_AFTER_START,
    Cut,
    bot_days,
    chain_events,
    seeker_actions,
)
from jobs.intervals import DAY, Dates
from schemas import BEHAVIOR_CHAINS, EVENTS
from schemas.render import spark_schema

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
CUT = Cut(max_actions=4, max_actions_a_day=20, min_dwell_seconds=2.0)


def event(event_id, seeker, job, at, action="view", actor="seeker", dwell=None):
    known = {"event_id": event_id, "seeker_id": seeker, "job_id": job, "actor": actor, "action": action}
    return known | {"event_ts": at, "date": at.date(), "arrived_ts": at, "dwell_seconds": dwell}


def as_table(spark, events):
    schema = spark_schema(EVENTS)
    return spark.createDataFrame([tuple(e.get(name) for name in schema.names) for e in events], schema)


def chains_of(rows):
    """seeker -> [(start date, event ids)] in order of start, of a collected `behavior_chains`."""
    chains = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r.start_ts, r.actions[0].event_id)):
        chains[row.seeker_id].append((row.date, tuple(point.event_id for point in row.actions)))
    return dict(chains)


def expected_chains(events, cut):
    """What the rules say, one seeker and one action after another, from the first event on."""
    chains = defaultdict(list)
    by_seeker = defaultdict(list)
    for e in events:
        glance = e["action"] == "view" and e["dwell_seconds"] is not None and e["dwell_seconds"] < cut.min_dwell_seconds
        if e["actor"] == "seeker" and e["action"] in CHAIN_ACTIONS and not glance:
            by_seeker[e["seeker_id"]].append(e)
    for seeker, actions in by_seeker.items():
        per_day = defaultdict(int)
        for a in actions:
            per_day[a["date"]] += 1
        seen, active_since, last, current = set(), None, None, None
        for a in sorted(actions, key=lambda a: (a["event_ts"], a["event_id"])):
            once = (a["job_id"], a["action"], a["event_ts"])
            if once in seen or per_day[a["date"]] > cut.max_actions_a_day:
                continue
            seen.add(once)
            at = a["event_ts"]
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            if last is None or at - last > cut.gap:
                active_since, current = at, None
            elif last < midnight and midnight - active_since > cut.max_span:
                current = None
            if current is None or len(current) == cut.max_actions:
                current = []
                chains[seeker].append(current)
            current.append(a)
            last = at
    kept = {s: [c for c in found if len(c) >= cut.min_actions] for s, found in chains.items()}
    return {
        s: [(c[0]["event_ts"].date(), tuple(a["event_id"] for a in c)) for c in found]
        for s, found in kept.items()
        if found
    }


# Each seeker is one rule; the comment says which.
RULES = [
    # 1: a single action is a chain.
    event("a1", 1, 10, MONDAY + HOUR),
    # 2: exactly the gap stays (6 h), a microsecond more does not.
    event("b1", 2, 10, MONDAY + HOUR),
    event("b2", 2, 11, MONDAY + 7 * HOUR),
    event("b3", 2, 12, MONDAY + 13 * HOUR + timedelta(microseconds=1)),
    # 3: a chain that crosses midnight belongs to the date on which it starts.
    event("c1", 3, 10, MONDAY + 23 * HOUR),
    event("c2", 3, 11, MONDAY + 25 * HOUR),
    # 4: equal instants are ordered by event id, whatever the order they come in.
    event("d2", 4, 11, MONDAY + HOUR),
    event("d1", 4, 12, MONDAY + HOUR),
    # 5: the same action twice is one; another action, job or instant is not the same.
    event("e2", 5, 10, MONDAY + HOUR, dwell=9.0),
    event("e1", 5, 10, MONDAY + HOUR, dwell=5.0),
    event("e3", 5, 10, MONDAY + HOUR, "apply"),
    # 6: shown, dismissed and answered are not the seeker's interest, and do not bridge a gap.
    event("f1", 6, 10, MONDAY + HOUR),
    event("f2", 6, 11, MONDAY + 5 * HOUR, "impression"),
    event("f3", 6, 12, MONDAY + 6 * HOUR, "dismiss"),
    event("f4", 6, 13, MONDAY + 6 * HOUR, "message", actor="employer"),
    event("f5", 6, 14, MONDAY + 8 * HOUR, "save"),
    # 7: a glance (under 2 s) is left out, exactly 2 s and unknown stay, and only views have glances.
    event("g1", 7, 10, MONDAY + HOUR, dwell=1.9),
    event("g2", 7, 11, MONDAY + 2 * HOUR, dwell=2.0),
    event("g3", 7, 12, MONDAY + 3 * HOUR),
    event("g4", 7, 13, MONDAY + 4 * HOUR, "apply", dwell=0.5),
    # 8: 21 actions in a day are a bot's; the day after, it is a seeker again.
    *(event(f"h{n:02}", 8, n, MONDAY + HOUR + n * SECOND) for n in range(21)),
    event("h99", 8, 99, MONDAY + 25 * HOUR),
    # 9: the 5th action starts a new chain although no time passes.
    *(event(f"i{n}", 9, 10 + n, MONDAY + HOUR) for n in range(5)),
    # 10: activity since Monday 00:00:00 has lasted a day at Tuesday's: not cut there, but at Wednesday's.
    *(event(f"j{n:02}", 10, n, MONDAY + n * 6 * HOUR) for n in range(10)),
    # 11: a second earlier, and it is cut at the first: the action at midnight starts the new chain.
    event("k00", 11, 10, MONDAY - SECOND),
    *(event(f"k{n:02}", 11, 10 + n, MONDAY + (n - 1) * 6 * HOUR) for n in range(1, 7)),
]

RULES_ANSWER = {
    1: ["a1"],
    2: ["b1 b2", "b3"],
    3: ["c1 c2"],
    4: ["d1 d2"],
    5: ["e1 e3"],
    6: ["f1", "f5"],
    7: ["g2 g3 g4"],
    8: ["h99"],
    9: ["i0 i1 i2 i3", "i4"],
    10: ["j00 j01 j02 j03", "j04 j05 j06 j07", "j08 j09"],
    11: ["k00 k01 k02 k03", "k04", "k05 k06"],
}


def test_each_rule(spark):
    events = as_table(spark, RULES)
    chains = chain_events(events, CUT)
    assert chains.schema.simpleString() == spark_schema(BEHAVIOR_CHAINS).simpleString()
    rows = chains.collect()
    found = chains_of(rows)
    assert {s: [" ".join(ids) for _, ids in found[s]] for s in found} == RULES_ANSWER
    assert found[3][0][0] == MONDAY.date()
    assert [(r.seeker_id, r.date, r.n_actions) for r in bot_days(seeker_actions(events, CUT), CUT).collect()] == [
        (8, MONDAY.date(), 21)
    ]
    for row in rows:
        assert row.n_actions == len(row.actions)
        assert (row.start_ts, row.end_ts) == (row.actions[0].event_ts, row.actions[-1].event_ts)
    assert len({r.chain_id for r in rows}) == len(rows)
    assert min(r.chain_id for r in rows) >= 0
    # Of the two e's the whole first one stays: its id with its own dwell.
    assert [r.actions[0].dwell_seconds for r in rows if r.seeker_id == 5] == [5.0]


def test_the_oracle_of_the_properties_knows_the_rules():
    assert {s: [" ".join(ids) for _, ids in c] for s, c in expected_chains(RULES, CUT).items()} == RULES_ANSWER


def random_history(seed, seekers, days=7):
    """Dense enough for midnight cuts, tied, repeated, with a bot's day now and then."""
    draw, events = random.Random(seed), []
    for seeker in seekers:
        at, rhythm = MONDAY + draw.uniform(0, 30) * HOUR, draw.choice([0.5, 3, 5, 9])
        while at < MONDAY + days * DAY:
            kind = draw.choice(["view", "view", "apply", "impression"])
            dwell = draw.choice([None, 1.0, 30.0])
            events.append(event(f"{seeker}-{len(events)}", seeker, draw.randrange(3), at, kind, dwell=dwell))
            step = draw.choice([0, 0, SECOND, draw.uniform(0, 2 * rhythm) * HOUR, CUT.gap, CUT.gap + SECOND])
            at = (at + (step or timedelta(0))).replace(microsecond=0)
            if draw.random() < 0.05:
                at = at.replace(hour=0, minute=0, second=0) + DAY
    draw.shuffle(events)
    return events


def restated(day, lateness):
    """What a run of that day restates of `behavior_chains`."""
    return Dates(day - (lateness + 1) * DAY, day + DAY)


def cut_day_by_day(events, arrives, cut, lateness, chain, days, table=frozenset()):
    """(seeker, start date, ids) after running those days, each reading only its window of what is there."""
    for day in days:
        dates = restated(day, lateness)
        window = dates.widened(before=cut.lookback_days, after=DAYS_AFTER_START)
        there = [e for e in events if arrives[e["event_id"]] <= day and e["date"] in window]
        fresh = {(s, d, ids) for s, found in chain(there).items() for d, ids in found if d in dates}
        table = {row for row in table if row[1] not in dates} | fresh
    return table


def flattened(chains):
    return {(s, d, ids) for s, found in chains.items() for d, ids in found}


cuts = st.builds(
    Cut,
    gap=st.sampled_from([HOUR, 6 * HOUR, 23 * HOUR, 30 * HOUR]),
    max_span=st.sampled_from([HOUR, 12 * HOUR, DAY]),
    max_actions=st.sampled_from([1, 2, 5, 200]),
    min_actions=st.sampled_from([1, 2]),
    max_actions_a_day=st.sampled_from([3, 500]),
    min_dwell_seconds=st.sampled_from([0.0, 2.0]),
)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**6), cut=cuts, lateness=st.integers(0, 2))
def test_the_rule_is_decidable_from_the_window(seed, cut, lateness):
    """Day by day, with events that come late within the lateness, gives the chains of the whole history."""
    days, draw = 7, random.Random(seed)
    events = random_history(seed, range(2), days)
    arrives = {e["event_id"]: e["date"] + draw.randint(0, lateness) * DAY for e in events}
    runs = [MONDAY.date() + n * DAY for n in range(days + lateness)]
    once = cut_day_by_day(events, arrives, cut, lateness, lambda there: expected_chains(there, cut), runs)
    whole = flattened(expected_chains(events, cut))
    assert once == whole, f"seed {seed}"
    # An older day run again after a newer one: the chains that cross into the newer one stay whole.
    draw.shuffle(runs)
    all_there = dict.fromkeys(arrives, MONDAY.date())
    again = cut_day_by_day(events, all_there, cut, lateness, lambda there: expected_chains(there, cut), runs, once)
    assert again == whole, f"seed {seed}"


def test_spark_cuts_as_the_rules_say(spark):
    seed, cut = 11, replace(CUT, max_actions=5, min_actions=2)
    events = random_history(seed, range(60))
    expected = expected_chains(events, cut)
    assert chains_of(chain_events(as_table(spark, events).repartition(3), cut).collect()) == expected, f"seed {seed}"


def test_spark_day_by_day_gives_the_chains_of_the_whole_history(spark):
    seed, lateness, days = 13, 1, 5
    draw = random.Random(seed)
    events = random_history(seed, range(20), days)
    arrives = {e["event_id"]: e["date"] + draw.randint(0, lateness) * DAY for e in events}

    def chain(there):
        return chains_of(chain_events(as_table(spark, there), CUT).collect())

    runs = [MONDAY.date() + n * DAY for n in range(days + lateness)]
    found = cut_day_by_day(events, arrives, CUT, lateness, chain, runs)
    assert found == flattened(chain(events)), f"seed {seed}"


def test_windows_cut_at_their_edges_and_nowhere_else(spark):
    events = [
        # six hours' pause within a day is none; an action at the edge is the next window's
        event("a1", 1, 10, MONDAY + HOUR),
        event("a2", 1, 11, MONDAY + 20 * HOUR),
        event("a3", 1, 12, MONDAY + DAY),
        event("b1", 2, 10, MONDAY + DAY - SECOND),
        event("b2", 2, 11, MONDAY + DAY + SECOND),
    ]
    rows = chain_events(as_table(spark, events), Cut(window=DAY)).collect()
    found = {s: [" ".join(ids) for _, ids in c] for s, c in chains_of(rows).items()}
    assert found == {1: ["a1 a2", "a3"], 2: ["b1", "b2"]}


def test_no_events_give_no_chains(spark):
    assert chain_events(as_table(spark, []), CUT).collect() == []


@pytest.mark.parametrize(
    "wrong", [{"gap": timedelta(0)}, {"max_actions": 0}, {"max_span": timedelta(-1)}, {"window": timedelta(0)}]
)
def test_a_cut_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Cut(**wrong)
