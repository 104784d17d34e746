"""Training on planted worlds: what belongs together ends together, twice the same, however it is streamed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.embeddings.corpus import chain_batches, read_jobs
from jobs.embeddings.encoder import Adagrad, pooled, random_table
from jobs.embeddings.model_files import Model
from jobs.embeddings.state import Checkpoint, Place, random_state, training_key, warm_state
from jobs.embeddings.training import SkipGram, train

SEED = 5
N_JOBS, N_WARM = 40, 36
OPTIONS = SkipGram(dim=16, epochs=8, negatives=5, pairs_a_step=128, chains_a_batch=100, seed=SEED, device="cpu")


def island(job):
    return job % 2


def write_world(folder, n_chains=400):
    """Jobs 100 + j: even ones are one island, odd ones the other, and no chain leaves its island.

    Features 0 … 9 are kinds that both islands share, 20 and 21 name the island; the last four jobs are in no
    chain.
    """
    draw = np.random.default_rng(SEED)
    jobs = np.arange(N_JOBS)
    warm = jobs[:N_WARM]
    chains = [draw.choice(warm[island(warm) == chain % 2], 5) + 100 for chain in range(n_chains)]
    n_actions = np.bincount(np.concatenate(chains) - 100, minlength=N_JOBS)
    features = [[job // 2 % 10, 20 + island(job)] for job in jobs]
    _write(folder / "jobs", job_id=jobs + 100, n_actions=n_actions, features=features, market=island(jobs))
    _write(folder / "chains", chain_id=np.arange(n_chains), jobs=chains, actions=[[0, 1, 2, 3, 4]] * n_chains)
    return n_chains


def _write(folder, **columns):
    types = {"features": pa.list_(pa.int64()), "jobs": pa.list_(pa.int64()), "actions": pa.list_(pa.int32())}
    folder.mkdir(parents=True)
    table = pa.table({name: pa.array(list(values), types.get(name, pa.int64())) for name, values in columns.items()})
    half = len(table) // 2
    pq.write_table(table[:half], folder / "part-00000-a.parquet")
    pq.write_table(table[half:], folder / "part-00001-b.parquet")


def corpus_of(folder, scratch, min_job_actions=1):
    scratch.mkdir(exist_ok=True)
    return read_jobs(str(folder), min_feature_jobs=2, min_job_actions=min_job_actions, scratch=scratch)


def vectors_of(corpus, table):
    """Served vectors of all jobs of the corpus, and which are cold."""
    ids = corpus.job_ids[corpus.has_id]
    model = Model((), corpus.feature_keys, ids, table, corpus.weights, {})
    keys = corpus.feature_keys[corpus.rows.values]
    return model.vectors(corpus.job_ids, keys, corpus.rows.offsets)


def test_the_corpus_is_read_as_it_was_written(tmp_path):
    write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    assert corpus.job_ids.tolist() == list(range(100, 140))
    assert corpus.feature_keys.tolist() == [*range(10), 20, 21]
    assert corpus.has_id.tolist() == [True] * N_WARM + [False] * 4
    # Job 105 is of kind 2 and odd; its id's row follows the 12 features and 5 ids before.
    rows, offsets = corpus.rows.bags(np.array([5]), np.array([True]))
    assert (rows.tolist(), offsets.tolist()) == ([2, 11, 17], [0, 3])
    batches = list(chain_batches(str(tmp_path / "world"), corpus.job_ids, 150))
    # Two files of 200 chains, read by 150.
    assert [len(batch.offsets) - 1 for batch in batches] == [150, 50, 150, 50]
    assert {island(job) for job in batches[0].jobs[:5]} == {0}


@pytest.mark.parametrize(
    ("refused", "by_point", "found"),
    [
        ([[7], [8, 9], []], False, [([6], [0, 1, 1]), ([], [0, 0])]),  # 8 and 9 are not known
        ([[[5], [7, 9]], [[], [5]], [[], [6, 5]]], True, [([4, 6, 4], [0, 1, 2, 2, 3]), ([5, 4], [0, 0, 2])]),
    ],
)
def test_what_was_refused_is_read_by_chain_or_by_point_as_positions_of_known_jobs(tmp_path, refused, by_point, found):
    (tmp_path / "chains").mkdir()
    chains = {"jobs": [[1, 2], [3, 4], [1, 4]], "actions": [[0, 0]] * 3, "refused": refused}
    pq.write_table(pa.table(chains), tmp_path / "chains" / "part-0.parquet")
    batches = list(chain_batches(str(tmp_path), np.arange(1, 8), 2))
    assert [batch.refused_by_point for batch in batches] == [by_point] * 2
    assert [(b.refused.tolist(), b.refused_offsets.tolist()) for b in batches] == found


def test_islands_come_apart_and_new_jobs_land_on_theirs(tmp_path):
    n_chains = write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    trained = train(corpus, str(tmp_path / "world"), n_chains, OPTIONS, lambda line: None)
    vectors, is_cold = vectors_of(corpus, trained.table)
    assert is_cold.tolist() == [False] * N_WARM + [True] * 4
    untrained = train(corpus, str(tmp_path / "world"), n_chains, replace(OPTIONS, learning_rate=0.0), lambda line: None)
    # The terms alone hardly tell islands apart; cold jobs, which share them with warm ones, must follow.
    assert gap_between_islands(vectors_of(corpus, untrained.table)[0]).max() < 0.25
    assert gap_between_islands(vectors).min() > 0.25, f"seed {SEED}"


class Killed(Exception):
    pass


class KillingCheckpoint(Checkpoint):
    """Writes after every batch of chains, and is killed as the n-th is written."""

    def __init__(self, uri, key, n):
        super().__init__(uri, key, 0.0)
        self.left = n

    def write(self, state, place):
        super().write(state, place)
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.mark.parametrize("step", ["compiled", "torch"])
def test_killed_and_taken_up_is_as_if_never_killed(tmp_path, step):
    n_chains = write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    options = replace(OPTIONS, epochs=3, local_share=0.3, step=step)
    key = training_key(corpus, n_chains, options)
    uri, world = str(tmp_path / "checkpoint"), str(tmp_path / "world")
    whole = train(corpus, world, n_chains, options, print)
    # in the middle of the first epoch, then at the end of it, then in the last one, then in the middle and at the end of
    # the first pass over whole chains; each goes on from the one before
    places = []
    for n in (2, 3, 7, 5, 3):
        with pytest.raises(Killed):
            train(corpus, world, n_chains, options, print, checkpoint=KillingCheckpoint(uri, key, n))
        places.append(Checkpoint(uri, key, 0.0).read(print)[1])
    assert [(p.stage, p.epoch, p.batch) for p in places] == [(0, 0, 2), (0, 1, 0), (0, 2, 2), (1, 0, 2), (1, 1, 0)]
    told = []
    resumed = train(corpus, world, n_chains, options, told.append, checkpoint=Checkpoint(uri, key, 0.0))
    assert resumed.table.tobytes() == whole.table.tobytes()
    assert resumed.state.squares.tobytes() == whole.state.squares.tobytes()
    assert resumed.loss == whole.loss
    assert resumed.n_pairs < whole.n_pairs  # what was learnt before the kill was not learnt again
    assert told[-1].startswith("  100% of the chains") and told[-1].endswith(" 0 s left")


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path):
    state, uri = random_state(3, OPTIONS), str(tmp_path / "checkpoint")
    assert Checkpoint(uri, "mine", 0.0).read(print) is None
    Checkpoint(uri, "theirs", 0.0).write(state, Place(epoch=1, batch=2))
    told = []
    assert Checkpoint(uri, "mine", 0.0).read(told.append) is None
    assert "of other chains or settings" in told[0]
    kept, place = Checkpoint(uri, "theirs", 0.0).read(print)
    assert (kept.table.tobytes(), place) == (state.table.tobytes(), Place(epoch=1, batch=2))
    Checkpoint(uri, "mine", 0.0).remove()
    assert not (tmp_path / "checkpoint").exists()


def test_the_key_of_a_training_tells_options_chains_and_start(tmp_path):
    n_chains = write_world(tmp_path / "world", n_chains=20)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    keys = [
        training_key(corpus, n_chains, OPTIONS),
        training_key(corpus, n_chains + 1, OPTIONS),
        training_key(corpus, n_chains, replace(OPTIONS, windows=dict.fromkeys(OPTIONS.windows, 3))),
        training_key(corpus, n_chains, OPTIONS, "another model"),
    ]
    assert len(set(keys)) == 4 and training_key(corpus, n_chains, OPTIONS) == keys[0]


def test_a_warm_start_takes_over_what_the_model_knows_of_jobs_and_terms(tmp_path):
    write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    # The model knew of another field before, so that this one's terms were under another position; jobs 100 and 105
    # are its own, and of the corpus's terms 3 and 21.
    n_features = len(corpus.feature_keys)
    model = Model(
        ("age", "kind"),
        np.array([7, (1 << 32) + 3, (1 << 32) + 21, (1 << 32) + 99]),
        np.array([100, 105, 500]),
        np.arange(7 * 16, dtype=np.float32).reshape(7, 16),
        np.ones(7, np.float32),
        {},
        np.arange(7, dtype=np.float32),
        np.array([-1.5, 0.25], np.float32),
    )
    state = warm_state(corpus, OPTIONS, ["kind"], model)
    fresh = random_state(len(corpus.weights), OPTIONS)
    kept = {3: 1, 11: 2, n_features: 4, n_features + 5: 5}
    for row in range(len(state.table)):
        expected = model.table[kept[row]] if row in kept else fresh.table[row]
        assert state.table[row].tolist() == expected.tolist(), row
        assert set(state.squares[row].tolist()) == {float(kept.get(row, 0))}, row
    assert state.bias.tolist() == [-1.5, 0.25]
    with pytest.raises(ValueError, match="expected a model of 8 dimensions with squares, got 16"):
        warm_state(corpus, replace(OPTIONS, dim=8), ["kind"], model)


def test_training_goes_on_from_where_it_started(tmp_path):
    n_chains = write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    world = str(tmp_path / "world")
    first = train(corpus, world, n_chains, OPTIONS, print)
    more = train(corpus, world, n_chains, replace(OPTIONS, epochs=1), print, start=first.state)
    anew = train(corpus, world, n_chains, replace(OPTIONS, epochs=1), print)
    assert more.loss < first.loss * 1.05 < anew.loss


def gap_between_islands(vectors):
    """By job, how much nearer its own island is than the other, in mean cosine."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    own = island(np.arange(N_JOBS))[:, None] == island(np.arange(N_JOBS))
    gaps = np.nanmean(np.where(own, cosines, np.nan), axis=1) - np.nanmean(np.where(own, np.nan, cosines), axis=1)
    return gaps


