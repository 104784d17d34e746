"""The examples in docstrings, run as they stand."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The GPU library's own are in tests/gpu_retrieval, which run without the rest.
SOURCES = [path for folder in ("jobs", "schemas") for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES if ">>> " in path.read_text("utf-8")
]


def test_there_are_examples():
    assert len(MODULES) > 10


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module):
    failed, attempted = doctest.testmod(import_module(module))
    assert attempted and not failed
