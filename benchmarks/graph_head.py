"""The lines that a benchmark of the segment graph begins with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def head(command: str, settings: str, seed: int) -> None:
    """Print the machine, the versions, the command and what is set, and the load."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}")
    names = ("pyspark", "numba", "numpy", "scikit-learn")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print(f"command: {command}; seed {seed}")
    print(settings)
    print(f"load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())}\n", flush=True)
