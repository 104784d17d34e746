"""Passes over whole chains, after those by pairs: a chain's vector against the job that comes next.

Pairs teach which jobs are met together. What is asked at serving is another question: which job follows, by the
weighted mean of the vectors of all that came before. Here that mean is what learns, as the query of Covington et al.
(2016) does, by a softmax over sampled jobs (Jean et al., 2015). A job's popularity is part of each score as it is, so
that no vector has to say it: what is left to learn is what fits the chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.encoder import Adagrad, device_of, on_device, pooled, pooled_jobs
from jobs.embeddings.features import ranges
from jobs.embeddings.losses import sampled_softmax_loss
from jobs.embeddings.pairs import Chains, Ints, left_pairs, right_pairs
from jobs.embeddings.state import State
from jobs.embeddings.steps import Draws, SkipGram, distinct

Floats = NDArray[np.float32]

# What a chain's vector is at serving: must match the defaults of `settings.RetrieveCandidates`.
MAX_ACTIONS, HALF_LIFE_ACTIONS = 50, 10.0
EXAMPLES_A_STEP = 512


@dataclass(frozen=True)
class Examples:
    """Example e asks for the job of point targets[e] by the points contexts[starts[e]:starts[e] + lengths[e]].

    `weights` float32 are of the contexts.
    """

    targets: Ints
    starts: Ints
    lengths: Ints
    contexts: Ints
    weights: Floats


@dataclass(frozen=True)
class NextStep:
    """What one step learns from. `jobs` (n,) are distinct, `keeps_id` (n,) whether each is trained with its id.

    All else are places in `jobs`: `contexts`, with their `weights`, of example e from offsets[e] to offsets[e + 1];
    `targets` (examples,); `negatives` (negatives,), which all examples share but where `is_none` (examples, negatives).
    """

    jobs: Ints
    keeps_id: NDArray[np.bool_]
    contexts: Ints
    offsets: Ints
    weights: Floats
    targets: Ints
    negatives: Ints
    is_none: NDArray[np.bool_]

    @property
    def n_pairs(self) -> int:
        """Of a chain and its next job."""
        return len(self.targets)


def chain_examples(chains: Chains, both_sides: bool) -> Examples:
    """Each point by those before it and, with `both_sides`, by those after it: a chain read backwards.

    At most the nearest `MAX_ACTIONS`, each counting half as much every `HALF_LIFE_ACTIONS`. A job is not asked for by
    itself, and a point without another job on that side is not asked for.

    >>> chains = Chains(np.array([7, 8, 7, 5]), np.zeros(4, np.int64), np.array([0, 3, 4]))
    >>> found = chain_examples(chains, both_sides=True)
    >>> [array.tolist() for array in (found.targets, found.starts, found.lengths, found.contexts)]
    [[1, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1], [0, 1, 2, 1]]
    """
    windows = np.full(len(CHAIN_ACTIONS), MAX_ACTIONS)
    sides = [left_pairs(chains, windows)] + ([right_pairs(chains, windows)] if both_sides else [])
    firsts = [np.flatnonzero(np.diff(targets, prepend=-1)) for targets, _ in sides]
    n_left = len(sides[0][0])
    targets, contexts = (np.concatenate(points) for points in zip(*sides, strict=True))
    starts = np.concatenate([first + n_left * side for side, first in enumerate(firsts)])
    ages = np.abs(targets - contexts) - 1
    weights = (0.5 ** (ages / HALF_LIFE_ACTIONS)).astype(np.float32)
    return Examples(targets[starts], starts, np.diff(starts, append=len(targets)), contexts, weights)


class NextSteps(Draws):
    """The steps of a batch of chains, their examples in random order."""

    kind = (1,)

    def __init__(self, corpus: JobCorpus, options: SkipGram) -> None:
        self._known = np.flatnonzero(corpus.n_actions > 0)
        self._place = np.full(len(corpus.job_ids), -1, np.int32)
        super().__init__(options)

    def of(self, chains: Chains) -> Iterator[NextStep]:
        examples = chain_examples(chains, self._options.contexts == "both")
        n_negatives = min(self._options.chain_negatives, len(self._known))
        order = self._rng.permutation(len(examples.targets))
        for start in range(0, len(order), EXAMPLES_A_STEP):
            chosen = order[start : start + EXAMPLES_A_STEP]
            target, lengths = examples.targets[chosen], examples.lengths[chosen]
            places = ranges(examples.starts[chosen], lengths)
            drawn = self._rng.choice(self._known, n_negatives, replace=False, shuffle=False)
            jobs, position = distinct(
                np.concatenate([chains.jobs[examples.contexts[places]], chains.jobs[target], drawn]), self._place
            )
            contexts, targets, negatives = np.split(position, [len(places), len(places) + len(target)])
            yield NextStep(
                jobs=jobs,
                keeps_id=self._rng.random(len(jobs)) >= self._options.id_dropout,
                contexts=contexts,
                offsets=np.concatenate([[0], np.cumsum(lengths)]),
                weights=examples.weights[places],
                targets=targets,
                negatives=negatives,
                is_none=self._of_own_chain(chains, target, drawn),
            )

    def _of_own_chain(self, chains: Chains, target: Ints, drawn: Ints) -> NDArray[np.bool_]:
        """(targets, drawn): whether a job that was drawn is one of the target's chain."""
        chain = chains.chain_of_point[target]
        lengths = chains.offsets[chain + 1] - chains.offsets[chain]
        self._place[drawn] = np.arange(len(drawn))
        column = self._place[chains.jobs[ranges(chains.offsets[chain], lengths)]]
        self._place[drawn] = -1
        found = np.zeros((len(target), len(drawn)), np.bool_)
        is_drawn = column >= 0
        found[np.repeat(np.arange(len(target)), lengths)[is_drawn], column[is_drawn]] = True
        return found


