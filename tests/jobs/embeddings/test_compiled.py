"""The compiled step against PyTorch's, from the same state."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest

from jobs.embeddings.compiled import CompiledLearner
from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.features import JobRows
from jobs.embeddings.pairs import Chains
from jobs.embeddings.state import random_state
from jobs.embeddings.steps import SkipGram, Steps
from jobs.embeddings.training import TorchLearner, _learner

SEED = 11
N_JOBS, N_FEATURES = 60, 9
OPTIONS = SkipGram(
    dim=20,
    costs={"apply/*": 2.0, "view/save": 0.0},
    negatives=4,
    pairs_a_draw=3,
    local_share=0.3,
    refused_share=0.3,
    refused_weight=2.0,
    pairs_a_step=64,
    seed=SEED,
)


def market(has_features=True):
    """Sixty jobs in five markets, ten without an id, feature 0 of weight 0, job 0 with nothing at all; and chains."""
    draw = np.random.default_rng(SEED)
    n_features = draw.integers(0, 4, N_JOBS) * has_features
    n_features[0] = 0
    values = np.concatenate([draw.choice(N_FEATURES, n, replace=False) for n in n_features]).astype(np.int32)
    has_id = (np.arange(N_JOBS) >= 10) & (draw.random(N_JOBS) > 0.1)
    id_rows = np.where(has_id, N_FEATURES + np.cumsum(has_id) - 1, -1)
    weights = np.concatenate([np.linspace(0, 1, N_FEATURES), np.ones(has_id.sum())]).astype(np.float32)
    rows = JobRows(np.concatenate([[0], np.cumsum(n_features)]), values, id_rows)
    jobs = draw.integers(0, N_JOBS, 150)
    n_actions = np.bincount(jobs, minlength=N_JOBS)
    corpus = JobCorpus(
        np.arange(N_JOBS), n_actions, np.arange(N_JOBS) % 5, rows, np.arange(N_FEATURES, dtype=np.int64), weights
    )
    refused = draw.integers(0, N_JOBS, 30)
    return corpus, Chains(jobs, draw.integers(0, 5, 150), np.arange(0, 151, 10), refused, np.arange(0, 31, 2))


def learnt(learner, steps):
    losses = [float(learner.learn(step)) for step in steps]
    return np.array(learner.state().table), losses


@pytest.mark.parametrize("has_features", [True, False])
def test_both_learn_the_same_from_the_same_state(has_features):
    corpus, chains = market(has_features)
    steps = list(Steps(corpus, OPTIONS).of(chains))
    assert any((step.counts == 0).any() for step in steps) and any((step.counts == 2).any() for step in steps)
    assert len(steps[-1].costs) < 64 < sum(len(s.costs) for s in steps)
    start = random_state(len(corpus.weights), OPTIONS).table
    # A weight's first step is of the learning rate's size, whatever the gradient's: one step, then all of them.
    for some in (steps[:1], steps):
        compiled, losses = learnt(_learner(corpus, replace(OPTIONS, step="compiled")), some)
        reference, expected = learnt(_learner(corpus, replace(OPTIONS, step="torch", device="cpu")), some)
        assert np.abs(reference - start).max() > 0.04
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
        np.testing.assert_allclose(compiled, reference, atol=2e-4)
        assert np.median(np.abs(compiled - reference)) < 1e-6


def test_the_table_does_not_depend_on_the_number_of_threads():
    corpus, chains = market()
    tables = {
        learnt(_learner(corpus, replace(OPTIONS, threads=n, device="cpu")), Steps(corpus, OPTIONS).of(chains))[
            0
        ].tobytes()
        for n in (1, 2, 64)
    }
    assert len(tables) == 1
    assert numba.get_num_threads() == min(64, numba.config.NUMBA_NUM_THREADS)


def test_the_cpu_has_the_compiled_step_unless_told_otherwise():
    corpus, _ = market()
    assert isinstance(_learner(corpus, replace(OPTIONS, device="cpu")), CompiledLearner)
    assert isinstance(_learner(corpus, replace(OPTIONS, device="cpu", step="torch")), TorchLearner)
