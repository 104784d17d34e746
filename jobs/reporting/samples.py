"""A few seekers' candidates, picked the same way every time."""

from __future__ import annotations

from typing import Any

from jobs.lake import LakeReader
from schemas import CANDIDATES, ENTITY_IDS

Row = dict[str, Any]

# Ids are hashes: the lowest ones are a sample like any other, and the same at every call.
_POOL = 300


def seekers_by_variety(reader: LakeReader, run_id: str, flow: str, n: int) -> list[Row]:
    """Rows of `candidates` of `n` seekers who have some, the most channels first, equal ones by id.

    The choice is among the few hundred seekers of lowest id: of a large run, one column is read and some
    rows.
    """
    where = f"run_id = '{run_id}' AND flow = '{flow}'"
    lowest = reader.rows(f"SELECT seeker_id FROM {CANDIDATES.name} WHERE {where} ORDER BY seeker_id LIMIT {_POOL}")
    if not lowest:
        return []
    # a range prunes files by their statistics, where a list of ids would not
    last = lowest[-1]["seeker_id"]
    rows = reader.rows(f"SELECT * FROM {CANDIDATES.name} WHERE {where} AND seeker_id <= {last}")
    rows = [row for row in rows if row["candidates"]]
    return sorted(rows, key=lambda row: (-len(channels(row)), row["seeker_id"]))[:n]


def candidates_of(reader: LakeReader, run_id: str, flow: str, external_seeker_id: str) -> Row | None:
    """The seeker's row of `candidates`; None where the run has none for them."""
    literal = external_seeker_id.replace("'", "''")
    ids = reader.rows(f"SELECT entity_id FROM {ENTITY_IDS.name} WHERE kind = 'seeker' AND external_id = '{literal}'")
    if not ids:
        return None
    where = f"run_id = '{run_id}' AND flow = '{flow}' AND seeker_id = {ids[0]['entity_id']}"
    rows = reader.rows(f"SELECT * FROM {CANDIDATES.name} WHERE {where}")
    return rows[0] if rows else None


def channels(row: Row) -> set[str]:
    return {reason["channel"] for candidate in row["candidates"] or () for reason in candidate["why"] or ()}
