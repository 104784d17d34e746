"""A market with planted links, for benchmarks of the segment graph: NumPy draws it, Parquet carries it to Spark.

A seeker and a job have an occupation, a seniority, a region and four skills. Every occupation hires from three: the
same one and two others. Those pairs of occupations are what is planted; of the applications to them half end in a
hire. Of all others one in fifty does, but for the dreams: jobs of one occupation that many of another apply to,
and none is ever hired. Nothing else tells: skills and seniority are drawn alike on both sides, some of them so popular
that most hires share them, and three applications in four stay in the seeker's region.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Ints = NDArray[np.int64]

FIELDS = ("occupation", "seniority", "region", "skill")
N_OCCUPATIONS, N_SENIORITIES, N_REGIONS, N_SKILLS, SKILLS_EACH = 120, 5, 20, 4_000, 4
PLANTED_CHANCE, OTHER_CHANCE = 0.5, 0.02
# What an application is to: its own occupation, the first and the second it moves to, the dream, any.
WANTED = (0.25, 0.15, 0.1, 0.2, 0.3)
IN_REGION = 0.75
# So far around the ring of occupations is the one that many apply to and none is hired into.
DREAM = 53
START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=90)


@dataclass(frozen=True)
class Side:
    """(n,) each, and skills (n, SKILLS_EACH)."""

    occupation: Ints
    seniority: Ints
    region: Ints
    skills: Ints


@dataclass(frozen=True)
class HireMarket:
    """`hires`, `applied` (in vain) and `seen` (only) are (n, 2): seeker, job. `planted` is (occupations, 3)."""

    seekers: Side
    jobs: Side
    hires: Ints
    applied: Ints
    seen: Ints
    planted: Ints

    @property
    def truth(self) -> set[tuple[int, int]]:
        return {(a, int(b)) for a, row in enumerate(self.planted) for b in row}

    @property
    def hash(self) -> str:
        digest = hashlib.sha256()
        for part in (self.hires, self.applied, self.seekers.skills, self.jobs.skills, self.planted):
            digest.update(np.ascontiguousarray(part))
        return digest.hexdigest()[:12]


def hire_market(n_hires: int, seed: int, family: int = 0) -> HireMarket:
    """With exactly so many hires, one a seeker at most.

    Occupations are in a ring, and hire from themselves and from two far away on it; with `family`, from themselves and
    the next two of their family of so many. What is seen is what people who applied apply to, and as often as they do.
    """
    rng = np.random.default_rng(seed)
    seekers, jobs = _side(rng, 2 * n_hires), _side(rng, max(n_hires // 4, 4 * N_OCCUPATIONS))
    # from an occupation to those that hire from it
    own = np.arange(N_OCCUPATIONS)[:, None]
    planted = (own + np.array([0, 7, 31])) % N_OCCUPATIONS
    if family:
        planted = own // family * family + (own % family + np.arange(3)) % family
    by_place = np.lexsort((jobs.region, jobs.occupation))
    n = 12 * n_hires

    def meetings(rng: np.random.Generator) -> tuple[Ints, Ints, Ints, Ints]:
        seeker = rng.integers(0, 2 * n_hires, n)
        kind = rng.choice(len(WANTED), n, p=WANTED)
        own = seekers.occupation[seeker]
        far = [planted[own, np.minimum(kind, 2)], (own + DREAM) % N_OCCUPATIONS]
        wanted = np.select([kind < 3, kind == 3], far, rng.integers(0, N_OCCUPATIONS, n))
        return seeker, own, wanted, _in_place(rng, jobs, by_place, wanted, seekers.region[seeker])

    seeker, own, wanted, job = meetings(rng)
    chance = np.where((planted[own] == wanted[:, None]).any(axis=1), PLANTED_CHANCE, OTHER_CHANCE)
    chance[wanted == (own + DREAM) % N_OCCUPATIONS] = 0.0
    hired = rng.random(n) < chance
    pairs, is_hire = np.column_stack([seeker, job]), hired
    # the first hire ends a seeker's search
    first = np.full(2 * n_hires, n)
    np.minimum.at(first, seeker[hired], np.flatnonzero(hired))
    before = np.arange(n) <= first[seeker]
    pairs, is_hire = pairs[before], is_hire[before]
    assert is_hire.sum() >= n_hires, "draw more applications"
    end = int(np.flatnonzero(is_hire)[n_hires - 1]) + 1
    applied = pairs[:end][~is_hire[:end]]
    looked, _, _, at = meetings(np.random.default_rng(seed + 1))
    seen = np.column_stack([looked, at])[: len(applied)]
    return HireMarket(seekers, jobs, pairs[:end][is_hire[:end]], applied, seen, planted)


def _side(rng: np.random.Generator, n: int) -> Side:
    occupation = np.r_[np.arange(N_OCCUPATIONS), _zipf(rng, N_OCCUPATIONS, n - N_OCCUPATIONS, 0.5)]
    # three in four are of the two middle levels, and the first skills are nearly everybody's
    seniority = rng.choice(N_SENIORITIES, n, p=[0.1, 0.4, 0.35, 0.1, 0.05])
    skills = _zipf(rng, N_SKILLS, (n, SKILLS_EACH), 1.0)
    return Side(occupation, seniority, _zipf(rng, N_REGIONS, n, 0.7), np.sort(skills, axis=1))


def _zipf(rng: np.random.Generator, size: int, n: int | tuple[int, int], exponent: float) -> Ints:
    weights = np.arange(1, size + 1) ** -exponent
    return rng.choice(size, n, p=weights / weights.sum())


def _in_place(rng: np.random.Generator, jobs: Side, by_place: Ints, wanted: Ints, region: Ints) -> Ints:
    """A job of each wanted occupation; mostly of the region, where it has one."""
    places = jobs.occupation[by_place] * N_REGIONS + jobs.region[by_place]
    draw = rng.random(len(wanted))

    def among(first: Ints, last: Ints) -> Ints:
        return first + np.floor(draw * (last - first)).astype(np.int64)

    place = wanted * N_REGIONS + region
    here = np.searchsorted(places, place), np.searchsorted(places, place, side="right")
    anywhere = np.searchsorted(places, wanted * N_REGIONS), np.searchsorted(places, (wanted + 1) * N_REGIONS)
    stays = (rng.random(len(wanted)) < IN_REGION) & (here[1] > here[0])
    return by_place[np.where(stays, among(*here), among(*anywhere))]


def split(market: HireMarket) -> tuple[HireMarket, HireMarket]:
    """The first four fifths of the hires and of the applications in vain, and the last."""
    hires, applied = int(0.8 * len(market.hires)), int(0.8 * len(market.applied))
    first = replace(market, hires=market.hires[:hires], applied=market.applied[:applied])
    return first, replace(market, hires=market.hires[hires:], applied=market.applied[applied:])


def labelled(market: HireMarket, seed: int) -> tuple[Ints, NDArray[np.bool_]]:
    """(pairs, is_hire): its hires; one application in vain a four hires; and each hire's seeker with another's job."""
    rng = np.random.default_rng(seed)
    n = len(market.hires)
    vain = market.applied[rng.choice(len(market.applied), min(n // 4, len(market.applied)), replace=False)]
    region = market.jobs.region[market.hires[:, 1]]
    by_region = np.lexsort((rng.random(n), region))
    # the next in a random order of the region, the last of one with the first of the next
    repaired = np.column_stack([market.hires[by_region, 0], market.hires[np.roll(by_region, 1), 1]])
    pairs = np.concatenate([market.hires, vain, repaired])
    return pairs, np.arange(len(pairs)) < n


def pair_metas(market: HireMarket, pairs: Ints) -> Ints:
    """(pairs, metas): every meta link of each pair as a number, see `meta_code`; a skill held twice is there twice."""
    seekers, jobs, found = market.seekers, market.jobs, []
    for number, field in enumerate(FIELDS[:3]):
        found.append(
            meta_code(number, getattr(seekers, field)[pairs[:, 0]], getattr(jobs, field)[pairs[:, 1]])[:, None]
        )
    own, asked = seekers.skills[pairs[:, 0]], jobs.skills[pairs[:, 1]]
    found.append(meta_code(3, own[:, :, None], asked[:, None, :]).reshape(len(pairs), -1))
    return np.sort(np.concatenate(found, axis=1), axis=1)


def meta_code(field: Any, seeker_term: Any, job_term: Any) -> Any:
    return (field * N_SKILLS + seeker_term) * N_SKILLS + job_term


def write_tables(market: HireMarket, folder: Path) -> dict[str, str]:
    """The market as the tables that `labelled_pairs` reads: hires, events, seeker_terms, job_terms; name to path."""
    folder.mkdir(parents=True, exist_ok=True)
    hired, applied = market.hires, market.applied
    at, early = START + timedelta(days=60), START + timedelta(days=30)
    tables = {
        "hires": _pairs(hired, hired_ts=_at(at, len(hired)), weight=pa.array(np.ones(len(hired)))),
        "events": _pairs(applied, event_ts=_at(early, len(applied)), action=pa.array(["apply"] * len(applied))),
        "seeker_terms": _terms("seeker_id", market.seekers),
        "job_terms": _terms("job_id", market.jobs),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in tables}


def _pairs(pairs: Ints, **columns: pa.Array) -> pa.Table:
    return pa.table({"seeker_id": pa.array(pairs[:, 0]), "job_id": pa.array(pairs[:, 1]), **columns})


def _at(instant: datetime, n: int) -> pa.Array:
    return pa.array([instant] * n, pa.timestamp("us", tz="UTC"))


def _terms(key: str, side: Side) -> pa.Table:
    """One version each, from before the first event: key, valid_from, terms."""
    n = len(side.region)
    fields = pa.array(FIELDS).take(pa.array(np.tile(np.arange(4), n)))
    # a skill drawn twice is one skill
    is_new = np.column_stack([np.ones((n, 4), bool), side.skills[:, 1:] > side.skills[:, :-1]])
    lengths = np.column_stack([np.ones((n, 3), int), is_new[:, 3:].sum(axis=1)]).reshape(-1)
    values = np.column_stack([side.occupation, side.seniority, side.region, side.skills])[is_new]
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.astype(np.int32)))
    maps = pa.MapArray.from_arrays(pa.array(np.arange(0, 4 * n + 1, 4, dtype=np.int32)), fields, lists)
    return pa.table({key: pa.array(np.arange(n)), "valid_from": _at(START, n), "terms": maps})
