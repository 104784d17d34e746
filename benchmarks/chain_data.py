"""Behaviour chains to measure job vectors on, without Spark: planted, of a real job board, and for speed alone."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.chains.sessionize import CHAIN_ACTIONS
from jobs.embeddings.corpus import JobCorpus, read_jobs

VIEW, APPLY = CHAIN_ACTIONS.index("view"), CHAIN_ACTIONS.index("apply")
N_FIELD = 1 << 32
# The last fifth of the board's views, as examples/jobboard/settings.toml.
JOBBOARD_SPLIT = datetime(2015, 1, 26)
GAP = timedelta(hours=6)

Chain = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Board:
    """Chains are (jobs, actions). Of a held-out one, the last job is asked for and not in the chain before it.

    `refused` are jobs by chain, or by chain and action.
    """

    name: str
    n_jobs: int
    features: list[list[int]]
    markets: NDArray[np.int64]
    chains: list[Chain]
    held_out: list[Chain]
    least_actions: int = 0
    refused: list[list[int]] | list[list[list[int]]] | None = None

    @property
    def n_actions(self) -> NDArray[np.int64]:
        seen = np.bincount(np.concatenate([jobs for jobs, _ in self.chains]), minlength=self.n_jobs)
        return np.maximum(seen, self.least_actions)

    @property
    def targets(self) -> NDArray[np.int64]:
        return np.array([jobs[-1] for jobs, _ in self.held_out])

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(repr((self.chains, self.held_out, self.features)).encode())
        return digest.hexdigest()[:12]


def planted_board(n_jobs: int, n_chains: int, n_held_out: int, seed: int) -> Board:
    """Seekers with a want that drifts view jobs of their market that fit it, and apply to what fits best.

    A job is in a market (occupation × region); what it is like is what its occupation, its two skills and its
    seniority say and, of the variance within a market, 46 % that no feature says. One job in ten is new: in
    no training chain. There are twenty markets, so that each holds several times the hundred jobs of the
    widest cut-off. A seeker also refuses the worst of eight jobs that they meet, twice a chain.
    """
    refusing = np.random.default_rng([seed, 1])  # of its own: who refuses changes no chain
    rng, dim, n_occupations, n_regions, n_skills = np.random.default_rng(seed), 12, 10, 2, 60
    occupation, region = rng.integers(0, n_occupations, n_jobs), rng.integers(0, n_regions, n_jobs)
    skills, seniority = rng.integers(0, n_skills, (n_jobs, 2)), rng.integers(0, 4, n_jobs)
    like = rng.normal(size=(n_occupations, dim))[occupation]
    like += rng.normal(size=(n_skills, dim))[skills].sum(axis=1) / 2 + rng.normal(size=(4, dim))[seniority] / 2
    like += rng.normal(size=(n_jobs, dim)) * 0.8
    fame = rng.pareto(2.0, n_jobs) + 0.2
    is_new = rng.random(n_jobs) < 0.1
    market = occupation * n_regions + region
    members = [np.flatnonzero(market == m) for m in range(n_occupations * n_regions)]

    refused: list[list[int]] = []

    def chain(may_be_new: bool) -> Chain:
        home = rng.integers(len(members))
        # One action in ten strays into the same occupation elsewhere.
        abroad = home // n_regions * n_regions + rng.integers(n_regions)
        pool = np.concatenate([members[home], members[abroad][rng.random(len(members[abroad])) < 0.1]])
        pool = np.unique(pool if may_be_new else pool[~is_new[pool]])
        want, taken = like[rng.choice(pool)] + rng.normal(size=dim) * 0.5, np.zeros(len(pool))
        met = refusing.choice(pool, (2, 8), p=fame[pool] / fame[pool].sum())
        refused.append([int(jobs[np.argmin(like[jobs] @ want)]) for jobs in met])
        length, actions = min(3 + rng.geometric(0.2), 25, len(pool)), []
        picked = []
        for _ in range(length):
            fit = like[pool] @ want / np.linalg.norm(want)
            # The largest of Gumbel keys is a softmax's draw.
            at = np.argmax(1.2 * fit + np.log(fame[pool]) + rng.gumbel(size=len(pool)) + taken)
            taken[at] = -np.inf
            applies = rng.random() < 1 / (1 + np.exp(3.0 - 1.5 * (fit[at] - fit.mean())))
            picked.append(int(pool[at]))
            actions.append(APPLY if applies else VIEW)
            # A want drifts, and more so after an application: what was looked at last tells most.
            want = want + rng.normal(size=dim) * (0.6 if applies else 0.3)
        return picked, actions

    fields = [occupation, region, skills[:, 0], skills[:, 1], seniority]
    # Both skills are terms of one field.
    features = [
        [(min(f, 2) if f < 4 else 3) * N_FIELD + int(field[job]) for f, field in enumerate(fields)]
        for job in range(n_jobs)
    ]
    features = [sorted(set(keys)) for keys in features]
    chains = [chain(False) for _ in range(n_chains)]
    held_out = [chain(True) for _ in range(n_held_out)]
    return Board("planted", n_jobs, features, market.astype(np.int64), chains, held_out, refused=refused[:n_chains])


def jobboard(data: Path) -> Board:
    """The job board's views: chains end after six hours' pause; those that start from the split on are held out.

    Features are the words of the title, company, city and state; the market is the state. The cut of very
    long activity at midnight, which six hours' pauses leave nothing to do here, is left out.
    """
    with open(data / "jobboard" / "job_views.csv", newline="", encoding="utf-8") as file:
        rows = {tuple(row.values()): row for row in csv.DictReader(file)}.values()
    ids = {job: at for at, job in enumerate(sorted({row["Job.ID"] for row in rows}))}
    described: dict[int, dict[str, str]] = {ids[row["Job.ID"]]: row for row in rows}
    words: dict[tuple[str, str], int] = {}
    states: dict[str, int] = {}
    features, markets = [], []
    for at in range(len(ids)):
        row = described[at]
        terms = [("title", word) for word in re.findall(r"[a-z0-9+#]+", row["Position"].lower())]
        terms += [(field, row[field]) for field in ("Company", "City", "State.Code") if row[field]]
        features.append(sorted({words.setdefault(term, len(words)) for term in terms}))
        markets.append(states.setdefault(row["State.Code"], len(states)) if row["State.Code"] else -1)
    views = sorted(
        {(row["Applicant.ID"], _instant(row["View.Start"]), ids[row["Job.ID"]]) for row in rows},
    )
    train, held_out = [], []
    for start, jobs in _sessions(views):
        if start < JOBBOARD_SPLIT:
            train.append((jobs, [VIEW] * len(jobs)))
            continue
        while len(jobs) > 1 and jobs[-1] in jobs[:-1]:
            jobs = jobs[:-1]
        if len(jobs) > 1:
            held_out.append((jobs, [VIEW] * len(jobs)))
    train = [chain for chain in train if len(chain[0]) > 1]
    return Board("job board", len(ids), features, np.array(markets), train, held_out)


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC")


def _sessions(views: list[tuple[str, datetime, int]]) -> list[tuple[datetime, list[int]]]:
    sessions: list[tuple[datetime, list[int]]] = []
    before: tuple[str, datetime] | None = None
    for seeker, at, job in views:
        if before is None or before[0] != seeker or at - before[1] > GAP:
            sessions.append((at, []))
        sessions[-1][1].append(job)
        before = (seeker, at)
    return sessions


def write(board: Board, folder: Path, *, with_features: bool = True) -> JobCorpus:
    """The board as training reads it, in `folder`/chains and `folder`/jobs."""
    features = board.features if with_features and board.features else [[]] * board.n_jobs
    jobs = {
        "job_id": pa.array(np.arange(board.n_jobs)),
        "n_actions": pa.array(board.n_actions),
        "features": pa.array(features, pa.list_(pa.int64())),
        "market": pa.array(board.markets),
    }
    chains = {
        "chain_id": pa.array(np.arange(len(board.chains))),
        "jobs": pa.array([jobs for jobs, _ in board.chains], pa.list_(pa.int64())),
        "actions": pa.array([actions for _, actions in board.chains], pa.list_(pa.int32())),
    }
    if board.refused is not None and len(board.refused) == len(board.chains):
        chains["refused"] = pa.array(board.refused)
    for name, columns in (("jobs", jobs), ("chains", chains)):
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.table(columns), folder / name / "part-00000.parquet")
    return read_jobs(str(folder), min_feature_jobs=2, min_job_actions=1, scratch=folder)


def large_vocabulary(n_jobs: int, n_chains: int, seed: int) -> Board:
    """Chains of 2 to 14 views over a million jobs, the most popular viewed far more often; nothing to learn.

    Every job is in the vocabulary, those in no chain as if they had been viewed once.
    """
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(2, 15, n_chains))])
    jobs = rng.permutation(n_jobs)[(rng.random(offsets[-1]) ** 3 * n_jobs).astype(np.int64)].tolist()
    chains = [(jobs[a:b], [VIEW] * (b - a)) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    return Board("a million jobs", n_jobs, [], np.full(n_jobs, -1), chains, [], least_actions=1)


def described(board: Board, n_features: int, seed: int) -> Board:
    """The board with so many features a job, each of 10,000, some far more frequent than others; they say nothing."""
    drawn = (np.random.default_rng(seed).random((board.n_jobs, n_features)) ** 3 * 10_000).astype(np.int64)
    return replace(board, features=(drawn + 10_000 * np.arange(n_features)).tolist())
