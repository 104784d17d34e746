"""Loops compiled by Numba, which is optional: `compiled` says whether they can be had, and loads them.

`filters`, `keys` and `entries` stand alone. The others score: `score_groups` groups of queries that share candidates,
`score_terms` term at a time, both over the processor's vector instructions (`simd`).
"""

import hashlib
from pathlib import Path

# SHA-256 of this folder's sources: Numba keeps a compiled loop until its own file changes, and not those it calls.
SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
