"""A figure that a stage records."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """One figure, in the order of `run.record`; the value is None where there was nothing to measure."""

    metric: str
    value: float | None
    label: str = ""
