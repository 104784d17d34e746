"""Audiences by links beside keyword targeting, at equal liquidity: is who was hired later in the job's audience?"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.graph_data import FIELDS, HireMarket, Side
from benchmarks.graph_memory import said
from jobs.graph.fit import Fitted
from jobs.graph.lists import Floats, Ints
from jobs.settings import RetrieveCandidates

CAPS = (200, 1_000, 5_000)
N_JOBS = 400


def audience_recall(market: HireMarket, later: HireMarket, trained: Fitted, seed: int) -> dict[str, float]:
    """Print and return the share of later hires whose seeker is among the first of their job's audience.

    By links: seekers who share one, by the band of the best, then those of the job's region, as
    `jobs/channels/audiences.py` has them; and by the quality of the best alone. By keywords: seekers with any of the
    job's attributes, the most attributes first; and those of the job's region before all others. Ties are broken at
    random, alike for all. Seekers hired before are in none.
    """
    rng = np.random.default_rng(seed)
    n_seekers = len(market.seekers.region)
    is_free = np.ones(n_seekers, bool)
    is_free[market.hires[:, 0]] = False
    tie = rng.random(n_seekers)
    point = trained.point
    assert point is not None
    links = [row["meta_links"] for row in said(trained, point.links)]
    segments = [(parts(metas, "seeker"), parts(metas, "job")) for metas in links]
    ranked = rank_of_band(point.qualities)

    @cache
    def having(field: str, term: int) -> Any:
        return has(market.seekers, field, term)

    def best(own: frozenset[tuple[str, int]], scores: Floats | Ints) -> Floats:
        """Of each seeker, of the links shared with a job of these attributes; 0 for none."""
        found = np.zeros(n_seekers)
        for (left, right), score in zip(segments, scores.tolist(), strict=True):
            if right <= own:
                np.maximum(found, score * np.logical_and.reduce([having(*part) for part in sorted(left)]), out=found)
        return found

    hires = later.hires[rng.permutation(len(later.hires))[:N_JOBS]]
    places: dict[str, list[int]] = {}
    for seeker, job in hires.tolist():
        own = attributes(market.jobs, job)
        is_local = having("region", int(market.jobs.region[job]))
        by_band, by_keywords = best(own, ranked), np.sum([having(*part) for part in sorted(own)], axis=0)
        scored = {
            "links, the region first": by_band + 0.5 * is_local * (by_band > 0),
            "links, by quality alone": best(own, point.qualities),
            "keywords, the most first": by_keywords,
            "keywords, the region first": by_keywords + len(own) * is_local,
        }
        for name, scores in scored.items():
            reached = is_free & (scores > 0)
            before = (scores > scores[seeker]) | ((scores == scores[seeker]) & (tie < tie[seeker]))
            places.setdefault(name, []).append(int((reached & before).sum()) if reached[seeker] else n_seekers)
    print(f"\naudiences of {len(hires):,} later hires' jobs, among {is_free.sum():,} seekers not hired before")
    figures: dict[str, float] = {}
    for name, found in places.items():
        recalls = {cap: float(np.mean(np.array(found) < cap)) for cap in CAPS}
        print(f"  {name:28s}" + "".join(f"  first {cap:,}: {recall:.4f}" for cap, recall in recalls.items()))
        figures |= {f"audience {name} @{cap}": round(recall, 4) for cap, recall in recalls.items()}
    return figures


def rank_of_band(qualities: Floats) -> Ints:
    """Of each link, from the number of bands (the best) down to 1; must match `channels.queries.quality_bands`."""
    n_bands = RetrieveCandidates().quality_bands
    better = len(qualities) - np.searchsorted(np.sort(qualities), qualities, side="right")
    return n_bands - np.minimum(better * n_bands // max(len(qualities) - 1, 1), n_bands - 1)


def parts(metas: Any, side: str) -> frozenset[tuple[str, int]]:
    return frozenset((m[f"{side}_field"], int(m[f"{side}_term"])) for m in metas)


def attributes(side: Side, place: int) -> frozenset[tuple[str, int]]:
    single = {(field, int(getattr(side, field)[place])) for field in FIELDS[:3]}
    return frozenset(single | {("skill", int(skill)) for skill in side.skills[place]})


def has(side: Side, field: str, term: int) -> Any:
    """(n,) bool."""
    return (side.skills == term).any(axis=1) if field == "skill" else getattr(side, field) == term
