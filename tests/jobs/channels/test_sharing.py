"""Lists that met and new jobs share: literal lists, and what holds for all of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_retrieval import Hits
from jobs.channels import sharing
from jobs.channels.sharing import STRETCH, share_places

NEW = 100  # new jobs have ids from here on
FALLING = [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]


@pytest.fixture
def four_at_once(monkeypatch):
    monkeypatch.setattr(sharing, "STRETCH", 4)


def hits(k: int, first_id: int, scores: list[float], n_matches: int | None = None) -> Hits:
    """One row of the best `k` of jobs with these scores, falling; `n_matches` where more match than are given."""
    row = Hits.none(1, k)
    n = min(k, len(scores))
    row.ids[0, :n], row.scores[0, :n] = np.arange(first_id, first_id + n), scores[:n]
    row.n_matches[:] = len(scores) if n_matches is None else n_matches
    return row


def listed(met: Hits, new: Hits, new_weight: float = 1.0) -> list[int]:
    return share_places(met, new, new_weight).ids[0].tolist()


def test_new_jobs_have_their_share_of_every_stretch(four_at_once):
    # a quarter of what matches is new, and by score they would be last
    met = hits(8, 1, [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0], n_matches=30)
    new = hits(8, NEW, [-0.5, -0.75, -0.875], n_matches=10)
    shared = share_places(met, new, 1.0)
    assert shared.ids.tolist() == [[1, 2, 3, NEW, 4, 5, 6, NEW + 1]]
    assert shared.scores.tolist() == [[0.875, 0.75, 0.625, -0.5, 0.5, 0.375, 0.25, -0.75]]
    assert shared.n_matches.tolist() == [40]


def test_new_jobs_have_more_where_their_scores_say_so(four_at_once):
    met = hits(8, 1, [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0], n_matches=30)
    # the first is second, the second equals a met job, which is before it: three of the best four are theirs
    new = hits(8, NEW, [0.8125, 0.75, 0.6875, 0.1875, 0.0], n_matches=10)
    assert listed(met, new) == [1, NEW, 2, NEW + 1, NEW + 2, 3, 4, 5]
    # one is its share; the next is due in the next four
    assert listed(met, hits(8, NEW, [0.8125, -0.5, -0.75], n_matches=10)) == [1, NEW, 2, 3, 4, 5, 6, NEW + 1]


@pytest.mark.parametrize(
    ("new_weight", "expected"),
    [
        (0.0, [1, 2, 3, 4]),
        (0.5, [1, 2, 3, NEW]),
        (1.0, [1, 2, NEW, NEW + 1]),
        (3.0, [1, NEW, NEW + 1, NEW + 2]),
    ],
)
def test_the_weight_moves_the_share(four_at_once, new_weight, expected):
    met, new = hits(4, 1, FALLING, 50), hits(4, NEW, [score - 1 for score in FALLING], 50)
    assert listed(met, new, new_weight) == expected


def test_where_a_kind_has_too_few_the_other_takes_its_places(four_at_once):
    low, few, none = [score - 1 for score in FALLING], [0.5], []
    assert listed(hits(6, 1, FALLING), hits(6, NEW, low[:1], 50), 3.0) == [1, 2, 3, NEW, 4, 5]
    assert listed(hits(6, 1, few), hits(6, NEW, low, 50), 0.001) == [1, NEW, NEW + 1, NEW + 2, NEW + 3, NEW + 4]
    for new_weight in (0.0, 1.0):
        assert listed(hits(4, 1, FALLING), hits(4, NEW, none), new_weight) == [1, 2, 3, 4]
        assert listed(hits(4, 1, none), hits(4, NEW, FALLING), new_weight) == [NEW, NEW + 1, NEW + 2, NEW + 3]
        assert listed(hits(4, 1, few), hits(4, NEW, few), new_weight) == [1, NEW, -1, -1]
        assert listed(hits(4, 1, none), hits(4, NEW, none), new_weight) == [-1] * 4


def falling(n: int, seed: int) -> list[float]:
    return sorted(np.random.default_rng(seed).normal(size=n).astype(np.float32).tolist(), reverse=True)


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from([0, 0.25, 1, 2]), st.integers(1, 180), st.integers(0, 9))
def test_the_share_holds_at_every_stretch_and_one_stretch_begins_any_longer_list(n_met, n_new, weight, k, seed):
    scores = {first: falling(n, seed + first) for first, n in ((0, n_met), (NEW, n_new))}
    row = listed(*(hits(k, *kind) for kind in scores.items()), weight)
    n = min(k, n_met + n_new)
    assert len(set(row[:n])) == n and row[n:] == [-1] * (k - n)
    assert [job for job in row[:n] if job < NEW] == sorted(job for job in row[:n] if job < NEW)
    assert [job for job in row[:n] if job >= NEW] == sorted(job for job in row[:n] if job >= NEW)
    counted = Fraction(weight) * n_new
    ranked = sorted([(-score, False) for score in scores[0]] + [(-score, True) for score in scores[NEW]])
    for first in range(STRETCH, n + 1, STRETCH):
        due = math.floor(first * counted / (n_met + counted)) if counted else 0
        by_score = sum(is_new for _, is_new in ranked[:first])
        assert sum(job >= NEW for job in row[:first]) == min(n_new, max(due, by_score, first - n_met))
        assert listed(*(hits(first, *kind) for kind in scores.items()), weight) == row[:first]


def test_rows_do_not_mind_each_other():
    met = [hits(6, 1, [0.5, 0.25], 9), hits(6, 1, [0.75, 0.5, 0.25]), hits(6, 1, [])]
    new = [hits(6, NEW, [0.5, 0.25], 9), hits(6, NEW, [0.125]), hits(6, NEW, [0.25, 0.125])]
    together = share_places(Hits.joined(met), Hits.joined(new), 1.0)
    alone = Hits.joined([share_places(*row, 1.0) for row in zip(met, new, strict=True)])
    assert together.ids.tolist() == alone.ids.tolist()
    assert together.scores.tolist() == alone.scores.tolist()
