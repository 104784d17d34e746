"""The job board's moves from one position to the next, named by O*NET's codes: which occupation comes next?

Without Spark. The stage's own task (`jobs.graph.fit`) learns links from the earlier moves against the same moves
re-paired at random within a state, and ranks codes as the graph channel ranks jobs: by the band of the best link, then
by popularity. The later moves are asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.graph_board import Move, Onet, Past, Side, read_moves, read_onet
from jobs.graph.fit import HIRE, Fitted, LabelledPairs, fit_links
from jobs.graph.hires import KINDS
from jobs.graph.links import Limits
from jobs.graph.lists import Floats, Lists
from jobs.graph.meta_links import SAME
from jobs.graph.quality import Penalty
from jobs.settings import RetrieveCandidates, Template

CUTS = (5, 20)
TRAINED_SHARE = 0.8
MIN_MARKET = 10
RESAMPLES = 2000
BANDS = RetrieveCandidates().quality_bands
RANDOM = KINDS.index("random") + 1
SEEKER_FIELDS = ("occupation", "past_occupation")
STAGE, STAGE_SAME = "the stage's links, of two terms", "the stage's links, of the same term too"
BESIDE = ("popularity", "the same occupation", "the same, then earlier ones", "O*NET's related, by popularity")
# Random re-pairings a move: moves are few, and one of each leaves much to chance.
REPAIRED = 5
# Above every log popularity.
FIRST = 1e6

Ranked = Callable[[Past], Mapping[str, float]]
Segment = frozenset[tuple[str, int]]


def learn(moves: Sequence[Move], codes: Mapping[str, int], templates: Sequence[Template], seed: int) -> Fitted:
    """The stage's links from these moves: of each, `occupation` is of the position left, `past_occupation` of those
    before it.
    """
    pairs = [(move.past, move.taken) for move in moves]
    pairs += [(moves[i].past, moves[j].taken) for i, j in sorted(repaired(moves, seed))]
    kind = np.where(np.arange(len(pairs)) < len(moves), HIRE, RANDOM)
    sides = {("seeker", field): [held(past, codes)[field] for past, _ in pairs] for field in SEEKER_FIELDS}
    sides["job", "occupation"] = [of_codes(taken, codes) for _, taken in pairs]
    terms = {name: Lists.of(rows) for name, rows in sides.items()}
    weight = np.where(kind == HIRE, 1.0, 1.0 / REPAIRED)
    labelled = LabelledPairs(kind, weight, np.zeros(len(pairs), bool), terms)
    return fit_links(labelled, templates, Limits(), Penalty())


def repaired(moves: Sequence[Move], seed: int) -> list[tuple[int, int]]:
    """Whose position left goes with whose position taken, by place: within a state, or among those of small ones."""
    rng = np.random.default_rng(seed)
    markets: dict[str, list[int]] = defaultdict(list)
    for number, move in enumerate(moves):
        markets[move.state].append(number)
    small = [number for members in markets.values() if len(members) < MIN_MARKET for number in members]
    drawn = []
    for pool in [*(members for members in markets.values() if len(members) >= MIN_MARKET), small]:
        for _ in range(REPAIRED if len(pool) > 1 else 0):
            other = (np.arange(len(pool)) + rng.integers(1, len(pool), len(pool))) % len(pool)
            drawn += [(pool[i], pool[j]) for i, j in enumerate(other)]
    return drawn


def of_codes(side: Iterable[str], codes: Mapping[str, int]) -> list[int]:
    return sorted({codes[code] for code in side})


def held(past: Past, codes: Mapping[str, int]) -> dict[str, list[int]]:
    return {"occupation": of_codes(past.left, codes), "past_occupation": of_codes(Side().union(*past.before), codes)}


@dataclass(frozen=True)
class Link:
    seeker: Segment
    job: Segment
    quality: float
    n_hires: float
    n_no_hires: float


def links_of(fitted: Fitted) -> list[Link]:
    """The links kept."""
    point, mined = fitted.point, fitted.mined
    assert point is not None
    quality, links = dict(zip(point.links.tolist(), point.qualities.tolist(), strict=True)), []
    for link in quality:
        metas = mined.metas.take(mined.items[link][mined.items[link] < len(mined.metas)]).to_pylist()
        own, asked = (frozenset((m[f"{side}_field"], m[f"{side}_term"]) for m in metas) for side in ("seeker", "job"))
        links.append(Link(own, asked, quality[link], mined.n_hires[link], mined.n_no_hires[link]))
    return sorted(links, key=lambda link: -link.quality)


def each_term(links: Sequence[Link], codes: Mapping[str, int]) -> list[Link]:
    """As `jobs.graph.same.of_each_term`: a link of the same term is one for each, and adds to the term's own."""
    found = {(link.seeker, link.job): link for link in links if ("occupation", SAME) not in link.job}
    for link in links:
        if ("occupation", SAME) in link.job:
            ((field, _),) = link.seeker
            for term in codes.values():
                segments = frozenset([(field, term)]), frozenset([("occupation", term)])
                own = found.get(segments)
                quality = round(link.quality + (own.quality if own else 0.0), 4)
                found[segments] = replace(own or Link(*segments, 0.0, 0.0, 0.0), quality=quality)
    return list(found.values())


