"""Exact filtered nearest neighbours: terms and vectors of jobs in, the k best of each query out.

NumPy alone is enough; with CuPy and a GPU, CUDA kernels answer there (they have not run on one yet).

>>> import numpy as np
>>> index = TermKnnIndex.build(
...     ids=np.array([11, 12, 13]),
...     vectors=np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32),
...     terms={"region": Ragged.from_lists([[1], [1], [2]])},
...     numbers={"salary_max": np.array([50e3, np.nan, 70e3])},
... )
>>> queries = np.array([[1, 0], [1, 0]], dtype=np.float32)
>>> where = AllOf(
...     AnyOf("region", Ragged.from_lists([[1], [1, 2]])),
...     Between("salary_max", np.array([np.nan, 60e3]), None),
... )
>>> hits = index.search(queries, k=2, where=where)
>>> hits.ids.tolist(), hits.n_matches.tolist()
([[11, 12], [13, -1]], [2, 1])
>>> print(index.why_not(queries[1:], AnyOf("region", Ragged.from_lists([[1]])), id=13))
job 13 is dropped by AnyOf('region')
"""

from gpu_retrieval.clauses import AllIn, AllOf, AnyOf, Between, Clause, NoneOf, OneOf
from gpu_retrieval.errors import DeviceUnavailable, FingerprintMismatch, IndexFileError, IndexNotSaved
from gpu_retrieval.explain import WhyNot
from gpu_retrieval.index import TermKnnIndex
from gpu_retrieval.ragged import Ragged
from gpu_retrieval.topk import Hits, merge_hits

__all__ = [
    "AllIn",
    "AllOf",
    "AnyOf",
    "Between",
    "Clause",
    "DeviceUnavailable",
    "FingerprintMismatch",
    "Hits",
    "IndexFileError",
    "IndexNotSaved",
    "NoneOf",
    "OneOf",
    "Ragged",
    "TermKnnIndex",
    "WhyNot",
    "merge_hits",
]
