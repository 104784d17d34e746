"""Attempts: opened, superseded, published once, and never written again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest

from jobs import withdraw_model
from jobs.errors import RunError, SettingsError, StageError
from jobs.intervals import Dates, Interval
from jobs.lake import Lake
from jobs.runs import DAILY, TRAINING, close_attempt, is_published, open_attempt, open_run, require_open
from jobs.settings import Settings
from jobs.stage import run_open_stage
from schemas import BEHAVIOR_CHAINS, CANDIDATES, EVENTS, MODELS, RUN_METRICS
from schemas.render import spark_schema

MAPPING = {"board": {"name": "test", "history_start": "2026-01-01"}}
NO_MODELS = {"segment_graph": "none", "job_embeddings": "none"}


def day(number: int) -> Interval:
    return Interval(datetime(2026, 1, number, tzinfo=UTC), datetime(2026, 1, number + 1, tzinfo=UTC))


def opened(lake, number=10, dag=DAILY, asked=NO_MODELS):
    return open_attempt(lake, dag, day(number), Settings(), MAPPING, asked)


def write_candidates(lake, run, *seekers: int) -> None:
    rows = [(run.run_id, seeker, str(seeker), "organic", 1, 0, []) for seeker in seekers]
    lake.replace(CANDIDATES, {"run_id": run.run_id}, lake.spark.createDataFrame(rows, spark_schema(CANDIDATES)))


def current_seekers(lake) -> set[int]:
    return {row.seeker_id for row in lake.current(CANDIDATES).collect()}


def test_readers_see_a_whole_published_run_or_the_one_before(lake):
    first = opened(lake, 10)
    write_candidates(lake, first, 1, 2)
    close_attempt(lake, first, "published", {"wrote:candidates": 3})
    assert current_seekers(lake) == {1, 2}

    # the next day's run is stopped half way: readers stay on the last published one
    stopped = opened(lake, 11)
    write_candidates(lake, stopped, 3)
    assert current_seekers(lake) == {1, 2}

    # it is started again: a new attempt, and what is left of the old one can write no more
    again = opened(lake, 11)
    assert (stopped.attempt, again.attempt) == (1, 2)
    zombie = Lake(lake.spark, lake.root, guard=lambda: require_open(lake, stopped))
    with pytest.raises(RunError, match="is superseded by attempt 2"):
        write_candidates(zombie, stopped, 99)
    write_candidates(lake, again, 4)
    close_attempt(lake, again, "published", {})
    assert current_seekers(lake) == {4}

    # an older day published after a newer one does not take its place
    older = opened(lake, 9)
    write_candidates(lake, older, 5)
    close_attempt(lake, older, "published", {})
    assert current_seekers(lake) == {4}
    assert is_published(lake.root, DAILY, day(9)) == older.run_id and is_published(lake.root, DAILY, day(8)) is None

    # a published attempt is never written again, and the message says the way out
    with pytest.raises(RunError, match=r"is published and never written again: clear the DAG run from its first task"):
        open_run(lake, DAILY, day(11))
    with pytest.raises(RunError, match="is published"):
        close_attempt(lake, again, "published", {})


def test_a_run_restates_the_dates_that_late_events_may_change(lake):
    first = opened(lake)
    assert first.takes_history and first.restated(EVENTS) == Dates(date(2026, 1, 1), date(2026, 1, 11))
    close_attempt(lake, first, "published", {})
    later = opened(lake, 11)
    assert not later.takes_history
    assert later.restated(EVENTS) == Dates(date(2026, 1, 8), date(2026, 1, 12))
    assert later.restated(BEHAVIOR_CHAINS) == Dates(date(2026, 1, 7), date(2026, 1, 12))
    # and never dates before the history starts
    assert opened(lake, 2).restated(BEHAVIOR_CHAINS) == Dates(date(2026, 1, 1), date(2026, 1, 3))


def test_no_run_uses_a_model_that_has_seen_its_future(spark, lake):
    def event(name, version, what, until):
        row = (name, version, what, datetime(2026, 2, 1, tzinfo=UTC), until, None, None, {}, {}, "f")
        lake.append(MODELS, spark.createDataFrame([row], spark_schema(MODELS)))

    early, late = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
    for name in ("segment_graph", "job_embeddings"):
        for version, until in (("v-early", early), ("v-late", late), ("v-unjudged", early)):
            event(name, version, "trained", until)
            if version != "v-unjudged":
                event(name, version, "promoted", until)
    with pytest.raises(RunError, match=r"no promoted segment_graph has trained_until at or before 2026-01-04 00:00"):
        opened(lake, 3, asked={})
    assert opened(lake, 10, asked={}).models == {"segment_graph": "v-early", "job_embeddings": "v-early"}
    assert opened(lake, 11, asked={}).models["segment_graph"] == "v-late"  # trained until just its interval's end
    by_name = opened(lake, 3, asked={"segment_graph": "v-late", "job_embeddings": "none"})
    assert by_name.model("segment_graph") == "v-late" and by_name.model("job_embeddings") is None
    assert withdraw_model.main(lake, "segment_graph", "v-late")
    assert not withdraw_model.main(lake, "segment_graph", "v-late")
    with pytest.raises(RunError, match="has no version 'v-none'"):
        withdraw_model.main(lake, "segment_graph", "v-none")
    assert opened(lake, 20, asked={}).models["segment_graph"] == "v-early"
    with pytest.raises(RunError, match="has no version 'v-none'"):
        opened(lake, 10, asked={"segment_graph": "v-none"})
    with pytest.raises(RunError, match="unknown model"):
        opened(lake, 10, asked={"two_tower": "v"})


def test_a_file_edited_after_the_run_was_opened_does_not_reach_it(lake, tmp_path):
    path = tmp_path / "overrides.toml"
    path.write_text("[[ban]]")
    settings = Settings.parse({"build_segment_graph": {"overrides": str(path)}})
    open_attempt(lake, TRAINING, day(10), settings, MAPPING)
    path.write_text("[[force]]")
    assert open_run(lake, TRAINING, day(10)).settings.build_segment_graph.overrides_text == "[[ban]]"
    path.unlink()
    assert open_run(lake, TRAINING, day(10)).settings.build_segment_graph.overrides_text == "[[ban]]"
    with pytest.raises(SettingsError, match="No such file"):
        open_attempt(lake, TRAINING, day(10), settings, MAPPING)


def test_two_who_open_at_once_get_two_attempts(lake):
    opened(lake, 10, TRAINING)  # the table is there
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: opened(lake, 11, TRAINING), range(2)))
    assert {run.attempt for run in runs} == {1, 2}


def test_a_stage_writes_its_figures_once_however_often_it_runs(lake):
    opened(lake, 10, TRAINING)

    def stage(guarded, run):
        run.record("rows", 3, "events")
        run.record("share", None)

    for _ in range(2):
        run_open_stage("ingest", stage, lake, open_run(lake, TRAINING, day(10)))
    rows = {(row.metric, row.label): row.value for row in lake.read(RUN_METRICS).where("metric <> 'seconds'").collect()}
    assert rows == {("rows", "events"): 3.0, ("share", ""): None}

    def failing(guarded, run):
        run.record("rows", 4, "events")
        raise StageError("no")

    with pytest.raises(StageError):
        run_open_stage("ingest", failing, lake, open_run(lake, TRAINING, day(10)))
    assert lake.read(RUN_METRICS).where("metric = 'rows'").first().value == 3.0


def test_an_interval_without_an_attempt_says_what_to_run(lake):
    opened(lake, 10, TRAINING)
    with pytest.raises(
        RunError, match=r"no attempt of candidates_daily is open for 20260110-20260111: run jobs/open_run"
    ):
        open_run(lake, DAILY, day(10))
