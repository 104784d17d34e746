"""Write a run's report: one HTML page at <lake>/_reports/<run_id>.html.

Reads what the newest attempt recorded, published or still open, through delta-rs; starts no Spark session and
writes to no table, so that it may run after publishing, and again.
"""

from __future__ import annotations

from jobs.intervals import Interval
from jobs.lake import LakeReader
from jobs.reporting.attempts import newest_attempt
from jobs.reporting.files import write_report_file
from jobs.reporting.page import render
from jobs.stage import one_clear_line, say, stage_parser


def main(reader: LakeReader, dag: str, interval: Interval) -> str:
    """Write the report; where it lies. RunError where no attempt is published or open."""
    attempt = newest_attempt(reader, dag, interval)
    return write_report_file(reader.root, f"{attempt.run_id}.html", render(reader, attempt))


if __name__ == "__main__":
    given = stage_parser(__doc__).parse_args()
    with one_clear_line("render_report"):
        say(f"report: {main(LakeReader(given.lake), given.dag, Interval.parse(given.start, given.end))}")
