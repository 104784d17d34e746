"""The steps of training: which jobs attract and repel each other, the same for PyTorch and the compiled step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.pairs import (
    Chains,
    Ints,
    action_windows,
    applied_pairs,
    cost_matrix,
    left_pairs,
    right_pairs,
)
from jobs.embeddings.sampling import (
    Frequencies,
    Markets,
    Negatives,
    Positives,
    negative_shares,
    refusals_drawn,
)

WINDOWS = MappingProxyType({"view": 5, "save": 10, "apply": 20, "call": 20, "message": 20})


@dataclass(frozen=True, kw_only=True)
class SkipGram:
    """What training may vary; `jobs.settings.TrainJobEmbeddings` says what each means."""

    dim: int = 64
    epochs: int = 3
    contexts: str = "both"
    windows: Mapping[str, int] = field(default_factory=lambda: dict(WINDOWS))
    costs: Mapping[str, float] = field(default_factory=dict)
    applied_context: bool = False
    negatives: int = 10
    pairs_a_draw: int = 8
    negative_power: float = 0.75
    inventory_share: float = 0.5
    local_share: float = 0.0
    refused_share: float = 0.0
    refused_weight: float = 1.0
    id_dropout: float = 0.5
    context_weight: float = 0.0
    chain_epochs: int = 2
    chain_negatives: int = 2000
    chain_scale: float = 7.0
    chain_power: float = 0.5
    chain_learning_rate: float = 0.005
    scale: float = 7.0
    learning_rate: float = 0.05
    pairs_a_step: int = 2048
    chains_a_batch: int = 8192
    seed: int = 7
    threads: int = 1
    step: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class Step:
    """What one optimiser step learns from.

    `jobs` (n,) are the distinct jobs of the step, `keeps_id` (n,) whether each is trained with its id.
    `position` (pairs · (2 + negatives),) are places in `jobs`: of the targets, of the contexts, then of the
    negatives, pair by pair. `counts` (pairs, negatives) is what each negative counts, 0 where it is none; `costs`
    (pairs,) what each positive does.
    """

    jobs: Ints
    keeps_id: NDArray[np.bool_]
    position: NDArray[np.int64]
    counts: NDArray[np.float32]
    costs: NDArray[np.float32]

    @property
    def n_pairs(self) -> int:
        return len(self.costs)


class Draws:
    """Random numbers that begin anew with each epoch, and go on from where a checkpoint left them."""

    # What keeps the draws of one kind of steps from being another's.
    kind: tuple[int, ...] = ()

    def __init__(self, options: SkipGram) -> None:
        self._options = options
        self.begin(0)

    def begin(self, epoch: int, part: int = 0, generator: Mapping[str, Any] | None = None) -> None:
        """Draw as of the start of an epoch, for a part of the chains; or go on from the state of a generator."""
        self._rng = np.random.default_rng([self._options.seed, epoch, part, *self.kind])
        if generator:
            self._rng.bit_generator.state = generator

    @property
    def generator(self) -> dict[str, Any]:
        return dict(self._rng.bit_generator.state)


class Steps(Draws):
    """The steps of a batch of chains, their pairs in random order."""

    def __init__(self, corpus: JobCorpus, options: SkipGram) -> None:
        shares = negative_shares(
            corpus.n_actions, power=options.negative_power, inventory_share=options.inventory_share
        )
        everywhere, markets = Frequencies(shares), Markets(corpus.markets)
        self._negatives = Negatives(everywhere, markets, options.local_share, options.pairs_a_draw)
        self._windows, self._costs = action_windows(options.windows), cost_matrix(options.costs)
        self._place = np.full(len(corpus.job_ids), -1, np.int32)
        super().__init__(options)

    def of(self, chains: Chains) -> Iterator[Step]:
        targets, contexts = self.pairs(chains)
        positives = Positives(chains.chain_of_point, chains.jobs, len(self._place))
        order = self._rng.permutation(len(targets))
        for start in range(0, len(order), self._options.pairs_a_step):
            chosen = order[start : start + self._options.pairs_a_step]
            target, context = targets[chosen], contexts[chosen]
            drawn, counts = self._negatives_of(chains, positives, target, context)
            jobs, position = distinct(
                np.concatenate([chains.jobs[target], chains.jobs[context], drawn.ravel()]), self._place
            )
            yield Step(
                jobs=jobs,
                # Without its id, a job is trained as the new job that it once was: most are new when they matter.
                keeps_id=self._rng.random(len(jobs)) >= self._options.id_dropout,
                position=position,
                counts=counts,
                costs=self._costs[chains.actions[target], chains.actions[context]],
            )

    def pairs(self, chains: Chains) -> tuple[Ints, Ints]:
        """(target, context) points of the chains, as the options have it."""
        found, both_sides = [left_pairs(chains, self._windows)], self._options.contexts == "both"
        if both_sides:
            found.append(right_pairs(chains, self._windows))
        if self._options.applied_context:
            found.append(applied_pairs(chains, self._windows, both_sides))
        return np.concatenate([pairs[0] for pairs in found]), np.concatenate([pairs[1] for pairs in found])

    def _negatives_of(
        self, chains: Chains, positives: Positives, target: Ints, context: Ints
    ) -> tuple[Ints, NDArray[np.float32]]:
        """(pairs, negatives) jobs and what each counts: one of its chain's jobs nothing, unless it was refused."""
        options, chain = self._options, chains.chain_of_point[target]
        drawn = self._negatives.draw(self._rng, chains.jobs[target], options.negatives)
        own = None
        if options.refused_share and chains.refused is not None and chains.refused_offsets is not None:
            owner = target if chains.refused_by_point else chain
            own = refusals_drawn(self._rng, chains.refused, chains.refused_offsets, owner, drawn, options.refused_share)
        counts = (~positives.hit(chain, drawn)).astype(np.float32)
        if own is not None:
            counts[own] = options.refused_weight
            # A refused job that the pair itself is of would be pulled and pushed at once, or pushed from itself.
            counts[(drawn == chains.jobs[target][:, None]) | (drawn == chains.jobs[context][:, None])] = 0.0
        return drawn, counts


@njit(cache=True)
def distinct(values: Ints, place: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """The distinct values in order of first sight, and where each value is among them.

    `place` holds -1 for every possible value, before and after: sorting a step's jobs took as long as
    learning from them.

    >>> [array.tolist() for array in distinct(np.array([7, 3, 7]), np.full(8, -1, np.int32))]
    [[7, 3], [0, 1, 0]]
    """
    found, position, n = np.empty(len(values), np.int64), np.empty(len(values), np.int64), 0
    for at in range(len(values)):
        value = values[at]
        if place[value] < 0:
            place[value] = n
            found[n] = value
            n += 1
        position[at] = place[value]
    for at in range(n):
        place[found[at]] = -1
    return found[:n].copy(), position
