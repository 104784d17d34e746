"""A small board's lake, written without Spark: one training run and two days of candidates."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from schemas import (
    CANDIDATES,
    ENTITY_IDS,
    JOB_NEIGHBORS,
    JOB_TERMS,
    JOBS,
    RUN_METRICS,
    RUNS,
    SEEKERS,
    SEGMENT_LINKS,
    TERM_DICTIONARY,
    Table,
)
from schemas.render import arrow_schema

DAY = timedelta(days=1)
SUNDAY = datetime(2026, 1, 4, tzinfo=UTC)
TRAINING_RUN = "training_weekly-20251228-20260104-1"
FIRST, SECOND = "candidates_daily-20260104-20260105-1", "candidates_daily-20260105-20260106-2"
FROZEN = {"segment_graph": TRAINING_RUN, "job_embeddings": TRAINING_RUN}


def write(root: Path, table: Table, rows: list[dict]) -> None:
    """Add rows to a table; a column that a row leaves out is null."""
    from deltalake import write_deltalake

    full = [{name: row.get(name) for name in table.column_names} for row in rows]
    arrow = pa.Table.from_pylist(full, schema=arrow_schema(table))
    write_deltalake(str(root / table.name), arrow, mode="append", partition_by=list(table.partition) or None)


def attempt(dag, start, end, number, *events, models=None, reason=None, settings=None):
    run_id = f"{dag}-{start:%Y%m%d}-{end:%Y%m%d}-{number}"
    common = {
        "dag": dag, "run_id": run_id, "interval_start": start, "interval_end": end, "attempt": number,
        "takes_history": False, "models": list((models or {}).items()),
        "settings": json.dumps(settings or {}),
    }  # fmt: skip
    named = ("opened", *events)
    return [
        {
            **common,
            "event": e,
            "event_ts": end + i * timedelta(hours=1),
            "reason": reason if e == "failed" else None,
        }
        for i, e in enumerate(named)
    ]


RUNS_ROWS = [
    *attempt("training_weekly", SUNDAY - 7 * DAY, SUNDAY, 1, "published"),
    *attempt("candidates_daily", SUNDAY, SUNDAY + DAY, 1, "published", models=FROZEN),
    # the first attempt of Monday failed, the second is the current run; it has one setting of its own
    *attempt("candidates_daily", SUNDAY + DAY, SUNDAY + 2 * DAY, 1, "failed", reason="a <b> left"),
    *attempt(
        "candidates_daily", SUNDAY + DAY, SUNDAY + 2 * DAY, 2, "published", models=FROZEN,
        settings={"retrieve_candidates": {"k": 77}, "ingest": {"lateness_days": 3}},
    ),
    # Tuesday is open, Wednesday failed
    *attempt("candidates_daily", SUNDAY + 2 * DAY, SUNDAY + 3 * DAY, 1, models=FROZEN),
    *attempt("candidates_daily", SUNDAY + 3 * DAY, SUNDAY + 4 * DAY, 1, "failed", models=FROZEN),
]  # fmt: skip


def metric(run_id, stage, name, values):
    values = values if isinstance(values, dict) else {"": values}
    return [
        {"run_id": run_id, "stage": stage, "metric": name, "label": label, "value": value}
        for label, value in values.items()
    ]


def _evaluation():
    recalls = {
        "blend": (0.12, 0.31, 0.55), "graph": (0.08, 0.21, 0.40), "click_chain": (0.10, 0.26, 0.47),
        "terms": (0.05, 0.15, 0.33), "popular_global": (0.02, 0.06, 0.14), "random": (0.001, 0.01, 0.05),
        "oracle": (0.28, 0.52, 0.74), "apply_chain": (0.09, 0.22, 0.36), "popular": (0.03, 0.09, 0.2),
    }  # fmt: skip
    rows = []
    for row, values in recalls.items():
        for k, value in zip((10, 100, 500), values, strict=True):
            rows += metric(TRAINING_RUN, "evaluate_retrieval", f"recall@{k}", {row: value, f"{row}|cold": value / 2})
            rows += metric(TRAINING_RUN, "evaluate_retrieval", f"recall@{k}.low", {row: value * 0.9})
            rows += metric(TRAINING_RUN, "evaluate_retrieval", f"recall@{k}.high", {row: value * 1.1})
            rows += metric(TRAINING_RUN, "evaluate_retrieval", f"hit_rate@{k}", {row: value * 1.2})
        rows += metric(TRAINING_RUN, "evaluate_retrieval", "mrr", {row: values[0] / 2})
    counts = {"cases": 1760.0, "seekers": 458.0}
    for name, value in counts.items():
        rows += metric(TRAINING_RUN, "evaluate_retrieval", name, value)
    positions = {"cases": 812, "random": 7.5, "shown": 6.4, "features": 5.9, "embedding": 4.425, "oracle": 3.1}
    for name, value in positions.items():
        rows += metric(TRAINING_RUN, "evaluate_retrieval", f"position.{name}", {"click_chain": value})
    return rows + metric(TRAINING_RUN, "evaluate_retrieval", "position_lift_percent", {"click_chain": -25.0}) + _path()


def _path():
    """Four strengths: at the first nothing is linked yet, and the third is in use."""
    columns = {
        "links": (0, 9, 120, 400),
        "recall": (0.0, 0.31, 0.62, 0.9),
        "false_positives": (None, 0.11, 0.14, 0.35),
        "ratio_links": (0, 700, 4_100, 9_000),
        "ratio_false_positives": (None, 0.1, 0.15, 0.33),
    }
    before = "training_weekly-20251221-20251228-1"
    drift = {"in": 30, "out": 12, "stayed": 90, "changed_sign": 3}
    hired = {"seekers": 0.034, "open jobs": 0.25, "segments": 0.5}
    impossible = {"before the job was posted": 7, "of an unknown job": 0, "of an unknown seeker": 0}
    rows = metric(TRAINING_RUN, "build_segment_graph", "chosen_strength", 8**0.5)
    for name, value in drift.items():
        rows += metric(TRAINING_RUN, "build_segment_graph", f"links_{name}", {before: value})
    rows += metric(TRAINING_RUN, "build_segment_graph", "recall_before", {before: 0.58})
    for name, values in (("hires", 457), ("recall", 0.62), ("hired_share", hired), ("impossible_hires", impossible)):
        rows += metric(TRAINING_RUN, "build_segment_graph", name, values)
    for name, values in columns.items():
        points = dict(zip(("16", "8", "2.82843", "0.5"), values, strict=True))
        rows += metric(TRAINING_RUN, "build_segment_graph", f"path_{name}", points)
    return rows


def _daily():
    run = SECOND
    rows = []
    for stage, seconds in {"ingest": 41.2, "retrieve_candidates": 18.0, "blend_candidates": 7.5}.items():
        rows += metric(run, stage, "seconds", seconds)
    rows += metric(run, "ingest", "rows_in", {"events": 12_370, "jobs": 7_047})
    rows += metric(run, "ingest", "rows_accepted", {"events": 12_360, "jobs": 7_047})
    rows += metric(run, "ingest", "rows_quarantined", {"events": 10, "jobs": 0})
    rows += metric(run, "ingest", "rows_quarantined_for", {"events: duplicate event_id": 7, "events: <b>": 3})
    rows += metric(run, "ingest", "rows_out_of_range", {"events: later than the lateness": 4})
    rows += metric(run, "ingest", "coverage", {"jobs.title": 1.0, "jobs.industry": 0.08, "events.dwell_seconds": 0.85})
    rows += metric(run, "sessionize_chains", "chain_length", {"1": 700, "2": 300, "11+": 12, "3-5": 220, "6-10": 80})
    rows += metric(run, "sessionize_chains", "chains", 1312) + metric(run, "sessionize_chains", "chain_actions", 3500)
    for name, (graph, terms) in {
        "asked": (900, 900),
        "eligible": (5400, 90_000),
        "returned": (610, 880),
    }.items():
        values = {"organic/graph": graph, "organic/terms": terms}
        rows += metric(run, "retrieve_candidates", name, values)
    rows += metric(run, "retrieve_candidates", "checked_recall", 1.0)
    rows += metric(run, "retrieve_candidates", "by_attributes_alone", {"organic/apply_chain": 2})
    rows += metric(run, "blend_candidates", "kept", {"organic/graph": 400, "organic/terms": 350})
    reach = {"before/p10": 40, "before/p50": 300, "before/p90": 2_500, "before/mean": 700.0, "after/p10": 40}
    reach |= {"after/p50": 210, "after/p90": 260, "after/mean": 190.0}
    rows += metric(run, "retrieve_candidates", "liquidity", reach)
    reached = {"promoted_jobs": 80, "jobs_without_audience": 5, "audience_eligible": 9_000, "audience_returned": 4_000}
    for name, value in reached.items():
        rows += metric(run, "blend_candidates", name, value)
    for name, value in {"candidates": 600, "seekers": 3, "shortfall": 300}.items():
        rows += metric(run, "blend_candidates", name, {"organic": value})
    return rows


TERMS = [("occupation", 1, "Registered Nurses"), ("seniority", 2, "mid"), ("region", 3, "Dallas")]
TITLES = {
    10: "Line cook",
    11: "Registered nurse",
    12: "<script>alert(1)</script> & sons",
    13: "Nurse at $20 an hour, $30 on Sundays",
}
OCCUPATION_1, REGION_3 = 1, (2 << 32) + 3
SEEKERS_WHY = {
    # the most channels: every kind of evidence, and a candidate with two reasons
    101: [
        (11, [("graph", 2, 5), ("terms", 1, OCCUPATION_1)]),
        (12, [("click_chain", 1, 10)]),
        (13, [("apply_chain", 4, 11), ("popular", 9, REGION_3)]),
    ],
    # one channel, without evidence
    102: [(10, [("popular", 1, -1)])],
    103: [],
}


def candidate_rows(run_id):
    return [
        {
            "run_id": run_id, "seeker_id": seeker, "external_seeker_id": f"seeker-{seeker}",
            "flow": "organic",
            "asked": 5, "returned": len(found),
            "candidates": [
                {
                    "job_id": job, "external_job_id": f"job-{job}", "score": 1.0 / rank,
                    "why": [{"channel": c, "rank": r, "evidence_id": e} for c, r, e in why],
                }
                for rank, (job, why) in enumerate(found, start=1)
            ],
        }
        for seeker, found in SEEKERS_WHY.items()
    ]  # fmt: skip


# Job 11 is a nurse's, 10 and 13 say no occupation, of 12 nothing is known.
OCCUPATIONS = {11: 1}
NEIGHBORS = {10: [(11, 0.5)], 11: [(13, 0.875), (10, 0.25)], 13: []}


def neighbor_rows(channel, version=TRAINING_RUN, day=date(2026, 1, 3), score=0.0):
    return [
        {
            "model_version": version, "date": day, "channel": channel, "job_id": job,
            "neighbors": [{"job_id": other, "score": score or cosine} for other, cosine in near],
        }
        for job, near in NEIGHBORS.items()
    ]  # fmt: skip


def build(root: Path) -> None:
    """Write the whole board."""
    # the same job's applications, another day's and another version's neighbours are not shown
    write(root, JOB_NEIGHBORS, neighbor_rows("click_chain") + neighbor_rows("apply_chain", score=0.125))
    write(root, JOB_NEIGHBORS, neighbor_rows("click_chain", day=date(2025, 12, 27), score=0.375))
    write(root, JOB_NEIGHBORS, neighbor_rows("click_chain", version="another", score=0.625))
    terms = [
        {"job_id": job, "valid_from": SUNDAY - DAY, "date": date(2026, 1, 3), "taxonomy_version": "t", "terms": found}
        for job, found in {job: [("occupation", [term])] for job, term in OCCUPATIONS.items()}.items()
    ]
    write(root, JOB_TERMS, terms)
    write(root, RUNS, RUNS_ROWS)
    write(root, RUN_METRICS, _evaluation() + _daily())
    write(
        root,
        TERM_DICTIONARY,
        [{"field": f, "term": label.lower(), "term_id": i, "label": label} for f, i, label in TERMS],
    )
    link = {
        "model_version": TRAINING_RUN, "node_id": 5, "hire_source": "confirmed", "origin": "learnt",
        "seeker_segment": "", "job_segment": "",
        "meta_links": [
            {"seeker_field": "occupation", "seeker_term": 1, "job_field": "occupation", "job_term": 1},
            {"seeker_field": "seniority", "seeker_term": 2, "job_field": "seniority", "job_term": 2},
        ],
        "n_hires": 214.0, "n_no_hires": 31.0, "quality": 1.84,
    }  # fmt: skip
    proxy = {
        **link,
        "node_id": 6,
        "hire_source": "move",
        "quality": 0.5,
        "meta_links": link["meta_links"][:1],
    }
    # of the same occupation, whichever it is: more surely than any, and many of them
    same = [
        {
            **proxy, "node_id": 7 + n, "origin": "same", "quality": 2.5, "n_hires": 3.0 * n,
            "seeker_segment": f"past_occupation={n}", "job_segment": f"occupation={n}",
        }
        for n in range(2)
    ]  # fmt: skip
    write(root, SEGMENT_LINKS, [link, proxy, *same])
    since = {"valid_from": SUNDAY - DAY, "date": date(2026, 1, 3), "is_backdated": False}
    jobs = [
        {
            "job_id": i,
            "external_id": f"job-{i}",
            "title": title,
            "region": "Dallas",
            "is_promoted": False,
            **since,
        }
        for i, title in TITLES.items()
    ]
    # a version that begins at the interval's end is not yet the job's title
    later = {"valid_from": SUNDAY + 2 * DAY, "date": date(2026, 1, 6), "title": "Head chef"}
    write(root, JOBS, [*jobs, {**jobs[0], **later}])
    seekers = [{"seeker_id": s, "external_id": f"seeker-{s}", **since, "titles": ["Nurse aide"]} for s in SEEKERS_WHY]
    write(root, SEEKERS, seekers)
    ids = [{"kind": "seeker", "external_id": f"seeker-{s}", "entity_id": s} for s in SEEKERS_WHY]
    write(root, ENTITY_IDS, ids)
    for run_id in (FIRST, SECOND):
        write(root, CANDIDATES, candidate_rows(run_id))
