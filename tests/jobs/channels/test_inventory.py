"""Where an inventory is searched: what the settings name, else what Spark assigned."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gpu_retrieval import TermKnnIndex, backend
from gpu_retrieval.errors import DeviceUnavailable
from jobs.channels import inventory
from jobs.channels.inventory import Inventory, assigned, open_inventory
from jobs.channels.search import SearchPlan, search_batches


@pytest.mark.parametrize(
    ("device", "addresses", "has_cupy", "expected"),
    [
        ("auto", ["1"], True, "cuda:1"),
        ("auto", ["0", "3"], True, "cuda:0,cuda:3"),
        ("auto", None, True, "auto"),  # Spark schedules no GPUs
        ("auto", ["1"], False, "auto"),  # assigned for the training of the same session
        ("cpu", ["1"], True, "cpu"),
        ("cuda:0", ["1"], True, "cuda:0"),
    ],
)
def test_auto_is_what_spark_assigned_to_the_task(monkeypatch, device, addresses, has_cupy, expected):
    resources = {} if addresses is None else {"gpu": SimpleNamespace(addresses=addresses)}
    monkeypatch.setattr(inventory.TaskContext, "get", lambda: SimpleNamespace(resources=lambda: resources))
    monkeypatch.setattr(inventory, "import_cupy", lambda: object() if has_cupy else None)
    assert assigned(device) == expected


def test_auto_outside_of_a_task_is_auto(monkeypatch):
    monkeypatch.setattr(inventory, "import_cupy", lambda: object())
    assert assigned("auto") == "auto"


@pytest.mark.parametrize("device", ["cuda:0", "cuda:0,cuda:1"])
def test_a_gpu_that_is_named_is_not_done_without(monkeypatch, inventory_uri, device):
    monkeypatch.setattr(backend, "import_cupy", lambda: None)
    plan = SearchPlan(inventory=inventory_uri, k=3, memory_budget=1 << 20, device=device, at_its_time=False)
    with pytest.raises(DeviceUnavailable, match="CuPy is not installed; expected device 'cpu' or 'auto'"):
        next(search_batches([], plan))


@pytest.mark.parametrize(("device_memory", "expected"), [(0, [None, None]), (10 << 20, [5 << 20, 5 << 20])])
def test_shards_divide_the_memory_of_a_gpu(monkeypatch, inventory_uri, device_memory, expected):
    """The inventory has two shards, each an index of its own."""
    given, load = [], TermKnnIndex.load
    monkeypatch.setattr(
        TermKnnIndex, "load", lambda *args, **options: given.append(options["device_memory"]) or load(*args, **options)
    )
    Inventory(inventory.local_folder(inventory_uri), "cpu", device_memory)
    assert given == expected
    assert open_inventory(inventory_uri, "cpu", device_memory) is open_inventory(inventory_uri, "cpu", device_memory)
