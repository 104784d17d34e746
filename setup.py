"""The packages, and what each way to use them needs: `pip install .` is `gpu_retrieval` on NumPy alone."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

# What only our own checks need; the rest of requirements/spark.in is what the jobs need, with the same pins.
DEVELOPMENT = {"hypothesis", "mypy", "pandas-stubs", "pytest", "pytest-timeout", "ruff", "setuptools"}


def spark_requirements() -> list[str]:
    lines = Path(__file__).with_name("requirements").joinpath("spark.in").read_text().split()
    return [line for line in lines if line.partition("==")[0] not in DEVELOPMENT]


setup(
    name="shortlist",
    version="0.1.0",
    description="Which jobs each seeker should be shown, and which seekers each promoted job should reach",
    python_requires=">=3.11",
    packages=find_packages(include=["gpu_retrieval*", "jobs*", "schemas*"]),
    package_data={"": ["*.cu", "*.cuh", "*.html.j2", "*.sql", "*.toml", "*.css", "*.js"]},
    install_requires=["numpy>=2.0"],
    extras_require={"fast": ["numba>=0.68"], "gpu": ["cupy-cuda13x[ctk]>=14.2"], "spark": spark_requirements()},
)
