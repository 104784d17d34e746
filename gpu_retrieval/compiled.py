"""Whether the compiled loops can be had, and the loops themselves, loaded when first asked for.

Numba is optional and slow to import, so that an index without it pays nothing for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

AVAILABLE = importlib.util.find_spec("numba") is not None


def filters() -> ModuleType:
    """Loops that draw rows and check clauses; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.filter_loops")


def keys() -> ModuleType:
    """Loops that find equal rows and keys; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.key_loops")


def scoring() -> ModuleType:
    """Loops that score candidates; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.score_loops")


def terms() -> ModuleType:
    """Loops that score candidates term at a time; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.score_terms")


def entries() -> ModuleType:
    """Loops that list what is to be scored term at a time; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.entry_loops")


def digest(*modules: str) -> str:
    """SHA-256 of the sources of these modules of the package."""
    sha = hashlib.sha256()
    for name in modules:
        sha.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return sha.hexdigest()
