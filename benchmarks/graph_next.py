"""The next position as a probability: shares who stay and who go back, and links at several levels for the others.

What is foretold is a side: all the codes of a title, as positions have them. The chance of a side for those who go
somewhere new is its popularity times the odds of the links that carry the move, which L1 weighs: between codes, minor
and major groups, from a major group to a code, into a group of one's own (one link shared by all groups, so that a
group without moves has it too), and to O*NET's related occupations (shared likewise). Moves are few: the estimate that
a major group's moves give, with popularity counted as so many more, is pooled with it. How strong, how many and by
which weight is chosen by the likelihood of the later parts of the moves learnt from.

A list of codes is made for what is counted, some code among the first k: the codes of one title come together, so that
each place goes to the code of most chance that none of those before it is right (Chen and Karger, SIGIR 2006).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.graph_board import Move, Onet, Past, Side
from jobs.graph.l1_path import Matches, l1_path, largest_strength, strengths
from jobs.graph.lists import Floats, Lists

CODE, MINOR, MAJOR = 10, 4, 2  # characters of a code that name it, its minor and its major group
DRAWS = 10  # sides drawn by popularity against each move
SUPPORT = 2
SMOOTHED = 0.02  # moves that every code has, as a title of its own
NEAREST = 10  # of O*NET's related occupations
STRENGTHS, PRIORS, WEIGHTS = (2.0, 4.0, 8.0, 16.0), (80.0, 160.0, 320.0, 640.0, 1280.0), (0.0, 0.25, 0.5, 0.75, 1.0)
FOLDS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0))

Feature = tuple[Any, ...]
Chances = dict[Side, float]
Model = Callable[[Past], Chances]


@dataclass(frozen=True)
class Sides:
    """Those taken in some moves and each code alone; `popularity` is aligned with `names`, 1 in all."""

    names: list[Side]
    place: dict[Side, int]
    popularity: Floats

    @staticmethod
    def of(onet: Onet, moves: Iterable[Move]) -> Sides:
        counts = Counter(move.taken for move in moves)
        names = sorted({*counts, *(Side([code]) for code in onet.names)}, key=sorted)
        popularity = np.array([counts[side] + SMOOTHED * (len(side) == 1) for side in names])
        return Sides(names, {side: place for place, side in enumerate(names)}, popularity / popularity.sum())


def carried(onet: Onet, left: Side) -> Callable[[Side], set[Feature]]:
    """The links that a move from `left` to each side carries."""
    near = {code for own in left for code in onet.related.get(own, [])[:NEAREST]}
    far = {code for own in left for code in onet.related.get(own, [])[NEAREST:]}
    groups = {level: {own[:level] for own in left} for level in (CODE, MINOR, MAJOR)}

    def links(taken: Side) -> set[Feature]:
        found: set[Feature] = set()
        for level, own in groups.items():
            into = {code[:level] for code in taken}
            found |= {(level, a, b) for a in own for b in into}
            if level != CODE and own & into:
                found.add(("own group", level))
        found |= {("into", group, code) for group in groups[MAJOR] for code in taken}
        if near & taken:
            found.add(("related", "near"))
        elif far & taken:
            found.add(("related", "far"))
        return found

    return links


def leavers(moves: Iterable[Move]) -> list[Move]:
    return [move for move in moves if move.taken != move.left]


def with_shares(moves: Sequence[Move], sides: Sides, moved: Callable[[Past], Floats]) -> Model:
    """`moved` for those who go somewhere new; as many stay, and go back, as of `moves`, whatever the occupation."""
    gone = leavers(moves)
    stay = 1 - len(gone) / len(moves)
    may_return = [move for move in gone if move.past.before]
    back = sum(move.taken in move.past.before for move in may_return) / max(len(may_return), 1)

    def model(past: Past) -> Chances:
        away = moved(past)
        away[[sides.place[side] for side in (past.left, *past.before) if side in sides.place]] = 0.0
        returns = back if past.before else 0.0
        away *= (1 - stay) * (1 - returns) / away.sum()
        chances = dict(zip(sides.names, away.tolist(), strict=True)) | {past.left: stay}
        return chances | dict.fromkeys(past.before, (1 - stay) * returns / max(len(past.before), 1))

    return model


def by_links(onet: Onet, moves: Sequence[Move], strength: float, seed: int) -> Model:
    """Popularity times the odds of the links of that strength."""
    gone, rng = leavers(moves), np.random.default_rng(seed)
    drawn = [(move.left, gone[other].taken) for move in gone for other in rng.integers(0, len(gone), DRAWS)]
    pairs = [*((move.left, move.taken) for move in gone), *drawn]
    links = [carried(onet, left)(taken) for left, taken in pairs]
    is_move = np.arange(len(pairs)) < len(gone)
    support = Counter(link for found in links[: len(gone)] for link in found)
    place = {link: n for n, link in enumerate(sorted((k for k, n in support.items() if n >= SUPPORT), key=repr))}
    rows = [sorted(place[link] for link in found if link in place) for found in links]
    weight = np.where(is_move, 1.0, 1 / DRAWS)
    matches = Matches(is_move, weight / weight.mean(), Lists.of(rows).turned(len(place)))
    *_, point = l1_path(matches, strengths(largest_strength(matches), strength, strength))
    weights = np.zeros(len(place))
    weights[point.links] = point.weights
    odds = {link: weights[n] for link, n in place.items() if weights[n]}
    sides = Sides.of(onet, moves)

    def moved(past: Past) -> Floats:
        links_of = carried(onet, past.left)
        return sides.popularity * np.exp([sum(odds.get(link, 0.0) for link in links_of(side)) for side in sides.names])

    return with_shares(moves, sides, moved)


def by_groups(onet: Onet, moves: Sequence[Move], prior: float) -> Model:
    """What the moves out of a major group were into, popularity counting as `prior` moves more."""
    sides = Sides.of(onet, moves)
    counts: dict[str, Floats] = defaultdict(lambda: np.zeros(len(sides.names)))
    for move in leavers(moves):
        groups = {own[:MAJOR] for own in move.left}
        for group in groups:
            counts[group][sides.place[move.taken]] += 1 / len(groups)

    def moved(past: Past) -> Floats:
        own = sum(counts[group] for group in sorted({own[:MAJOR] for own in past.left}))
        return own + prior * sides.popularity

    return with_shares(moves, sides, moved)


def pooled(first: Model, second: Model, weight: float) -> Model:
    """The geometric mean, by weight, of two that know the same sides."""

    def model(past: Past) -> Chances:
        one, other = first(past), second(past)
        return {side: chance ** (1 - weight) * other[side] ** weight for side, chance in one.items()}

    return model


def plain_rules(onet: Onet, moves: Sequence[Move]) -> dict[str, Model]:
    """What needs no learning, as lists of titles: by popularity, and that after the title left and those before it."""
    sides = Sides.of(onet, moves)
    popularity = dict(zip(sides.names, sides.popularity.tolist(), strict=True))
    by_popularity = {side: chance / 1e6 for side, chance in popularity.items()}
    return {
        "popularity, a title's codes once": lambda past: popularity,
        "the same, then earlier, a title's codes once": lambda past: (
            by_popularity
            | {side: 1 / 1e3 + by_popularity.get(side, 0.0) for side in past.before}
            | dict.fromkeys([past.left], 1.0)
        ),
    }


def likelihood(model: Model, moves: Sequence[Move]) -> float:
    """Mean log probability that some code is right."""
    found = []
    for move in moves:
        chances = model(move.past)
        right = sum(chance for side, chance in chances.items() if side & move.taken)
        found.append(np.log(right / sum(chances.values())))
    return float(np.mean(found))


def first_codes(chances: Mapping[Side, float], k: int) -> list[str]:
    """Each the code of most chance that none before it is right; ties by code."""
    having: dict[str, list[Side]] = defaultdict(list)
    for side in chances:
        for code in side:
            having[code].append(side)
    left = dict(chances)
    mass = {code: sum(left[side] for side in sides) for code, sides in sorted(having.items())}
    first: list[str] = []
    while mass and len(first) < k:
        best = max(mass, key=mass.__getitem__)
        first.append(best)
        for side in having[best]:
            chance = left.pop(side, 0.0)
            for code in side & mass.keys():
                mass[code] -= chance
        del mass[best]
    return first


def chosen_models(onet: Onet, moves: Sequence[Move], seed: int) -> dict[str, Model]:
    """By name: links, groups and both pooled, learnt from all of `moves`; prints how they were chosen on parts of them.

    Part after part is asked for with what was learnt from the moves before it.
    """
    n = len(moves)
    parts = [(moves[: int(a * n)], moves[int(a * n) : int(b * n)]) for a, b in FOLDS]

    def best(name: str, values: Sequence[float], made: Callable[[Sequence[Move], float], Model]) -> float:
        said = [np.mean([likelihood(made(before, v), after) for before, after in parts]) for v in values]
        cells = ", ".join(f"{value:g}: {found:.4f}" for value, found in zip(values, said, strict=True))
        print(f"  log likelihood of moves learnt from, by {name}: {cells}")
        return values[int(np.argmax(said))]

    strength = best("strength", STRENGTHS, lambda before, value: by_links(onet, before, value, seed))
    prior = best("prior moves of a group", PRIORS, lambda before, value: by_groups(onet, before, value))
    made = {
        len(before): (cache(by_groups(onet, before, prior)), cache(by_links(onet, before, strength, seed)))
        for before, _ in parts
    }
    weight = best("weight of the links", WEIGHTS, lambda before, value: pooled(*made[len(before)], value))
    links, groups = by_links(onet, moves, strength, seed), by_groups(onet, moves, prior)
    return {
        f"shares and links, strength {strength:g}": links,
        f"shares and groups, prior {prior:g}": groups,
        f"both, links by {weight:g}": pooled(groups, links, weight),
    }