class NextLearner:
    """The embedding table, and how a step changes it.

    Adagrad starts anew, as another loss's gradients have another size; the squares and the bias of the pairs stay.
    """

    def __init__(self, corpus: JobCorpus, options: SkipGram, state: State) -> None:
        # The table is not to depend on how many threads there are: sums over them do.
        torch.set_num_threads(1)
        self._corpus, self._options, self._pairs = corpus, options, state
        self._device = device_of(options.device)
        self._table = on_device(state.table, self._device)
        squares = state.next_squares if len(state.next_squares) else np.zeros_like(state.table)
        self._of_table = Adagrad(self._table, options.chain_learning_rate, on_device(squares, self._device))
        self._popularity = options.chain_power * np.log(np.maximum(corpus.n_actions, 1)).astype(np.float32)
        self._n_known = int((corpus.n_actions > 0).sum())

    def state(self) -> State:
        table, squares = self._table.cpu().numpy(), self._of_table.squares.cpu().numpy()
        return replace(self._pairs, table=table, next_squares=squares)

    def learn(self, step: NextStep) -> Tensor:
        """Take one step; returns the loss before it."""
        touched, table, vectors = pooled_jobs(self._corpus, self._table, step.jobs, step.keeps_id)
        loss = self.loss(vectors, step)
        loss.backward()
        assert table.grad is not None
        self._of_table.step(touched, table.grad)
        return loss.detach().double()

    def loss(self, vectors: Tensor, step: NextStep) -> Tensor:
        """Of `vectors` (jobs of the step, dim)."""
        scale, on = self._options.chain_scale, partial(on_device, device=self._device)
        popularity, targets, negatives = on(self._popularity[step.jobs]), on(step.targets), on(step.negatives)
        queries = pooled(vectors, on(step.contexts), on(step.offsets), on(step.weights))
        positive = scale * (queries * vectors[targets]).sum(dim=1) + popularity[targets]
        # drawn alike, each stands for as many jobs as there are for one draw
        stands_for = np.log(self._n_known / len(step.negatives))
        negative = scale * queries @ vectors[negatives].T + popularity[negatives] + stands_for
        return sampled_softmax_loss(positive, negative, on(step.is_none))
