"""The segment graph learnt in memory from a market of `graph_data`: the stage's counting and path, without its Spark.

For what is measured many times at a size at which Spark's jobs would be most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.graph_data import FIELDS, N_SKILLS, HireMarket, pair_metas
from jobs.graph.combinations import GROWN, grown_of_batches
from jobs.graph.held_out import last_of_each
from jobs.graph.hires import KINDS, NoHires
from jobs.graph.l1_path import Ints, Matches
from jobs.graph.links import Limits
from jobs.graph.quality import HIRE, Penalty, Point, chosen_point, path_points

ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Trained:
    """Candidates (link, seeker_segment, job_segment, meta_links), who carries them, the path, and its chosen place."""

    links: pd.DataFrame
    matrix: Matches
    is_held_out: NDArray[np.bool_]
    path: list[Point]
    chosen: int


def learn(market: HireMarket, shares: NoHires, limits: Limits, penalty: Penalty, seed: int) -> Trained:
    pairs, kind = labelled(market, shares, seed)
    is_hire = kind == HIRE
    links, offsets, carried = candidates(market, pairs, is_hire, limits)
    matrix = Matches(is_hire, np.ones(len(pairs)), offsets, carried, len(links))
    is_held_out = last_of_each(kind)
    path = list(path_points(matrix, penalty, is_held_out))
    return Trained(links, matrix, is_held_out, path, chosen_point(path, penalty))


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


def candidates(market: HireMarket, pairs: Ints, is_hire: Ints, limits: Limits) -> tuple[pd.DataFrame, Ints, Ints]:
    """`mine_links`: the links, and which of them each pair carries, as offsets and numbers."""
    metas = pair_metas(market, pairs)
    is_first = np.column_stack([np.ones(len(metas), bool), metas[:, 1:] != metas[:, :-1]])
    row = np.nonzero(is_first)[0]
    codes, item = np.unique(metas[is_first], return_inverse=True)
    is_frequent = np.bincount(item, is_hire[row], len(codes)) >= limits.min_support
    codes, place = codes[is_frequent], np.cumsum(is_frequent) - 1
    row, item = row[is_frequent[item]], place[item[is_frequent[item]]]
    alone = np.column_stack([np.bincount(item, minlength=len(codes)), np.bincount(item, is_hire[row], len(codes))])
    grown = pa.Table.from_batches(grown_of_batches(_groups(row, item, is_hire), limits.min_support, 2), GROWN)
    items = grown["items"].combine_chunks().flatten().to_numpy().reshape(-1, 2)
    n_pairs, n_rows = grown["n_pairs"].to_numpy(), grown["n_rows"].to_numpy()
    tells = (n_pairs[:, None] < alone[items, 0]).all(axis=1) & (2 * n_rows >= n_pairs)
    singles = np.flatnonzero(2 * alone[:, 1] >= alone[:, 0])
    links, first = _links(codes, [(n,) for n in singles.tolist()] + [tuple(n) for n in items[tells].tolist()])
    both = pa.array(np.flatnonzero(tells))
    lists = grown["pairs"].combine_chunks().take(both)
    number = np.full(len(codes), -1)
    number[singles] = np.arange(len(singles))
    by_pair = [row[number[item] >= 0], lists.flatten().to_numpy()]
    by_link = [number[item][number[item] >= 0], np.repeat(len(singles) + np.arange(len(both)), lists.value_lengths())]
    renumbered = np.full(len(singles) + len(both), -1)
    renumbered[first] = np.arange(len(first))
    pair, link = np.concatenate(by_pair), renumbered[np.concatenate(by_link)]
    pair, link = pair[link >= 0], link[link >= 0]
    order = np.lexsort((link, pair))
    counts = np.concatenate([alone[singles], np.column_stack([n_pairs, n_rows])[tells]])[first]
    links["n_hires"], links["n_no_hires"] = counts[:, 1].astype(float), (counts[:, 0] - counts[:, 1]).astype(float)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=len(pairs)))])
    return links, offsets, link[order].astype(np.int32)


def _groups(row: Ints, item: Ints, is_hire: Ints) -> Iterator[pa.RecordBatch]:
    """As `links.grow` hands them over, some rows at a time."""
    order = np.lexsort((item, row))
    row, item = row[order], item[order]
    n_later = np.searchsorted(row, row, side="right") - np.arange(len(row)) - 1
    by_item = np.argsort(item, kind="stable")
    for start in range(0, len(by_item), ROWS_AT_ONCE):
        part = by_item[start : start + ROWS_AT_ONCE]
        lengths = n_later[part]
        starts = np.cumsum(lengths) - lengths
        later = np.arange(lengths.sum()) + np.repeat(part + 1 - starts, lengths)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        yield pa.RecordBatch.from_pydict(
            {
                "meta": pa.array(item[part].astype(np.int32)),
                "pair": pa.array(row[part]),
                "is_hire": pa.array(is_hire[row[part]]),
                "weight": pa.array(np.ones(len(part))),
                "later": pa.ListArray.from_arrays(offsets, pa.array(item[later].astype(np.int32))),
            }
        )


def _links(codes: Ints, combinations: list[tuple[int, ...]]) -> tuple[pd.DataFrame, Ints]:
    """One row a link, and the place of its combination: of those that read the same, the first."""
    seen: set[tuple[str, ...]] = set()
    rows: list[tuple[Any, ...]] = []
    first: list[int] = []
    for place, items in enumerate(combinations):
        metas = [_meta(int(codes[item])) for item in items]
        sides = tuple(
            "&".join(sorted({f"{meta[f'{side}_field']}={meta[f'{side}_term']}" for meta in metas}))
            for side in ("seeker", "job")
        )
        if sides not in seen:
            seen.add(sides)
            rows.append((len(rows), *sides, metas))
            first.append(place)
    columns = ["link", "seeker_segment", "job_segment", "meta_links"]
    return pd.DataFrame(rows, columns=columns), np.array(first, np.int64)


def _meta(code: int) -> dict[str, Any]:
    """What `meta_code` has made one number of."""
    rest, job_term = divmod(code, N_SKILLS)
    field, seeker_term = divmod(rest, N_SKILLS)
    name = FIELDS[field]
    return {"seeker_field": name, "seeker_term": seeker_term, "job_field": name, "job_term": job_term}
