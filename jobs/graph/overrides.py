"""Links as people want them: banned, forced or re-weighted by a TOML file, after the regression has had its say.

    [[ban]]
    seeker = { occupation = "11-1011.00" }
    job = { occupation = "35-2014.00" }

    [[force]]
    seeker = { occupation = "15-2051.00", seniority = "mid" }
    job = { occupation = "15-2051.01", skill = ["python", "spark"] }
    quality = 1.5

    [[weigh]]
    seeker = { occupation = "29-1141.00" }
    job = { occupation = "29-1171.00" }
    times = 0.5

A side names terms by attribute, as the term dictionary has them: the term, or the label that people see. It means the
link between exactly these two segments, not links of longer ones.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.errors import SettingsError, nearest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORCED, WEIGHED = "forced", "weighed"
ACTIONS = {"ban": (), "force": ("quality",), "weigh": ("times",)}
Part = tuple[str, int]  # field and term id


@dataclass(frozen=True)
class Names:
    """What the term dictionary knows: `ids` of a field and a term, or a field and a label, which several may share."""

    fields: frozenset[str]
    ids: Mapping[tuple[str, str], frozenset[int]]

    @staticmethod
    def of(fields: Iterable[str], rows: Iterable[tuple[str, str, int, str | None]]) -> Names:
        """Of the dictionary's rows: field, term, term_id, label. A term comes before a label that reads the same."""
        terms: dict[tuple[str, str], frozenset[int]] = {}
        labels: dict[tuple[str, str], frozenset[int]] = {}
        for field, term, term_id, label in rows:
            terms[field, term] = frozenset({term_id})
            if label is not None:
                labels[field, label] = labels.get((field, label), frozenset()) | {term_id}
        return Names(frozenset(fields), labels | terms)


def _segment(parts: Iterable[Part]) -> str:
    """Must match `links.segment`."""
    return "&".join(sorted(f"{field}={term}" for field, term in parts))


@dataclass(frozen=True)
class Override:
    """`number` is the new quality (force) or its factor (weigh)."""

    action: str
    seeker: tuple[Part, ...]
    job: tuple[Part, ...]
    number: float | None

    @property
    def segments(self) -> tuple[str, str]:
        """Both segments as `segment_links` writes them."""
        return _segment(self.seeker), _segment(self.job)

    @property
    def meta_links(self) -> list[tuple[str, int, str, int]]:
        """Attribute pairs that between them have every term of both sides, the shorter side's last one repeated."""
        n = max(len(self.seeker), len(self.job))
        return sorted(
            (*self.seeker[min(i, len(self.seeker) - 1)], *self.job[min(i, len(self.job) - 1)]) for i in range(n)
        )


@dataclass(frozen=True)
class Overrides:
    """The file's entries; `text` is the whole of it and `version` its hash, both empty without a file."""

    entries: tuple[Override, ...] = ()
    text: str = ""

    @property
    def version(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:12] if self.text else ""

    def of(self, action: str) -> list[Override]:
        return [entry for entry in self.entries if entry.action == action]


def parse_overrides(text: str, names: Names, where: str) -> Overrides:
    """The overrides in a file's text. SettingsError names the file, the entry, and what was expected."""
    entries = []
    for action, listed in _tables(text, where).items():
        if action not in ACTIONS:
            raise SettingsError(f"{where}: unknown table {action!r}; {nearest(action, ACTIONS)}")
        if not isinstance(listed, list):
            raise SettingsError(f"{where}: expected [[{action}]], got {listed!r}")
        entries += [_entry(action, entry, names, f"{where}: {action}[{n}]") for n, entry in enumerate(listed)]
    seen: dict[tuple[str, str], str] = {}
    for entry in entries:
        if entry.segments in seen:
            both = f"{seen[entry.segments]} and {entry.action}"
            raise SettingsError(f"{where}: {' -> '.join(entry.segments)} is there twice, in {both}")
        seen[entry.segments] = entry.action
    return Overrides(tuple(entries), text)


