"""The one description of a table, and the type language its columns are written in.

Types are written as Spark SQL writes them (`bigint`, `array<struct<job_id:bigint,score:float>>`); `parse_type`
turns the text into a small tree that `schemas.render` draws as a Spark schema, an Arrow schema or DDL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

ATOMS = frozenset(["boolean", "int", "bigint", "float", "double", "string", "date", "timestamp"])

# How the rows of a table are replaced or added to; DESIGN calls what one write replaces its slice.
Grain = Literal["date", "run", "model", "version", "append"]


@dataclass(frozen=True)
class Atom:
    name: str


@dataclass(frozen=True)
class ArrayOf:
    element: Type


@dataclass(frozen=True)
class MapOf:
    key: Type
    value: Type


@dataclass(frozen=True)
class StructOf:
    fields: tuple[tuple[str, Type], ...]


Type = Atom | ArrayOf | MapOf | StructOf


def parse_type(text: str) -> Type:
    """The tree of a type written as Spark SQL writes it.

    >>> parse_type("array<struct<job_id:bigint,score:float>>")
    ArrayOf(element=StructOf(fields=(('job_id', Atom(name='bigint')), ('score', Atom(name='float')))))
    >>> parse_type("varchar")
    Traceback (most recent call last):
        ...
    ValueError: type 'varchar': expected one of bigint, boolean, date, double, float, int, string, timestamp
    """
    tokens = re.findall(r"[a-z_0-9]+|[<>:,]", text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError(f"type {text!r}: unexpected character")
    parsed, rest = _parse(tokens)
    if rest:
        raise ValueError(f"type {text!r}: unexpected {rest[0]!r}")
    return parsed


def _parse(tokens: list[str]) -> tuple[Type, list[str]]:
    head, rest = tokens[0], tokens[1:]
    if head == "array":
        element, rest = _parse(_after("<", rest))
        return ArrayOf(element), _after(">", rest)
    if head == "map":
        key, rest = _parse(_after("<", rest))
        value, rest = _parse(_after(",", rest))
        return MapOf(key, value), _after(">", rest)
    if head == "struct":
        fields, separator = [], "<"
        while rest[0] == separator:
            name, (kind, rest) = rest[1], _parse(_after(":", rest[2:]))
            fields.append((name, kind))
            separator = ","
        return StructOf(tuple(fields)), _after(">", rest)
    if head not in ATOMS:
        raise ValueError(f"type {head!r}: expected one of {', '.join(sorted(ATOMS))}")
    return Atom(head), rest


def _after(expected: str, tokens: list[str]) -> list[str]:
    if not tokens or tokens[0] != expected:
        raise ValueError(f"expected {expected!r} before {''.join(tokens) or 'the end'!r}")
    return tokens[1:]


@dataclass(frozen=True)
class Column:
    """One column: its name, type, what it means, and its unit where it has one."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    nullable: bool = True

    @property
    def parsed(self) -> Type:
        return parse_type(self.type)


def required(name: str, type: str, meaning: str, unit: str = "") -> Column:
    """A column that is never null."""
    return Column(name, type, meaning, unit, nullable=False)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the lake: everything that is rendered about it comes from here.

    `key` identifies a row; `partition` are the slice columns, which every write names; `checks` are SQL
    conditions that hold for every row (a null passes). `grain` says what one write replaces: the dates it
    restates, its run, its model version, a content version, or nothing (append).
    """

    name: str
    meaning: str
    grain: Grain
    key: tuple[str, ...]
    partition: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        names = self.column_names
        for name in (*self.key, *self.partition):
            if name not in names:
                raise ValueError(f"table {self.name}: {name!r} is not among its columns")
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name}: a column is named twice")

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError names the table where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}; it has {', '.join(self.column_names)}")


def checks(**conditions: str) -> MappingProxyType[str, str]:
    """Named CHECK conditions, in a mapping that cannot be changed."""
    return MappingProxyType(dict(conditions))
