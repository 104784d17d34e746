"""Write a run's report: one HTML page at <lake>/_reports/<run_id>.html.

Reads what the newest attempt recorded, published or still open, through delta-rs; starts no Spark session and
writes to no table, so that it may run after publishing, and again.
"""

from __future__ import annotations

import uuid

from jobs.intervals import Interval
from jobs.lake import REPORTS, LakeReader
from jobs.reporting.attempts import newest_attempt
from jobs.reporting.page import render
from jobs.stage import one_clear_line, say, stage_parser


def main(reader: LakeReader, dag: str, interval: Interval) -> str:
    """Write the report; where it lies. RunError where no attempt is published or open."""
    attempt = newest_attempt(reader, dag, interval)
    return write_page(reader.root, f"{attempt.run_id}.html", render(reader, attempt))


def write_page(root: str, name: str, page: str) -> str:
    """Put the page into the lake's folder of reports, whole: under a name of its own first, then renamed."""
    from pyarrow import fs

    store, prefix = fs.FileSystem.from_uri(root) if "://" in root else (fs.LocalFileSystem(), root)
    folder = f"{prefix}/{REPORTS}"
    store.create_dir(folder)
    unfinished = f"{folder}/.{uuid.uuid4().hex}-{name}"
    with store.open_output_stream(unfinished) as file:
        file.write(page.encode())
    store.move(unfinished, f"{folder}/{name}")
    return f"{root}/{REPORTS}/{name}"


if __name__ == "__main__":
    given = stage_parser(__doc__).parse_args()
    with one_clear_line("render_report"):
        say(f"report: {main(LakeReader(given.lake), given.dag, Interval.parse(given.start, given.end))}")
