"""How good the links of each point are: against what was planted, and on pairs learnt from and on later ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.graph_data import FIELDS, HireMarket, labelled, meta_code, pair_metas
from benchmarks.graph_memory import said
from jobs.graph.fit import Fitted
from jobs.graph.l1_path import Matches
from jobs.graph.links import NONE
from jobs.graph.lists import Floats, Lists, ends
from jobs.graph.quality import Point, RatioCurve, ratios, recall_and_false_positives

# A planted pair with fewer hires is not asked for: no scorer can tell it from chance.
LEAST_HIRES = 10
PAIRS_AT_ONCE = 10_000
N_FALSE = 10
Row = dict[str, Any]


def scored(market: HireMarket, later: HireMarket, trained: Fitted) -> dict[str, Any]:
    """Print the curves, and the figures of the chosen point on the later pairs."""
    matches, path, place = trained.matches, trained.points, trained.chosen
    assert matches is not None
    assert place is not None
    scores = ratios(matches)
    print("\nrecall and false positives of the pairs learnt from")
    table(rows_of(matches, scores, path))
    test = matches_of(later, trained)
    rows = rows_of(test, scores, path)
    against = planted(market, trained)
    n_asked = len(asked_for(market))
    print(f"\nplanted: {len(market.truth)} pairs of occupations, {n_asked} with {LEAST_HIRES} hires or more")
    print(f"\nrecall and false positives of {len(test.weight):,} pairs of later hires, and what was planted")
    table([row | found for row, found in zip(rows, against, strict=True)])
    strength = path[place].strength
    print(f"  chosen: {strength:g}")
    chosen, best = rows[place], max(against, key=lambda found: found["precision"] + found["planted"])
    false = path[place].links[~against[place]["is_right"]][:N_FALSE]
    for link in said(trained, false):
        print(f"  of strength {strength:g}, false: {link['seeker_segment']} -> {link['job_segment']}")
    excess = None
    if chosen["false_positives"] and chosen["ratio_false_positives"]:
        excess = round(100 * (chosen["false_positives"] / chosen["ratio_false_positives"] - 1), 2)
    return {
        "chosen_strength": strength,
        "planted_precision": round(against[place]["precision"], 4),
        "planted_recall": round(against[place]["planted"], 4),
        "best_strength": path[against.index(best)].strength,
        "best_strength_precision": round(best["precision"], 4),
        "best_strength_recall": round(best["planted"], 4),
        "fewer_links_than_ratio": round(chosen["ratio_links"] / max(chosen["links"], 1), 1),
        "false_positive_excess_percent": excess,
        "recall": round(chosen["recall"], 4),
        "links": chosen["links"],
        "ratio_links": chosen["ratio_links"],
        "path": [row | {"is_chosen": number == place} for number, row in enumerate(rows) if row["links"]],
    }


def rows_of(pairs: Matches, scores: Floats, path: list[Point]) -> list[Row]:
    """Each point on these pairs, and beside it what the ratio scorer needs there for no less recall."""
    ratio, rows = RatioCurve.of(pairs, scores), []
    for point in path:
        recall, false_positives = recall_and_false_positives(pairs, point.links)
        n, of_ratio = ratio.at(recall)
        rows.append(
            {
                "strength": point.strength, "links": len(point.links), "recall": recall,
                "false_positives": false_positives, "ratio_links": n, "ratio_false_positives": of_ratio,
            }
        )  # fmt: skip
    return rows


def table(rows: list[Row]) -> None:
    extra = "   planted: precision  recall" if "precision" in rows[0] else ""
    print(f"  strength    links   recall  false positives   ratio: links  false positives{extra}")
    for row in rows:
        cells = ["–" if row[n] is None else f"{row[n]:.4f}" for n in ("recall", "false_positives")]
        ratio = "–" if row["ratio_false_positives"] is None else f"{row['ratio_false_positives']:.4f}"
        line = f"  {row['strength']:8g} {row['links']:8,d} {cells[0]:>8s} {cells[1]:>16s}"
        of_planted = f" {row['precision']:20.4f} {row['planted']:7.4f}" if extra else ""
        print(f"{line} {row['ratio_links']:14,d} {ratio:>16s}{of_planted}")


def planted(market: HireMarket, trained: Fitted) -> list[Row]:
    """A row a point: precision (its links that speak of a planted pair), planted (pairs found), is_right (links,)."""
    asked = asked_for(market)
    links = np.unique(np.concatenate([point.links for point in trained.points]))
    rows = zip(links.tolist(), said(trained, links), strict=True)
    of_link = {link: occupations(row["meta_links"]) & market.truth for link, row in rows}
    found = []
    for point in trained.points:
        right = [of_link[link] for link in point.links.tolist()]
        precision = sum(map(bool, right)) / len(right) if right else 0.0
        recall = len(asked & set().union(*right)) / max(len(asked), 1)
        found.append({"precision": precision, "planted": recall, "is_right": np.array([*map(bool, right)], bool)})
    return found


def asked_for(market: HireMarket) -> set[tuple[int, int]]:
    """The planted pairs with hires enough."""
    own = market.seekers.occupation[market.hires[:, 0]], market.jobs.occupation[market.hires[:, 1]]
    pairs, counts = np.unique(np.column_stack(own), axis=0, return_counts=True)
    enough = {(int(a), int(b)) for (a, b), n in zip(pairs, counts, strict=True) if n >= LEAST_HIRES}
    return enough & market.truth


def occupations(metas: Any) -> set[tuple[int, int]]:
    """The pairs of occupations that a link speaks of."""
    fields = [m for m in metas if m["seeker_field"] == "occupation" == m["job_field"]]
    return {(m["seeker_term"], m["job_term"]) for m in fields}


def matches_of(market: HireMarket, trained: Fitted) -> Matches:
    """Pairs of the market and the candidate links, of one or two meta links, that each carries: looked up by those."""
    names, items = trained.mined.metas, trained.mined.items
    field = np.array([FIELDS.index(name) for name in names.field("seeker_field").to_pylist()])
    codes = meta_code(field, names.field("seeker_term").to_numpy(), names.field("job_term").to_numpy())
    low, high = np.sort(np.append(codes, 0)[np.where(items == NONE, len(codes), items)], axis=1).T
    keys = np.where(items[:, 1] == NONE, high, (high << 32) + low)
    order = np.argsort(keys)
    pairs, is_hire = labelled(market, market.hires[0, 0])
    found = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        metas = pair_metas(market, pairs[start : start + PAIRS_AT_ONCE])
        first, second = np.triu_indices(metas.shape[1], 1)
        asked = np.concatenate([metas, (metas[:, second] << 32) + metas[:, first]], axis=1)
        at = np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)
        pair, place = np.nonzero(keys[order[at]] == asked)
        found.append(np.unique(order[at[pair, place]] << 32 | pair + start))
    link, pair = np.divmod(np.sort(np.concatenate(found)), 1 << 32)
    carriers = Lists(ends(np.bincount(link, minlength=len(keys))), pair.astype(np.int32))
    return Matches(is_hire, np.ones(len(pairs)), carriers)
