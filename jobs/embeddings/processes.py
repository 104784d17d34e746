"""Training in this process, or in several, through Spark's `TorchDistributor`: local ones, or a task each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.embeddings.corpus import JobCorpus, read_jobs
from jobs.embeddings.model_files import load_model
from jobs.embeddings.state import Checkpoint, Place, training_key, warm_state
from jobs.embeddings.steps import SkipGram
from jobs.embeddings.team import ALONE, Processes, Team
from jobs.embeddings.training import Trained, train


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process needs to train: plain values, sent to it as they are.

    `start` is where the model lies that training starts from, "" for none; below `checkpoint` it keeps its state.
    """

    corpus: str
    n_chains: int
    options: SkipGram
    fields: tuple[str, ...]
    min_feature_jobs: int
    min_job_actions: int
    start: str
    checkpoint: str
    checkpoint_seconds: float


def read_corpus(task: Task, scratch: Path) -> JobCorpus:
    return read_jobs(
        task.corpus, min_feature_jobs=task.min_feature_jobs, min_job_actions=task.min_job_actions, scratch=scratch
    )


def train_task(
    task: Task,
    corpus: JobCorpus,
    say: Callable[[str], None],
    guard: Callable[[], None] | None = None,
    team: Team = ALONE,
) -> Trained | None:
    """The task's training, as one of a team. ValueError where the model to start from does not fit."""
    model = load_model(task.start) if task.start else None
    start = warm_state(corpus, task.options, task.fields, model) if model else None
    key = training_key(corpus, task.n_chains, task.options, model.fingerprint if model else "")
    checkpoint = Checkpoint(task.checkpoint, f"{key}/{team.size}", task.checkpoint_seconds, guard)
    return train(corpus, task.corpus, task.n_chains, task.options, say, start=start, checkpoint=checkpoint, team=team)


def train_in_processes(task: Task, n: int, spark: SparkSession, device: str) -> Trained | None:
    """The same in `n` processes; what they learnt comes back by way of a folder beside the checkpoint."""
    from pyspark.ml.torch.distributor import TorchDistributor

    is_local = str(spark.sparkContext.master).startswith("local")
    distributor = TorchDistributor(num_processes=n, local_mode=is_local, use_gpu=device.startswith("cuda"))
    figures = distributor.run(_one_process, task)
    if figures is None:
        return None
    exchange = _exchange(task)
    kept = exchange.read(print)
    assert kept is not None
    exchange.remove()
    return Trained(state=kept[0], **figures)


def _one_process(task: Task) -> dict[str, Any] | None:
    """What each process runs, and what it says: the same in all, for local ones write it to one file in turn."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        team = Processes()
        with tempfile.TemporaryDirectory() as scratch:
            corpus = read_corpus(task, Path(scratch))
            trained = train_task(task, corpus, print if team.rank == 0 else _silent, team=team)
        if trained is None:
            return None
        if team.rank == 0:
            _exchange(task).write(trained.state, Place())
        return {"loss": trained.loss, "n_pairs": trained.n_pairs, "pairs_per_s": trained.pairs_per_s}
    finally:
        dist.destroy_process_group()


def _exchange(task: Task) -> Checkpoint:
    return Checkpoint(f"{task.checkpoint}.trained", "trained", 0.0)


def _silent(line: str) -> None:
    pass
