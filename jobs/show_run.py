"""Print the attempts of one DAG and interval; exit 0 where one is published, 1 where none is."""

from __future__ import annotations

import sys

from jobs.errors import LakeError, ShortlistError
from jobs.intervals import Interval
from jobs.lake import LakeReader
from jobs.reporting.attempts import Attempt, attempts_of
from jobs.stage import fail, say, stage_parser


def main(reader: LakeReader, dag: str, interval: Interval, *, quiet: bool) -> bool:
    """Say how each attempt stands; True where one is published. LakeError where there is no lake."""
    attempts = attempts_of(reader, dag, interval)
    if not quiet:
        for attempt in attempts:
            say("\n".join(about(attempt, seconds_by_stage(reader, attempt.run_id))))
        if not attempts:
            say(f"no attempt of {dag} for {interval.label} was opened")
    return any(attempt.state == "published" for attempt in attempts)


def about(attempt: Attempt, seconds: dict[str, float]) -> list[str]:
    closed = "open" if attempt.closed_ts is None else f"{attempt.state} {attempt.closed_ts:%Y-%m-%d %H:%M:%S}"
    reason = [f"  because {attempt.reason}"] if attempt.reason else []
    stages = [f"  {stage:24} {value:8.1f} s" for stage, value in seconds.items()]
    return [f"{attempt.run_id}: opened {attempt.opened_ts:%Y-%m-%d %H:%M:%S}, {closed}", *reason, *stages]


def seconds_by_stage(reader: LakeReader, run_id: str) -> dict[str, float]:
    """Stage to seconds, of the stages that ended, by name."""
    try:
        metrics = reader.metrics(run_id)
    except LakeError:  # no stage of any run has ended yet: the table comes with the first
        return {}
    return {m["stage"]: m["value"] for m in sorted(metrics, key=lambda m: m["stage"]) if m["metric"] == "seconds"}


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit status says it")
    given = parser.parse_args()
    try:
        published = main(LakeReader(given.lake), given.dag, Interval.parse(given.start, given.end), quiet=given.quiet)
    except ShortlistError as error:
        if given.quiet:
            sys.exit(1)
        fail(f"show_run: {error}")
    sys.exit(0 if published else 1)
