"""Who may import whom, and who may open a Delta table: read from the source, so that no import runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each folder may import of the project, besides itself.
ALLOWED = {
    "gpu_retrieval": set(),
    "schemas": set(),
    "jobs": {"gpu_retrieval", "schemas"},
    "dags": set(),
}
# Parts of the index, from the ground up: none imports one that stands above it.
STOREYS = ("stored", "sharing", "task", "filters", "cuda", "plans", "explain", "index")
PACKAGES = {"gpu_retrieval", "schemas", "jobs", "dags", "tests", "examples"}
ENGINES = {
    # The retrieval library installs alone; torch and numba only speed it up where they are.
    "gpu_retrieval": {"pyspark", "delta", "deltalake", "airflow", "pandas", "pyarrow", "duckdb"},
    # Airflow's environment has none of the work's libraries.
    "dags": {"pyspark", "delta", "deltalake", "torch", "cupy", "numpy", "pandas", "pyarrow"},
    "jobs": {"airflow"},
}
LAKE = ROOT / "jobs" / "lake.py"


def sources(folder: str) -> list[Path]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, f"no source in {folder}/"
    return paths


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields the top-level package of each import, wherever in the file, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno
        elif isinstance(node, ast.Call) and named(node.func) in ("import_module", "__import__"):
            names = [str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant)]
            yield from ((name.partition(".")[0], node.lineno) for name in names)


def named(function: ast.expr) -> str | None:
    return getattr(function, "attr", getattr(function, "id", None))


def opens_delta(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields what reaches a Delta table by itself: its libraries, its format's name, its paths in SQL."""
    yield from ((name, line) for name, line in imported(tree) if name in ("delta", "deltalake"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and named(node.func) in ("format", "using", "save", "load"):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(isinstance(a, ast.Constant) and a.value == "delta" for a in arguments):
                yield f'{named(node.func)}("delta")', node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "delta.`" in node.value:
            yield "delta.`path`", node.lineno


def found_in(paths: list[Path], finder) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in paths
        for what, line in finder(ast.parse(path.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_lies_below_it(folder):
    banned = PACKAGES - ALLOWED[folder] - {folder}
    wrong = found_in(sources(folder), lambda tree: (x for x in imported(tree) if x[0] in banned))
    assert wrong == []


@pytest.mark.parametrize("part", STOREYS)
def test_a_part_of_the_index_imports_none_above_it(part):
    place = ROOT / "gpu_retrieval" / part
    above = {f"gpu_retrieval.{name}" for name in STOREYS[STOREYS.index(part) + 1 :]}

    def reached(tree: ast.AST) -> Iterator[tuple[str, int]]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                yield from ((name, node.lineno) for name in names if any(f"{name}.".startswith(f"{a}.") for a in above))

    wrong = found_in(sources(f"gpu_retrieval/{part}") if place.is_dir() else [place.with_suffix(".py")], reached)
    assert wrong == []
    assert any(reached(ast.parse("from gpu_retrieval import index"))) == (part != "index")


@pytest.mark.parametrize("folder", ENGINES)
def test_a_folder_keeps_out_of_the_others_engines(folder):
    wrong = found_in(sources(folder), lambda tree: (x for x in imported(tree) if x[0] in ENGINES[folder]))
    assert wrong == []


def test_only_the_lake_opens_delta_tables():
    assert found_in([path for path in sources("jobs") if path != LAKE], opens_delta) == []


def test_the_lake_is_seen_to_open_them():
    # The finder above finds what is there to find.
    assert found_in([LAKE], opens_delta) != []


def test_what_benchmarks_import_of_the_project_is_there():
    """Nobody runs them here, as they take hours and their rivals."""
    assert found_in(sources("benchmarks"), missing) == []
    assert list(missing(ast.parse("from jobs.lake import Lake, Pond\nfrom jobs import lake, pond"))) == [
        ("jobs.lake.Pond", 1),
        ("jobs.pond", 2),
    ]


def missing(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields what is imported by name from a module of the project that neither defines nor imports it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES | {"benchmarks"}:
            place = ROOT.joinpath(*str(node.module).split("."))
            source = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
            known = defined(ast.parse(source.read_text(encoding="utf-8")))
            for name in (alias.name for alias in node.names):
                if name not in known and not (place / f"{name}.py").exists() and not (place / name).is_dir():
                    yield f"{node.module}.{name}", node.lineno


def defined(tree: ast.Module) -> set[str]:
    """The names that a module has when it has been imported."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        for part in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
            if isinstance(part, ast.Name):
                names.add(part.id)
            elif isinstance(part, ast.alias):
                names.add((part.asname or part.name).partition(".")[0])
    return names


@pytest.mark.parametrize(
    "source",
    [
        "import jobs.lake",
        "from jobs import lake",
        "def f():\n    from jobs.lake import Lake",  # a lazy import counts
        "import importlib\nimportlib.import_module('jobs.lake')",
    ],
)
def test_every_way_to_import_is_seen(source):
    assert "jobs" in {name for name, _ in imported(ast.parse(source))}
