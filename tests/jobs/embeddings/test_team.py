"""What several processes learn together: their parts of the chains, and four real processes beside one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.embeddings.corpus import chain_batches
from jobs.embeddings.processes import Task, train_in_processes, train_task
from tests.jobs.embeddings.test_training import (
    N_JOBS,
    OPTIONS,
    corpus_of,
    island,
    vectors_of,
    write_world,
)


def test_parts_of_a_team_are_all_chains_once(tmp_path):
    n_chains = write_world(tmp_path / "world", n_chains=37)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    parts = [
        [len(batch.offsets) - 1 for batch in chain_batches(str(tmp_path / "world"), corpus.job_ids, 10, rank, 4)]
        for rank in range(4)
    ]
    assert sum(map(sum, parts)) == n_chains
    assert np.sum(parts, axis=0).tolist() == [10, 8, 10, 9]  # two files, of 18 and 19


def told_apart(vectors, is_cold):
    """Of two jobs, one of a job's own island and one not, how often the first is nearer; of jobs in chains, and new."""
    cosines, own = vectors @ vectors.T, island(np.arange(N_JOBS))[:, None] == island(np.arange(N_JOBS))
    np.fill_diagonal(own, False)
    nearer = [
        np.mean(cosines[job][own[job]][:, None] > cosines[job][island(np.arange(N_JOBS)) != island(job)])
        for job in range(N_JOBS)
    ]
    return np.mean(np.array(nearer)[~is_cold]), np.mean(np.array(nearer)[is_cold])


def test_four_processes_tell_the_islands_apart_as_well_as_one(spark, tmp_path):
    n_chains = write_world(tmp_path / "world", n_chains=1200)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    options = replace(OPTIONS, epochs=8)
    task = Task(
        corpus=str(tmp_path / "world"), n_chains=n_chains, options=options, fields=("kind",), min_feature_jobs=2,
        min_job_actions=1, start="", checkpoint=str(tmp_path / "checkpoint"), checkpoint_seconds=0.0,
    )  # fmt: skip
    alone = train_task(replace(task, checkpoint=f"{task.checkpoint}-alone"), corpus, print)
    together = train_in_processes(task, 4, spark, "cpu")
    # every pair of every epoch was learnt from once, by one of them
    assert together.n_pairs == alone.n_pairs
    untrained = train_task(replace(task, options=replace(options, learning_rate=0.0, epochs=1)), corpus, print)
    before, one, four = (told_apart(*vectors_of(corpus, found.table)) for found in (untrained, alone, together))
    # jobs of the chains, then new ones, which no chain has shown and four learn a little slower
    assert max(before) < 0.9 < 0.99 < min(one)
    assert four[0] > one[0] - 0.01 and four[1] > one[1] - 0.05
    assert not (tmp_path / "checkpoint.trained").exists()
