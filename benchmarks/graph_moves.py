"""The job board's moves from one position to the next, named by O*NET's codes: which occupation comes next?

Pure NumPy: a title is given the codes of the longest run of its words that O*NET knows as a title. Links are between a
code, or its minor group (four characters), of the position left and of the one taken; they are learnt from the earlier
moves against the same moves re-paired at random within a state, and asked for the later ones.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from jobs.graph.l1_path import Floats, Matches
from jobs.graph.quality import Penalty, path_points, ratios
from jobs.terms.normalize import tokens

CUTS = (5, 20)
TRAINED_SHARE = 0.8
MIN_SUPPORT = 3
MIN_MARKET = 10
MAX_WORDS, MAX_CODES = 5, 3
GROUP = 4
# Random re-pairings a move: moves are few, and one of each leaves much to chance.
REPAIRED = 5
# Above every log popularity and every log odds.
FIRST = 1e6
Side = frozenset[str]


@dataclass(frozen=True)
class Move:
    when: str
    state: str
    left: Side
    taken: Side


@dataclass(frozen=True)
class Onet:
    names: dict[str, str]
    codes: dict[tuple[str, ...], Side]
    related: dict[str, list[str]]

    def of(self, title: str) -> Side:
        """The codes of the longest run of words that is a title, those of the first such run; at most three."""
        words = tokens(title)
        for length in range(min(len(words), MAX_WORDS), 0, -1):
            for start in range(len(words) - length + 1):
                found = self.codes.get(tuple(words[start : start + length]))
                if found and len(found) <= MAX_CODES:
                    return found
        return frozenset()


def read_onet(folder: Path) -> Onet:
    names = {row[0]: row[1] for row in _rows(folder / "occupation_data.tsv")}
    codes: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for code, title in names.items():
        codes[tuple(tokens(title))].add(code)
    for file in ("alternate_titles.tsv", "sample_of_reported_titles.tsv"):
        for row in _rows(folder / file):
            codes[tuple(tokens(row[1]))].add(row[0])
    related = defaultdict(list)
    for row in sorted(_rows(folder / "related_occupations.tsv"), key=lambda row: (row[0], int(row[3]))):
        related[row[0]].append(row[1])
    return Onet(names, {title: frozenset(found) for title, found in codes.items() if title}, dict(related))


def _rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


def read_moves(path: Path, onet: Onet) -> list[Move]:
    """By time; both positions have a date and a code, the later one starts after the earlier."""
    positions: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["Start.Date"] and row["Position.Name"]:
                positions[row["Applicant.ID"]].add((row["Start.Date"], row["Position.Name"], row["State.Code"]))
    moves = []
    for held in positions.values():
        ordered = sorted(held)
        for (since, title, _), (later, next_title, state) in pairwise(ordered):
            left, taken = onet.of(title), onet.of(next_title)
            if later > since and left and taken:
                moves.append(Move(later, state, left, taken))
    return sorted(moves, key=lambda move: (move.when, move.state, sorted(move.left), sorted(move.taken)))


def meta_links(left: Side, taken: Side) -> set[tuple[str, str]]:
    """Code with code, minor group with minor group."""
    groups = ({code[:GROUP] for code in side} for side in (left, taken))
    return {(a, b) for sides in ((left, taken), tuple(groups)) for a in sides[0] for b in sides[1]}


def learn(moves: list[Move], seed: int) -> tuple[list[tuple[str, str]], Matches]:
    """The meta links that three moves carry, as candidates, and who carries them: moves, then re-paired ones."""
    rng = np.random.default_rng(seed)
    markets: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        markets[move.state].append(move)
    small = [move for members in markets.values() if len(members) < MIN_MARKET for move in members]
    pools = [*(members for members in markets.values() if len(members) >= MIN_MARKET), small]
    pairs = [(move.left, move.taken) for move in moves]
    for pool in pools:
        for _ in range(REPAIRED if len(pool) > 1 else 0):
            other = (np.arange(len(pool)) + rng.integers(1, len(pool), len(pool))) % len(pool)
            pairs += [(pool[i].left, pool[j].taken) for i, j in enumerate(other)]
    support = Counter(meta for move in moves for meta in meta_links(move.left, move.taken))
    candidates = sorted(meta for meta, n in support.items() if n >= MIN_SUPPORT)
    place = {meta: number for number, meta in enumerate(candidates)}
    carried = [sorted(place[meta] for meta in meta_links(*pair) if meta in place) for pair in pairs]
    offsets = np.concatenate([[0], np.cumsum([len(links) for links in carried])]).astype(np.int64)
    links = np.array([link for found in carried for link in found], np.int32)
    is_hire = np.arange(len(pairs)) < len(moves)
    weight = np.where(is_hire, 1.0, 1.0 / REPAIRED)
    return candidates, Matches(is_hire, weight / weight.mean(), offsets, links, len(candidates))


Ranked = Callable[[Side], dict[str, float]]


def next_occupations(data: Path, seed: int) -> dict[str, float]:
    """Print the recalls and the strongest links; recall is the share of later moves with a code taken among the k."""
    onet = read_onet(data / "onet")
    moves = read_moves(data / "jobboard" / "experience.csv", onet)
    n = int(TRAINED_SHARE * len(moves))
    trained, asked = moves[:n], moves[n:]
    digest = hashlib.sha256(repr([(m.when, sorted(m.left), sorted(m.taken)) for m in moves]).encode()).hexdigest()[:12]
    stays = np.mean([bool(move.left & move.taken) for move in asked])
    print(f"\njob board: {len(moves):,} moves with a code on both sides, data {digest}")
    print(f"  learnt from {n:,}, before {asked[0].when}; asked for {len(asked):,}, {stays:.1%} into the same code")
    candidates, matches = learn(trained, seed)
    point = next(p for p in path_points(matches, Penalty()) if p.strength == Penalty().strength)
    qualities = np.zeros(len(candidates))
    qualities[point.links] = point.qualities
    taken = Counter(code for move in trained for code in move.taken)
    popularity = {code: float(np.log(taken[code] + 0.1)) for code in onet.names}
    by_ratio = np.log(np.clip(ratios(matches), 1e-3, 1e3))
    rankings: dict[str, Ranked] = {
        "popularity": lambda left: {},
        "the same occupation": lambda left: dict.fromkeys(left, FIRST),
        "O*NET's related, nearest first": lambda left: related(onet, left),
        "O*NET's related, by popularity": lambda left: dict.fromkeys(related(onet, left), FIRST),
        "the same, then O*NET's, by popularity": lambda left: (
            dict.fromkeys(related(onet, left), FIRST) | dict.fromkeys(left, 2 * FIRST)
        ),
        "links by ratio, the best": by_links(candidates, by_ratio, popularity, max),
        "links by L1, the best": by_links(candidates, qualities, popularity, max),
        "links by L1, their sum": by_links(candidates, qualities, popularity, sum),
        "the same, then links by L1, their sum": with_own(by_links(candidates, qualities, popularity, sum)),
    }
    print(f"  {len(candidates):,} candidate links, {len(point.links):,} kept")
    figures = {}
    print(f"  {'':38s}" + "".join(f" recall@{k:<4d}" for k in CUTS))
    for name, ranked in rankings.items():
        recalls = [recall(asked, ranked, popularity, k) for k in CUTS]
        print(f"  {name:38s}" + "".join(f" {value:11.4f}" for value in recalls))
        figures |= {f"{name} @{k}": round(value, 4) for k, value in zip(CUTS, recalls, strict=True)}
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

    def ranked(left: Side) -> dict[str, float]:
        said: dict[str, list[float]] = defaultdict(list)
        for own in {*left, *(code[:GROUP] for code in left)}:
            for other, score in into[own].items():
                for code in members[other] if len(other) == GROUP else [other]:
                    said[code].append(score)
        return {code: together(found) for code, found in said.items()}

    return ranked


def with_own(ranked: Ranked) -> Ranked:
    """The position's own codes before all others."""
    return lambda left: ranked(left) | dict.fromkeys(left, FIRST)


def recall(moves: Iterable[Move], ranked: Ranked, popularity: dict[str, float], k: int) -> float:
    hits = []
    for move in moves:
        scores = ranked(move.left)
        order = sorted(popularity, key=lambda code: (-scores.get(code, 0.0) - popularity[code], code))
        hits.append(bool(move.taken & set(order[:k])))
    return float(np.mean(hits))


def strongest(
    candidates: list[tuple[str, str]], qualities: Floats, matches: Matches, names: dict[str, str], n: int = 20
) -> None:
    hires = matches.per_link(matches.is_hire.astype(float))
    no_hires = matches.per_link(1.0 - matches.is_hire) / REPAIRED
    print(f"\nthe {n} strongest links")
    for link in np.argsort(-qualities, kind="stable")[:n]:
        a, b = (names[part] for part in candidates[link])
        print(f"  {qualities[link]:5.2f}  {a} -> {b}: {hires[link]:.0f} moves, {no_hires[link]:.1f} re-paired")
