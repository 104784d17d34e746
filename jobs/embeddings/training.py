"""Skip-gram with negatives over chains: one loop, from Parquet to vectors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.embeddings.corpus import JobCorpus, chain_batches
from jobs.embeddings.encoder import Adagrad, pooled, random_table
from jobs.embeddings.losses import negative_sampling_loss
from jobs.embeddings.pairs import Chains, Ints, action_windows, cost_matrix, left_pairs
from jobs.embeddings.sampling import Frequencies, Markets, Negatives, Positives, negative_shares

WINDOWS = MappingProxyType({"view": 5, "save": 10, "apply": 20, "call": 20, "message": 20})
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class SkipGram:
    """What training may vary; `jobs.settings.TrainJobEmbeddings` says what each means."""

    dim: int = 64
    epochs: int = 6
    windows: Mapping[str, int] = field(default_factory=lambda: WINDOWS)
    costs: Mapping[str, float] = field(default_factory=dict)
    negatives: int = 10
    negative_power: float = 0.75
    inventory_share: float = 0.5
    local_share: float = 0.0
    id_dropout: float = 0.5
    scale: float = 7.0
    learning_rate: float = 0.05
    pairs_a_step: int = 2048
    chains_a_batch: int = 8192
    seed: int = 7
    threads: int = 1
    device: str = "auto"


@dataclass(frozen=True)
class Trained:
    """`table` is (rows, dim) float32: the features' rows, then the ids'; `loss` a pair's, last epoch."""

    table: NDArray[np.float32]
    loss: float
    n_pairs: int
    pairs_per_s: float


@dataclass(frozen=True)
class _Step:
    """Jobs of one optimiser step: targets and contexts (pairs,), negatives and masked (pairs, negatives)."""

    targets: Ints
    contexts: Ints
    negatives: Ints
    masked: NDArray[np.bool_]
    costs: NDArray[np.float32]


def train(
    corpus: JobCorpus, uri: str, n_chains: int, options: SkipGram, say: Callable[[str], None] = print
) -> Trained | None:
    """Train on the chains below `uri`; None where they hold no pair of different jobs.

    On one thread of a CPU, the same corpus and options give the same table, bit for bit. Memory is the
    embedding table twice, what `JobCorpus` holds, and the pairs of `chains_a_batch` chains.
    """
    device = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    )
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    learner = _Learner(corpus, rng, options, device)
    steps, progress = _Steps(corpus, rng, options), _Progress(n_chains * options.epochs, say)
    n_pairs, loss_sum = 0, torch.zeros(())
    for _ in range(options.epochs):
        n_pairs, loss_sum = 0, torch.zeros((), dtype=torch.float64, device=device)
        for chains in chain_batches(uri, corpus.job_ids, options.chains_a_batch):
            n_before = n_pairs
            for step in steps.of(chains):
                loss_sum += learner.learn(step) * len(step.targets)
                n_pairs += len(step.targets)
            progress.add(len(chains.offsets) - 1, n_pairs - n_before)
    if not n_pairs:
        return None
    mean_loss = float(loss_sum) / n_pairs
    if not np.isfinite(mean_loss):
        raise FloatingPointError(f"the loss is {mean_loss} after {options.epochs} epochs: lower learning_rate")
    return Trained(learner.table.cpu().numpy(), mean_loss, progress.n_pairs, progress.pairs_per_s)


class _Steps:
    """The steps of a batch of chains, their pairs in random order."""

    def __init__(self, corpus: JobCorpus, rng: np.random.Generator, options: SkipGram) -> None:
        shares = negative_shares(
            corpus.n_actions, power=options.negative_power, inventory_share=options.inventory_share
        )
        self._negatives = Negatives(Frequencies(shares), Markets(corpus.markets), options.local_share)
        self._windows, self._costs = action_windows(options.windows), cost_matrix(options.costs)
        self._n_jobs, self._rng, self._options = len(corpus.job_ids), rng, options

    def of(self, chains: Chains) -> Iterator[_Step]:
        targets, contexts = left_pairs(chains, self._windows)
        positives = Positives(chains.chain_of_point, chains.jobs, self._n_jobs)
        order = self._rng.permutation(len(targets))
        for start in range(0, len(order), self._options.pairs_a_step):
            chosen = order[start : start + self._options.pairs_a_step]
            target, context = targets[chosen], contexts[chosen]
            drawn = self._negatives.draw(self._rng, chains.jobs[target], self._options.negatives)
            yield _Step(
                targets=chains.jobs[target],
                contexts=chains.jobs[context],
                negatives=drawn,
                masked=positives.hit(chains.chain_of_point[target], drawn),
                costs=self._costs[chains.actions[target], chains.actions[context]],
            )


