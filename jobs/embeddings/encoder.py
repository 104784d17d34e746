"""A job's vector from its rows of the embedding table: 58.com's average pool (SOURCES 1), at unit length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

if TYPE_CHECKING:
    from jobs.embeddings.corpus import JobCorpus
    from jobs.embeddings.pairs import Ints


def random_table(n_rows: int, dim: int, seed: int) -> Tensor:
    """(n_rows, dim) float32 of random directions, of length 1 or so.

    They nearly keep the cosines of the weighted terms: training starts from the similarity of terms.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(n_rows, dim).normal_(0.0, 1 / math.sqrt(dim), generator=generator)


def pooled(table: Tensor, rows: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """(bags, dim) unit vectors of bags of rows; zeros for an empty bag.

    `rows` (n,) of `table`, with `weights` (n,) in the mean; `offsets` (bags + 1,). A weighted mean and a
    weighted sum have the same direction: the sum it is.
    """
    sums = embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)
    return normalize(sums, dim=1)


def pooled_jobs(
    corpus: JobCorpus, table: Tensor, jobs: Ints, keeps_id: NDArray[np.bool_]
) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct rows that the jobs are pooled from, those rows of the table as a leaf, and (jobs, dim) vectors.

    `keeps_id` (jobs,) says whether each has its id among its rows.
    """
    rows, offsets = corpus.rows.bags(jobs, keeps_id)
    distinct, places = np.unique(rows, return_inverse=True)
    bags = (places, offsets, corpus.weights[distinct][places])
    touched = on_device(distinct, table.device)
    leaf = table[touched].requires_grad_()
    return touched, leaf, pooled(leaf, *(on_device(array, table.device) for array in bags))


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def device_of(name: str) -> torch.device:
    """The device of a name, "auto" being the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


class Adagrad:
    """Adagrad (Duchi et al., 2011) on some rows of a parameter at a time, changed in place.

    A step costs what its rows cost, however long the table. torch's own, on sparse gradients, spends more on
    merging repeated rows than this on the whole step.
    """

    def __init__(self, parameter: Tensor, learning_rate: float, squares: Tensor | None = None) -> None:
        self._parameter, self._learning_rate = parameter, learning_rate
        self.squares = torch.zeros_like(parameter) if squares is None else squares

    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """`gradient` is of parameter[rows]; `rows` are distinct."""
        squares = self.squares[rows] + gradient**2
        self.squares[rows] = squares
        self._parameter[rows] -= self._learning_rate * gradient / (squares.sqrt() + 1e-10)
