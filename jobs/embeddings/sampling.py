"""Negatives: drawn from the whole inventory and the target's local market, and where they hit a positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def negative_shares(n_actions: Ints, *, power: float, inventory_share: float) -> Floats:
    """How often each job is drawn: by actions^power, and `inventory_share` of it uniformly.

    The uniform part lets jobs that nobody has acted on yet, most of a young inventory, be told apart too.

    >>> negative_shares(np.array([0, 1, 16]), power=0.5, inventory_share=0.25).round(3).tolist()
    [0.083, 0.233, 0.683]
    """
    n_jobs = len(n_actions)
    by_actions = np.where(n_actions > 0, n_actions.astype(np.float64) ** power, 0.0)
    total = by_actions.sum()
    if total == 0:
        return np.full(n_jobs, 1 / n_jobs)
    return (1 - inventory_share) * by_actions / total + inventory_share / n_jobs


class Frequencies:
    """Draws of 0 … n-1 with given shares, by inversion of the cumulated ones."""

    def __init__(self, shares: Floats) -> None:
        self._cumulated = np.cumsum(shares)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Ints:
        at = rng.random(shape) * self._cumulated[-1]
        # Rounding may put a draw on the total itself.
        return np.minimum(np.searchsorted(self._cumulated, at, side="right"), len(self._cumulated) - 1)


class Markets:
    """Uniform draws among the jobs of the same local market. Below 0 is no market: `has_others` is False."""

    def __init__(self, market_of_job: Ints) -> None:
        _, self._market = np.unique(market_of_job, return_inverse=True)
        self._jobs = np.argsort(self._market, kind="stable")
        self._size = np.bincount(self._market)
        self._start = np.cumsum(self._size) - self._size
        # Alone in its market, a job would only draw itself.
        self.has_others = (market_of_job >= 0) & (self._size[self._market] > 1)

    def draw(self, rng: np.random.Generator, jobs: Ints) -> Ints:
        """One job of the market of each of `jobs`, itself included."""
        market = self._market[jobs]
        return self._jobs[self._start[market] + (rng.random(jobs.shape) * self._size[market]).astype(np.int64)]


@dataclass(frozen=True)
class Negatives:
    """Where negatives come from: the whole inventory, and `local_share` of them the target's market."""

    everywhere: Frequencies
    markets: Markets
    local_share: float

    def draw(self, rng: np.random.Generator, targets: Ints, n_negatives: int) -> Ints:
        """(targets, n_negatives) jobs."""
        shape = (len(targets), n_negatives)
        drawn = self.everywhere.draw(rng, shape)
        local = (rng.random(shape) < self.local_share) & self.markets.has_others[targets][:, None]
        drawn[local] = self.markets.draw(rng, np.broadcast_to(targets[:, None], shape)[local])
        return drawn


class Positives:
    """The jobs of each chain of a batch: a negative that is one of its chain's jobs is none.

    >>> positives = Positives(chain_of_point=np.array([0, 0, 1]), jobs=np.array([4, 2, 3]), n_jobs=5)
    >>> positives.hit(chains=np.array([0, 1]), drawn=np.array([[4, 3], [4, 3]])).tolist()
    [[True, False], [False, True]]
    """

    def __init__(self, chain_of_point: Ints, jobs: Ints, n_jobs: int) -> None:
        self._n_jobs = n_jobs
        self._keys = np.unique(chain_of_point * n_jobs + jobs)

    def hit(self, chains: Ints, drawn: Ints) -> NDArray[np.bool_]:
        """(pairs, negatives): True where `drawn` is a job of its pair's chain; `chains` is (pairs,)."""
        keys = chains[:, None] * self._n_jobs + drawn
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._keys[at] == keys
