"""The stage's own learning on a market of `graph_data`, in this process and without Spark.

For what is measured many times at a size at which Spark's jobs would be most of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.graph_data import FIELDS, HireMarket, Side
from jobs.graph.fit import HIRE, Fitted, LabelledPairs, fit_links
from jobs.graph.hires import KINDS, NoHires
from jobs.graph.links import LINKS, Limits
from jobs.graph.lists import Ints, Lists, ends
from jobs.graph.quality import Penalty
from jobs.settings import Template

TEMPLATES = [Template(seeker=field, job=field) for field in FIELDS]


def learn(market: HireMarket, shares: NoHires, limits: Limits, penalty: Penalty, seed: int) -> Fitted:
    return fit_links(labelled_pairs(market, shares, seed), TEMPLATES, limits, penalty)


def labelled_pairs(market: HireMarket, shares: NoHires, seed: int) -> LabelledPairs:
    pairs, kind = labelled(market, shares, seed)
    terms = {
        (name, field): terms_of(side, field, pairs[:, place])
        for place, (name, side) in enumerate((("seeker", market.seekers), ("job", market.jobs)))
        for field in FIELDS
    }
    return LabelledPairs(kind, np.ones(len(kind)), np.zeros(len(kind), bool), terms)


def terms_of(side: Side, field: str, rows: Ints) -> Lists:
    """Of each row; a skill drawn twice is one skill."""
    values = side.skills[rows] if field == "skill" else getattr(side, field)[rows, None]
    is_new = np.column_stack([np.ones(len(rows), bool), values[:, 1:] > values[:, :-1]])
    return Lists(ends(is_new.sum(axis=1)), values[is_new].astype(np.int32))


def said(trained: Fitted, links: Ints) -> list[dict[str, Any]]:
    """`LINKS` of those candidates."""
    rows: list[dict[str, Any]] = pa.Table.from_batches(trained.mined.batches(links), LINKS).to_pylist()
    return rows


def labelled(market: HireMarket, shares: NoHires, seed: int) -> tuple[Ints, Ints]:
    """Pairs by time, and the kind of each as its place in KINDS, from 1; hires happen in the order of the market."""
    rng, n = np.random.default_rng(seed), len(market.hires)
    rows = [(np.arange(n), market.hires, HIRE)]
    sources = (("applied", market.applied, shares.applied_per_hire), ("seen", market.seen, shares.seen_per_hire))
    for name, source, share in sources:
        drawn = np.sort(rng.choice(len(source), min(int(share * n), len(source)), replace=False))
        rows.append((drawn * n // len(source), source[drawn], KINDS.index(name) + HIRE))
    region = market.jobs.region[market.hires[:, 1]]
    for turn in range(int(np.ceil(shares.random_per_hire))):
        by_region = np.lexsort((rng.random(n), region))
        left, taken = market.hires[by_region, 0], market.hires[np.roll(by_region, 1), 1]
        part = rng.random(n) < shares.random_per_hire - turn
        rows.append((by_region[part], np.column_stack([left, taken])[part], KINDS.index("random") + HIRE))
    order = np.argsort(np.concatenate([at for at, _, _ in rows]), kind="stable")
    kind = np.concatenate([np.full(len(at), number) for at, _, number in rows])
    return np.concatenate([found for _, found, _ in rows])[order], kind[order]
