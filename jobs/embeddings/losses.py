"""The loss of skip-gram with negatives, as 58.com weights it (SOURCES 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def negative_sampling_loss(positive: Tensor, negative: Tensor, cost: Tensor, masked: Tensor) -> Tensor:
    """Mean over pairs of cost · −log σ(positive) − Σ log σ(−negative), without masked negatives.

    `positive` and `cost` are (pairs,), `negative` and `masked` (pairs, negatives), masked a bool. ValueError
    where the shapes do not fit.
    """
    if positive.shape != cost.shape or negative.shape != masked.shape or negative.shape[:1] != positive.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (positive, negative, cost, masked))
        raise ValueError(f"expected (pairs,), (pairs, negatives), (pairs,), (pairs, negatives); got {shapes}")
    attracted = cost * softplus(-positive)
    repelled = torch.where(masked, 0.0, softplus(negative)).sum(dim=1)
    return (attracted + repelled).mean()
