"""Skip-gram with negatives over chains: one loop, from Parquet to vectors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.embeddings.compiled import CompiledLearner
from jobs.embeddings.contexts import beside_contexts
from jobs.embeddings.corpus import JobCorpus, chain_batches
from jobs.embeddings.encoder import Adagrad, device_of, on_device, pooled_jobs
from jobs.embeddings.losses import negative_sampling_loss
from jobs.embeddings.next_jobs import NextLearner, NextSteps
from jobs.embeddings.pairs import Chains
from jobs.embeddings.state import Checkpoint, Place, State, random_state
from jobs.embeddings.steps import SkipGram, Step, Steps
from jobs.embeddings.team import ALONE, Team

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Trained:
    """Rows of `state` are the features', then the ids'; `loss` is a pair's, last epoch."""

    state: State
    loss: float
    n_pairs: int
    pairs_per_s: float

    @property
    def table(self) -> NDArray[np.float32]:
        return self.state.table


def train(
    corpus: JobCorpus,
    uri: str,
    n_chains: int,
    options: SkipGram,
    say: Callable[[str], None] = print,
    *,
    start: State | None = None,
    checkpoint: Checkpoint | None = None,
    team: Team = ALONE,
) -> Trained | None:
    """Train on the chains below `uri`; None where they hold no pair of different jobs.

    The same corpus, options and `start` give the same table, bit for bit, on one machine: by the compiled step
    with any number of threads, by PyTorch on one thread of a CPU; killed and taken up from its `checkpoint`, too.
    Each of a `team` has its part of the chains, and all end with the same table. Memory is the embedding table
    twice, three times in passes over whole chains (of a team, four and five times), what `JobCorpus` holds, and the
    pairs of `chains_a_batch` chains. FloatingPointError where a loss is no number.
    """
    found = checkpoint.read(say) if checkpoint else None
    state, place = found or (start or random_state(len(corpus.weights), options), Place())
    training = Training(corpus, uri, n_chains, options, say, checkpoint, team)
    n_learnt = pairs_per_s = 0.0
    if place.stage == 0:
        by_pairs = Stage(0, "pairs", options.epochs, "learning_rate", Steps(corpus, options), _learner)
        state, place, progress = training.passed(by_pairs, state, place)
        loss = training.mean_loss(by_pairs, place)
        if loss is None:
            return None
        n_learnt, pairs_per_s = team.summed(progress.n_pairs, progress.pairs_per_s)
        place = Place(stage=1, loss=loss)
    if options.chain_epochs:
        by_chains = next_jobs_stage(corpus, options)
        state, place, _ = training.passed(by_chains, state, place)
        training.mean_loss(by_chains, place)
        # Another training goes on from what pairs have taught.
        state = State(state.table, state.squares, state.bias)
    if options.context_weight:
        state.table = beside_contexts(corpus, uri, options, state.table)
    return Trained(state, place.loss, int(n_learnt), pairs_per_s)


class Learner(Protocol):
    """What changes the state, a step of its own kind at a time."""

    def learn(self, step: Any) -> Tensor | float: ...
    def state(self) -> State: ...


@dataclass(frozen=True)
class Stage:
    """Passes over all chains by steps of one kind, which learn from `unit`.

    `learns` are the arrays of the state that change, all of them where none is named; `rate` is what a loss that is no
    number asks to be lowered.
    """

    number: int
    unit: str
    epochs: int
    rate: str
    steps: Steps | NextSteps
    learner: Callable[[JobCorpus, SkipGram, State], Learner]
    learns: tuple[str, ...] = ()


def next_jobs_stage(corpus: JobCorpus, options: SkipGram) -> Stage:
    """The passes over whole chains, after those by pairs, whose squares and bias stay as they are."""
    steps, learns = NextSteps(corpus, options), ("table", "next_squares")
    return Stage(1, "next jobs", options.chain_epochs, "chain_learning_rate", steps, NextLearner, learns)


