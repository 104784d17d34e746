"""Chains against the jobs that come next: literal examples and losses, and what passes over a planted world teach."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs.embeddings.next_jobs import (
    HALF_LIFE_ACTIONS,
    MAX_ACTIONS,
    NextLearner,
    NextStep,
    NextSteps,
    chain_examples,
)
from jobs.embeddings.pairs import Chains
from jobs.embeddings.state import Place, random_state
from jobs.embeddings.steps import SkipGram
from jobs.embeddings.team import ALONE
from jobs.embeddings.training import Training, next_jobs_stage
from jobs.settings import RetrieveCandidates
from tests.jobs.embeddings.test_compiled import market
from tests.jobs.embeddings.test_training import N_WARM, OPTIONS, corpus_of, island, vectors_of, write_world


def chains_of(*jobs):
    offsets = np.concatenate([[0], np.cumsum([len(chain) for chain in jobs])])
    return Chains(np.concatenate(jobs), np.zeros(offsets[-1], np.int64), offsets)


def contexts_of(examples, at):
    return examples.contexts[examples.starts[at] : examples.starts[at] + examples.lengths[at]].tolist()


def test_a_chain_is_weighed_as_retrieval_weighs_it():
    serving = RetrieveCandidates()
    assert (serving.max_actions, serving.half_life_actions) == (MAX_ACTIONS, HALF_LIFE_ACTIONS)


def test_a_job_is_asked_for_by_all_before_it_the_nearest_counting_most():
    examples = chain_examples(chains_of(np.arange(12), np.array([20])), both_sides=False)
    assert examples.targets.tolist() == list(range(1, 12))
    assert contexts_of(examples, 10) == list(range(10, -1, -1))
    # the eleventh action back is ten after the first: half of it
    weights = examples.weights[examples.starts[10] :]
    assert (weights[0], weights[10]) == (1.0, 0.5)


def test_no_more_actions_than_a_query_has():
    examples = chain_examples(chains_of(np.arange(MAX_ACTIONS + 5)), both_sides=True)
    assert examples.lengths.max() == MAX_ACTIONS
    assert len(examples.targets) == 2 * (MAX_ACTIONS + 4)


def test_no_chains_ask_for_nothing():
    examples = chain_examples(chains_of(np.array([3]), np.array([4, 4])), both_sides=True)
    assert [len(values) for values in vars(examples).values()] == [0] * 5


def test_what_is_drawn_of_an_examples_own_chain_is_no_negative():
    corpus, chains = market()
    options = SkipGram(chain_negatives=1000, id_dropout=0.0)
    steps = NextSteps(corpus, options)
    n_known = int((corpus.n_actions > 0).sum())
    n_examples = 0
    for step in steps.of(chains):
        n_examples += len(step.targets)
        # no more are drawn than there are, each once, and none that nobody acted on
        drawn = step.jobs[step.negatives]
        assert len(set(drawn.tolist())) == len(drawn) == n_known
        assert corpus.n_actions[drawn].min() > 0
        for example, target in enumerate(step.jobs[step.targets].tolist()):
            own = set(drawn[step.is_none[example]].tolist())
            contexts = step.jobs[step.contexts[step.offsets[example] : step.offsets[example + 1]]]
            assert {target, *contexts.tolist()} <= own
            assert any(own == set(chains.jobs[a : a + 10].tolist()) for a in range(0, 150, 10))
    assert n_examples == len(chain_examples(chains, both_sides=True).targets)


def test_the_loss_of_literal_vectors():
    corpus, _ = market()
    corpus.n_actions[:3] = (4, 1, 9)
    options = SkipGram(dim=2, chain_scale=2.0, chain_power=0.5, device="cpu")
    learner = NextLearner(corpus, options, random_state(len(corpus.weights), options))
    step = NextStep(
        jobs=np.array([0, 1, 2, 3]),
        keeps_id=np.ones(4, bool),
        contexts=np.array([0, 1]),
        offsets=np.array([0, 2]),
        weights=np.array([3.0, 4.0], np.float32),
        targets=np.array([2]),
        negatives=np.array([1, 3]),
        is_none=np.array([[False, True]]),
    )
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    # The chain is (3, 4) / 5. Its next job has a cosine of 0.6 and is met √9 times as likely as one of one action; the
    # negative has 0.8, and stands for half of all jobs that were met. The other was no negative.
    n_known = int((corpus.n_actions > 0).sum())
    positive, negative = 2 * 0.6 + math.log(3), 2 * 0.8 + math.log(n_known / 2)
    assert learner.loss(vectors, step).item() == pytest.approx(math.log1p(math.exp(negative - positive)), rel=1e-5)


def world(tmp_path):
    n_chains = write_world(tmp_path / "world")
    return corpus_of(tmp_path / "world", tmp_path / "scratch"), str(tmp_path / "world"), n_chains


def learnt(corpus, uri, n_chains, options, state=None, say=lambda line: None):
    """The state after the passes over whole chains alone, and the loss in the last of them."""
    state = random_state(len(corpus.weights), options) if state is None else state
    training, stage = Training(corpus, uri, n_chains, options, say, None, ALONE), next_jobs_stage(corpus, options)
    state, place, _ = training.passed(stage, state, Place(stage=1))
    return state, training.mean_loss(stage, place)


def test_whole_chains_alone_tell_the_islands_apart_for_new_jobs_too(tmp_path):
    corpus, uri, n_chains = world(tmp_path)
    options, said = replace(OPTIONS, chain_epochs=10, chain_learning_rate=0.05), []
    state, loss = learnt(corpus, uri, n_chains, options, say=said.append)
    vectors, is_cold = vectors_of(corpus, state.table)
    same = island(np.arange(40))[:, None] == island(np.arange(40))[None, :]
    cosines = vectors @ vectors.T
    assert is_cold.tolist() == [False] * N_WARM + [True] * 4
    assert cosines[same].mean() > cosines[~same].mean() + 0.5
    assert cosines[is_cold][same[is_cold]].mean() > cosines[is_cold][~same[is_cold]].mean() + 0.5
    assert loss < learnt(corpus, uri, n_chains, replace(options, chain_epochs=1))[1]
    assert said[-1].startswith("  100% of the chains, ") and said[-1].endswith(" next jobs/s, 0 s left")


def test_what_the_next_training_goes_on_from_stays_of_the_pairs(tmp_path):
    corpus, uri, n_chains = world(tmp_path)
    state = random_state(len(corpus.weights), OPTIONS)
    state.squares += 3.0
    after, _ = learnt(corpus, uri, n_chains, replace(OPTIONS, chain_epochs=1), state.copy())
    assert not np.array_equal(after.table, state.table)
    np.testing.assert_array_equal(after.squares, state.squares)
    np.testing.assert_array_equal(after.bias, state.bias)


def test_learning_twice_gives_the_same_table_bit_for_bit(tmp_path):
    corpus, uri, n_chains = world(tmp_path)
    tables = [
        learnt(corpus, uri, n_chains, replace(OPTIONS, chain_epochs=2, threads=threads))[0].table.tobytes()
        for threads in (1, 2, 1)
    ]
    assert len(set(tables)) == 1


def test_a_loss_that_is_no_number_is_said(tmp_path):
    corpus, uri, n_chains = world(tmp_path)
    state = random_state(len(corpus.weights), OPTIONS)
    state.table[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="next jobs is nan: lower chain_learning_rate"):
        learnt(corpus, uri, n_chains, replace(OPTIONS, chain_epochs=1), state)
