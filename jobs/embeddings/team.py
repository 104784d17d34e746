"""Several processes that train one model, each on its part of the chains: what they say to each other.

After every epoch each goes on from the mean of all tables, and of their squares. Adding up gradients at every step
was rejected: a step touches thousands of rows, and their gradients, at hundreds of steps a second, are more than a
network carries. Means by the squared gradients behind each row's moves, and sums of the moves, were tried: both
found fewer of the held-out jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jobs.embeddings.state import State


class Team(Protocol):
    """`rank` is this process's number, of `size`."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...

    def merged(self, own: State) -> State:
        """What all have learnt, the same for all of them; may be `own`, changed."""

    def summed(self, *own: float) -> Sequence[float]:
        """The sums of everyone's numbers."""


class _Alone:
    rank, size = 0, 1

    def merged(self, own: State) -> State:
        return own

    def summed(self, *own: float) -> Sequence[float]:
        return own


ALONE: Team = _Alone()


class Processes:
    """The processes of an open `torch.distributed` group."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def merged(self, own: State) -> State:
        for array in (own.table, own.squares, own.bias):
            self._sum(array)
            array /= self.size
        return own

    def summed(self, *own: float) -> Sequence[float]:
        return self._sum(np.array(own, np.float64)).tolist()

    def _sum(self, array: NDArray) -> NDArray:
        """Everyone's arrays added up, in place."""
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.from_numpy(array))
        return array
