"""A run's report, as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from jobs.lake import LakeReader
from jobs.reporting import plots, sections
from jobs.reporting.attempts import Attempt
from jobs.reporting.files import read_report_file
from jobs.reporting.neighbors import neighbor_examples
from jobs.reporting.samples import seekers_by_variety
from jobs.reporting.sections import Metrics
from jobs.reporting.words import Words, same_links, strongest_links
from jobs.runs import TRAINING
from schemas import CANDIDATES, RUN_METRICS, SEEKERS, SEGMENT_LINKS

TEMPLATE = "report.html.j2"
N_LINKS = 20
N_CANDIDATES = 5
EXAMPLES = {"organic": 3, "promoted": 1}

Row = dict[str, Any]


def render(reader: LakeReader, attempt: Attempt) -> str:
    """The page. Sections with nothing to show say why."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(TEMPLATE).render(context(reader, attempt))


def context(reader: LakeReader, attempt: Attempt) -> Row:
    """What the template shows."""
    metrics = metrics_of(reader, attempt.run_id)
    evaluated = evaluated_run(attempt)
    evaluation = metrics if evaluated == attempt.run_id else metrics_of(reader, evaluated)
    return {
        "run": attempt,
        "is_training": attempt.dag == TRAINING,
        "models": sorted(attempt.models.items()),
        "settings": sections.changed_settings(attempt.settings),
        "seconds": sections.stage_seconds(metrics),
        "funnel": sections.funnel(metrics),
        "flows": sections.flows(metrics),
        "by_attributes_alone": metrics.labels("retrieve_candidates", "by_attributes_alone"),
        "liquidity": sections.liquidity(metrics),
        "audience": sections.audience(metrics),
        "checked_recall": metrics.value("retrieve_candidates", "checked_recall"),
        "lift": sections.position_lift(evaluation),
        "volumes": sections.volumes(metrics),
        "reasons": sections.reasons(metrics),
        "coverage": sections.coverage(metrics),
        "examples": examples(reader, attempt),
        "neighbors": neighbor_examples(reader, attempt),
        "headline": sections.headline(metrics, evaluation),
        "why": why_nothing(attempt, evaluated, evaluation),
        **recall_context(evaluation, evaluated),
        **chain_context(metrics),
        **link_context(reader, attempt),
        **sweep_context(reader, evaluated),
    }


def evaluated_run(attempt: Attempt) -> str | None:
    """The training run whose figures tell of this run's models: itself, or the one that made them."""
    if attempt.dag == TRAINING:
        return attempt.run_id
    return attempt.model("job_embeddings") or attempt.model("segment_graph")


def recall_context(evaluation: Metrics, evaluated: str | None) -> Row:
    points = sections.recall_points(evaluation)
    widest = max(sections.cut_offs(evaluation), default=0)
    best = [f"{row.replace('_', ' ')} {points[row][-1][1]:.3f}" for row in points]
    return {
        "evaluated_run": evaluated,
        "cases": evaluation.value("evaluate_retrieval", "cases"),
        "seekers": evaluation.value("evaluate_retrieval", "seekers"),
        "cut_offs": sections.cut_offs(evaluation),
        "recall": sections.recall_table(evaluation),
        "recall_plot": _encoded(plots.recall_curves(points)) if points else None,
        "recall_alt": f"Recall over k, a line a row. At k = {widest}: {', '.join(best)}.",
    }


def chain_context(metrics: Metrics) -> Row:
    lengths = sections.chain_lengths(metrics)
    counts = ", ".join(f"{count:,.0f} of length {length}" for length, count in lengths.items())
    return {
        "chains": lengths,
        "n_chains": metrics.value("sessionize_chains", "chains"),
        "n_actions": metrics.value("sessionize_chains", "chain_actions"),
        "chains_plot": _encoded(plots.histogram(lengths, "actions in a chain", "chains")) if lengths else None,
        "chains_alt": f"Chains by length: {counts}.",
    }


def sweep_name(run_id: str) -> str:
    """The file in which `jobs/sweep_session_gap.py` leaves what it measured on that training run."""
    return f"sweep-{run_id}.json"


def sweep_context(reader: LakeReader, evaluated: str | None) -> Row:
    """The sweep of cuts on the run that made the models; nothing where there was none."""
    text = read_report_file(reader.root, sweep_name(evaluated)) if evaluated else None
    rows = [row for row in json.loads(text) if row["position"] is not None] if text else []
    told = ", ".join(f"{row['kind']} {row['value']} {row['position']:.2f}" for row in rows)
    return {
        "sweep": rows,
        "sweep_plot": _encoded(plots.positions_swept(rows)) if rows else None,
        "sweep_alt": f"Mean position by setting: {told}.",
    }


