"""True affinity as an inner product of two vectors, one of what a seeker wants and one of what a job is.

Both vectors have D dimensions, in this order:

- 12, the families of occupations: a job has its own, a seeker the wanted one and, by MOVE_SHARE, those of the
  moves from it;
- 16, occupation and skills: each occupation and each skill has a random direction; a job adds up those of its
  occupation and of its five skills, a seeker likewise, with the moves from the wanted occupation by the same
  share;
- 16, the region: random features whose inner product falls off with the distance (Rahimi and Recht 2007);
  nothing for a remote job, which is as good everywhere;
- 3, seniority and the job itself: -w(s - j)^2 = 2w s j - w s^2 - w j^2 unrolled, and what makes the job good
  or bad for everyone (pay, chance).
"""

from __future__ import annotations

import math
import random

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.marketplace.dictionary import VARIANTS, Dictionary, Occupation, Region

FAMILY_WEIGHT = 1.2
OCCUPATION_WEIGHT = 2.0
SKILL_WEIGHT = 1.4
MOVE_SHARE = 0.35  # how much a move from the wanted occupation is wanted as well
REGION_WEIGHT = 1.6
REMOTE_AFFINITY = 1.0  # of a remote job, where the same region gives REGION_WEIGHT
REGION_SPREAD_KM = 130.0  # where nearness has fallen to exp(-1/2)
SENIORITY_WEIGHT = 0.4

SKILL_DIMENSIONS = 16
# 261 directions in 16 dimensions collide. Of 600 drawings, one in which each occupation wants itself most, by far.
DIRECTIONS = 132
REGION_FREQUENCIES = 8
# Of 20,000 drawings the one nearest to exp(-distance^2 / 2 spread^2) over the 190 pairs of regions: 0.11 off,
# in the mean.
FREQUENCIES = "places 7681"

Vector = list[float]


def _direction(name: str, dimensions: int) -> Vector:
    """A unit vector that the name alone decides."""
    generator = random.Random(f"{DIRECTIONS} {name}")
    values = [generator.gauss(0.0, 1.0) for _ in range(dimensions)]
    norm = math.sqrt(math.fsum(v * v for v in values))
    return [v / norm for v in values]


def _sum(parts: list[tuple[float, Vector]]) -> Vector:
    return [math.fsum(weight * v for weight, v in zip([w for w, _ in parts], column, strict=True))
            for column in zip(*[vector for _, vector in parts], strict=True)]  # fmt: skip


def job_work(words: Dictionary, occupation: Occupation, variant: int) -> Vector:
    """What a job of that occupation and variant of skills is: families, then occupation and skills."""
    family = [math.sqrt(FAMILY_WEIGHT) * (f == occupation.family) for f in range(len(words.families))]
    skills = [occupation.skills[k] for k in VARIANTS[variant]]
    weight = math.sqrt(SKILL_WEIGHT / len(skills))
    parts = [(math.sqrt(OCCUPATION_WEIGHT), _direction(occupation.code, SKILL_DIMENSIONS))]
    return family + _sum(parts + [(weight, _direction(f"skill {s}", SKILL_DIMENSIONS)) for s in skills])


def wanted_work(words: Dictionary, occupation: Occupation, variant: int) -> Vector:
    """What a seeker who wants that occupation, with that variant of skills, looks for."""
    moves = [(MOVE_SHARE, job_work(words, words.occupations[m], 0)) for m in occupation.moves]
    return _sum([(1.0, job_work(words, occupation, variant)), *moves])


def place(region: Region) -> Vector:
    """Where a region is: the inner product of two is near REGION_WEIGHT for the same one, near 0 far apart."""
    north = region.latitude * 111.2
    east = region.longitude * 111.2 * math.cos(math.radians(50.0))
    generator = random.Random(FREQUENCIES)
    vector: Vector = []
    for _ in range(REGION_FREQUENCIES):
        angle = (north * generator.gauss(0, 1) + east * generator.gauss(0, 1)) / REGION_SPREAD_KM
        vector += [math.cos(angle), math.sin(angle)]
    return [math.sqrt(REGION_WEIGHT / REGION_FREQUENCIES) * v for v in vector]


def seeker_latent(work: Column, region: Column, seniority: Column) -> Column:
    """array<float>, from `wanted_work`, `place` and the wanted seniority."""
    s, w = seniority.cast("double"), SENIORITY_WEIGHT
    return F.concat(work, region, _floats(2 * w * s, -w * s * s, F.lit(1.0)))


def job_latent(work: Column, region: Column, remote: Column, seniority: Column, appeal: Column) -> Column:
    """array<float>, from `job_work`, `place`, whether it is remote, its seniority and what makes it good for all."""
    j = seniority.cast("double")
    nowhere = F.array_repeat(F.lit(0.0).cast("float"), 2 * REGION_FREQUENCIES)
    bias = appeal - SENIORITY_WEIGHT * j * j + F.when(remote, REMOTE_AFFINITY).otherwise(0.0)
    return F.concat(work, F.when(remote, nowhere).otherwise(region), _floats(j, F.lit(1.0), bias))


def _floats(*values: Column) -> Column:
    return F.array(*values).cast("array<float>")


def affinity(
    work: tuple[Column, Column],
    region: tuple[Column, Column],
    seniority: tuple[Column, Column],
    remote: Column,
    appeal: Column,
) -> Column:
    """Inner product of `seeker_latent` and `job_latent` from their parts: no vector is put together a row."""
    nearness = F.when(remote, REMOTE_AFFINITY).otherwise(_inner_product(*region))
    step = seniority[0] - seniority[1]
    return _inner_product(*work) + nearness - SENIORITY_WEIGHT * step * step + appeal


def _inner_product(a: Column, b: Column) -> Column:
    return F.call_function("vector_inner_product", a, b).cast("double")
