"""The job board's moves from one position to the next, named by O*NET's codes: which occupation comes next?

Pure NumPy. Links as the stage has them are between a code, or its minor group (four characters), of the position left
and of the one taken; they are learnt from the earlier moves against the same moves re-paired at random within a state,
and asked for the later ones. `benchmarks.graph_next` has what else can be learnt from the moves.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmarks.graph_board import Move, Onet, Past, Side, read_moves, read_onet
from benchmarks.graph_next import Model, chosen_models, first_codes, plain_rules
from jobs.graph.held_out import last_of_each
from jobs.graph.l1_path import Matches
from jobs.graph.lists import Floats, Lists
from jobs.graph.quality import Penalty, chosen_point, path_points, ratios

CUTS = (5, 20)
TRAINED_SHARE = 0.8
MIN_SUPPORT = 3
MIN_MARKET = 10
GROUP = 4
RESAMPLES = 2000
BESIDE = (
    "popularity",
    "the same occupation",
    "the same, then earlier ones",
    "the same, then earlier, a title's codes once",
    "O*NET's related, by popularity",
)
# Random re-pairings a move: moves are few, and one of each leaves much to chance.
REPAIRED = 5
# Above every log popularity and every log odds.
FIRST = 1e6


def meta_links(left: Side, taken: Side) -> set[tuple[str, str]]:
    """Code with code, minor group with minor group."""
    groups = ({code[:GROUP] for code in side} for side in (left, taken))
    return {(a, b) for sides in ((left, taken), tuple(groups)) for a in sides[0] for b in sides[1]}


def learn(moves: list[Move], seed: int) -> tuple[list[tuple[str, str]], Matches]:
    """The meta links that three moves carry, as candidates, and who carries them: moves, then re-paired ones."""
    rng = np.random.default_rng(seed)
    markets: dict[str, list[int]] = defaultdict(list)
    for number, move in enumerate(moves):
        markets[move.state].append(number)
    small = [number for members in markets.values() if len(members) < MIN_MARKET for number in members]
    pools = [*(members for members in markets.values() if len(members) >= MIN_MARKET), small]
    drawn = []
    for pool in pools:
        for _ in range(REPAIRED if len(pool) > 1 else 0):
            other = (np.arange(len(pool)) + rng.integers(1, len(pool), len(pool))) % len(pool)
            drawn += [(pool[i], pool[j]) for i, j in enumerate(other)]
    pairs = [(move.left, move.taken) for move in moves]
    # as the moves, by time
    pairs += [(moves[i].left, moves[j].taken) for i, j in sorted(drawn)]
    support = Counter(meta for move in moves for meta in meta_links(move.left, move.taken))
    candidates = sorted(meta for meta, n in support.items() if n >= MIN_SUPPORT)
    place = {meta: number for number, meta in enumerate(candidates)}
    carried = [sorted(place[meta] for meta in meta_links(*pair) if meta in place) for pair in pairs]
    is_hire = np.arange(len(pairs)) < len(moves)
    weight = np.where(is_hire, 1.0, 1.0 / REPAIRED)
    return candidates, Matches(is_hire, weight / weight.mean(), Lists.of(carried).turned(len(candidates)))


Ranked = Callable[[Past], dict[str, float]]


def next_occupations(data: Path, seed: int) -> dict[str, float | list[float]]:
    """Print the recalls and the strongest links; recall is the share of later moves with a code taken among the k."""
    onet = read_onet(data / "onet")
    moves = read_moves(data / "jobboard" / "experience.csv", onet)
    n = int(TRAINED_SHARE * len(moves))
    trained, asked = moves[:n], moves[n:]
    shown = repr([(m.when, [sorted(side) for side in (m.left, *m.past.before, m.taken)]) for m in moves])
    digest = hashlib.sha256(shown.encode()).hexdigest()[:12]
    stays = np.mean([bool(move.left & move.taken) for move in asked])
    print(f"\njob board: {len(moves):,} moves with a code on both sides, data {digest}")
    print(f"  learnt from {n:,}, before {asked[0].when}; asked for {len(asked):,}, {stays:.1%} into the same code")
    candidates, matches = learn(trained, seed)
    path = list(path_points(matches, Penalty(), last_of_each(matches.is_hire.astype(int))))
    point = path[chosen_point(path, Penalty())]
    qualities = np.zeros(len(candidates))
    qualities[point.links] = point.qualities
    taken = Counter(code for move in trained for code in move.taken)
    popularity = {code: float(np.log(taken[code] + 0.1)) for code in onet.names}
    by_ratio = np.log(np.clip(ratios(matches), 1e-3, 1e3))
    rankings: dict[str, Ranked] = {
        "popularity": lambda past: {},
        "the same occupation": lambda past: dict.fromkeys(past.left, FIRST),
        "the same, then earlier ones": lambda past: (
            dict.fromkeys(Side().union(*past.before), FIRST) | dict.fromkeys(past.left, 2 * FIRST)
        ),
        "O*NET's related, nearest first": lambda past: related(onet, past.left),
        "O*NET's related, by popularity": lambda past: dict.fromkeys(related(onet, past.left), FIRST),
        "the same, then O*NET's, by popularity": lambda past: (
            dict.fromkeys(related(onet, past.left), FIRST) | dict.fromkeys(past.left, 2 * FIRST)
        ),
        "links by ratio, the best": by_links(candidates, by_ratio, popularity, max),
        "links by L1, the best": by_links(candidates, qualities, popularity, max),
        "links by L1, their sum": by_links(candidates, qualities, popularity, sum),
        "the same, then links by L1, their sum": with_own(by_links(candidates, qualities, popularity, sum)),
    }
    print(f"  {len(candidates):,} candidate links, {len(point.links):,} kept at strength {point.strength:g}")
    models = chosen_models(onet, trained, seed)
    rankings |= {name: listed(model) for name, model in (plain_rules(onet, trained) | models).items()}
    figures: dict[str, float | list[float]] = {}
    hits: dict[str, Floats] = {}
    print(f"  {'':46s}" + "".join(f" recall@{k:<4d}" for k in CUTS))
    for name, ranked in rankings.items():
        hits[name] = np.array([hit(asked, ranked, popularity, k) for k in CUTS])
        recalls = hits[name].mean(axis=1)
        print(f"  {name:46s}" + "".join(f" {value:11.4f}" for value in recalls))
        figures |= {f"{name} @{k}": round(float(value), 4) for k, value in zip(CUTS, recalls, strict=True)}
    *_, pooled = models
    for other in BESIDE:
        figures |= compared(pooled, other, hits[pooled] - hits[other], seed)
    likeliest = sorted(popularity, key=lambda code: -popularity[code])
    groups = {code[:GROUP]: f"{code[:GROUP]} (as {onet.names[code]})" for code in reversed(likeliest)}
    strongest(candidates, qualities, matches, onet.names | groups)
    return {f"moves: {name}": value for name, value in figures.items()}


def related(onet: Onet, left: Side) -> dict[str, float]:
    """O*NET's related occupations before all others, nearest first."""
    found: dict[str, float] = {}
    for code in left:
        for place, other in enumerate(onet.related.get(code, [])):
            found[other] = max(found.get(other, 0.0), FIRST * (1 + 1 / (1 + place)))
    return found