def learning_context(training: Metrics) -> Row:
    """What the training run that learnt the run's links recorded of them: the path, the drift, and the hires."""
    points = sections.link_path(training)
    told = [f"{p['links']:,.0f} links at recall {p['recall']:.2f}" for p in points]
    return {
        "path": points,
        "drift": sections.link_drift(training),
        "hires": sections.hire_quality(training),
        "path_plot": _encoded(plots.link_path(points)) if points else None,
        "path_alt": f"Links and false positives over recall, of the regression and of the ratio: {', '.join(told)}.",
    }


def link_context(reader: LakeReader, attempt: Attempt) -> Row:
    version = attempt.run_id if attempt.dag == TRAINING else attempt.model("segment_graph")
    links: list[Row] = []
    same: list[Row] = []
    words = Words()
    if version is not None and reader.exists(SEGMENT_LINKS):
        links, words = strongest_links(reader, version, N_LINKS)
        same = same_links(reader, version)
    sources = sorted({link["hire_source"] for link in links} - {"confirmed"})
    return {
        "links": [{**k, "seeker": words.segment(k, "seeker"), "job": words.segment(k, "job")} for k in links],
        "same": same,
        "hire_note": f" In the place of confirmed hires: {', '.join(sources)}." if sources else "",
        **learning_context(metrics_of(reader, version)),
    }


def examples(reader: LakeReader, attempt: Attempt) -> list[Row]:
    """A few seekers' first candidates with reasons in words; none where the run has no candidates."""
    if attempt.dag == TRAINING or not reader.exists(CANDIDATES):
        return []
    rows = [row for flow, n in EXAMPLES.items() for row in seekers_by_variety(reader, attempt.run_id, flow, n)]
    words = Words.of(reader, attempt, [c for row in rows for c in row["candidates"][:N_CANDIDATES]])
    profiles = profiles_of(reader, attempt, {row["seeker_id"] for row in rows})
    return [
        {
            "seeker": row["external_seeker_id"],
            "flow": row["flow"],
            "returned": row["returned"],
            "profile": profiles.get(row["seeker_id"], ""),
            "candidates": [
                {"title": words.job(c["job_id"]), "reasons": words.reasons(c)} for c in row["candidates"][:N_CANDIDATES]
            ],
        }
        for row in rows
    ]


def profiles_of(reader: LakeReader, attempt: Attempt, seeker_ids: set[int]) -> dict[int, str]:
    """What each seeker's newest profile from before the interval's end says, in a line."""
    if not seeker_ids or not reader.exists(SEEKERS):
        return {}
    listed = ", ".join(str(number) for number in sorted(seeker_ids))
    columns = "seeker_id, valid_from, titles, interests, region"
    rows = reader.rows(f"SELECT {columns} FROM {SEEKERS.name} WHERE seeker_id IN ({listed})")
    before = sorted((r for r in rows if r["valid_from"] < attempt.interval.end), key=lambda r: r["valid_from"])
    return {row["seeker_id"]: _profile(row) for row in before}


def _profile(row: Row) -> str:
    said = {
        "held": ", ".join((row["titles"] or [])[:3]),
        "wants": ", ".join((row["interests"] or [])[:3]),
        "lives in": row["region"],
    }
    return "; ".join(f"{what} {value}" for what, value in said.items() if value)


def why_nothing(attempt: Attempt, evaluated: str | None, evaluation: Metrics) -> dict[str, str]:
    """Section to the sentence that stands in for it where it is empty."""
    not_yet = "The stage that records this has not ended yet."
    if attempt.dag == TRAINING:
        no_candidates = "A training run makes models; candidates are made by daily runs."
        no_links = "This version has no links: too few hires, or none that a link could be learnt from."
    else:
        no_candidates = not_yet
        no_links = "The run was opened without a segment graph, or its version has no links."
    if evaluated is None:
        no_recall = "The run was opened without models, so there is no evaluation of them."
    elif evaluation.value("evaluate_retrieval", "cases") == 0:
        no_recall = "No held-out action had an action before it, so nothing could be asked."
    else:
        no_recall = f"{evaluated} has recorded no evaluation."
    no_lift = no_recall if not sections.cut_offs(evaluation) else "The data has no shown lists to re-rank."
    return {
        "funnel": no_candidates, "examples": no_candidates, "recall": no_recall, "lift": no_lift,
        "links": no_links, "quality": not_yet,
        "neighbors": "No neighbours were kept: there are no job vectors, or build_index.neighbors is 0.",
        "chains": "No chain starts on the dates that this run restated.",
    }  # fmt: skip


def metrics_of(reader: LakeReader, run_id: str | None) -> Metrics:
    """What the run recorded so far; nothing where no run has recorded anything."""
    return Metrics(reader.metrics(run_id) if run_id is not None and reader.exists(RUN_METRICS) else [])


def _encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()
