"""Skip-gram with negatives over chains: one loop, from Parquet to vectors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.embeddings.compiled import CompiledLearner
from jobs.embeddings.corpus import JobCorpus, chain_batches
from jobs.embeddings.encoder import Adagrad, pooled, random_table
from jobs.embeddings.losses import negative_sampling_loss
from jobs.embeddings.steps import SkipGram, Step, Steps

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Trained:
    """`table` is (rows, dim) float32: the features' rows, then the ids'; `loss` a pair's, last epoch."""

    table: NDArray[np.float32]
    loss: float
    n_pairs: int
    pairs_per_s: float


def train(
    corpus: JobCorpus, uri: str, n_chains: int, options: SkipGram, say: Callable[[str], None] = print
) -> Trained | None:
    """Train on the chains below `uri`; None where they hold no pair of different jobs.

    The same corpus and options give the same table, bit for bit, on one machine: by the compiled step with
    any number of threads, by PyTorch on one thread of a CPU. Memory is the embedding table twice, what
    `JobCorpus` holds, and the pairs of `chains_a_batch` chains.
    """
    learner, steps, progress = _learner(corpus, options), Steps(corpus, options), _Progress(n_chains, options, say)
    n_pairs: int = 0
    # A tensor stays on its device: asking for its value would wait for every step.
    loss_sum: Tensor | float = 0.0
    for _ in range(options.epochs):
        n_pairs, loss_sum = 0, 0.0
        for chains in chain_batches(uri, corpus.job_ids, options.chains_a_batch):
            n_before = n_pairs
            for step in steps.of(chains):
                loss_sum = loss_sum + learner.learn(step) * step.n_pairs
                n_pairs += step.n_pairs
            progress.add(len(chains.offsets) - 1, n_pairs - n_before)
    if not n_pairs:
        return None
    mean_loss = float(loss_sum) / n_pairs
    if not np.isfinite(mean_loss):
        raise FloatingPointError(f"the loss is {mean_loss} after {options.epochs} epochs: lower learning_rate")
    return Trained(np.asarray(learner.table), mean_loss, progress.n_pairs, progress.pairs_per_s)


def _learner(corpus: JobCorpus, options: SkipGram) -> TorchLearner | CompiledLearner:
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    if options.step == "compiled" or (options.step == "auto" and device == "cpu"):
        return CompiledLearner(corpus, options)
    return TorchLearner(corpus, options, torch.device(device))


class TorchLearner:
    """The embedding table and the bias, and how a step changes them.

    One table for targets and contexts, as at 58.com. Vectors are compared by cosine where they serve, so they
    are trained at unit length too: a pair's score is `scale` · cosine + a learnt bias.
    """

    def __init__(self, corpus: JobCorpus, options: SkipGram, device: torch.device) -> None:
        torch.set_num_threads(options.threads)
        self._corpus, self._options, self._device = corpus, options, device
        self._table = random_table(len(corpus.weights), options.dim, options.seed).to(device)
        self._bias = torch.full((1,), -math.log(options.negatives), device=device)
        self._of_table = Adagrad(self._table, options.learning_rate)
        self._of_bias = Adagrad(self._bias, options.learning_rate)

    @property
    def table(self) -> NDArray[np.float32]:
        return self._table.cpu().numpy()

    def learn(self, step: Step) -> Tensor:
        """Take one step; returns the loss before it."""
        rows, offsets = self._corpus.rows.bags(step.jobs, step.keeps_id)
        distinct, rows = np.unique(rows, return_inverse=True)
        touched, weights = self._tensor(distinct), self._tensor(self._corpus.weights[distinct][rows])
        table, bias = self._table[touched].requires_grad_(), self._bias.clone().requires_grad_()
        vectors = pooled(table, self._tensor(rows), self._tensor(offsets), weights)
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
        return torch.from_numpy(array).to(self._device)


class _Progress:
    """A line now and then: share done, pairs a second, time left."""

    def __init__(self, n_chains: int, options: SkipGram, say: Callable[[str], None]) -> None:
        self.n_pairs = 0
        self._n_chains, self._say = n_chains * options.epochs, say
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
