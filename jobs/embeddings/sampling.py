"""Negatives: drawn from the whole inventory and the target's local market, and where they hit a positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# The market of a job without one; every other number is a market.
NO_MARKET = -1


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
    """Draws of 0 … n-1 with given shares, each at the cost of one look-up however many there are.

    Walker's alias method: n columns of height 1/n, each holding part of one number's share and the rest of
    another's. Inverting the cumulated shares of a million jobs cost more than the whole training step.
    """

    def __init__(self, shares: Floats) -> None:
        self._kept, self._other = _alias_columns(shares * (len(shares) / shares.sum()))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Ints:
        drawn = np.empty(shape, np.int64)
        _look_up(rng.random(shape).ravel(), self._kept, self._other, drawn.reshape(-1))
        return drawn


@njit(cache=True)
def _alias_columns(heights: Floats) -> tuple[Floats, Ints]:
    """By column, how much of it is its own number's, and whose the rest is; `heights` are 1 in the mean."""
    n = len(heights)
    left, other = heights.copy(), np.arange(n)
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    n_low, n_high = 0, 0
    for at in range(n):
        if left[at] < 1.0:
            low[n_low] = at
            n_low += 1
        else:
            high[n_high] = at
            n_high += 1
    while n_low and n_high:
        n_low -= 1
        filled, giver = low[n_low], high[n_high - 1]
        other[filled] = giver
        left[giver] -= 1.0 - left[filled]
        if left[giver] < 1.0:
            n_high -= 1
            low[n_low] = giver
            n_low += 1
    # What is left over is 1 but for rounding; a number of share 0 must not gain by it.
    for at in high[:n_high]:
        left[at] = 1.0
    fullest = np.argmax(heights)
    for at in low[:n_low]:
        other[at] = fullest
    return left, other


@njit(cache=True)
def _look_up(at: Floats, kept: Floats, other: Ints, drawn: Ints) -> None:
    n = len(kept)
    for i in range(len(at)):
        # Rounding may put a draw on n itself.
        column = min(int(at[i] * n), n - 1)
        drawn[i] = column if at[i] * n - column < kept[column] else other[column]


class Markets:
    """Uniform draws among the jobs of the same local market; `has_others` is False without one."""

    def __init__(self, market_of_job: Ints) -> None:
        _, self._market = np.unique(market_of_job, return_inverse=True)
        self._jobs = np.argsort(self._market, kind="stable")
        self._size = np.bincount(self._market)
        self._start = np.cumsum(self._size) - self._size
        # Alone in its market, a job would only draw itself.
        self.has_others = (market_of_job != NO_MARKET) & (self._size[self._market] > 1)

    def draw(self, rng: np.random.Generator, jobs: Ints) -> Ints:
        """One job of the market of each of `jobs`, itself included."""
        market = self._market[jobs]
        return self._jobs[self._start[market] + (rng.random(jobs.shape) * self._size[market]).astype(np.int64)]


@dataclass(frozen=True)
class Negatives:
    """Where negatives come from: the whole inventory, and `local_share` of them the target's market.

    `targets_a_draw` targets in a row share those drawn from the whole inventory: each is pushed away from as
    many, and a step touches fewer jobs (as Ji et al., 2016, Parallelizing Word2Vec).
    """

    everywhere: Frequencies
    markets: Markets
    local_share: float
    targets_a_draw: int = 1

    def draw(self, rng: np.random.Generator, targets: Ints, n_negatives: int) -> Ints:
        """(targets, n_negatives) jobs."""
        shape = (len(targets), n_negatives)
        n_draws = -(-len(targets) // self.targets_a_draw)
        drawn = self.everywhere.draw(rng, (n_draws, n_negatives))
        drawn = np.repeat(drawn, self.targets_a_draw, axis=0)[: len(targets)]
        if self.local_share:
            local = (rng.random(shape) < self.local_share) & self.markets.has_others[targets][:, None]
            drawn[local] = self.markets.draw(rng, np.broadcast_to(targets[:, None], shape)[local])
        return drawn


def refusals_drawn(
    rng: np.random.Generator, refused: Ints, offsets: Ints, chains: Ints, drawn: Ints, share: float
) -> NDArray[np.bool_]:
    """Put jobs that a pair's chain refused into `share` of its negatives, in place; (pairs, negatives) which.

    Chain c refused refused[offsets[c]:offsets[c + 1]], all alike; `chains` (pairs,) and `drawn` (pairs, negatives)
    are of the pairs. A pair whose chain refused nothing keeps its negatives.
    """
    n_refused = (offsets[1:] - offsets[:-1])[chains][:, None]
    own = (rng.random(drawn.shape) < share) & (n_refused > 0)
    places = offsets[chains][:, None] + (rng.random(drawn.shape) * n_refused).astype(np.int64)
    drawn[own] = refused[places[own]]
    return own


class Positives:
    """The jobs of each chain of a batch: a negative that is one of its chain's jobs is none.

    >>> positives = Positives(chain_of_point=np.array([0, 0, 1]), jobs=np.array([4, 2, 3]), n_jobs=5)
    >>> positives.hit(chains=np.array([0, 1]), drawn=np.array([[4, 3], [4, 3]])).tolist()
    [[True, False], [False, True]]
    """

    def __init__(self, chain_of_point: Ints, jobs: Ints, n_jobs: int) -> None:
        keys = np.unique(chain_of_point * n_jobs + jobs)
        n_chains = int(chain_of_point[-1]) + 1 if len(chain_of_point) else 0
        self._jobs, self._starts = keys % n_jobs, np.searchsorted(keys, np.arange(n_chains + 1) * n_jobs)

    def hit(self, chains: Ints, drawn: Ints) -> NDArray[np.bool_]:
        """(pairs, negatives): True where `drawn` is a job of its pair's chain; `chains` is (pairs,)."""
        masked = np.empty(drawn.shape, np.bool_)
        _in_chain(self._jobs, self._starts, chains, drawn, masked)
        return masked


@njit(cache=True)
def _in_chain(jobs: Ints, starts: Ints, chains: Ints, drawn: Ints, masked: NDArray[np.bool_]) -> None:
    for pair in range(len(chains)):
        first, end = starts[chains[pair]], starts[chains[pair] + 1]
        for k in range(drawn.shape[1]):
            low, high, job = first, end, drawn[pair, k]
            while low < high:
                middle = (low + high) // 2
                if jobs[middle] < job:
                    low = middle + 1
                else:
                    high = middle
            masked[pair, k] = low < end and jobs[low] == job