@dataclass(frozen=True)
class Training:
    """What all stages go by."""

    corpus: JobCorpus
    uri: str
    n_chains: int
    options: SkipGram
    say: Callable[[str], None]
    checkpoint: Checkpoint | None
    team: Team

    def passed(self, stage: Stage, state: State, place: Place) -> tuple[State, Place, _Progress]:
        """The state after all passes of a stage, from a place on."""
        corpus, options, team, checkpoint = self.corpus, self.options, self.team, self.checkpoint
        learner, steps = stage.learner(corpus, options, state), stage.steps
        progress = _Progress(self.n_chains // team.size, stage.epochs, stage.unit, self.say)
        progress.skip(place.epoch * (self.n_chains // team.size))
        for epoch in range(place.epoch, stage.epochs):
            steps.begin(epoch, team.rank, place.generator if place.batch else None)
            if not place.batch:
                place = Place(stage.number, epoch, loss=place.loss)
            before = learner.state().copy(*stage.learns) if team.size > 1 else None
            batches = chain_batches(self.uri, corpus.job_ids, options.chains_a_batch, team.rank, team.size)
            for number, chains in enumerate(batches):
                if number < place.batch:
                    progress.skip(len(chains.offsets) - 1)
                    continue
                n_pairs, loss_sum = _learnt(learner, steps, chains)
                place = replace(
                    place, batch=number + 1, n_pairs=place.n_pairs + n_pairs, loss_sum=place.loss_sum + loss_sum
                )
                progress.add(len(chains.offsets) - 1, n_pairs)
                if checkpoint and team.size == 1 and checkpoint.is_due:
                    checkpoint.write(learner.state(), replace(place, generator=steps.generator))
            if before is not None:
                learner = stage.learner(corpus, options, team.merged(before, learner.state()))
            place = replace(place, epoch=epoch + 1, batch=0)
            if checkpoint and team.rank == 0 and checkpoint.is_due:
                checkpoint.write(learner.state(), place)
        return learner.state(), place, progress

    def mean_loss(self, stage: Stage, place: Place) -> float | None:
        """Of what the last pass of all processes learnt from; None where that was nothing."""
        n_pairs, loss_sum = self.team.summed(place.n_pairs, place.loss_sum)
        if not n_pairs:
            return None
        if not np.isfinite(loss_sum / n_pairs):
            raise FloatingPointError(f"the loss of {stage.unit} is {loss_sum / n_pairs}: lower {stage.rate}")
        return loss_sum / n_pairs


def _learnt(learner: Learner, steps: Steps | NextSteps, chains: Chains) -> tuple[int, float]:
    """Take the steps of some chains; how many pairs they had, and the sum of their losses."""
    n_pairs: int = 0
    # A tensor stays on its device: asking for its value would wait for every step.
    loss_sum: Tensor | float = 0.0
    for step in steps.of(chains):
        loss_sum = loss_sum + learner.learn(step) * step.n_pairs
        n_pairs += step.n_pairs
    return n_pairs, float(loss_sum)


def _learner(corpus: JobCorpus, options: SkipGram, state: State | None = None) -> Learner:
    device = device_of(options.device)
    state = random_state(len(corpus.weights), options) if state is None else state
    if options.step == "compiled" or (options.step == "auto" and device.type == "cpu"):
        return CompiledLearner(corpus, options, state)
    return TorchLearner(corpus, options, state, device)


class TorchLearner:
    """The embedding table and the bias, and how a step changes them.

    One table for targets and contexts, as at 58.com. Vectors are compared by cosine where they serve, so they
    are trained at unit length too: a pair's score is `scale` · cosine + a learnt bias.
    """

    def __init__(self, corpus: JobCorpus, options: SkipGram, state: State, device: torch.device) -> None:
        torch.set_num_threads(options.threads)
        self._corpus, self._options, self._device = corpus, options, device
        self._table, self._bias = self._tensor(state.table), self._tensor(state.bias[:1])
        self._of_table = Adagrad(self._table, options.learning_rate, self._tensor(state.squares))
        self._of_bias = Adagrad(self._bias, options.learning_rate, self._tensor(state.bias[1:]))

    def state(self) -> State:
        bias = torch.cat([self._bias, self._of_bias.squares])
        return State(self._table.cpu().numpy(), self._of_table.squares.cpu().numpy(), bias.cpu().numpy())

    def learn(self, step: Step) -> Tensor:
        """Take one step; returns the loss before it."""
        touched, table, vectors = pooled_jobs(self._corpus, self._table, step.jobs, step.keeps_id)
        bias = self._bias.clone().requires_grad_()
        loss = self._loss(vectors, bias, self._tensor(step.position), step)
        loss.backward()
        assert table.grad is not None
        assert bias.grad is not None
        self._of_table.step(touched, table.grad)
        self._of_bias.step(torch.zeros(1, dtype=torch.int64, device=self._device), bias.grad)
        return loss.detach().double()

    def _loss(self, vectors: Tensor, bias: Tensor, position: Tensor, step: Step) -> Tensor:
        """Negatives stand in for the target: which job comes after this context, of those that might have."""
        n_pairs, n_negatives = step.counts.shape
        targets, contexts = vectors[position[:n_pairs]], vectors[position[n_pairs : 2 * n_pairs]]
        negatives = vectors[position[2 * n_pairs :]].view(n_pairs, n_negatives, -1)
        scale = self._options.scale
        return negative_sampling_loss(
            scale * (targets * contexts).sum(dim=1) + bias,
            scale * torch.bmm(negatives, contexts[:, :, None])[:, :, 0] + bias,
            self._tensor(step.costs),
            self._tensor(step.counts),
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return on_device(array, self._device)


class _Progress:
    """A line now and then: share done, pairs or what else is learnt from a second, time left."""

    def __init__(self, n_chains: int, epochs: int, unit: str, say: Callable[[str], None]) -> None:
        self.n_pairs = 0
        self._n_chains, self._unit, self._say = n_chains * epochs, unit, say
        self._done, self._skipped, self._started = 0, 0, time.monotonic()
        self._told = self._started

    @property
    def pairs_per_s(self) -> float:
        return self.n_pairs / max(time.monotonic() - self._started, 1e-9)

    def skip(self, n_chains: int) -> None:
        self._done += n_chains
        self._skipped += n_chains

    def add(self, n_chains: int, n_pairs: int) -> None:
        self._done += n_chains
        self.n_pairs += n_pairs
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or self._done >= self._n_chains:
            left = (now - self._started) * max(self._n_chains - self._done, 0) / (self._done - self._skipped)
            share = self._done / self._n_chains
            self._say(f"  {share:4.0%} of the chains, {self.pairs_per_s:,.0f} {self._unit}/s, {left:,.0f} s left")
            self._told = now
