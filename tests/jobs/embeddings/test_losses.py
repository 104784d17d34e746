"""The loss on literal scores with literal answers."""

from __future__ import annotations

import math

import pytest
import torch

from jobs.embeddings.losses import negative_sampling_loss

LN2 = math.log(2.0)
NONE_MASKED = torch.zeros(1, 2, dtype=torch.bool)


def test_scores_of_zero_cost_a_coin_toss_each():
    loss = negative_sampling_loss(torch.zeros(1), torch.zeros(1, 2), torch.ones(1), NONE_MASKED)
    assert loss.item() == pytest.approx(3 * LN2)


def test_literal_scores():
    # σ(ln 3) = 3/4, so the positive costs ln 4/3, and of the negatives ln 3 costs ln 4, −ln 3 costs ln 4/3.
    ln3 = math.log(3.0)
    loss = negative_sampling_loss(torch.tensor([ln3]), torch.tensor([[ln3, -ln3]]), torch.ones(1), NONE_MASKED)
    assert loss.item() == pytest.approx(math.log(4 / 3) + math.log(4) + math.log(4 / 3))


def test_cost_weighs_the_positive_alone_and_the_mean_is_over_pairs():
    cost = torch.tensor([2.0, 0.0])
    loss = negative_sampling_loss(torch.zeros(2), torch.zeros(2, 1), cost, torch.zeros(2, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(((2 * LN2 + LN2) + (0 + LN2)) / 2)


def test_a_collision_costs_nothing_and_is_not_pushed_away():
    negative = torch.tensor([[5.0, 0.0]], requires_grad=True)
    masked = torch.tensor([[True, False]])
    loss = negative_sampling_loss(torch.zeros(1), negative, torch.ones(1), masked)
    loss.backward()
    assert loss.item() == pytest.approx(2 * LN2)
    assert negative.grad.tolist() == [[0.0, 0.5]]


def test_extreme_scores_stay_finite():
    loss = negative_sampling_loss(torch.tensor([-1e4]), torch.tensor([[1e4, -1e4]]), torch.ones(1), NONE_MASKED)
    assert loss.item() == pytest.approx(2e4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\), \(1, 2\), \(2,\), \(1, 2\)"):
        negative_sampling_loss(torch.zeros(2), torch.zeros(1, 2), torch.ones(2), NONE_MASKED)
