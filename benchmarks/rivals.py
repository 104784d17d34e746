"""Vector libraries on the same jobs, queries and filters, each with two threads.

faiss gets its bitmaps for nothing: they are made outside the clock. usearch answers where there is no filter
only: its Python binding takes none, and filtering what it returns at a 1 % pass rate means fetching a hundred times k.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.clock import now
from benchmarks.market import Asked, Market

THREADS = 2


class Faiss:
    """IndexFlatIP; a query a call where there are filters, as a selector is an argument of the call."""

    name, exact = "faiss IndexFlatIP", True

    def __init__(self, market: Market) -> None:
        import faiss

        self.faiss, self.market = faiss, market
        self.index = faiss.IndexFlatIP(market.vectors.shape[1])
        self.index.add(market.vectors)
        self.made: tuple[str, list[np.ndarray]] = "", []

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        """Ids (q, k) and seconds."""
        if asked.where is None:
            self.faiss.omp_set_num_threads(THREADS)
            start = now()
            _, ids = self.index.search(asked.queries, k)
            return ids, now() - start
        bitmaps = self._bitmaps(asked)
        params = [
            self.faiss.SearchParameters(sel=self.faiss.IDSelectorBitmap(len(bits), self.faiss.swig_ptr(bits)))
            for bits in bitmaps
        ]
        self.faiss.omp_set_num_threads(1)

        def one(i: int) -> np.ndarray:
            ids: np.ndarray = self.index.search(asked.queries[i : i + 1], k, params=params[i])[1][0]
            return ids

        return _in_threads(one, len(asked))

    def _bitmaps(self, asked: Asked) -> list[np.ndarray]:
        """Kept for the next k."""
        if self.made[0] != asked.digest:
            masks = (asked.passing(self.market, i) for i in range(len(asked)))
            self.made = asked.digest, [np.packbits(mask, bitorder="little") for mask in masks]
        return self.made[1]


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
        if asked.where is None:
            start = now()
            ids = self.index.knn_query(asked.queries, k)[0].astype(np.int64)
            return ids, now() - start
        masks = [asked.passing(self.market, i) for i in range(len(asked))]
        ids = np.full((len(asked), k), -1, dtype=np.int64)
        start = now()
        for i, mask in enumerate(masks):
            try:
                # Python's lock would have two threads wait for each other in the filter.
                ids[i] = self.index.knn_query(asked.queries[i], k, num_threads=1, filter=mask.__getitem__)[0][0]
            except RuntimeError:
                continue  # it found fewer than k, and returns none of them
        return ids, now() - start


class Usearch:
    """connectivity = 16, expansion_add = 128, expansion_search = 400; without filters."""

    name, exact = "usearch", False

    def __init__(self, market: Market) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=market.vectors.shape[1], metric="ip", dtype="f32",
            connectivity=16, expansion_add=128, expansion_search=400,
        )  # fmt: skip
        self.index.add(np.arange(len(market.region)), market.vectors, threads=THREADS)

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        start = now()
        ids = self.index.search(asked.queries, k, threads=THREADS).keys.astype(np.int64)
        return ids, now() - start


def _in_threads(one: Callable[[int], np.ndarray], n: int) -> tuple[np.ndarray, float]:
    start = now()
    with ThreadPoolExecutor(THREADS) as pool:
        ids = np.stack(list(pool.map(one, range(n))))
    return ids, now() - start
