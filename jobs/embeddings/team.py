"""Several processes that train one model, each on its part of the chains: what they say to each other.

After every epoch all go on from where they began it, moved by the sum of their moves over the root of how many they
are: so much shorter are Adagrad's steps where there are as many more of them. Squares are taken in the mean. Adding
up gradients at every step was rejected: a step touches thousands of rows, and their gradients, at hundreds of steps
a second, are more than a network carries. Means of the tables, means by the squared gradients behind each row's
moves, and sums were tried, and found fewer of the held-out jobs.
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

    def merged(self, before: State, own: State) -> State:
        """What all have learnt since `before`, the same for all of them; may be `own`, changed."""

    def summed(self, *own: float) -> Sequence[float]:
        """The sums of everyone's numbers."""


class _Alone:
    rank, size = 0, 1

    def merged(self, before: State, own: State) -> State:
        return own

    def summed(self, *own: float) -> Sequence[float]:
        return own


ALONE: Team = _Alone()


class Processes:
    """The processes of an open `torch.distributed` group."""

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def merged(self, before: State, own: State) -> State:
        self._move(own.table, before.table, self.size**-0.5)
        if own.next_squares.size:
            # What pairs have taught stays as it is.
            self._move(own.next_squares, before.next_squares, 1 / self.size)
            return own
        self._move(own.squares, before.squares, 1 / self.size)
        self._move(own.bias[:1], before.bias[:1], self.size**-0.5)
        self._move(own.bias[1:], before.bias[1:], 1 / self.size)
        return own

    def _move(self, own: NDArray, before: NDArray, share: float) -> None:
        own -= before
        self._sum(own)
        own *= share
        own += before

    def summed(self, *own: float) -> Sequence[float]:
        return self._sum(np.array(own, np.float64)).tolist()

    def _sum(self, array: NDArray) -> NDArray:
        """Everyone's arrays added up, in place."""
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.from_numpy(array))
        return array
