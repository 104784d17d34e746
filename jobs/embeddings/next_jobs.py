"""Passes over whole chains, after those by pairs: a chain's vector against the job that comes next.

Pairs teach which jobs are met together. What is asked at serving is another question: which job follows, by the
weighted mean of the vectors of all that came before. Here that mean is what learns, as the query of Covington et al.
(2016) does, by a softmax over sampled jobs (Jean et al., 2015). A job's popularity is part of each score as it is, so
that no vector has to say it: what is left to learn is what fits the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.corpus import JobCorpus, chain_batches
from jobs.embeddings.encoder import Adagrad, pooled
from jobs.embeddings.features import ranges
from jobs.embeddings.losses import sampled_softmax_loss
from jobs.embeddings.pairs import Chains, Ints, left_pairs, right_pairs
from jobs.embeddings.state import State
from jobs.embeddings.steps import SkipGram, distinct
from jobs.embeddings.team import ALONE, Team

Floats = NDArray[np.float32]

# What a chain's vector is at serving: must match the defaults of `settings.RetrieveCandidates`.
MAX_ACTIONS, HALF_LIFE_ACTIONS = 50, 10.0
EXAMPLES_A_STEP = 512
# Draws of these passes are no other pass's.
_SEED = 1


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


def learn_next_jobs(
    corpus: JobCorpus,
    uri: str,
    options: SkipGram,
    state: State,
    say: Callable[[str], None] = print,
    team: Team = ALONE,
) -> State:
    """The state after `chain_epochs` passes: its table, maybe changed in place; squares and bias are of the pairs.

    Adagrad starts anew, as another loss's gradients have another size. Of a team, each has its part of the chains.
    FloatingPointError where the loss is no number.
    """
    draws = NextSteps(corpus, options)
    device = torch.device(_device(options))
    # The table is not to depend on how many threads there are: sums over them do.
    torch.set_num_threads(1)
    learnt = State(state.table, np.zeros_like(state.table), np.zeros(2, np.float32))
    for epoch in range(options.chain_epochs):
        draws.begin(epoch, team.rank)
        before = learnt.copy() if team.size > 1 else None
        learner, n_examples, loss_sum = NextLearner(corpus, options, learnt, device), 0, torch.zeros(1)
        for chains in chain_batches(uri, corpus.job_ids, options.chains_a_batch, team.rank, team.size):
            for step in draws.of(chains):
                # A tensor stays on its device: asking for its value would wait for every step.
                loss_sum = loss_sum.to(device) + learner.learn(step) * len(step.targets)
                n_examples += len(step.targets)
        learnt = learner.state()
        mean_loss = float(loss_sum) / max(n_examples, 1)
        if not np.isfinite(mean_loss):
            raise FloatingPointError(f"the loss of next jobs is {mean_loss}: lower chain_learning_rate")
        say(f"  pass {epoch + 1} of {options.chain_epochs} over whole chains: {mean_loss:.3f} a next job")
        if before is not None:
            learnt = team.merged(before, learnt)
    return State(learnt.table, state.squares, state.bias)


def _device(options: SkipGram) -> str:
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return found if options.device == "auto" else options.device


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


class NextSteps:
    """The steps of a batch of chains, their examples in random order."""

    def __init__(self, corpus: JobCorpus, options: SkipGram) -> None:
        self._options = options
        self._known = np.flatnonzero(corpus.n_actions > 0)
        self._place = np.full(len(corpus.job_ids), -1, np.int32)
        self.begin(0)

    def begin(self, epoch: int, part: int = 0) -> None:
        self._rng = np.random.default_rng([self._options.seed, epoch, part, _SEED])

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
    """The embedding table, and how a step changes it."""

    def __init__(self, corpus: JobCorpus, options: SkipGram, state: State, device: torch.device) -> None:
        self._corpus, self._options, self._device = corpus, options, device
        self._table, self._bias = self._tensor(state.table), state.bias
        self._of_table = Adagrad(self._table, options.chain_learning_rate, self._tensor(state.squares))
        self._popularity = options.chain_power * np.log(np.maximum(corpus.n_actions, 1)).astype(np.float32)
        self._n_known = int((corpus.n_actions > 0).sum())

    def state(self) -> State:
        return State(self._table.cpu().numpy(), self._of_table.squares.cpu().numpy(), self._bias)

    def learn(self, step: NextStep) -> Tensor:
        """Take one step; returns the loss before it."""
        rows, offsets = self._corpus.rows.bags(step.jobs, step.keeps_id)
        touched, rows = np.unique(rows, return_inverse=True)
        weights = self._tensor(self._corpus.weights[touched][rows])
        table = self._table[self._tensor(touched)].requires_grad_()
        vectors = pooled(table, self._tensor(rows), self._tensor(offsets), weights)
        loss = self.loss(vectors, step)
        loss.backward()
        assert table.grad is not None
        self._of_table.step(self._tensor(touched), table.grad)
        return loss.detach()

    def loss(self, vectors: Tensor, step: NextStep) -> Tensor:
        """Of `vectors` (jobs of the step, dim)."""
        scale, popularity = self._options.chain_scale, self._tensor(self._popularity[step.jobs])
        targets, negatives = self._tensor(step.targets), self._tensor(step.negatives)
        queries = pooled(vectors, self._tensor(step.contexts), self._tensor(step.offsets), self._tensor(step.weights))
        positive = scale * (queries * vectors[targets]).sum(dim=1) + popularity[targets]
        # drawn alike, each stands for as many jobs as there are for one draw
        stands_for = np.log(self._n_known / len(step.negatives))
        negative = scale * queries @ vectors[negatives].T + popularity[negatives] + stands_for
        return sampled_softmax_loss(positive, negative, self._tensor(step.is_none))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)
