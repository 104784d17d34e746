"""The job board's moves from one position to the next, named by O*NET's codes.

A title is given the codes of the longest run of its words that O*NET knows as a title, where they are three or fewer.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from jobs.terms.normalize import tokens

MAX_WORDS, MAX_CODES = 5, 3
Side = frozenset[str]


class Past(NamedTuple):
    """The codes of the position left, and of each other that was held before it, in order of their codes."""

    left: Side
    before: tuple[Side, ...]


@dataclass(frozen=True)
class Move:
    when: str
    state: str
    past: Past
    taken: Side

    @property
    def left(self) -> Side:
        return self.past.left


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
        ordered, before = sorted(held), set[Side]()
        for (since, title, _), (later, next_title, state) in pairwise(ordered):
            left, taken = onet.of(title), onet.of(next_title)
            if later > since and left and taken:
                moves.append(Move(later, state, Past(left, tuple(sorted(before - {left}, key=sorted))), taken))
            before |= {left} - {Side()}
    return sorted(moves, key=lambda move: (move.when, move.state, sorted(move.left), sorted(move.taken)))
