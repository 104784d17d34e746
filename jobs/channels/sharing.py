"""The places of a chain channel's list, shared by the jobs that were met and the new ones.

A job that nobody has met has a vector of its terms alone, and its popularity is assumed. How its score compares with
that of a job that was met changes with the number of jobs: among ten times as many the nearest hundred are nearer, and
no new one is left among them. So either kind is searched apart, and new jobs have at least the share of a list that
they have of the jobs to choose from.
"""

from __future__ import annotations

import numpy as np

from gpu_retrieval import Hits

# The share holds at every so many places. Within them the better score is first: where every fifth place was a new
# job's, the first ten found a tenth less of what came next, on planted boards and the sample marketplace.
STRETCH = 50


def share_places(met: Hits, new: Hits, new_weight: float) -> Hits:
    """One list a row, as long as either, of the best of both, each kind in its own order.

    Of the first `STRETCH` places, and of twice as many and so on, new jobs have at least their share of the jobs that
    match, each counting `new_weight` where one that was met counts 1, rounded down; and more where as many are among
    the best by score. Where a kind has too few, the other takes its places. Within a stretch the better score is first,
    of equal ones that of a job that was met; so scores fall within a stretch, and one stretch begins any longer list.
    """
    k = met.ids.shape[1]
    ids, scores = np.concatenate([met.ids, new.ids], axis=1), np.concatenate([met.scores, new.scores], axis=1)
    met_by_share, new_by_share = places_by_share(met, new, new_weight)
    by_score = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    places = [np.maximum(met_by_share, by_score[:, :k]), np.minimum(new_by_share, by_score[:, k:])]
    stretch = np.where(ids < 0, np.inf, np.concatenate(places, axis=1) // STRETCH)
    order = np.lexsort((-scores, stretch))[:, :k]
    return Hits(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1), met.n_matches + new.n_matches)


def places_by_share(met: Hits, new: Hits, new_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """(q, k) each: the places of the best met and new, from 0, where of the first j floor(j × share) are new."""
    rank = np.arange(met.ids.shape[1])
    n_met, n_new = met.n_matches[:, None].astype(np.float64), new_weight * new.n_matches[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        new_before, met_before = np.floor(rank * n_new / n_met), np.ceil((rank + 1) * n_met / n_new)
    # as many as there are, also for what divides by none
    found_met, found_new = ((hits.ids >= 0).sum(axis=1, keepdims=True) for hits in (met, new))
    return rank + np.fmin(new_before, found_new), rank + np.fmin(met_before, found_met)