class _Learner:
    """The embedding table and the bias, and how a step changes them.

    One table for targets and contexts, as at 58.com. Vectors are compared by cosine where they serve, so they
    are trained at unit length too: a pair's score is `scale` · cosine + a learnt bias.
    """

    def __init__(self, corpus: JobCorpus, rng: np.random.Generator, options: SkipGram, device: torch.device) -> None:
        self._corpus, self._rng, self._options, self._device = corpus, rng, options, device
        self.table = random_table(len(corpus.weights), options.dim, options.seed).to(device)
        self._bias = torch.full((1,), -math.log(options.negatives), device=device)
        self._of_table = Adagrad(self.table, options.learning_rate)
        self._of_bias = Adagrad(self._bias, options.learning_rate)

    def learn(self, step: _Step) -> Tensor:
        """Take one step; returns the loss before it."""
        jobs, position = np.unique(
            np.concatenate([step.targets, step.contexts, step.negatives.ravel()]), return_inverse=True
        )
        # Without its id, a job is trained as the new job that it once was: most are new when they matter.
        keeps_id = self._rng.random(len(jobs)) >= self._options.id_dropout
        rows, offsets = self._corpus.rows.bags(jobs, keeps_id)
        distinct, rows = np.unique(rows, return_inverse=True)
        touched, weights = self._tensor(distinct), self._tensor(self._corpus.weights[distinct][rows])
        table, bias = self.table[touched].requires_grad_(), self._bias.clone().requires_grad_()
        vectors = pooled(table, self._tensor(rows), self._tensor(offsets), weights)
        loss = self._loss(vectors, bias, self._tensor(position), step)
        loss.backward()
        assert table.grad is not None
        assert bias.grad is not None
        self._of_table.step(touched, table.grad)
        self._of_bias.step(torch.zeros(1, dtype=torch.int64, device=self._device), bias.grad)
        return loss.detach()

    def _loss(self, vectors: Tensor, bias: Tensor, position: Tensor, step: _Step) -> Tensor:
        """Negatives stand in for the target: which job comes after this context, of those that might have."""
        n_pairs, n_negatives = step.negatives.shape
        targets, contexts = vectors[position[:n_pairs]], vectors[position[n_pairs : 2 * n_pairs]]
        negatives = vectors[position[2 * n_pairs :]].view(n_pairs, n_negatives, -1)
        scale = self._options.scale
        return negative_sampling_loss(
            scale * (targets * contexts).sum(dim=1) + bias,
            scale * torch.bmm(negatives, contexts[:, :, None])[:, :, 0] + bias,
            self._tensor(step.costs),
            self._tensor(step.masked),
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


class _Progress:
    """A line now and then: share done, pairs a second, time left."""

    def __init__(self, n_chains: int, say: Callable[[str], None]) -> None:
        self.n_pairs = 0
        self._n_chains, self._say = n_chains, say
        self._done, self._started = 0, time.monotonic()
        self._told = self._started

    @property
    def pairs_per_s(self) -> float:
        return self.n_pairs / max(time.monotonic() - self._started, 1e-9)

    def add(self, n_chains: int, n_pairs: int) -> None:
        self._done += n_chains
        self.n_pairs += n_pairs
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or self._done == self._n_chains:
            left = (now - self._started) * (self._n_chains / self._done - 1)
            share = self._done / self._n_chains
            self._say(f"  {share:4.0%} of the chains, {self.pairs_per_s:,.0f} pairs/s, {left:,.0f} s left")
            self._told = now
