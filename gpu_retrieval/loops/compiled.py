"""Whether the compiled loops can be had, and the loops themselves, loaded when first asked for.

Numba is optional and slow to import, so that an index without it pays nothing for it.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

AVAILABLE = importlib.util.find_spec("numba") is not None


def filters() -> ModuleType:
    """Loops that draw rows and check clauses; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops.filters")


def keys() -> ModuleType:
    """Loops that find equal rows and keys; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops.keys")


def scoring() -> ModuleType:
    """Loops that score candidates; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops.score_groups")


def terms() -> ModuleType:
    """Loops that score candidates term at a time; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops.score_terms")


def entries() -> ModuleType:
    """Loops that list what is to be scored term at a time; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops.entries")