def by_links(
    candidates: list[tuple[str, str]], scores: Floats, popularity: dict[str, float], together: Callable[..., float]
) -> Ranked:
    """A code scores its popularity plus what its links from the position left, or its group, say `together`.

    A link's weight is log odds against moves re-paired at random, into whose codes people come as they are popular.
    """
    into: dict[str, dict[str, float]] = defaultdict(dict)
    for (a, b), score in zip(candidates, scores.tolist(), strict=True):
        if score:
            into[a][b] = score
    members = defaultdict(list)
    for code in popularity:
        members[code[:GROUP]].append(code)

    def ranked(past: Past) -> dict[str, float]:
        said: dict[str, list[float]] = defaultdict(list)
        for own in {*past.left, *(code[:GROUP] for code in past.left)}:
            for other, score in into[own].items():
                for code in members[other] if len(other) == GROUP else [other]:
                    said[code].append(score)
        return {code: together(found) for code, found in said.items()}

    return ranked


def with_own(ranked: Ranked) -> Ranked:
    """The position's own codes before all others."""
    return lambda past: ranked(past) | dict.fromkeys(past.left, FIRST)


def listed(model: Model) -> Ranked:
    """The first codes that the model gives, before all others."""

    def ranked(past: Past) -> dict[str, float]:
        return {code: FIRST * (max(CUTS) - n) for n, code in enumerate(first_codes(model(past), max(CUTS)))}

    return ranked


def hit(moves: Iterable[Move], ranked: Ranked, popularity: dict[str, float], k: int) -> list[float]:
    """Of each move, 1 where a code taken is among the first k."""
    hits = []
    for move in moves:
        scores = ranked(move.past)
        order = sorted(popularity, key=lambda code: (-scores.get(code, 0.0) - popularity[code], code))
        hits.append(float(bool(move.taken & set(order[:k]))))
    return hits


def compared(name: str, other: str, differences: Floats, seed: int) -> dict[str, list[float]]:
    """Print and return each cut's difference in recall, and where 95 % of resampled moves put it."""
    drawn = np.random.default_rng(seed).integers(0, differences.shape[1], (RESAMPLES, differences.shape[1]))
    figures = {}
    for k, row in zip(CUTS, differences, strict=True):
        low, high = np.quantile(row[drawn].mean(axis=1), [0.025, 0.975])
        print(f"  {name}, less {other} @{k}: {row.mean():+.4f}, {low:+.4f} to {high:+.4f}")
        figures[f"{name} less {other} @{k}"] = [round(float(value), 4) for value in (row.mean(), low, high)]
    return figures


def strongest(
    candidates: list[tuple[str, str]], qualities: Floats, matches: Matches, names: dict[str, str], n: int = 20
) -> None:
    hires: Floats = matches.carriers.sums(matches.is_hire.astype(np.float64))
    no_hires: Floats = matches.carriers.sums((~matches.is_hire).astype(np.float64)) / REPAIRED
    print(f"\nthe {n} strongest links")
    for link in np.argsort(-qualities, kind="stable")[:n]:
        a, b = (names[part] for part in candidates[link])
        print(f"  {qualities[link]:5.2f}  {a} -> {b}: {hires[link]:.0f} moves, {no_hires[link]:.1f} re-paired")
