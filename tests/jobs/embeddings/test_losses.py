"""The losses on literal scores with literal answers, of PyTorch and of the compiled step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from jobs.embeddings.compiled import slopes_and_losses
from jobs.embeddings.losses import negative_sampling_loss, sampled_softmax_loss

LN2 = math.log(2.0)
ALL_COUNT = [[1.0, 1.0]]


def by_torch(positive, negative, cost, count):
    scores = torch.tensor(positive, requires_grad=True), torch.tensor(negative, requires_grad=True)
    loss = negative_sampling_loss(*scores, torch.tensor(cost), torch.tensor(count))
    loss.backward()
    return loss.item(), np.column_stack([score.grad.numpy() for score in scores])


def by_compiled_step(positive, negative, cost, count):
    """The scores as vectors of one dimension, each against a context of 1."""
    n_pairs = len(positive)
    scores = np.concatenate([positive, np.ones(n_pairs), np.ravel(negative)]).astype(np.float32)[:, None]
    slopes, losses = slopes_and_losses(
        np.arange(len(scores)),
        np.array(count, np.float32),
        np.array(cost, np.float32),
        np.float32(1),
        np.float32(0),
        scores,
        np.empty((n_pairs, 1), np.float32),
        np.empty((n_pairs, 1), np.float32),
    )
    return losses.mean(), slopes


@pytest.fixture(params=[by_torch, by_compiled_step])
def loss_and_slopes(request):
    """(positive, negative, cost, count) → the mean loss and (pairs, 1 + negatives) its slopes by the scores."""
    return request.param


def test_scores_of_zero_cost_a_coin_toss_each(loss_and_slopes):
    loss, slopes = loss_and_slopes([0.0], [[0.0, 0.0]], [1.0], ALL_COUNT)
    assert loss == pytest.approx(3 * LN2)
    assert slopes.tolist() == [[-0.5, 0.5, 0.5]]


def test_literal_scores(loss_and_slopes):
    # σ(ln 3) = 3/4, so the positive costs ln 4/3, and of the negatives ln 3 costs ln 4, −ln 3 costs ln 4/3.
    ln3 = math.log(3.0)
    loss, slopes = loss_and_slopes([ln3], [[ln3, -ln3]], [1.0], ALL_COUNT)
    assert loss == pytest.approx(math.log(4 / 3) + math.log(4) + math.log(4 / 3))
    np.testing.assert_allclose(slopes, [[-1 / 4, 3 / 4, 1 / 4]], rtol=1e-6)


def test_cost_weighs_the_positive_alone_and_the_mean_is_over_pairs(loss_and_slopes):
    loss, slopes = loss_and_slopes([0.0, 0.0], [[0.0], [0.0]], [2.0, 0.0], [[1.0], [1.0]])
    assert loss == pytest.approx(((2 * LN2 + LN2) + (0 + LN2)) / 2)
    assert slopes.tolist() == [[-0.5, 0.25], [0.0, 0.25]]


def test_a_collision_costs_nothing_and_is_not_pushed_away(loss_and_slopes):
    loss, slopes = loss_and_slopes([0.0], [[5.0, 0.0]], [1.0], [[0.0, 1.0]])
    assert loss == pytest.approx(2 * LN2)
    assert slopes.tolist() == [[-0.5, 0.0, 0.5]]


def test_a_refused_job_is_pushed_away_as_much_as_it_counts(loss_and_slopes):
    # σ(ln 3) = 3/4: of weight 2 it costs 2 ln 4, and its slope is 2 · 3/4; the drawn one beside it counts once.
    loss, slopes = loss_and_slopes([0.0], [[math.log(3.0), 0.0]], [1.0], [[2.0, 1.0]])
    assert loss == pytest.approx(LN2 + 2 * math.log(4) + LN2)
    np.testing.assert_allclose(slopes, [[-0.5, 1.5, 0.5]], rtol=1e-6)


def test_extreme_scores_stay_finite(loss_and_slopes):
    loss, slopes = loss_and_slopes([-1e4], [[1e4, -1e4]], [1.0], ALL_COUNT)
    assert loss == pytest.approx(2e4)
    assert slopes.tolist() == [[-1.0, 1.0, 0.0]]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\), \(1, 2\), \(2,\), \(1, 2\)"):
        negative_sampling_loss(torch.zeros(2), torch.zeros(1, 2), torch.ones(2), torch.zeros(1, 2))


def test_a_softmax_over_sampled_jobs_costs_the_positives_share():
    scores = torch.log(torch.tensor([[2.0, 5.0, 1.0], [3.0, 1.0, 4.0]]))
    is_none = torch.tensor([[False, False], [True, True]])
    # 2 / (2 + 5 + 1) is a quarter; without negatives the positive has all.
    loss = sampled_softmax_loss(scores[:, 0], scores[:, 1:], is_none)
    assert loss.item() == pytest.approx(math.log(4) / 2)


def test_a_sampled_softmax_of_extreme_scores_and_of_no_negative_has_slopes():
    scores = torch.tensor([[-1e4, 1e4], [0.0, 0.0]], requires_grad=True)
    loss = sampled_softmax_loss(scores[:, 0], scores[:, 1:], torch.tensor([[False], [True]]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert scores.grad.tolist() == [[-0.5, 0.5], [0.0, 0.0]]


def test_samples_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\), \(1, 2\), \(1, 2\)"):
        sampled_softmax_loss(torch.zeros(2), torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
