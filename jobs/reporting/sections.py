"""The figures of a run, as the tables and plots of its report want them: plain values in and out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.reporting.plots import Point
from jobs.runs import STAGES
from jobs.settings import Settings

Row = dict[str, Any]

# Ours first, then what it is read beside.
ROWS = (
    "blend", "graph", "click_chain", "apply_chain", "click_neighbors", "apply_neighbors", "click_vectors",
    "apply_vectors", "terms", "popular", "popular_global", "random", "oracle",
)  # fmt: skip


DRIFT = ("in", "out", "stayed", "changed_sign")


class Metrics:
    """A run's rows of `run_metrics`, by stage and metric; what was not recorded is not there."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._values: dict[tuple[str, str], dict[str, float]] = {}
        for row in rows:
            if row["value"] is not None:
                self._values.setdefault((row["stage"], row["metric"]), {})[row["label"]] = row["value"]

    def labels(self, stage: str, metric: str) -> dict[str, float]:
        """Label to value, in the order of the labels."""
        return dict(sorted(self._values.get((stage, metric), {}).items()))

    def value(self, stage: str, metric: str, label: str = "") -> float | None:
        return self._values.get((stage, metric), {}).get(label)

    def names(self, stage: str) -> set[str]:
        return {metric for other, metric in self._values if other == stage}

    def stages(self) -> list[str]:
        """The stages that recorded anything, in the order of the pipeline, unknown ones last."""
        known = {stage for stage, _ in self._values}
        stages = max(STAGES.values(), key=lambda stages: len(known.intersection(stages)))
        return [s for s in stages if s in known] + sorted(known.difference(stages))


def stage_seconds(metrics: Metrics) -> list[Row]:
    """stage, seconds, and its share of the longest."""
    seconds = {stage: metrics.value(stage, "seconds") for stage in metrics.stages()}
    known = {stage: value for stage, value in seconds.items() if value is not None}
    longest = max(known.values(), default=0.0) or 1.0
    return [{"stage": s, "seconds": v, "share": v / longest} for s, v in known.items()]


