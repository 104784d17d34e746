"""A small inventory of two shards, built once: 60 jobs in 3 occupations and 4 regions, 12 of them new."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.artifacts import written_folder
from jobs.channels.inventory import (
    EXPLAINED_FIELDS,
    PROMOTED_FIELD,
    ROW,
    UNMET,
    Inventory,
    ShardSpec,
    build_shard,
    describe,
    open_inventory,
    shard_name,
)
from jobs.channels.sharing import STRETCH

DIM = 4
N_JOBS = 60
CLOSED_JOB = 59  # closed: no candidate, but a chain may name it


def popularity_of(job: int) -> float:
    """In twelve steps nobody met the job: what it has is a lot, in the same order."""
    step = job * 37 % N_JOBS / N_JOBS
    return step if step >= 0.2 else step * UNMET


def is_new(job: int) -> bool:
    return popularity_of(job) < UNMET


def plainly_shared(
    jobs: Iterable[int], score: Sequence[float], k: int = N_JOBS, new_weight: Fraction = Fraction(1)
) -> list[int]:
    """The list of a chain channel, stretch by stretch; `score` by job, ties by ascending id."""
    ranked = sorted(jobs, key=lambda job: (-score[job], job))
    met, new = [job for job in ranked if not is_new(job)], [job for job in ranked if is_new(job)]
    share, listed, n_new = new_weight * len(new) / (len(met) + new_weight * len(new)), [], 0
    for first in range(0, len(ranked), STRETCH):
        end = min(first + STRETCH, len(ranked))
        due = max(math.floor(end * share), sum(map(is_new, ranked[:end])), end - len(met))
        due = min(due, len(new))
        part = {*met[first - n_new : end - due], *new[n_new:due]}
        listed, n_new = [*listed, *(job for job in ranked if job in part)], due
    return listed[:k]


def job_rows() -> pa.Table:
    """Job i: occupation i % 3, region i % 4, node i % 5 (the multiples of 7 have none), promoted when i % 6 == 0.

    Of country i // 30, but for the multiples of 25, which have none.
    """
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(N_JOBS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        {
            "job_id": i,
            "external_id": f"job-{i}",
            "is_open": i != CLOSED_JOB,
            "terms": [
                ("occupation", [i % 3]),
                ("region", [i % 4]),
                ("country", [i // 30] if i % 25 else []),
                ("node", [] if i % 7 == 0 else [i % 5]),
                ("promoted", [1] if i % 6 == 0 else []),
            ],
            "posted_s": float(i) * 100,
            "closed_s": float("nan"),
            "popularity": popularity_of(i),
            "vector": vectors[i].tolist(),
        }
        for i in reversed(range(N_JOBS))
    ]
    return pa.Table.from_pylist(rows, schema=ROW)


def write_inventory(uri: str, fingerprint: str) -> None:
    """The jobs in two shards, with vectors that claim to be of the model of that fingerprint."""
    rows = job_rows()
    shard_of = rows.column("job_id").to_numpy() % 2
    fields = tuple(sorted({*EXPLAINED_FIELDS, "skill", "country", PROMOTED_FIELD}))
    spec = ShardSpec(fields, DIM, "float32", fingerprint, n_shards=2)
    with written_folder(uri) as folder:
        for shard in range(2):
            build_shard(rows.filter(pa.array(shard_of == shard)), spec, Path(folder) / shard_name(shard))
        describe(folder, spec)


@pytest.fixture(scope="session")
def inventory_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("run") / "index")
    write_inventory(uri, "model-1")
    return uri


@pytest.fixture(scope="session")
def inventory(inventory_uri: str) -> Inventory:
    return open_inventory(inventory_uri, "cpu")
