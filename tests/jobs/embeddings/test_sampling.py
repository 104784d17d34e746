"""Negatives: how often each job is drawn, from which market, and which draws are masked."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from jobs.embeddings.pairs import Chains
from jobs.embeddings.sampling import (
    Frequencies,
    Markets,
    Negatives,
    Positives,
    negative_shares,
    refusals_drawn,
)
from jobs.embeddings.steps import SkipGram, Steps
from tests.jobs.embeddings.test_compiled import market

SEED = 20260105
# A wrong sampler fails by orders of magnitude, the right one passes with this seed and 99.9 % of others.
SIGNIFICANCE = 1e-3


def test_shares_are_actions_to_the_power_mixed_with_the_whole_inventory():
    shares = negative_shares(np.array([0, 1, 16]), power=0.75, inventory_share=0.5)
    # 1^0.75 = 1 and 16^0.75 = 8 make 1/9 and 8/9 of one half; a third of the other half each.
    np.testing.assert_allclose(shares, [1 / 6, 1 / 18 + 1 / 6, 8 / 18 + 1 / 6])
    # Power 0: every job that was acted on alike, and no job that was not.
    np.testing.assert_allclose(negative_shares(np.array([0, 1, 16]), power=0.0, inventory_share=0.0), [0, 0.5, 0.5])
    # A board without actions draws uniformly.
    np.testing.assert_allclose(negative_shares(np.zeros(4, np.int64), power=0.75, inventory_share=0.2), [0.25] * 4)


def test_draws_are_as_frequent_as_stated():
    shares = negative_shares(np.array([0, 1, 2, 5, 50, 400]), power=0.75, inventory_share=0.3)
    drawn = Frequencies(shares).draw(np.random.default_rng(SEED), (20_000, 10))
    counts = np.bincount(drawn.ravel(), minlength=6)
    assert chisquare(counts, shares * drawn.size).pvalue > SIGNIFICANCE, f"seed {SEED}"


def test_a_job_of_share_zero_is_never_drawn():
    drawn = Frequencies(np.array([0.0, 0.5, 0.0, 0.5, 0.0])).draw(np.random.default_rng(SEED), (50_000,))
    assert set(drawn.tolist()) == {1, 3}


def test_local_negatives_are_uniform_in_the_market_and_as_many_as_asked():
    # Jobs 0, 2, 4, 6 are one market; 1 and 3 another; 5 knows none; 7 is alone in its own.
    markets = Markets(np.array([9, -4, 9, -4, 9, -1, 9, 5]))
    assert markets.has_others.tolist() == [True, True, True, True, True, False, True, False]
    # Everywhere is job 5 alone, so that what is not 5 was drawn locally.
    everywhere = Frequencies(np.eye(8)[5])
    negatives = Negatives(everywhere, markets, local_share=0.4)
    drawn = negatives.draw(np.random.default_rng(SEED), np.array([0] * 5000 + [1] * 5000 + [5] * 100 + [7] * 100), 8)
    of_0, of_1, of_5, of_7 = np.split(drawn, [5000, 10_000, 10_100])
    assert (of_5 == 5).all()
    assert (of_7 == 5).all()
    counts = np.bincount(of_0.ravel(), minlength=8)
    expected = np.array([0.1, 0, 0.1, 0, 0.1, 0.6, 0.1, 0]) * of_0.size
    assert (counts[expected == 0] == 0).all()
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > SIGNIFICANCE, f"seed {SEED}"
    assert set(of_1.ravel().tolist()) == {1, 3, 5}


def test_a_negative_that_is_a_job_of_the_chain_is_masked():
    positives = Positives(chain_of_point=np.array([0, 0, 0, 1, 1]), jobs=np.array([2, 5, 2, 3, 9]), n_jobs=10)
    drawn = np.array([
        [2, 5, 3, 9],  # the chain's own jobs, whatever their place in it, then the other chain's
        [2, 5, 3, 9],
        [0, 1, 4, 8],  # nobody's
    ])  # fmt: skip
    assert positives.hit(np.array([0, 1, 1]), drawn).tolist() == [
        [True, True, False, False],
        [False, False, True, True],
        [False, False, False, False],
    ]


def test_targets_in_a_row_share_what_is_drawn_from_everywhere_and_nothing_local():
    everywhere, markets = Frequencies(np.full(1000, 1e-3)), Markets(np.arange(1000) % 2)
    rng, targets = np.random.default_rng(SEED), np.arange(5)
    drawn = Negatives(everywhere, markets, 0.0, targets_a_draw=2).draw(rng, targets, 8)
    assert [len(set(map(tuple, drawn[rows].tolist()))) for rows in (slice(0, 2), slice(2, 4), slice(0, 5))] == [1, 1, 3]
    local = Negatives(everywhere, markets, 1.0, targets_a_draw=2).draw(rng, targets, 8)
    assert (local % 2 == (targets % 2)[:, None]).all()


def test_refusals_take_their_share_of_the_negatives_all_alike():
    # chain 0 refused 7, 8 and 9, chain 1 nothing
    drawn = np.zeros((10_000, 8), np.int64)
    chains = np.repeat([0, 1], 5_000)
    own = refusals_drawn(
        np.random.default_rng(SEED), np.array([7, 8, 9]), np.array([0, 3, 3]), chains, drawn, share=0.3
    )
    assert (own == (drawn > 0)).all() and not own[chains == 1].any()
    counts = np.bincount(drawn[chains == 0].ravel(), minlength=10)[[0, 7, 8, 9]]
    assert chisquare(counts, np.array([0.7, 0.1, 0.1, 0.1]) * 40_000).pvalue > SIGNIFICANCE, f"seed {SEED}"


def test_a_refused_job_counts_its_weight_also_where_it_is_of_the_chain_but_not_against_itself():
    corpus, _ = market()
    # one chain of jobs 20, 21 and 22; its seeker refused 21, which they had looked at, and 30, which they had not
    chains = Chains(
        np.array([20, 21, 22]), np.zeros(3, np.int64), np.array([0, 3]), np.array([21, 30]), np.array([0, 2])
    )
    options = SkipGram(
        negatives=200, refused_share=1.0, refused_weight=2.5, contexts="before", pairs_a_step=3, seed=SEED
    )
    [step] = Steps(corpus, options).of(chains)
    jobs = step.jobs[step.position]
    pairs = zip(jobs[:3].tolist(), jobs[3:6].tolist(), jobs[6:].reshape(3, -1), step.counts, strict=True)
    for target, context, drawn, counts in pairs:
        assert set(drawn.tolist()) == {21, 30}
        assert set(counts[drawn == 30].tolist()) == {2.5}
        assert set(counts[drawn == 21].tolist()) == {0.0 if 21 in (target, context) else 2.5}
    assert (22, 20) in {(target, context) for target, context in zip(jobs[:3], jobs[3:6], strict=True)}


def test_what_was_refused_at_a_point_is_a_negative_of_the_pairs_that_it_is_the_target_of():
    corpus, _ = market()
    # at job 20 the seeker left 30, at 21 nothing, at 22 31 and 32
    refused, offsets = np.array([30, 31, 32]), np.array([0, 1, 1, 3])
    chains = Chains(np.array([20, 21, 22]), np.zeros(3, np.int64), np.array([0, 3]), refused, offsets, True)
    options = SkipGram(negatives=200, refused_share=1.0, contexts="both", pairs_a_step=6, seed=SEED)
    [step] = Steps(corpus, options).of(chains)
    jobs = step.jobs[step.position]
    left = {20: {30}, 22: {31, 32}}
    for target, drawn in zip(jobs[:6].tolist(), jobs[12:].reshape(6, -1), strict=True):
        assert set(drawn.tolist()) == left[target] if target in left else len(set(drawn.tolist())) > 10
    assert sorted(jobs[:6].tolist()) == [20, 20, 21, 21, 22, 22]


def test_a_chain_without_points_masks_nothing():
    positives = Positives(chain_of_point=np.array([1, 1]), jobs=np.array([2, 3]), n_jobs=5)
    assert positives.hit(np.array([0, 1]), np.array([[2], [2]])).tolist() == [[False], [True]]
