"""What a market is made from, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time

from jobs.errors import ShortlistError

# Raised with every change that gives other rows for the same configuration.
GENERATOR_VERSION = 2


# The ids of lists count a seeker's days up to a thousand.
BOUNDS = (
    ("n_seekers", 1, 1e9),
    ("n_jobs", 1, 1e9),
    ("days", 1, 999),
    ("activity", 0.01, 10),
    ("dirt", 0, 10),
    ("hidden_share", 0, 1),
)


class MarketError(ShortlistError):
    """A market that cannot be made as asked."""


@dataclass(frozen=True, kw_only=True)
class MarketConfig:
    """What the rows of a market depend on: nothing else does, where it is written and how included."""

    n_seekers: int = 2000
    n_jobs: int = 4000  # postings over the whole period; rather more than half are open at a time
    start: date = date(2026, 1, 1)  # first day of activity, UTC
    days: int = 34
    seed: int = 7
    activity: float = 1.0  # lists shown to a seeker, as a share of the usual number
    dirt: float = 1.0  # dirty rows, as a share of the usual number; 0 for none
    hidden_share: float = 0.0  # of the variance of the match between seeker and job, what no field tells (`hidden`)

    def __post_init__(self) -> None:
        for name, least, most in BOUNDS:
            value = getattr(self, name)
            if not least <= value <= most:
                raise MarketError(f"{name}: expected {least:g} to {most:g}, got {value:g}")

    @property
    def start_s(self) -> int:
        """First instant of the period, in epoch seconds."""
        return int(datetime.combine(self.start, time(), UTC).timestamp())

    @property
    def end_s(self) -> int:
        """End of the period, exclusive, in epoch seconds."""
        return self.start_s + self.days * 86400

    def as_json(self) -> dict:
        values = {**asdict(self), "start": self.start.isoformat(), "generator_version": GENERATOR_VERSION}
        if self.hidden_share == 0:
            del values["hidden_share"]  # markets keep the names that they had before there was one
        return values

    @property
    def hash(self) -> str:
        """The name of the configuration: 12 hex digits over its canonical JSON and the generator's version."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
