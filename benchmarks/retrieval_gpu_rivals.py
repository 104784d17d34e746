"""What else finds the k best on a GPU: PyTorch, and faiss-gpu and cuVS where they are installed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.market import Asked, Market

# faiss finds no more than so many on a GPU.
FAISS_MOST_K = 2_048


class TorchRival:
    """A float16 product of a batch, masked, then `topk`; its masks are free."""

    def __init__(self, market: Market) -> None:
        import torch

        self.torch = torch
        self.vectors = torch.from_numpy(market.vectors).half().cuda() if torch.cuda.is_available() else None

    def measure(self, asked: Asked, masks: np.ndarray, k: int) -> dict[str, Any]:
        torch, seconds = self.torch, []
        if self.vectors is None:
            return {"torch_ms": None}
        given = torch.from_numpy(asked.queries[: len(masks)]).half().cuda()
        shut = ~torch.from_numpy(masks).cuda()
        for _ in range(6):
            torch.cuda.synchronize()
            start = time.perf_counter()
            scores = (given @ self.vectors.T).float().masked_fill_(shut, -torch.inf)
            torch.topk(scores, min(k, scores.shape[1]), dim=1)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            del scores
        batch = float(np.median(seconds[1:]))
        return {"torch_batch": len(masks), "torch_ms": round(batch * 1e3, 3), "torch_per_s": round(len(masks) / batch)}


class FaissRival:
    """`GpuIndexFlatIP` in float16, which takes no filter: what has one is not run."""

    def __init__(self, market: Market) -> None:
        faiss = importlib.import_module("faiss")
        options = faiss.GpuIndexFlatConfig()
        options.useFloat16 = True
        self._resources = faiss.StandardGpuResources()
        self._index = faiss.GpuIndexFlatIP(self._resources, market.vectors.shape[1], options)
        self._index.add(market.vectors)

    def measure(self, asked: Asked, masks: np.ndarray, k: int) -> dict[str, Any]:
        if asked.where is not None or k > FAISS_MOST_K:
            return {}
        rows = asked.queries[: len(masks)]
        return {"faiss_ms": median_ms(lambda: self._index.search(rows, k))}


class CuvsRival:
    """Brute force in float16 behind a bitmap, made outside the clock."""

    def __init__(self, market: Market) -> None:
        self._cupy = importlib.import_module("cupy")
        self._brute_force = importlib.import_module("cuvs.neighbors.brute_force")
        self._filters = importlib.import_module("cuvs.neighbors.filters")
        vectors = self._cupy.asarray(market.vectors.astype(np.float16))
        self._index = self._brute_force.build(vectors, metric="inner_product")

    def measure(self, asked: Asked, masks: np.ndarray, k: int) -> dict[str, Any]:
        cupy = self._cupy
        rows = cupy.asarray(asked.queries[: len(masks)].astype(np.float16))
        # Bits of one query after another's, without a gap between them.
        bits = np.packbits(masks.reshape(-1), bitorder="little")
        words = cupy.asarray(np.pad(bits, (0, -len(bits) % 4)).view(np.uint32))
        prefilter = None if asked.where is None else self._filters.from_bitmap(words)

        def search() -> None:
            self._brute_force.search(self._index, rows, k, prefilter=prefilter)
            cupy.cuda.Device().synchronize()

        return {"cuvs_ms": median_ms(search)}


def median_ms(search: Callable[[], Any]) -> float:
    """Of five, after one that warms up."""
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        search()
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds[1:])) * 1e3, 3)


def rivals(market: Market) -> tuple[list[Any], dict[str, str]]:
    """Those that are here, PyTorch first, and why the others are not."""
    found: list[Any] = [TorchRival(market)]
    missing = {}
    for name, kind in (("faiss", FaissRival), ("cuvs", CuvsRival)):
        try:
            found.append(kind(market))
        except Exception as error:  # not installed, without a GPU, or of another version: said, not hidden
            missing[name] = f"{type(error).__name__}: {error}"
    return found, missing
