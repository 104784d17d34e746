"""What several processes learn together: their parts of the chains, and four real processes beside one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.embeddings.corpus import chain_batches
from jobs.embeddings.processes import Task, train_in_processes, train_task
from tests.jobs.embeddings.test_training import (
    N_WARM,
    OPTIONS,
    corpus_of,
    gap_between_islands,
    vectors_of,
    write_world,
)


class Part:
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def test_parts_of_a_team_are_all_chains_once(tmp_path):
    n_chains = write_world(tmp_path / "world", n_chains=37)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    parts = [
        [len(batch.offsets) - 1 for batch in chain_batches(str(tmp_path / "world"), corpus.job_ids, 10, Part(rank, 4))]
        for rank in range(4)
    ]
    assert sum(map(sum, parts)) == n_chains
    assert np.sum(parts, axis=0).tolist() == [10, 8, 10, 9]  # two files, of 18 and 19


def test_four_processes_tell_the_islands_apart_as_well_as_one(spark, tmp_path):
    n_chains = write_world(tmp_path / "world", n_chains=1200)
    corpus = corpus_of(tmp_path / "world", tmp_path / "scratch")
    options = replace(OPTIONS, epochs=4)
    task = Task(
        corpus=str(tmp_path / "world"), n_chains=n_chains, options=options, fields=("kind",), min_feature_jobs=2,
        min_job_actions=1, start="", checkpoint=str(tmp_path / "checkpoint"), checkpoint_seconds=0.0,
    )  # fmt: skip
    alone = train_task(replace(task, checkpoint=f"{task.checkpoint}-alone"), corpus, print)
    together = train_in_processes(task, 4, spark, "cpu")
    # every pair of every epoch was learnt from once, by one of them
    assert together.n_pairs == alone.n_pairs
    gaps = [gap_between_islands(vectors_of(corpus, trained.table)[0]) for trained in (alone, together)]
    for part in (slice(0, N_WARM), slice(N_WARM, None)):  # jobs of the chains, and new ones
        assert gaps[1][part].min() > 0.25
        assert gaps[1][part].mean() > 0.9 * gaps[0][part].mean()
    assert not (tmp_path / "checkpoint.trained").exists()