def test_training_twice_gives_the_same_table_bit_for_bit(tmp_path):
    n_chains = write_world(tmp_path / "world")
    options = replace(OPTIONS, epochs=2, local_share=0.5)
    lines = []
    first, second = (
        train(
            corpus_of(tmp_path / "world", tmp_path / name),
            str(tmp_path / "world"),
            n_chains,
            options,
            lines.append,
        )
        for name in ("a", "b")
    )
    assert first.table.tobytes() == second.table.tobytes()
    assert (first.loss, first.n_pairs) == (second.loss, second.n_pairs)
    assert "100% of the chains" in lines[-1]
    assert lines[-1].endswith(" 0 s left")
    other = train(
        corpus_of(tmp_path / "world", tmp_path / "c"),
        str(tmp_path / "world"),
        n_chains,
        replace(options, seed=0),
        print,
    )
    assert other.table.tobytes() != first.table.tobytes()


def test_batches_bound_memory_not_what_is_learnt_from(tmp_path):
    n_chains = write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    n_pairs = {
        train(corpus, str(tmp_path / "world"), n_chains, replace(OPTIONS, epochs=1, chains_a_batch=n), print).n_pairs
        for n in (1, 64, 10_000)
    }
    assert len(n_pairs) == 1


@pytest.mark.parametrize("option", [
    {"windows": dict.fromkeys(OPTIONS.windows, 1)}, {"costs": {"*/*": 3.0}}, {"negatives": 3}, {"pairs_a_draw": 1}, {"contexts": "before"}, {"applied_context": True},
    {"negative_power": 0.0}, {"inventory_share": 0.0}, {"local_share": 0.5}, {"id_dropout": 0.0},
    {"scale": 2.0}, {"learning_rate": 0.2}, {"pairs_a_step": 64}, {"context_weight": 0.5},
    {"chain_epochs": 0}, {"chain_negatives": 5}, {"chain_scale": 2.0}, {"chain_power": 0.0}, {"chain_learning_rate": 0.1},
], ids=lambda option: next(iter(option)))  # fmt: skip
def test_every_option_changes_the_table(tmp_path, option):
    n_chains = write_world(tmp_path / "world", n_chains=60)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    # windows short of a chain: what it led to is beyond them for some of its actions
    options = replace(OPTIONS, epochs=1, windows=dict.fromkeys(OPTIONS.windows, 2))
    tables = [
        train(corpus, str(tmp_path / "world"), n_chains, o, lambda line: None).table
        for o in (options, replace(options, **option))
    ]
    assert not np.array_equal(*tables)


