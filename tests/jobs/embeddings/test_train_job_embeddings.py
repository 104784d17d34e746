"""The stage on a lake, from chains and terms to the vectors of jobs that it has and has not seen."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs.artifacts import written_folder
from jobs.embeddings.corpus import chain_batches, encode_chains, encode_jobs, read_jobs, write_corpus
from jobs.embeddings.features import term_fields
from jobs.embeddings.model_files import has_model, load_model, save_model
from jobs.embeddings.vectors import job_vectors, mapped_once
from jobs.errors import LakeError, SettingsError
from jobs.intervals import DAY, Dates, Interval
from jobs.runs import Run
from jobs.settings import Settings, Training
from jobs.train_job_embeddings import MODEL, chains_read, main, refusals_read, skip_gram
from schemas import BEHAVIOR_CHAINS, EVENTS, JOB_TERMS, MODELS, RUN_METRICS
from schemas.render import spark_schema

START, END = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
TRAINED_UNTIL = datetime(2026, 1, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
TAXONOMY = "t1"
DATES = Dates(START.date(), END.date())


def run_of(lake, **training):
    settings = Settings.parse({
        "training": {"holdout_days": 2, "lookback_days": 4},
        "train_job_embeddings": {"dim": 8, "epochs": 2, "min_feature_jobs": 1} | training,
    })  # fmt: skip
    mapping = {"board": {"history_start": "2026-01-05"}}
    return Run("training_weekly", Interval(START, END), 1, settings, mapping, {}, lake.root, True)


def chain(chain_id, start, *jobs, action="view"):
    """One action an hour."""
    times = [start + n * HOUR for n in range(len(jobs))]
    points = [
        (job, action, at, None, f"{chain_id}-{n}", at) for n, (job, at) in enumerate(zip(jobs, times, strict=True))
    ]
    return (chain_id, chain_id, start, points[-1][2], start.date(), len(jobs), points)


CHAINS = [
    chain(1, datetime(2026, 1, 5, 23, tzinfo=UTC), 60, 61),  # four days of lookback do not reach Monday
    chain(2, datetime(2026, 1, 6, 8, tzinfo=UTC), 10, 11, 12, action="apply"),
    chain(3, datetime(2026, 1, 7, 8, tzinfo=UTC), 11, 10),
    chain(4, datetime(2026, 1, 9, 22, tzinfo=UTC), 12, 13, 70, 71),  # 70 and 71 come at and after trained_until
    chain(5, datetime(2026, 1, 10, 8, tzinfo=UTC), 72, 73),  # held out
    chain(6, datetime(2026, 1, 8, 8, tzinfo=UTC), 14),  # no pair in it
]


def term_row(job_id, valid_from, taxonomy=TAXONOMY, **terms):
    return (job_id, valid_from, valid_from.date(), taxonomy, terms)


JANUARY_1 = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = [
    term_row(10, JANUARY_1, region=[1], title=[5, 6]),
    term_row(11, JANUARY_1, region=[1], title=[5]),
    term_row(11, TRAINED_UNTIL, region=[9]),  # not yet known
    term_row(12, JANUARY_1, region=[2]),
    term_row(12, JANUARY_1, taxonomy="t0", region=[3]),  # of another taxonomy
    term_row(80, JANUARY_1, title=[6]),  # nobody has acted on it
]


def put_chains(lake, chains):
    lake.replace(BEHAVIOR_CHAINS, {"date": DATES}, lake.spark.createDataFrame(chains, spark_schema(BEHAVIOR_CHAINS)))


def put_terms(lake, run):
    lake.append(JOB_TERMS, lake.spark.createDataFrame(TERMS, spark_schema(JOB_TERMS)))
    metrics = [(run.run_id, "ingest", "taxonomy_version", TAXONOMY, 3.0)]
    lake.append(RUN_METRICS, lake.spark.createDataFrame(metrics, spark_schema(RUN_METRICS)))


def test_the_stage_learns_from_what_was_there_before_trained_until_and_leaves_one_model(lake, capsys):
    run = run_of(lake)
    path = run.artifact(MODEL)
    put_terms(lake, run)

    # A board whose chains hold no two jobs gets no model, and is told.
    put_chains(lake, CHAINS[-1:])
    main(lake, run)
    assert not has_model(path)
    assert not lake.exists(MODELS)
    assert "no model of job vectors" in capsys.readouterr().out

    put_chains(lake, CHAINS)
    run.metrics.clear()
    main(lake, run)
    figures = {metric: value for metric, _, value in run.metrics}
    # Chains 2, 3 and 4 (its first two actions): three pairs, one and one, each from both sides, in two epochs.
    assert (figures["chains_trained"], figures["pairs"]) == (3, 2 * 2 * (3 + 1 + 1))
    assert (figures["jobs_with_behavior"], figures["jobs_known"]) == (4, 5)
    assert math.isfinite(figures["loss"])
    model = load_model(path)
    assert model.job_ids.tolist() == [10, 11, 12, 13]
    region, title = 0 << 32, 1 << 32
    assert model.fields == ("region", "title")
    assert model.feature_keys.tolist() == [region + 1, region + 2, title + 5, title + 6]
    [row] = lake.read(MODELS).collect()
    assert (row.model_name, row.model_version, row.event) == (MODEL, run.run_id, "trained")
    assert (row.fingerprint, row.path) == (model.fingerprint, f"_artifacts/{run.run_id}/{MODEL}")
    assert row.trained_until == TRAINED_UNTIL.replace(tzinfo=None)
    assert row.metrics["pairs"] == figures["pairs"]
    # Nothing but the model is left.
    assert [p.name for p in Path(path).parent.iterdir()] == [MODEL]

    main(lake, run)
    assert load_model(path).fingerprint == model.fingerprint
    assert lake.read(MODELS).count() == 1

    # A week later, from this version: trained anew while it is not promoted, then from where it ended.
    later = replace(run_of(lake, warm_start=True), interval=Interval(START + 7 * DAY, END + 7 * DAY))
    later = replace(later, settings=replace(later.settings, training=Training(lookback_days=30)))
    lake.append(RUN_METRICS, lake.spark.createDataFrame(
        [(later.run_id, "ingest", "taxonomy_version", TAXONOMY, 3.0)], spark_schema(RUN_METRICS)))  # fmt: skip
    main(lake, later)
    assert "no earlier job embeddings to start from" in capsys.readouterr().out
    anew = load_model(later.artifact(MODEL))
    promoted = row.asDict(recursive=True) | {"event": "promoted"}
    lake.append(MODELS, lake.spark.createDataFrame([promoted], spark_schema(MODELS)))
    main(lake, later)
    assert f"starts from {run.run_id}" in capsys.readouterr().out
    warm = load_model(later.artifact(MODEL))
    assert warm.job_ids.tolist() == anew.job_ids.tolist() == [10, 11, 12, 13, 60, 61, 70, 71, 72, 73]
    rows = np.searchsorted(warm.feature_keys, model.feature_keys).tolist()
    rows += range(len(warm.feature_keys), len(warm.feature_keys) + 4)  # jobs 10 to 13 come first
    moved = [np.abs(found.table[rows] - model.table).mean() for found in (warm, anew)]
    assert moved[0] < moved[1] / 2
    parents = {r.model_version: r.parent_version for r in lake.read(MODELS).where("event = 'trained'").collect()}
    assert parents == {run.run_id: None, later.run_id: run.run_id}


def test_the_graph_engine_finds_markets_where_local_negatives_are_drawn_and_is_not_touched_else(
    lake, monkeypatch, capsys
):
    run = run_of(lake, market_fields=["title"])
    put_terms(lake, run)
    put_chains(lake, CHAINS)

    def touched(spark):
        raise AssertionError("the graph engine was asked for")

    with monkeypatch.context() as patched:
        patched.setattr("jobs.train_job_embeddings.graph_engine", touched)
        main(lake, run)
        assert not {metric for metric, *_ in run.metrics} & {"graph_engine", "jobs_by_market"}
        local = run_of(lake, market_fields=["title"], local_share=0.3)
        with pytest.raises(AssertionError, match="was asked for"):
            main(lake, local)
    main(lake, local)
    assert "graph engine: " in capsys.readouterr().out
    figures = {(metric, label): value for metric, label, value in local.metrics}
    # 10 and 11 have a title, 12 was applied for with them, 13 was looked at.
    origins = ("terms", "community's market", "community", "none")
    assert [figures[("jobs_by_market", origin)] for origin in origins] == [2, 1, 0, 1]
    assert (figures[("co_action_edges", "applications")], figures[("communities", "")]) == (3, 1)


def test_refused_is_what_was_dismissed_or_by_the_setting_what_lists_showed_and_the_chain_left(lake, tmp_path):
    put_chains(lake, CHAINS)
    tuesday, friday = datetime(2026, 1, 6, 8, tzinfo=UTC), datetime(2026, 1, 9, 22, tzinfo=UTC)
    rows = [
        ("i1", 2, 10, "impression", tuesday, tuesday, "L1"),
        ("i2", 2, 15, "impression", tuesday, tuesday, "L1"),
        ("i6", 2, 13, "impression", tuesday, tuesday, "L1"),
        ("2-0", 2, 10, "apply", tuesday, tuesday, "L1"),
        ("d", 2, 16, "dismiss", tuesday, tuesday, "L1"),
        ("4-0", 4, 12, "view", friday, friday, "L2"),
        ("i3", 4, 17, "impression", friday, friday, "L2"),
        ("i4", 4, 18, "impression", friday + DAY, friday + DAY, "L2"),  # after trained_until
        ("i5", 4, 19, "impression", friday, END, "L2"),  # had not arrived when the interval ended
    ]
    events = [
        (event, seeker, job, "seeker", action, at, at.date(), arrived, None, None, shown_in, None, None, None, None)
        for event, seeker, job, action, at, arrived, shown_in in rows
    ]
    lake.replace(EVENTS, {"date": DATES}, lake.spark.createDataFrame(events, spark_schema(EVENTS)))
    found = {}
    for is_passed_over in (False, True):
        run = run_of(lake, refused_share=0.5, passed_over=is_passed_over)
        refused = refusals_read(lake, run, lake.read(BEHAVIOR_CHAINS))
        found[is_passed_over] = {row.chain_id: row.refused for row in refused.collect()}
    assert found == {False: {2: [16]}, True: {2: [13, 15], 4: [17]}}

    # Of histories, what each action's own list showed: chains 2 and 3 are of one seeker, 4 goes on after trained_until.
    put_chains(lake, [row if row[0] != 3 else (3, 2, *row[2:]) for row in CHAINS])
    run, uri = run_of(lake, refused_share=0.5, passed_over=True, history_actions=5), str(tmp_path / "corpus")
    seen = chains_read(lake, run)
    terms = lake.spark.createDataFrame(TERMS[:2], spark_schema(JOB_TERMS))
    assert write_corpus(seen, run.trained_until, terms, ["title"], [], uri, refusals_read(lake, run, seen)) == 2
    corpus = read_jobs(uri, min_feature_jobs=1, min_job_actions=1, scratch=tmp_path)
    [batch] = chain_batches(uri, corpus.job_ids, 100)
    assert corpus.job_ids[batch.jobs].tolist() == [10, 11, 12, 11, 10, 12, 13]
    assert batch.offsets.tolist() == [0, 5, 7]
    assert batch.refused_by_point
    assert batch.refused_offsets.tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert corpus.job_ids[batch.refused].tolist() == [13]  # training knows nothing of 15 and 17


def test_chains_and_jobs_are_encoded_as_written(spark):
    chains = spark.createDataFrame(CHAINS, spark_schema(BEHAVIOR_CHAINS))
    encoded = encode_chains(chains, TRAINED_UNTIL)
    assert sorted(tuple(row) for row in encoded.collect()) == [
        (1, [60, 61], [0, 0]),
        (2, [10, 11, 12], [2, 2, 2]),
        (3, [11, 10], [0, 0]),
        (4, [12, 13], [0, 0]),
    ]
    terms = spark.createDataFrame([TERMS[0], TERMS[1], TERMS[3], TERMS[5]], spark_schema(JOB_TERMS))
    fields = term_fields(terms)
    jobs = encode_jobs(terms, fields, encoded, ["region", "title"]).collect()
    assert [row.job_id for row in jobs] == [10, 11, 12, 13, 60, 61, 80]
    by_id = {row.job_id: row for row in jobs}
    assert (by_id[10].features, by_id[10].n_actions) == ([1, (1 << 32) + 5, (1 << 32) + 6], 2)
    # The same first region and title are one market; without a title, or without terms, there is none.
    assert by_id[10].market == by_id[11].market >= 0
    assert (by_id[12].market, by_id[60].market, by_id[80].n_actions) == (-1, -1, 0)


def test_vectors_of_jobs_seen_and_unseen(spark, tmp_path):
    path = str(tmp_path / "model")

    def write(job_row):
        table = np.array([[3, 0], [0, 4], job_row], dtype=np.float32)
        keys, weights = np.array([1, (1 << 32) + 5]), np.ones(3, dtype=np.float32)
        with written_folder(path) as folder:
            save_model(
                folder,
                fields=("region", "title"),
                feature_keys=keys,
                job_ids=np.array([11]),
                table=table,
                weights=weights,
                config={},
            )

    rows = [
        term_row(10, JANUARY_1, region=[1], title=[5, 77], skill=[1]),  # cold; 77 and all skills are unknown
        term_row(11, JANUARY_1, region=[1]),  # its own embedding and its region
        term_row(12, JANUARY_1, region=[2]),  # nothing known
        term_row(13, JANUARY_1),  # nothing at all
    ]
    terms = spark.createDataFrame(rows, spark_schema(JOB_TERMS)).repartition(3)

    def found():
        return {row.job_id: (row.vector, row.is_cold) for row in job_vectors(terms, path).collect()}

    write([-3, 1])
    vectors = found()
    np.testing.assert_allclose(vectors[10][0], [0.6, 0.8], atol=1e-7)
    assert vectors[11] == ([0.0, 1.0], False)
    assert vectors[12] == vectors[13] == ([0.0, 0.0], True)
    assert vectors[10][1]
    # A worker that has the files mapped must not serve the old ones once they are replaced.
    write([0, 0])
    assert found()[11] == ([1.0, 0.0], False)
    with pytest.raises(LakeError, match="expected the model 0123"):
        mapped_once(path, "0123")


@pytest.mark.parametrize("wrong", [{"windows": {"aply": 3}}, {"costs": {"apply": 2.0}}, {"passed_over": True}])
def test_options_that_name_no_action_or_change_nothing_are_refused(wrong):
    settings = Settings.parse({"train_job_embeddings": wrong}).train_job_embeddings
    with pytest.raises(SettingsError, match="train_job_embeddings: "):
        skip_gram(settings)
