"""The next occupation as a probability: shares who stay and who go back, and links at several levels for the others.

Of those who leave, the odds of a code against its popularity are the sum of the L1 weights of the links that carry the
move: between codes, minor and major groups, from a major group to a code, into a group of one's own (one link shared by
all groups, so that a group without moves has it too), and to O*NET's related occupations (shared likewise). Moves are
few: the estimate that a major group's moves, with popularity counted as so many more moves, give is pooled with it. How
strong, how many and by which weight is chosen by the likelihood of the later parts of the moves learnt from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.graph_board import Move, Onet, Past, Side
from jobs.graph.l1_path import Matches, l1_path, largest_strength, strengths
from jobs.graph.lists import Floats, Lists

CODE, MINOR, MAJOR = 10, 4, 2  # characters of a code that name it, its minor and its major group
DRAWS = 10  # codes drawn by popularity against each move
SUPPORT = 2
SMOOTHED = 0.1  # moves that every code has
NEAREST = 10  # of O*NET's related occupations
STRENGTHS, PRIORS, WEIGHTS = (4.0, 8.0, 16.0), (80.0, 160.0, 320.0, 640.0), (0.0, 0.25, 0.5, 0.75, 1.0)
FOLDS = ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0))

Feature = tuple[Any, ...]
Model = Callable[[Past], Floats]  # log probability of each code, in the order of `Codes.names`


@dataclass(frozen=True)
class Codes:
    names: list[str]
    place: dict[str, int]
    near: dict[str, frozenset[str]]
    far: dict[str, frozenset[str]]

    @staticmethod
    def of(onet: Onet) -> Codes:
        names = sorted(onet.names)
        near = {code: frozenset(others[:NEAREST]) for code, others in onet.related.items()}
        far = {code: frozenset(others[NEAREST:]) for code, others in onet.related.items()}
        return Codes(names, {name: place for place, name in enumerate(names)}, near, far)

    def features(self, left: Side, code: str) -> list[Feature]:
        """The links that a move from `left` to `code` carries."""
        found: list[Feature] = []
        for level in (CODE, MINOR, MAJOR):
            found += [(level, group, code[:level]) for group in {own[:level] for own in left}]
        found += [("into", group, code) for group in {own[:MAJOR] for own in left}]
        found += [("own group", level) for level in (MINOR, MAJOR) if any(own[:level] == code[:level] for own in left)]
        if any(code in self.near.get(own, ()) for own in left):
            found.append(("related", "near"))
        elif any(code in self.far.get(own, ()) for own in left):
            found.append(("related", "far"))
        return found

    def spread(self, side: Side) -> Floats:
        """The codes of a side alike, 1 in all; zeros where it has none."""
        places = [self.place[code] for code in side if code in self.place]
        shares = np.zeros(len(self.names))
        shares[places] = 1 / max(len(places), 1)
        return shares

    def popularity(self, moves: Iterable[Move]) -> Floats:
        """The share of moves into each code."""
        counts = np.full(len(self.names), SMOOTHED)
        for move in moves:
            counts[[self.place[code] for code in move.taken]] += 1 / len(move.taken)
        return counts / counts.sum()


def leavers(moves: Sequence[Move]) -> list[Move]:
    return [move for move in moves if not move.left & move.taken]


def with_shares(codes: Codes, moves: Sequence[Move], moved: Model) -> Model:
    """`moved` for those who go somewhere new; as many stay, and go back, as of `moves`, whatever the occupation."""
    gone = leavers(moves)
    stay = 1 - len(gone) / len(moves)
    may_return = [move for move in gone if move.past.before]
    back = sum(bool(move.past.before & move.taken) for move in may_return) / max(len(may_return), 1)

    def model(past: Past) -> Floats:
        own, before = codes.spread(past.left), codes.spread(past.before)
        away = np.where(own + before > 0, 0.0, np.exp(moved(past)))
        elsewhere = back * before + (1 - back * before.sum()) * away / away.sum()
        return np.log(stay * own + (1 - stay) * elsewhere + 1e-300)

    return model


def by_links(codes: Codes, moves: Sequence[Move], strength: float, seed: int) -> Model:
    """Popularity times the odds of the links of that strength."""
    gone, rng = leavers(moves), np.random.default_rng(seed)
    pairs = [(move.left, code, 1 / len(move.taken), True) for move in gone for code in sorted(move.taken)]
    for move in gone:
        for other in rng.integers(0, len(gone), DRAWS):
            drawn = sorted(gone[other].taken)
            pairs += [(move.left, code, 1 / len(drawn) / DRAWS, False) for code in drawn]
    carried = [codes.features(left, code) for left, code, _, _ in pairs]
    is_move = np.array([pair[3] for pair in pairs])
    support = Counter(link for links, taken in zip(carried, is_move, strict=True) if taken for link in links)
    place = {link: n for n, link in enumerate(sorted((k for k, n in support.items() if n >= SUPPORT), key=repr))}
    rows = [sorted({place[link] for link in links if link in place}) for links in carried]
    weight = np.array([pair[2] for pair in pairs])
    matches = Matches(is_move, weight / weight.mean(), Lists.of(rows).turned(len(place)))
    *_, found = l1_path(matches, strengths(largest_strength(matches), strength, strength))
    weights = np.zeros(len(place))
    weights[found.links] = found.weights
    odds = {link: weights[n] for link, n in place.items() if weights[n]}
    popularity = np.log(codes.popularity(gone))

    def moved(past: Past) -> Floats:
        said = [sum(odds.get(link, 0.0) for link in codes.features(past.left, code)) for code in codes.names]
        return popularity + np.array(said)

    return with_shares(codes, moves, moved)


def by_groups(codes: Codes, moves: Sequence[Move], prior: float) -> Model:
    """What the moves out of a major group were into, popularity counting as `prior` moves more."""
    gone = leavers(moves)
    base = codes.popularity(gone)
    counts: dict[str, Floats] = defaultdict(lambda: np.zeros(len(codes.names)))
    for move in gone:
        groups = {own[:MAJOR] for own in move.left}
        for group in groups:
            counts[group][[codes.place[code] for code in move.taken]] += 1 / len(move.taken) / len(groups)

    def moved(past: Past) -> Floats:
        own = sum(counts[group] for group in sorted({own[:MAJOR] for own in past.left}))
        return np.log(own + prior * base)

    return with_shares(codes, moves, moved)


def pooled(first: Model, second: Model, weight: float) -> Model:
    return lambda past: (1 - weight) * first(past) + weight * second(past)


def likelihood(codes: Codes, model: Model, moves: Sequence[Move]) -> float:
    """Mean log probability of the codes taken together."""
    found = []
    for move in moves:
        scores = model(move.past)
        scores = scores - np.logaddexp.reduce(scores)
        found.append(np.logaddexp.reduce(scores[[codes.place[code] for code in move.taken]]))
    return float(np.mean(found))


def chosen_models(onet: Onet, moves: Sequence[Move], seed: int) -> dict[str, Model]:
    """By name: links, groups and both pooled, learnt from all of `moves`; prints how they were chosen on parts of them.

    Part after part is asked for with what was learnt from the moves before it.
    """
    codes, n = Codes.of(onet), len(moves)
    parts = [(moves[: int(a * n)], moves[int(a * n) : int(b * n)]) for a, b in FOLDS]

    def best(name: str, values: Sequence[float], made: Callable[[Sequence[Move], float], Model]) -> float:
        said = [np.mean([likelihood(codes, _kept(made(before, v)), after) for before, after in parts]) for v in values]
        cells = ", ".join(f"{value:g}: {found:.4f}" for value, found in zip(values, said, strict=True))
        print(f"  log likelihood of moves learnt from, by {name}: {cells}")
        return values[int(np.argmax(said))]

    strength = best("strength", STRENGTHS, lambda before, value: by_links(codes, before, value, seed))
    prior = best("prior moves of a group", PRIORS, lambda before, value: by_groups(codes, before, value))
    made = {
        len(before): (_kept(by_groups(codes, before, prior)), _kept(by_links(codes, before, strength, seed)))
        for before, _ in parts
    }
    weight = best("weight of the links", WEIGHTS, lambda before, value: pooled(*made[len(before)], value))
    links, groups = by_links(codes, moves, strength, seed), by_groups(codes, moves, prior)
    return {
        f"shares and links, strength {strength:g}": links,
        f"shares and groups, prior {prior:g}": groups,
        f"both, links by {weight:g}": pooled(groups, links, weight),
    }


def _kept(model: Model) -> Model:
    """The same, asked once for each past."""
    known: dict[Past, Floats] = {}

    def asked(past: Past) -> Floats:
        if past not in known:
            known[past] = model(past)
        return known[past]

    return asked