def by_links(links: Sequence[Link], codes: Mapping[str, int]) -> Ranked:
    """As the graph channel has it: by the band of the best link that a code shares with the past, then popularity."""
    names = {number: code for code, number in codes.items()}
    # a code alone is no job of two, and bands are as of `jobs.channels.queries.quality_bands`
    into = [(link.seeker, names[term], link.quality) for link in links if len(link.job) == 1 for _, term in link.job]
    falling = sorted({link.quality for link in links}, reverse=True)
    band = {q: min(n * BANDS // max(len(falling) - 1, 1), BANDS - 1) for n, q in enumerate(falling)}

    def ranked(past: Past) -> dict[str, float]:
        has = {(field, term) for field, terms in held(past, codes).items() for term in terms}
        found: dict[str, float] = {}
        for seeker, code, quality in into:
            if seeker <= has:
                found[code] = max(found.get(code, 0.0), FIRST * (BANDS - band[quality]))
        return found

    return ranked


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
    return {f"moves: {name}": value for name, value in compared(onet, trained, asked, seed).items()}


def compared(onet: Onet, trained: Sequence[Move], asked: Sequence[Move], seed: int) -> dict[str, float | list[float]]:
    """Print and return what each way to rank finds of the moves asked for."""
    taken = Counter(code for move in trained for code in move.taken)
    popularity = {code: float(np.log(taken[code] + 0.1)) for code in onet.names}
    codes = {code: number for number, code in enumerate(sorted(onet.names))}
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
    }
    for name, same in ((STAGE, False), (STAGE_SAME, True)):
        templates = [Template(seeker=field, job="occupation", same=same) for field in SEEKER_FIELDS]
        fitted = learn(trained, codes, templates, seed)
        links = links_of(fitted)
        strength = fitted.point.strength if fitted.point else 0
        print(f"  {name}: {len(fitted.mined.items):,} candidates, {len(links):,} kept at strength {strength:g}")
        strongest(links, onet, codes)
        rankings[name] = by_links(each_term(links, codes), codes)
    figures: dict[str, float | list[float]] = {}
    hits: dict[str, Floats] = {}
    print(f"  {'':46s}" + "".join(f" recall@{k:<4d}" for k in CUTS))
    for name, ranked in rankings.items():
        hits[name] = np.array([hit(asked, ranked, popularity, k) for k in CUTS])
        recalls = hits[name].mean(axis=1)
        print(f"  {name:46s}" + "".join(f" {value:11.4f}" for value in recalls))
        figures |= {f"{name} @{k}": round(float(value), 4) for k, value in zip(CUTS, recalls, strict=True)}
    for other in BESIDE:
        figures |= less(STAGE_SAME, other, hits[STAGE_SAME] - hits[other], seed)
    return figures


def related(onet: Onet, left: Side) -> dict[str, float]:
    """O*NET's related occupations before all others, nearest first."""
    found: dict[str, float] = {}
    for code in left:
        for place, other in enumerate(onet.related.get(code, [])):
            found[other] = max(found.get(other, 0.0), FIRST * (1 + 1 / (1 + place)))
    return found


def hit(moves: Iterable[Move], ranked: Ranked, popularity: dict[str, float], k: int) -> list[float]:
    """Of each move, 1 where a code taken is among the first k."""
    hits = []
    for move in moves:
        scores = ranked(move.past)
        order = sorted(popularity, key=lambda code: (-scores.get(code, 0.0) - popularity[code], code))
        hits.append(float(bool(move.taken & set(order[:k]))))
    return hits


def less(name: str, other: str, differences: Floats, seed: int) -> dict[str, list[float]]:
    """Print and return each cut's difference in recall, and where 95 % of resampled moves put it."""
    drawn = np.random.default_rng(seed).integers(0, differences.shape[1], (RESAMPLES, differences.shape[1]))
    figures = {}
    for k, row in zip(CUTS, differences, strict=True):
        low, high = np.quantile(row[drawn].mean(axis=1), [0.025, 0.975])
        print(f"  {name}, less {other} @{k}: {row.mean():+.4f}, {low:+.4f} to {high:+.4f}")
        figures[f"{name} less {other} @{k}"] = [round(float(value), 4) for value in (row.mean(), low, high)]
    return figures


def strongest(links: Sequence[Link], onet: Onet, codes: Mapping[str, int], n: int = 20) -> None:
    names = {number: onet.names[code] for code, number in codes.items()} | {SAME: "the same"}

    def words(segment: Segment) -> str:
        return ", ".join(f"{names[term]}{' before' if field == 'past_occupation' else ''}" for field, term in segment)

    for link in links[:n]:
        counts = f"{link.n_hires:.0f} moves, {link.n_no_hires:.1f} re-paired"
        print(f"  {link.quality:5.2f}  {words(link.seeker)} -> {words(link.job)}: {counts}")
