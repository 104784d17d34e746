"""What users rely on, done to a whole pipeline: published runs are exact, eligible, explained, and stay as they are."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from jobs import show_link
from jobs.errors import RunError, StageError
from jobs.intervals import Interval
from jobs.runs import is_published
from schemas import (
    AUDIENCES,
    BEHAVIOR_CHAINS,
    CANDIDATES,
    CHANNEL_CANDIDATES,
    EVENTS,
    JOB_NEIGHBORS,
    JOB_TERMS,
    JOBS,
    MODELS,
    QUARANTINE,
    RUN_METRICS,
    RUNS,
    SEEKERS,
    SEGMENT_LINKS,
)
from tests.e2e.conftest import DAILY, RUN_1, RUN_2, TRAINING_RUN

# the first test of the session takes the market through the whole pipeline
pytestmark = pytest.mark.timeout(2400)


def figures(pipeline, run_id: str, stage: str) -> dict[tuple[str, str], float]:
    rows = pipeline.lake.read(RUN_METRICS, run_id=run_id, stage=stage).collect()
    return {(row.metric, row.label): row.value for row in rows}


def test_every_stage_leaves_rows(pipeline):
    lake = pipeline.lake
    for table in (SEEKERS, JOBS, EVENTS, JOB_TERMS, BEHAVIOR_CHAINS, SEGMENT_LINKS, QUARANTINE):
        assert not lake.read(table).isEmpty(), table.name
    models = {(row.model_name, row.event) for row in lake.read(MODELS).collect()}
    assert models == {
        (name, event) for name in ("segment_graph", "job_embeddings") for event in ("trained", "promoted")
    }
    used = {row.run_id: row.models for row in lake.read(RUNS).where("event = 'published'").collect()}
    assert used[RUN_1] == {"segment_graph": TRAINING_RUN, "job_embeddings": TRAINING_RUN}


def test_what_comes_in_is_accepted_or_quarantined(pipeline):
    for run_id in (TRAINING_RUN, RUN_1):
        ingest = figures(pipeline, run_id, "ingest")
        tables = {label for metric, label in ingest if metric == "rows_in"}
        assert "events" in tables
        for table in tables:
            assert ingest["rows_in", table] == ingest["rows_accepted", table] + ingest["rows_quarantined", table]


def test_the_answers_are_exact_eligible_and_explained(pipeline):
    assert figures(pipeline, RUN_2, "retrieve_candidates")["checked_recall", ""] == 1.0
    assert figures(pipeline, RUN_2, "publish")["violations", ""] == 0
    each = pipeline.lake.read(CANDIDATES, run_id=RUN_2).select("flow", F.explode("candidates").alias("c"))
    assert each.where("size(c.why) = 0 OR c.external_job_id IS NULL").isEmpty()
    channels = {row.channel for row in each.select(F.explode("c.why.channel").alias("channel")).distinct().collect()}
    assert channels == {"graph", "click_chain", "apply_chain", "terms", "popular"}
    found = pipeline.lake.read(CHANNEL_CANDIDATES, run_id=RUN_2)
    assert found.where("returned <> least(asked, eligible) OR returned <> size(candidates)").isEmpty()
    reached = pipeline.lake.current(AUDIENCES)
    assert reached.where("returned <> least(asked, eligible) OR returned <> size(seekers)").isEmpty()
    assert not reached.where("returned > 0").isEmpty()


def test_neighbours_are_other_open_jobs_of_the_country_and_both_ways_are_measured(pipeline):
    lake = pipeline.lake
    near = lake.read(JOB_NEIGHBORS).select("*", F.explode("neighbors.job_id").alias("other"))
    assert {row.model_version for row in near.select("model_version").distinct().collect()} == {TRAINING_RUN}
    newest = F.max_by(F.struct("country", "posted_ts", "closed_ts"), "valid_from").alias("newest")
    jobs = lake.read(JOBS).where("valid_from < '2026-01-18'").groupBy("job_id").agg(newest).select("job_id", "newest.*")
    others = jobs.toDF("other", "other_country", "posted_ts", "closed_ts")
    met = near.join(jobs.select("job_id", "country"), "job_id", "inner").join(others, "other", "inner")
    assert met.count() == near.count() > 0
    wrong = "other = job_id OR other_country <> country OR posted_ts > '2026-01-18' OR closed_ts <= '2026-01-16'"
    assert met.where(wrong).isEmpty()
    rows = {label for metric, label in figures(pipeline, TRAINING_RUN, "evaluate_retrieval") if metric == "recall@50"}
    assert {"click_chain", "click_neighbors", "apply_chain", "apply_neighbors"} <= rows


def test_a_link_and_the_hires_behind_it(pipeline):
    link = pipeline.lake.read(SEGMENT_LINKS, model_version=TRAINING_RUN).where("node_id = 0").first()
    lines = show_link.main(pipeline.lake, None, 0, 3)  # the version of the newest published day
    assert lines[0].startswith(f"link 0 of {TRAINING_RUN}, learnt: hired before")
    assert lines[1] == f"{link.n_hires:g} hires carry it; 3 of them, the newest:"
    assert all(" seeker " in line and " -> " in line for line in lines[2:])
    assert len(lines) == 5
    with pytest.raises(StageError, match="has no link 999999"):
        show_link.main(pipeline.lake, None, 999_999, 3)


def test_learning_beats_popularity_and_chance_and_loses_to_the_truth(pipeline):
    recall = {
        label: value
        for (metric, label), value in figures(pipeline, TRAINING_RUN, "evaluate_retrieval").items()
        if metric == "recall@50"
    }
    # 41 cases: too few to tell popularity from chance, which is not what is claimed
    assert recall["oracle"] > recall["blend"] > max(recall["popular_global"], recall["random"])


def test_a_backfill_before_the_models_training_is_refused_until_asked_for(pipeline):
    with pytest.raises(RunError, match="no promoted segment_graph has trained_until at or before 2026-01-08"):
        pipeline.open(DAILY, ("2026-01-07", "2026-01-08"))


def test_a_day_without_anyone_is_a_run_with_empty_outputs(pipeline, capsys):
    """Long after the market ended: no events, no active seeker; the run publishes nothing and says so."""
    empty = ("2026-03-20", "2026-03-21")
    run = pipeline.run(DAILY, empty)
    assert pipeline.lake.read(CANDIDATES, run_id=run.run_id).isEmpty()
    assert "no seeker was active" in capsys.readouterr().out
    assert is_published(pipeline.lake.root, DAILY, Interval.parse(*empty)) == run.run_id
