"""Audiences by links beside keyword targeting, at equal liquidity: is who was hired later in the job's audience?"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarks.graph_data import FIELDS, HireMarket, Side
from benchmarks.graph_memory import said
from jobs.graph.fit import Fitted

CAPS = (200, 1_000, 5_000)
N_JOBS = 400


def audience_recall(market: HireMarket, later: HireMarket, trained: Fitted, seed: int) -> dict[str, float]:
    """Print and return the share of later hires whose seeker is among the first of their job's audience.

    By links: seekers who share one, best quality first. By keywords: seekers with any of the job's attributes, the most
    attributes first. Ties are broken at random, alike for both. Seekers hired before are in neither.
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

    @cache
    def having(field: str, term: int) -> Any:
        return has(market.seekers, field, term)

    hires = later.hires[rng.permutation(len(later.hires))[:N_JOBS]]
    ranks: dict[str, list[int]] = {"links": [], "keywords": []}
    for seeker, job in hires.tolist():
        own = attributes(market.jobs, job)
        by_links = np.zeros(n_seekers)
        for (left, right), quality in zip(segments, point.qualities.tolist(), strict=True):
            if right <= own:
                carries = np.logical_and.reduce([having(*part) for part in sorted(left)])
                np.maximum(by_links, quality * carries, out=by_links)
        by_keywords = np.sum([having(*part) for part in sorted(own)], axis=0)
        for name, scores in (("links", by_links), ("keywords", by_keywords)):
            reached = is_free & (scores > 0)
            before = (scores > scores[seeker]) | ((scores == scores[seeker]) & (tie < tie[seeker]))
            ranks[name].append(int((reached & before).sum()) if reached[seeker] else n_seekers)
    print(f"\naudiences of {len(hires):,} later hires' jobs, among {is_free.sum():,} seekers not hired before")
    figures = {}
    for name, found in ranks.items():
        recalls = {cap: float(np.mean(np.array(found) < cap)) for cap in CAPS}
        print(f"  by {name:10s}" + "".join(f"  first {cap:,}: {recall:.4f}" for cap, recall in recalls.items()))
        figures |= {f"audience {name} @{cap}": round(recall, 4) for cap, recall in recalls.items()}
    return figures


def parts(metas: Any, side: str) -> frozenset[tuple[str, int]]:
    return frozenset((m[f"{side}_field"], int(m[f"{side}_term"])) for m in metas)


def attributes(side: Side, place: int) -> frozenset[tuple[str, int]]:
    single = {(field, int(getattr(side, field)[place])) for field in FIELDS[:3]}
    return frozenset(single | {("skill", int(skill)) for skill in side.skills[place]})


def has(side: Side, field: str, term: int) -> Any:
    """(n,) bool."""
    return (side.skills == term).any(axis=1) if field == "skill" else getattr(side, field) == term
