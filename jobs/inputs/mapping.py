"""The mapping file: which inputs a board has, and how their columns become the contract's.

Reading it needs no Spark: queries and expressions are text here, and `jobs.inputs.sources` has Spark's own
parser refuse what is not one. What is frozen for a run is `Mapping.to_dict()`: the environment's names are
expanded (in input paths only) and relative paths made absolute, so that it means the same wherever the run
goes on.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from jobs.errors import MappingError, nearest
from jobs.inputs.columns import CONTRACT

# What a reader may be told. Anything else could carry a key or change what a row is (mode, schema inference).
_LAYOUT = ("pathGlobFilter", "recursiveFileLookup")
READER_OPTIONS: dict[str, tuple[str, ...]] = {
    "parquet": (*_LAYOUT, "mergeSchema"),
    "csv": (
        *_LAYOUT,
        "header",
        "sep",
        "quote",
        "escape",
        "multiLine",
        "encoding",
        "nullValue",
        "comment",
        "lineSep",
    ),
    "json": (*_LAYOUT, "multiLine", "encoding", "lineSep", "primitivesAsString"),
    "delta": (),
}
KINDS = ("history", "snapshot")

_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:/")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_SECRET = re.compile(r"^[^/]*://[^/@]*:[^/@]*@|[?&](sig|token|key|secret|password|credential)[^=]*=", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Board:
    """The board as a whole. Older events than `history_start` are out of range; older versions share its slice."""

    name: str
    history_start: date
    max_quarantined_share: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Input:
    """Files or a Delta table to read: a local path or an object-store URI."""

    name: str
    path: str
    format: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of a contract table: rows of an input or of a query over inputs, and an expression a column.

    `arrived` says when a row reached the board's tables; `date_column` holds the day of the event, of its
    arrival, or of the snapshot, and prunes what is read; `stands_for` names the proxy where hires are not
    confirmed ones.
    """

    table: str
    source: str
    columns: dict[str, str]
    input: str = ""
    query: str = ""
    kind: str = "history"
    arrived: str = ""
    date_column: str = ""
    stands_for: str = ""

    @property
    def where(self) -> str:
        """The source as errors name it."""
        return f"{self.table} source {self.source!r}"


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A whole mapping file, checked."""

    board: Board
    inputs: dict[str, Input]
    sources: tuple[Source, ...]

    def of(self, table: str) -> tuple[Source, ...]:
        """The sources of one contract table, in the file's order."""
        return tuple(source for source in self.sources if source.table == table)

    def kind_of(self, table: str) -> str:
        """history or snapshot: the same for all sources of a table."""
        return next((source.kind for source in self.of(table)), "history")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, as the TOML file has them, for `from_dict`."""
        board = {
            "name": self.board.name,
            "history_start": self.board.history_start.isoformat(),
            "max_quarantined_share": self.board.max_quarantined_share,
        }
        inputs = {
            name: {"path": i.path, "format": i.format, "options": dict(i.options)} for name, i in self.inputs.items()
        }
        tables = {t: [_source_dict(s) for s in self.of(t)] for t in CONTRACT if self.of(t)}
        return {"board": board, "inputs": inputs, **tables}

    @staticmethod
    def from_dict(tables: Names[str, Any], where: str = "frozen mapping") -> Mapping:
        """The mapping in a parsed TOML file, paths as they are. Raises MappingError."""
        _known(tables, ("board", "inputs", *CONTRACT), where, "table")
        inputs = {name: _input(name, value, where) for name, value in _table(tables, "inputs", where).items()}
        sources = tuple(
            _source(table, number, value, inputs, where)
            for table in CONTRACT
            for number, value in enumerate(_list(tables, table, where), start=1)
        )
        mapping = Mapping(board=_board(_table(tables, "board", where), where), inputs=inputs, sources=sources)
        _check_together(mapping, where)
        return mapping


def load_mapping(path: str | Path, environ: Names[str, str] = os.environ) -> Mapping:
    """The mapping in a TOML file, `${NAME}` in input paths taken from `environ`, relative paths made absolute.

    Raises MappingError, naming the file, the place, and the nearest valid name where one is misspelt.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MappingError(f"mapping file {path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: not TOML: {error}") from None
    folder = Path(path).resolve().parent
    for name, value in _table(tables, "inputs", str(path)).items():
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            value["path"] = _absolute(_expanded(value["path"], environ, f"{path}: [inputs.{name}]"), folder)
    return Mapping.from_dict(tables, where=str(path))