def _tables(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: not TOML: {error}") from None


def _entry(action: str, entry: Any, names: Names, where: str) -> Override:
    wanted = {"seeker", "job", *ACTIONS[action]}
    if not isinstance(entry, dict) or set(entry) != wanted:
        got = ", ".join(sorted(entry)) if isinstance(entry, dict) else repr(entry)
        raise SettingsError(f"{where}: expected {', '.join(sorted(wanted))}, got {got}")
    seeker, job = (_side(entry[side], names, f"{where}.{side}") for side in ("seeker", "job"))
    number = next((entry[name] for name in ACTIONS[action]), None)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | float) or number <= 0):
        raise SettingsError(f"{where}.{ACTIONS[action][0]}: expected a number above 0, got {number!r}")
    return Override(action, seeker, job, None if number is None else float(number))


def _side(side: Any, names: Names, where: str) -> tuple[Part, ...]:
    if not isinstance(side, dict) or not side:
        raise SettingsError(f'{where}: expected attributes, as in {{ occupation = "15-2051.00" }}, got {side!r}')
    parts = set()
    for field, named in side.items():
        if field not in names.fields:
            raise SettingsError(f"{where}: unknown attribute {field!r}; {nearest(field, names.fields)}")
        for text in named if isinstance(named, list) else [named]:
            found = names.ids.get((field, text), frozenset()) if isinstance(text, str) else frozenset()
            if len(found) > 1:
                raise SettingsError(f"{where}: {len(found)} terms of {field} are called {text!r}: name one by its term")
            if not found:
                raise SettingsError(f"{where}: the term dictionary has no {field} {text!r}")
            parts.add((field, *found))
    return tuple(sorted(parts))


def named_overrides(text: str, dictionary: DataFrame, where: str) -> Overrides:
    """The overrides in the text of the file `where`, none where it is "".

    Of the dictionary, only the fields' names and the terms that the text names come to the driver.
    """
    from pyspark.sql import functions as F

    if not text:
        return Overrides()
    words = sorted(_texts(_tables(text, where)))
    named = dictionary.where(F.col("term").isin(words) | F.col("label").isin(words))
    rows = named.select("field", "term", "term_id", "label").collect() if words else []
    fields = [row["field"] for row in dictionary.select("field").distinct().collect()]
    return parse_overrides(text, Names.of(fields, map(tuple, rows)), where)


def _texts(value: Any) -> set[str]:
    """Every text in a TOML value."""
    if isinstance(value, str):
        return {value}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_texts, parts))


def overridden(links: DataFrame, candidates: DataFrame, overrides: Overrides) -> DataFrame:
    """`links` (as mined, with quality and origin) with the overrides applied; their origin is then forced or weighed.

    A forced link has the counts of its candidate, none where no hire supports it. A ban or a weight of a link that is
    not there changes nothing.
    """
    from pyspark.sql import functions as F

    spark, segments = links.sparkSession, ["seeker_segment", "job_segment"]
    if not overrides.entries:
        return links
    named = [(*entry.segments, entry.action, entry.number) for entry in overrides.entries]
    changes = spark.createDataFrame(named, "seeker_segment string, job_segment string, action string, number double")
    is_weighed = F.coalesce(F.col("action") == "weigh", F.lit(False))
    changed = (
        links.join(F.broadcast(changes), segments, "left")
        .where("action IS NULL OR action = 'weigh'")
        .withColumn("quality", F.when(is_weighed, F.col("quality") * F.col("number")).otherwise(F.col("quality")))
        .withColumn("origin", F.when(is_weighed, F.lit(WEIGHED)).otherwise(F.col("origin")))
        .drop("action", "number")
    )
    meta = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
    forced = spark.createDataFrame(
        [(*entry.segments, entry.meta_links, entry.number) for entry in overrides.of("force")],
        f"seeker_segment string, job_segment string, meta_links {meta}, quality double",
    )
    counts = candidates.select(*segments, "n_hires", "n_no_hires")
    counted = (
        F.broadcast(forced)
        .join(counts, segments, "left")
        .withColumns({name: F.coalesce(name, F.lit(0.0)) for name in ("n_hires", "n_no_hires")})
        .withColumn("origin", F.lit(FORCED))
    )
    return changed.unionByName(counted)
