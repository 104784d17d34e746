"""The board's vocabulary as plain values and as small tables to join with."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

DICTIONARY = Path(__file__).with_name("dictionary.toml")

# A person or a job of an occupation has its first two skills and three of the other six: 20 variants.
CORE_SKILLS = 2
VARIANTS = tuple((0, 1, *rest) for rest in combinations(range(CORE_SKILLS, 8), 3))


@dataclass(frozen=True)
class Occupation:
    number: int
    code: str
    label: str
    family: int
    pay: float  # a year, at the second level of seniority
    weight: float
    education: int
    licence: str | None
    titles: tuple[str, ...]
    unlisted: tuple[str, ...]
    skills: tuple[str, ...]
    moves: tuple[int, ...]
    dreams: tuple[int, ...]

    @property
    def surfaces(self) -> tuple[str, ...]:
        """Ways to write it, those of the board's own dictionary first."""
        return self.titles + self.unlisted


@dataclass(frozen=True)
class Region:
    number: int
    name: str
    country: str
    latitude: float
    longitude: float
    pay_factor: float


@dataclass(frozen=True)
class Dictionary:
    occupations: tuple[Occupation, ...]
    families: tuple[str, ...]
    sectors: tuple[tuple[str, ...], ...]  # by family
    regions: tuple[Region, ...]
    languages: dict[str, list[str]]  # by country
    spellings: dict[str, list[str]]  # by skill, itself aside
    words: dict[str, list]

    @property
    def region_weights(self) -> list[float]:
        """Zipf: the second region is half as large as the first."""
        return [1.0 / (r.number + 1) for r in self.regions]

    def siblings(self, occupation: Occupation) -> list[int]:
        """The other occupations of its family."""
        return [o.number for o in self.occupations if o.family == occupation.family and o is not occupation]


@cache
def load_dictionary() -> Dictionary:
    """The vocabulary of dictionary.toml, occupations and regions numbered from 0 in its order."""
    given = tomllib.loads(DICTIONARY.read_text(encoding="utf-8"))
    listed = [(f, entry) for f, family in enumerate(given["families"]) for entry in family["occupations"]]
    numbers = {entry["code"]: number for number, (_, entry) in enumerate(listed)}
    return Dictionary(
        occupations=tuple(_occupation(entry, family, numbers) for family, entry in listed),
        families=tuple(family["name"] for family in given["families"]),
        sectors=tuple(tuple(family["sectors"]) for family in given["families"]),
        regions=tuple(Region(number, *row) for number, row in enumerate(given["regions"]["rows"])),
        languages=given["languages"],
        spellings=given["skills"],
        words=given["words"],
    )


def _occupation(entry: dict[str, Any], family: int, numbers: dict[str, int]) -> Occupation:
    return Occupation(
        number=numbers[entry["code"]],
        code=entry["code"],
        label=entry["label"],
        family=family,
        pay=float(entry["pay"]),
        weight=entry["weight"],
        education=entry["education"],
        licence=entry.get("licence"),
        titles=tuple(entry["titles"]),
        unlisted=tuple(entry["unlisted"]),
        skills=tuple(entry["skills"]),
        moves=tuple(numbers[code] for code in entry.get("moves", [])),
        dreams=tuple(numbers[code] for code in entry.get("dreams", [])),
    )


def title_dictionary(words: Dictionary) -> list[tuple[str, str, str, str]]:
    """(kind, written, code, label): most ways to write each title, and every spelling of each skill."""
    titles = [("title", way, o.code, o.label) for o in words.occupations for way in o.titles]
    skills = sorted({skill for o in words.occupations for skill in o.skills})
    return titles + [
        ("skill", way, f"SK-{number:03d}", skill)
        for number, skill in enumerate(skills)
        for way in [skill, *words.spellings.get(skill, [])]
    ]