def _expanded(text: str, environ: Names[str, str], where: str) -> str:
    """
    >>> _expanded("${DATA}/views", {"DATA": "/data"}, "m.toml")
    '/data/views'
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not environ.get(name):
            raise MappingError(f"{where}: path {text!r} needs the environment variable {name}, which is not set")
        return environ[name]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value, text)


def _absolute(path: str, folder: Path) -> str:
    return path if _URI.match(path) else os.path.normpath(folder / path)


def _board(values: dict[str, Any], where: str) -> Board:
    where = f"{where}: [board]"
    _known(values, ("name", "history_start", "max_quarantined_share"), where, "option")
    share = values.get("max_quarantined_share", Board.max_quarantined_share)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise MappingError(f"{where}: max_quarantined_share: expected a number from 0 to 1, got {share!r}")
    return Board(
        name=_text(values, "name", where),
        history_start=_date(values, "history_start", where),
        max_quarantined_share=float(share),
    )


def _input(name: str, values: Any, where: str) -> Input:
    where = f"{where}: [inputs.{name}]"
    if not _NAME.match(name):
        raise MappingError(f"{where}: a name has letters, digits and underscores only: queries name it")
    if not isinstance(values, dict):
        raise MappingError(f"{where}: expected a table, got {values!r}")
    _known(values, ("path", "format", "options"), where, "option")
    path, kind = _text(values, "path", where), _text(values, "format", where)
    if kind not in READER_OPTIONS:
        raise MappingError(f"{where}: unknown format {kind!r}; {nearest(kind, READER_OPTIONS)}")
    if _SECRET.search(path):
        raise MappingError(f"{where}: the path holds a secret: give it to Spark's own settings, never to a mapping")
    options = _table(values, "options", where)
    if options and not READER_OPTIONS[kind]:
        raise MappingError(f"{where}: options: a {kind} input takes none, got {', '.join(options)}")
    _known(options, READER_OPTIONS[kind], where, f"{kind} reader option")
    return Input(name=name, path=path, format=kind, options={key: _option(v) for key, v in options.items()})


def _option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _source(table: str, number: int, values: Any, inputs: dict[str, Input], where: str) -> Source:
    contract = CONTRACT[table]
    if not isinstance(values, dict):
        raise MappingError(f"{where}: [[{table}]] number {number}: expected a table, got {values!r}")
    name = _text(values, "source", f"{where}: [[{table}]] number {number}")
    where = f"{where}: {table} source {name!r}"
    options = ["source", "input", "query", "columns"]
    options += ["kind"] if table in ("seekers", "jobs") else []
    options += ["arrived", "date_column"] if contract.time else []
    options += ["stands_for"] if table == "hires" else []
    _known(values, options, where, "option")
    texts = {key: _text(values, key, where) for key in values if key != "columns"}
    if ("input" in texts) == ("query" in texts):
        raise MappingError(f"{where}: expected either input or query, got {'both' if 'input' in texts else 'neither'}")
    if "input" in texts and texts["input"] not in inputs:
        raise MappingError(f"{where}: unknown input {texts['input']!r}; {nearest(texts['input'], inputs)}")
    if texts.get("kind", "history") not in KINDS:
        raise MappingError(f"{where}: kind: {texts['kind']!r}; {nearest(texts['kind'], KINDS)}")
    if not _NAME.match(texts.get("stands_for", "move")):
        raise MappingError(f"{where}: stands_for: expected one word, got {texts['stands_for']!r}")
    columns = _columns(table, values, where)
    if texts.get("kind") == "snapshot" and "valid_from" in columns:
        raise MappingError(f"{where}: valid_from: a snapshot has none: its versions begin with the day")
    return Source(table=table, columns=columns, **texts)


def _columns(table: str, values: dict[str, Any], where: str) -> dict[str, str]:
    contract, columns = CONTRACT[table], _table(values, "columns", where)
    _known(columns, contract.columns, where, "column")
    missing = [name for name in contract.required if name not in columns]
    if missing:
        raise MappingError(f"{where}: no expression for the required column {', '.join(missing)}")
    return {name: _text(columns, name, f"{where}: columns") for name in columns}


def _source_dict(source: Source) -> dict[str, Any]:
    options = ("source", "input", "query", "arrived", "date_column", "stands_for")
    texts = {key: getattr(source, key) for key in options if getattr(source, key)}
    kind = {"kind": source.kind} if source.table in ("seekers", "jobs") else {}
    return {**texts, **kind, "columns": dict(source.columns)}


def _check_together(mapping: Mapping, where: str) -> None:
    if not mapping.of("jobs"):
        raise MappingError(f"{where}: no [[jobs]]: a board has jobs, whatever else it lacks")
    for table in CONTRACT:
        names, kinds = [s.source for s in mapping.of(table)], {s.kind for s in mapping.of(table)}
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MappingError(f"{where}: {table}: two sources are named {twice[0]!r}")
        if len(kinds) > 1:
            raise MappingError(f"{where}: {table}: expected all sources of one kind, got history and snapshot")


def _known(values: Names[str, Any], known: Any, where: str, what: str) -> None:
    for name in values:
        if name not in known:
            raise MappingError(f"{where}: unknown {what} {name!r}; {nearest(name, known)}")


def _table(values: Names[str, Any], name: str, where: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise MappingError(f"{where}: {name}: expected a table, got {value!r}")
    return value


def _list(values: Names[str, Any], name: str, where: str) -> list[Any]:
    value = values.get(name, [])
    if not isinstance(value, list):
        raise MappingError(f"{where}: {name}: expected one [[{name}]] a source, got one table [{name}]")
    return value


def _text(values: Names[str, Any], name: str, where: str) -> str:
    if name not in values:
        raise MappingError(f"{where}: missing {name}")
    value = values[name]
    if not isinstance(value, str) or not value.strip():
        raise MappingError(f"{where}: {name}: expected text, got {value!r}")
    return value.strip()


def _date(values: Names[str, Any], name: str, where: str) -> date:
    value = values.get(name)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise MappingError(f"{where}: {name}: expected a date, as 2026-01-31, got {value!r}") from None
