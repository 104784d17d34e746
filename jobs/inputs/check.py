"""What `ingest --check` prints: what columns hold, what would be refused, what the data is enough for."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from jobs.inputs.columns import CONTRACT
from jobs.inputs.contract import accepted
from jobs.inputs.judging import Tally, above_share, judge, placed_rows, tally
from jobs.inputs.parsing import check_sql
from jobs.inputs.window import Window
from jobs.intervals import Interval

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.inputs.mapping import Mapping


def check_report(spark: SparkSession, mapping: Mapping, end: datetime, where: str) -> str:
    """The report as text. Reads the whole history up to `end`, as a first run would; writes nothing."""
    check_sql(spark, mapping, where)
    start = datetime.combine(mapping.board.history_start, time(), UTC)
    interval = Interval(start, end)
    window = Window(
        interval=interval,
        dates=interval.dates,
        history_start=mapping.board.history_start,
        lateness_days=0,
    )
    tallies, facts = _counts(spark, mapping, window)
    lines = [f"board {mapping.board.name}: {where}", ""]
    for table, counts in tallies.items():
        lines += [*_table_lines(mapping, table, counts), ""]
    lines += [
        "What this board's data is enough for",
        *[f"  {line}" for line in abilities(tallies, facts)],
        "",
    ]
    refusal = above_share(tallies, mapping.board.max_quarantined_share)
    lines.append(f"An ingest would stop: {refusal}" if refusal else "An ingest of this would go through.")
    return "\n".join(lines)


def _counts(spark: SparkSession, mapping: Mapping, window: Window) -> tuple[dict[str, Tally], dict[str, int]]:
    """The tally of each mapped table; the accepted events by action, and the promoted jobs."""
    tallies, facts, jobs = {}, {}, None
    for table in ("jobs", "seekers", "events", "hires", "taxonomy"):
        if not mapping.of(table):
            continue
        placed = placed_rows(spark, mapping, table, window)
        judged = judge(placed, table, window, jobs if table in ("events", "hires") else None, None).persist()
        tallies[table] = tally(judged, placed, table)
        if table == "jobs":
            jobs = accepted(judged).select("job_id").distinct().persist()
            facts["promoted"] = accepted(judged).where("is_promoted").count()
        if table == "events":
            facts |= {r["action"]: r["count"] for r in accepted(judged).groupBy("action").count().collect()}
        judged.unpersist()
    return tallies, facts


def _table_lines(mapping: Mapping, table: str, counts: Tally) -> list[str]:
    sources = ", ".join(source.source for source in mapping.of(table))
    kind = f", {mapping.kind_of(table)}" if table in ("seekers", "jobs") else ""
    proxies = sorted({source.stands_for for source in mapping.of(table) if source.stands_for})
    proxy = f"; stand-in for confirmed hires: {', '.join(proxies)}" if proxies else ""
    lines = [f"{table} (from {sources}{kind}{proxy})"]
    lines.append(f"  {counts.rows_in:>12,} rows in, {counts.accepted:,} accepted")
    lines += [f"  {rows:>12,} quarantined: {reason}" for reason, rows in sorted(counts.quarantined.items())]
    lines += [f"  {rows:>12,} out of range: {scope}" for scope, rows in sorted(counts.out_of_range.items())]
    mapped = {name for source in mapping.of(table) for name in source.columns}
    shares = [(name, counts.coverage(name)) for name in CONTRACT[table].columns if name in mapped]
    lines += [f"  {'no rows' if s is None else f'{s:12.1%}'} {name}" for name, s in shares]
    missing = [name for name in CONTRACT[table].columns if name not in mapped]
    if missing:
        text = f"not mapped: {', '.join(missing)}"
        lines += textwrap.wrap(text, width=100, initial_indent="  ", subsequent_indent="    ")
    return lines


def abilities(tallies: dict[str, Tally], facts: dict[str, int]) -> list[str]:
    """Per stage, whether the board's data feeds it, and what it goes without.

    `facts` are the numbers of accepted events by action, and of promoted jobs.
    """

    def has(table: str, column: str = "") -> bool:
        counts = tallies.get(table, Tally())
        return counts.filled.get(column, 0) > 0 if column else counts.accepted > 0

    clicks = sum(facts.get(action, 0) for action in ("view", "save", "apply", "call", "message"))
    applies = sum(facts.get(action, 0) for action in ("apply", "call", "message"))
    hires, promoted = tallies.get("hires", Tally()).accepted, facts.get("promoted", 0)
    profiles = "" if has("seekers") else "profiles"
    lists = bool(facts.get("impression")) and has("events", "list_position")

    def lacks(column: str) -> str:
        return "" if has("seekers", column) else f"seekers.{column}"

    return [
        _line("term channel", has("jobs"), "jobs", profiles),
        _line("popular channel", bool(clicks), f"{clicks:,} actions"),
        _line("chains, job embeddings, click chain channel", bool(clicks), f"{clicks:,} actions"),
        _line("apply chain channel", bool(applies), f"{applies:,} applies, calls and messages"),
        _line("segment graph, graph channel", bool(hires), f"{hires:,} hires", profiles),
        _line("position lift", lists, "impressions with list positions"),
        _line("promoted flow", bool(promoted), f"{promoted:,} promoted job versions"),
        _line("occupations", has("taxonomy"), "a taxonomy"),
        _line("skills as terms", has("jobs", "skills"), "jobs.skills", lacks("skills")),
        _line("regions as terms and filters", has("jobs", "region"), "jobs.region", lacks("region")),
        _line("salary as filter", has("jobs", "salary_max"), "jobs.salary_max", lacks("salary_min")),
    ]


def _line(what: str, possible: bool, source: str, lacking: str = "") -> str:
    """
    >>> _line("apply chain channel", True, "12 applies", "profiles")
    'yes   apply chain channel (from 12 applies), without profiles'
    >>> _line("apply chain channel", False, "0 applies")
    'no    apply chain channel: the board has no applies'
    """
    if not possible:
        return f"no    {what}: the board has no {source.removeprefix('0 ').removeprefix('a ')}"
    return f"yes   {what} (from {source})" + (f", without {lacking}" if lacking else "")
