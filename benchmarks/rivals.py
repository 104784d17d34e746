"""Other engines on the same jobs, queries and filters, each with two threads.

faiss gets its bitmaps for nothing: they are made outside the clock. usearch is not here: its Python binding
takes no filter, and filtering what it returns at a 1 % pass rate means fetching a hundred times k.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.market import Asked, Market, parts
from gpu_retrieval import AnyOf

THREADS = 2


class Faiss:
    """IndexFlatIP; a query a call where there are filters, as a selector is an argument of the call."""

    name, exact = "faiss IndexFlatIP", True

    def __init__(self, market: Market) -> None:
        import faiss

        self.faiss, self.market = faiss, market
        self.index = faiss.IndexFlatIP(market.vectors.shape[1])
        self.index.add(market.vectors)

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        """Ids (q, k) and seconds."""
        if asked.where is None:
            self.faiss.omp_set_num_threads(THREADS)
            start = time.perf_counter()
            _, ids = self.index.search(asked.queries, k)
            return ids, time.perf_counter() - start
        bitmaps = [np.packbits(asked.passing(self.market, i), bitorder="little") for i in range(len(asked))]
        params = [
            self.faiss.SearchParameters(sel=self.faiss.IDSelectorBitmap(len(bits), self.faiss.swig_ptr(bits)))
            for bits in bitmaps
        ]
        self.faiss.omp_set_num_threads(1)

        def one(i: int) -> np.ndarray:
            ids: np.ndarray = self.index.search(asked.queries[i : i + 1], k, params=params[i])[1][0]
            return ids

        return _in_threads(one, len(asked))


class Hnswlib:
    """M = 16, ef_construction = 100, ef = 400; the filter is a Python function of the label."""

    name, exact = "hnswlib", False

    def __init__(self, market: Market) -> None:
        import hnswlib

        self.market = market
        self.index = hnswlib.Index(space="ip", dim=market.vectors.shape[1])
        self.index.init_index(max_elements=len(market.region), M=16, ef_construction=100)
        self.index.set_num_threads(THREADS)
        self.index.add_items(market.vectors)
        self.index.set_ef(400)

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        masks = [asked.passing(self.market, i) for i in range(len(asked))]
        ids = np.full((len(asked), k), -1, dtype=np.int64)
        start = time.perf_counter()
        for i, mask in enumerate(masks):
            try:
                # Python's lock would have two threads wait for each other in the filter.
                ids[i] = self.index.knn_query(asked.queries[i], k, num_threads=1, filter=mask.__getitem__)[0][0]
            except RuntimeError:
                continue  # it found fewer than k, and returns none of them
        return ids, time.perf_counter() - start


class DuckDB:
    """A table scan with the filter in WHERE and ORDER BY inner product LIMIT k."""

    name, exact = "DuckDB", True

    def __init__(self, market: Market) -> None:
        import duckdb
        import pyarrow as pa

        d = market.vectors.shape[1]
        columns = {name: getattr(market, name) for name in ("region", "occupation", "tag", "salary")}
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(market.vectors.reshape(-1)), d)
        jobs = pa.table({"id": np.arange(len(market.region)), "vector": vectors, **columns})
        self.connection = duckdb.connect(config={"threads": THREADS})
        self.connection.register("source", jobs)
        self.connection.execute(f"CREATE TABLE jobs AS SELECT * REPLACE (vector::FLOAT[{d}] AS vector) FROM source")
        self.d = d

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        ids = np.full((len(asked), k), -1, dtype=np.int64)
        start = time.perf_counter()
        for i in range(len(asked)):
            conditions = ["true"]
            for part in parts(asked.where):
                if isinstance(part, AnyOf):
                    conditions.append(f"{part.field} IN ({', '.join(map(str, part.rows.row(i).tolist()))})")
                else:
                    conditions.append(f"{part.field} >= {part.lo[i]}")
            found = self.connection.execute(
                f"SELECT id FROM jobs WHERE {' AND '.join(conditions)} "
                f"ORDER BY array_inner_product(vector, ?::FLOAT[{self.d}]) DESC LIMIT {k}",
                [asked.queries[i].tolist()],
            ).fetchnumpy()["id"]
            ids[i, : len(found)] = found
        return ids, time.perf_counter() - start


def _in_threads(one: Callable[[int], np.ndarray], n: int) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        ids = np.stack(list(pool.map(one, range(n))))
    return ids, time.perf_counter() - start