def test_chains_without_two_jobs_teach_nothing(tmp_path):
    _write(tmp_path / "jobs", job_id=[1, 2], n_actions=[2, 2], features=[[], [7]], market=[-1, -1])
    _write(tmp_path / "chains", chain_id=[0, 1], jobs=[[1, 1], [2, 2]], actions=[[0, 2], [0, 0]])
    corpus = corpus_of(tmp_path, tmp_path / "scratch")
    assert train(corpus, str(tmp_path), 2, OPTIONS, print) is None


def test_jobs_acted_on_too_rarely_have_no_embedding_of_their_own(tmp_path):
    write_world(tmp_path / "world", n_chains=10)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch", min_job_actions=2)
    assert corpus.has_id.tolist() == (corpus.n_actions >= 2).tolist()
    assert 0 < corpus.has_id.sum() < N_WARM
    assert sorted(corpus.rows.id_rows[corpus.has_id]) == list(range(12, 12 + corpus.has_id.sum()))


def test_serving_pools_as_training_does(tmp_path):
    write_world(tmp_path / "world")
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    table = random_table(len(corpus.weights), 8, seed=1)
    rows, offsets = map(torch.from_numpy, corpus.rows.bags(np.arange(N_JOBS), np.ones(N_JOBS, dtype=bool)))
    expected = pooled(table, rows, offsets, torch.from_numpy(corpus.weights)[rows])
    vectors, _ = vectors_of(corpus, table.numpy())
    np.testing.assert_allclose(vectors, expected.numpy(), atol=1e-6)


def test_adagrad_changes_the_rows_it_is_given_and_no_others():
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    adagrad = Adagrad(table, 0.1)
    # The first step of a row is of the learning rate's size, whatever the gradient's; none where that is 0.
    adagrad.step(torch.tensor([0]), torch.tensor([[1.0, -2.0]]))
    torch.testing.assert_close(table, torch.tensor([[0.9, 2.1], [3.0, 4.0], [5.0, 6.0]]))
    # Row 0 remembers its squares, 1 + 9 and 4 + 1; row 2 is new.
    adagrad.step(torch.tensor([2, 0]), torch.tensor([[0.5, 0.0], [3.0, 1.0]]))
    expected = [[0.9 - 0.3 / 10**0.5, 2.1 - 0.1 / 5**0.5], [3.0, 4.0], [4.9, 6.0]]
    torch.testing.assert_close(table, torch.tensor(expected))