def changed_settings(settings: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """name, value and default of the frozen options that are not at today's default."""
    defaults = dataclasses.asdict(Settings())
    return [
        {"name": f"{stage}.{name}", "value": value, "default": defaults.get(stage, {}).get(name, "none")}
        for stage, options in sorted(settings.items())
        for name, value in sorted(options.items())
        if defaults.get(stage, {}).get(name) != value
    ]


def funnel(metrics: Metrics) -> list[Row]:
    """One row a flow and channel: asked, eligible, returned, kept, and kept as a share of the flow."""
    stages = {name: metrics.labels("retrieve_candidates", name) for name in ("asked", "eligible", "returned")}
    kept, finals = (
        metrics.labels("blend_candidates", "kept"),
        metrics.labels("blend_candidates", "candidates"),
    )
    rows = []
    for label in sorted({*kept, *(name for values in stages.values() for name in values)}):
        flow, _, channel = label.partition("/")
        counts = {name: values.get(label) for name, values in stages.items()} | {"kept": kept.get(label)}
        share = (kept.get(label) or 0.0) / (finals.get(flow) or 1.0)
        rows.append({"flow": flow, "channel": channel, **counts, "kept_share": share})
    return rows


def flows(metrics: Metrics) -> list[Row]:
    """One row a flow: seekers, candidates, shortfall."""
    names = ("seekers", "candidates", "shortfall")
    counted = {name: metrics.labels("blend_candidates", name) for name in names}
    return [
        {"flow": flow, **{name: counted[name].get(flow) for name in names}} for flow in counted["candidates"] if flow
    ]


def link_path(metrics: Metrics) -> list[Row]:
    """One row a point of the regularisation path that links something, the strongest penalty first.

    strength, links, recall, false_positives, ratio_links, ratio_false_positives, is_chosen.
    """
    names = ("links", "recall", "false_positives", "ratio_links", "ratio_false_positives")
    values = {name: metrics.labels("build_segment_graph", f"path_{name}") for name in names}
    chosen = metrics.value("build_segment_graph", "chosen_strength")
    return [
        {
            "strength": float(label),
            **{name: values[name].get(label) for name in names},
            "is_chosen": chosen is not None and label == f"{chosen:g}",
        }
        for label in sorted(values["links"], key=float, reverse=True)
        if values["links"][label]
    ]


def link_drift(metrics: Metrics) -> Row | None:
    """The version compared with, links in, out, stayed and changed_sign, both recalls; None for a first version."""
    counts = {name: metrics.labels("build_segment_graph", f"links_{name}") for name in DRIFT}
    version = next(iter(counts["in"]), None)
    if version is None:
        return None
    return {
        "version": version,
        **{name: counts[name].get(version) for name in DRIFT},
        "recall": metrics.value("build_segment_graph", "recall"),
        "recall_before": metrics.value("build_segment_graph", "recall_before", version),
    }


def hire_quality(metrics: Metrics) -> Row:
    """`shares`: of what, the share that has hires; `impossible`: what is wrong, and how many hires, if any are."""
    impossible = metrics.labels("build_segment_graph", "impossible_hires")
    return {
        "hires": metrics.value("build_segment_graph", "hires"),
        "shares": metrics.labels("build_segment_graph", "hired_share"),
        "impossible": {what: n for what, n in impossible.items() if n},
    }


def liquidity(metrics: Metrics) -> list[Row]:
    """One row a state, before and after the target was applied: p10, p50, p90 and mean of jobs reached by a seeker."""
    values = metrics.labels("retrieve_candidates", "liquidity")
    names = ("p10", "p50", "p90", "mean")
    sides = [side for side in ("before", "after") if f"{side}/mean" in values]
    return [{"side": side, **{name: values.get(f"{side}/{name}") for name in names}} for side in sides]


def audience(metrics: Metrics) -> Row | None:
    """promoted_jobs, jobs_without_audience, and eligible and returned seekers; None where there are no audiences."""
    names = ("promoted_jobs", "jobs_without_audience", "audience_eligible", "audience_returned")
    values = {name: metrics.value("blend_candidates", name) for name in names}
    return values if values["promoted_jobs"] is not None else None


def chain_lengths(metrics: Metrics) -> dict[str, float]:
    """Label to chains, by rising length; empty where no chain was counted."""
    counts = metrics.labels("sessionize_chains", "chain_length")
    ordered = dict(sorted(counts.items(), key=lambda item: int(re.match(r"\d*", item[0]).group() or 0)))  # type: ignore[union-attr]
    return ordered if sum(ordered.values()) else {}


def cut_offs(metrics: Metrics) -> list[int]:
    """The k of recall@k, rising."""
    return sorted(int(m[7:]) for m in metrics.names("evaluate_retrieval") if re.fullmatch(r"recall@\d+", m))


def recall_points(metrics: Metrics) -> dict[str, list[Point]]:
    """Row to its recall at each k, with the interval's bounds."""
    points: dict[str, list[Point]] = {}
    for k in cut_offs(metrics):
        values = metrics.labels("evaluate_retrieval", f"recall@{k}")
        for row in evaluated_rows(values):
            low, high = (metrics.value("evaluate_retrieval", f"recall@{k}.{end}", row) for end in ("low", "high"))
            points.setdefault(row, []).append((k, values[row], low, high))
    return {row: points[row] for row in evaluated_rows(points)}


def headline(metrics: Metrics, evaluation: Metrics) -> list[str]:
    """What the run made and how well, a sentence each; the first cut-off from 100 on stands for recall."""
    lines = [f"{f['candidates']:,.0f} {f['flow']} candidates for {f['seekers']:,.0f} seekers." for f in flows(metrics)]
    ks = cut_offs(evaluation)
    if ks:
        k = next((cut for cut in ks if cut >= 100), ks[-1])
        recalls = evaluation.labels("evaluate_retrieval", f"recall@{k}")
        named = {
            "blend": f"Recall@{k}",
            "popular_global": "popularity",
            "random": "chance",
            "oracle": "the best possible",
        }
        lines.append("; ".join(f"{what} {recalls[row]:.3f}" for row, what in named.items() if row in recalls) + ".")
    return lines


def evaluated_rows(names: Iterable[str]) -> list[str]:
    """The rows among labels, without slices, in the order in which they are shown."""
    rows = {name for name in names if "|" not in name}
    return [row for row in ROWS if row in rows] + sorted(rows - set(ROWS))


def recall_table(metrics: Metrics) -> list[Row]:
    """One row a ranking: its recall points, mrr, and at the widest k hit rate and the slices' recall."""
    ks = cut_offs(metrics)

    def at_widest(metric: str, label: str) -> float | None:
        return metrics.value("evaluate_retrieval", f"{metric}@{ks[-1]}", label)

    return [
        {
            "row": row,
            "recalls": points,
            "hit_rate": at_widest("hit_rate", row),
            "mrr": metrics.value("evaluate_retrieval", "mrr", row),
            "cold": at_widest("recall", f"{row}|cold"),
            "warm": at_widest("recall", f"{row}|warm"),
            "returning": at_widest("recall", f"{row}|returning"),
        }
        for row, points in recall_points(metrics).items()
    ]


def position_lift(metrics: Metrics) -> list[Row]:
    """One row a chain: cases, mean positions under each order, lift in percent."""
    names = {name: f"position.{name}" for name in ("cases", "random", "shown", "features", "embedding", "oracle")}
    names["lift"] = "position_lift_percent"
    values = {name: metrics.labels("evaluate_retrieval", metric) for name, metric in names.items()}
    return [{"chain": chain, **{name: values[name].get(chain) for name in names}} for chain in values["lift"]]


def volumes(metrics: Metrics) -> list[Row]:
    """One row a contract table: rows in, accepted, quarantined."""
    names = {"rows_in": "rows_in", "accepted": "rows_accepted", "quarantined": "rows_quarantined"}
    values = {name: metrics.labels("ingest", metric) for name, metric in names.items()}
    return [{"table": table, **{name: values[name].get(table) for name in names}} for table in values["rows_in"]]


def reasons(metrics: Metrics) -> list[Row]:
    """what, and how many rows: those quarantined and those left out by reason, most first."""
    found = [
        {"what": label, "kind": kind, "rows": rows}
        for kind, metric in (("quarantined", "rows_quarantined_for"), ("left out", "rows_out_of_range"))
        for label, rows in metrics.labels("ingest", metric).items()
        if rows
    ]
    return sorted(found, key=lambda row: (-row["rows"], row["what"]))


def coverage(metrics: Metrics) -> list[Row]:
    """One row a contract table: its columns with the share of rows that have a value, the most first."""
    tables: dict[str, list[Row]] = {}
    for label, share in metrics.labels("ingest", "coverage").items():
        table, _, column = label.partition(".")
        tables.setdefault(table, []).append({"column": column, "share": share})
    return [
        {"table": table, "columns": sorted(columns, key=lambda c: (-c["share"], c["column"]))}
        for table, columns in tables.items()
    ]
