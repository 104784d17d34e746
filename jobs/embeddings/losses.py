"""The losses: skip-gram with negatives, as 58.com weights it (SOURCES 1), and a softmax over sampled jobs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def negative_sampling_loss(positive: Tensor, negative: Tensor, cost: Tensor, count: Tensor) -> Tensor:
    """Mean over pairs of cost · −log σ(positive) − Σ count · log σ(−negative).

    `positive` and `cost` are (pairs,), `negative` and `count` (pairs, negatives): a negative of count 0 is none.
    ValueError where the shapes do not fit.
    """
    if positive.shape != cost.shape or negative.shape != count.shape or negative.shape[:1] != positive.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (positive, negative, cost, count))
        raise ValueError(f"expected (pairs,), (pairs, negatives), (pairs,), (pairs, negatives); got {shapes}")
    attracted = cost * softplus(-positive)
    repelled = (count * softplus(negative)).sum(dim=1)
    return (attracted + repelled).mean()


def sampled_softmax_loss(positive: Tensor, negative: Tensor, is_none: Tensor) -> Tensor:
    """Mean over examples of −log(e^positive / (e^positive + Σ e^negative)), each negative that is none left out.

    `positive` is (examples,), `negative` and the bools `is_none` (examples, negatives). ValueError where the shapes do
    not fit.
    """
    if negative.shape != is_none.shape or negative.shape[:1] != positive.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (positive, negative, is_none))
        raise ValueError(f"expected (examples,), (examples, negatives), (examples, negatives); got {shapes}")
    scores = torch.cat([positive[:, None], negative.masked_fill(is_none, -torch.inf)], dim=1)
    return (torch.logsumexp(scores, dim=1) - positive).mean()
