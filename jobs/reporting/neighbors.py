"""Ten jobs with their nearest jobs, in words: whether the vectors put alike what people would.

The jobs are picked the same way every time, one an occupation as far as there are enough.
"""

from __future__ import annotations

from typing import Any

from jobs.lake import LakeReader
from jobs.reporting.attempts import Attempt
from jobs.reporting.words import jobs_of, labels_of
from jobs.runs import TRAINING
from schemas import JOB_NEIGHBORS, JOB_TERMS

Row = dict[str, Any]

N_JOBS, N_NEIGHBORS = 10, 5
# Ids are hashes: the lowest ones are a sample like any other, and the same at every call.
POOL = 400
CHANNEL, OCCUPATION = "click_chain", "occupation"


def neighbor_examples(reader: LakeReader, attempt: Attempt) -> list[Row]:
    """Jobs in words, each with `near`: its neighbours in words and their cosines; none where none were kept."""
    version = attempt.run_id if attempt.dag == TRAINING else attempt.model("job_embeddings")
    if version is None or not reader.exists(JOB_NEIGHBORS):
        return []
    pool = newest_pool(reader, version, attempt)
    end = attempt.interval.end
    chosen = across_occupations(pool, occupations_of(reader, {row["job_id"] for row in pool}, end))
    named = {row["job_id"] for row in chosen} | {near["job_id"] for row in chosen for near in shown(row)}
    jobs, occupations = jobs_of(reader, named, end), occupations_of(reader, named, end)
    labels = labels_of(reader, {(OCCUPATION, term) for term in occupations.values()})

    def words(job_id: int) -> Row:
        job = jobs.get(job_id, {})
        occupation = labels.get((OCCUPATION, occupations.get(job_id, -1)), "")
        return {"title": job.get("title") or f"job {job_id}", OCCUPATION: occupation, "region": job.get("region") or ""}

    return [
        words(row["job_id"]) | {"near": [words(near["job_id"]) | {"score": near["score"]} for near in shown(row)]}
        for row in chosen
    ]


def shown(row: Row) -> list[Row]:
    return list(row["neighbors"][:N_NEIGHBORS])


def newest_pool(reader: LakeReader, version: str, attempt: Attempt) -> list[Row]:
    """Rows of the `POOL` jobs of lowest id that have neighbours, as of the newest date that is not after the run's."""
    last = attempt.interval.dates.last
    where = f"model_version = '{version}' AND channel = '{CHANNEL}'"
    newest = reader.rows(f"SELECT max(date) AS date FROM {JOB_NEIGHBORS.name} WHERE {where} AND date <= DATE '{last}'")
    if not newest or newest[0]["date"] is None:
        return []
    rows = reader.rows(
        f"SELECT job_id, neighbors FROM {JOB_NEIGHBORS.name} WHERE {where} AND date = DATE '{newest[0]['date']}' "
        f"ORDER BY job_id LIMIT {POOL}"
    )
    return [row for row in rows if row["neighbors"]]


def across_occupations(pool: list[Row], occupations: dict[int, int]) -> list[Row]:
    """The first job of each occupation, the most frequent occupations first, then their second, up to `N_JOBS`."""
    by_occupation: dict[int, list[Row]] = {}
    for row in pool:
        by_occupation.setdefault(occupations.get(row["job_id"], -1), []).append(row)
    groups = sorted(by_occupation.items(), key=lambda group: (group[0] == -1, -len(group[1]), group[0]))
    in_turn = [(turn, place, row) for place, (_, rows) in enumerate(groups) for turn, row in enumerate(rows)]
    return [row for _, _, row in sorted(in_turn, key=lambda entry: entry[:2])[:N_JOBS]]


def occupations_of(reader: LakeReader, job_ids: set[int], end: Any) -> dict[int, int]:
    """Each job's first occupation term, of its newest version from before `end`; not those without one."""
    if not job_ids or not reader.exists(JOB_TERMS):
        return {}
    listed = ", ".join(str(number) for number in sorted(job_ids))
    rows = reader.rows(
        f"SELECT job_id, valid_from, taxonomy_version, terms FROM {JOB_TERMS.name} WHERE job_id IN ({listed})"
    )
    newest = {row["job_id"]: dict(row["terms"] or ()) for row in sorted(rows, key=_version) if row["valid_from"] < end}
    return {job: terms[OCCUPATION][0] for job, terms in newest.items() if terms.get(OCCUPATION)}


def _version(row: Row) -> Any:
    return row["valid_from"], row["taxonomy_version"]
