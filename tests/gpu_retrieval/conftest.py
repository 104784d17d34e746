"""One suite for every backend: the CPU with Numba and without, a strict stand-in for CuPy, and a GPU where there is one."""

from __future__ import annotations

import pytest

from gpu_retrieval import backend
from gpu_retrieval.loops import compiled


def _gpu() -> bool:
    cupy = backend.import_cupy()
    return cupy is not None and cupy.cuda.is_available()


@pytest.fixture(params=["cpu", "plain", "strict", "cuda"], scope="module")
def device(request):
    """The `device` argument of an index, for each backend in turn."""
    if request.param == "cpu":
        yield "cpu"
    elif request.param == "plain":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "AVAILABLE", False)
            yield "cpu"
    elif request.param == "strict":
        pytest.importorskip("cupy", reason="CuPy is not installed: its stand-in checks names against it")
        from tests.gpu_retrieval.strict_cupy import StrictCupy

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "import_cupy", lambda: StrictCupy())
            yield "cuda:0"
    elif not _gpu():
        pytest.skip("NO GPU HERE: nothing of the CUDA backend was run on a device")
    else:
        yield "cuda:0"
