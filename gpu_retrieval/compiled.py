"""Whether the compiled loops can be had, and the loops themselves, loaded when first asked for.

Numba is optional and slow to import, so that neither an index without it nor one that is only scanned pays
for it.
"""

from __future__ import annotations

import importlib.util
from typing import Any

AVAILABLE = importlib.util.find_spec("numba") is not None
# Candidates a block, whose vectors (64 × 128 × 4 bytes) stay in the first cache; queries that share it.
BLOCK = 128
QUERIES = 64


def loops() -> Any:
    """The module of compiled loops; ImportError where Numba is missing."""
    return importlib.import_module("gpu_retrieval.loops")
