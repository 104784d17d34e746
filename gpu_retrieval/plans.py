"""The plans there are, and which one a search takes.

A plan is a function from a `SearchTask` to `Hits`. All give the same answer; a new one is a line in `PLANS`
and a case in `choose_plan`.
"""

from __future__ import annotations

from collections.abc import Callable

from gpu_retrieval.scan import scan
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

PLANS: dict[str, Callable[[SearchTask], Hits]] = {"scan": scan}


def choose_plan(plan: str) -> tuple[str, str]:
    """The plan's name and why it is taken; ValueError for a plan that there is not."""
    if plan == "auto":
        return "scan", "the full scan with mask is the only plan there is"
    if plan not in PLANS:
        raise ValueError(f"plan: expected 'auto' or one of {sorted(PLANS)}, got {plan!r}")
    return plan, "asked for by name"
