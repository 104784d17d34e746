"""Print one seeker's published candidates, each with the reasons why it is there."""

from __future__ import annotations

import argparse
from typing import Any

from jobs.errors import StageError
from jobs.lake import LakeReader
from jobs.reporting.attempts import current_attempt
from jobs.reporting.samples import candidates_of, seekers_by_variety
from jobs.reporting.words import Words
from jobs.runs import DAILY
from jobs.stage import one_clear_line, say


def main(reader: LakeReader, seeker: str | None, flow: str, top: int) -> list[str]:
    """The lines to print: of that seeker, or else of one whose candidates come from many channels.

    RunError where nothing is published, StageError where the run has no candidates for the seeker.
    """
    attempt = current_attempt(reader, DAILY)
    if seeker is None:
        row = next(iter(seekers_by_variety(reader, attempt.run_id, flow, 1)), None)
    else:
        row = candidates_of(reader, attempt.run_id, flow, seeker)
    if row is None:
        whom = "nobody" if seeker is None else f"no seeker {seeker!r}"
        raise StageError(f"{attempt.run_id} has {whom} with candidates in the flow {flow}")
    shown = (row["candidates"] or [])[:top]
    words = Words.of(reader, attempt, shown)
    head = f"seeker {row['external_seeker_id']}: {row['returned']} of {row['asked']} {flow} candidates"
    lines = [f"{head}, run {attempt.run_id}"]
    for rank, candidate in enumerate(shown, start=1):
        lines += about(rank, candidate, words)
    return lines


def about(rank: int, candidate: dict[str, Any], words: Words) -> list[str]:
    title = f"{rank:3}. {words.job(candidate['job_id'])}  ({candidate['external_job_id']})"
    return [title, *[f"       {reason}" for reason in words.reasons(candidate)]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--seeker", help="the board's id of the seeker; unless given, one with many channels")
    parser.add_argument("--flow", default="organic", choices=("organic", "promoted"))
    parser.add_argument("--top", type=int, default=10, help="how many candidates to print")
    given = parser.parse_args()
    with one_clear_line("show_candidates"):
        say("\n".join(main(LakeReader(given.lake), given.seeker, given.flow, given.top)))
