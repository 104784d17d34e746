"""Hidden preference: the share of the match between a seeker and a job that no field of either tells.

Real boards have it: of two jobs alike in title, region and pay, some people like the one and some the other, for the
employer's tone or what the work is really like, and only what they do says so. Each seeker has a taste and each job a
character, DIMENSIONS normal numbers each that nothing is written from. With f the affinity by fields, of mean m and
deviation s over the jobs that lists show, and at `hidden_share` h

    affinity = m + sqrt(1 - h) * (f - m) + sqrt(h) * s * (taste . character)

so that over those jobs h of its variance is hidden, and mean and variance stay about what they are: actions are as
frequent and as predictable as before, and only what tells them moves. A taste stays when a seeker comes back wanting
another occupation. At 0 nothing is added: the market is, to the byte, that of fields alone.
"""

from __future__ import annotations

import math

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.draws import Draws

# Few, as tastes are; nobody has measured how few.
DIMENSIONS = 4

# Of the affinity by fields of all jobs shown, in a market of 2,000 seekers, 5,000 jobs and 56 days.
SHOWN_MEAN = 2.3
SHOWN_DEVIATION = 2.7


def taste(config: MarketConfig, seeker: Column) -> Column:
    """array<float>; its inner product with a `character` has mean 0 and deviation 1."""
    return _normals(config, "taste", seeker)


def character(config: MarketConfig, job: Column) -> Column:
    """array<float>."""
    return _normals(config, "character", job)


def affinity(by_fields: Column, config: MarketConfig, seeker: Column, job: Column) -> Column:
    """The affinity of seeker and job (their numbers), from what fields make of it."""
    if config.hidden_share == 0:
        return by_fields
    match = F.call_function("vector_inner_product", taste(config, seeker), character(config, job)).cast("double")
    kept, hidden = _weights(config)
    return SHOWN_MEAN * (1.0 - kept) + kept * by_fields + hidden * match


def seeker_latent(by_fields: Column, config: MarketConfig, seeker: Column) -> Column:
    """array<float>: the latent of fields, then 1 and the taste."""
    if config.hidden_share == 0:
        return by_fields
    return F.concat(by_fields, _floats(F.lit(1.0)), taste(config, seeker))


def job_latent(by_fields: Column, config: MarketConfig, job: Column) -> Column:
    """array<float>, whose inner product with a `seeker_latent` is `affinity`."""
    if config.hidden_share == 0:
        return by_fields
    kept, hidden = _weights(config)
    mean = _floats(F.lit(SHOWN_MEAN * (1.0 - kept)))
    return F.concat(_scaled(by_fields, kept), mean, _scaled(character(config, job), hidden))


def _weights(config: MarketConfig) -> tuple[float, float]:
    return math.sqrt(1.0 - config.hidden_share), math.sqrt(config.hidden_share) * SHOWN_DEVIATION


def _scaled(vector: Column, weight: float) -> Column:
    return F.transform(vector, lambda value: (value * F.lit(weight)).cast("float"))


def _normals(config: MarketConfig, stream: str, number: Column) -> Column:
    draws, deviation = Draws(config.seed), DIMENSIONS**-0.25
    return _floats(*[deviation * draws.normal(f"{stream} {k}", number) for k in range(DIMENSIONS)])


def _floats(*values: Column) -> Column:
    return F.array(*values).cast("array<float>")
