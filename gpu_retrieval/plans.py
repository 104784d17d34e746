"""The plans there are, and which one a search takes.

A plan is a function from a `SearchTask` to `Hits`. All give the same answer; a new one is a line in `PLANS`
and a case in `choose_plan`.
"""

from __future__ import annotations

from collections.abc import Callable

from gpu_retrieval import by_kernels, compiled
from gpu_retrieval.backend import Backend
from gpu_retrieval.groups import CHECK_NS, Groups, pair_ns
from gpu_retrieval.kernel_check import ready
from gpu_retrieval.shared import scan, shared
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

PLANS: dict[str, Callable[[SearchTask], Hits]] = {"scan": scan, "shared": shared, "kernels": by_kernels.search}
# Without Numba a group is some dozen calls of NumPy, and a candidate's selection is a partition; a pair of the
# scan by arrays, per component and beside it.
ARRAYS_GROUP_NS, ARRAYS_FACTOR = 1_000_000.0, 40.0
ARRAYS_NS_PER_COMPONENT, ARRAYS_NS = 0.012, 3.0


def plans_on(backend: Backend) -> tuple[str, ...]:
    """The plans that a search there can take."""
    return tuple(plan for plan in PLANS if plan != "kernels" or ready(backend))


def choose_plan(plan: str, groups: Callable[[], Groups], n_rows: int, d: int, backend: Backend) -> tuple[str, str]:
    """The plan's name and why it is taken; ValueError for a plan that there is not on the backend's device.

    `groups` is asked for only where the counts decide.
    """
    if plan != "auto":
        if plan not in (known := plans_on(backend)):
            raise ValueError(f"plan: expected 'auto' or one of {sorted(known)}, got {plan!r}")
        return plan, "asked for by name"
    if ready(backend):
        return "kernels", "on a GPU: jobs are drawn, checked, scored and selected there"
    if backend.on_gpu:
        return "scan", "on a GPU without the kernels: candidates are drawn on the host, which a GPU does not wait for"
    found = groups()
    n_queries = len(found.order)
    if n_queries == found.n_undriven:
        return "scan", "no query has an AnyOf or AllIn to draw jobs from"
    # What is not drawn by is checked for every pair of a scan.
    shared_ns, scan_pair_ns = found.cost_ns, pair_ns(d) + CHECK_NS
    if not compiled.AVAILABLE:
        shared_ns = ARRAYS_FACTOR * shared_ns + ARRAYS_GROUP_NS * len(found)
        scan_pair_ns = ARRAYS_NS_PER_COMPONENT * d + ARRAYS_NS
    scan_ns = n_queries * n_rows * scan_pair_ns
    mean = float((found.n_drawn * (found.starts[1:] - found.starts[:-1])).sum()) / n_queries
    reason = (
        f"{n_queries:,} queries in {len(found):,} groups draw {mean:,.1f} of {n_rows:,} jobs on average; "
        f"estimated {shared_ns / n_queries / 1e3:,.1f} µs a query against {scan_ns / n_queries / 1e3:,.1f} by scan"
    )
    if found.n_undriven:
        reason += f"; {found.n_undriven:,} queries that nothing drives draw them all either way"
    return ("shared" if shared_ns < scan_ns else "scan"), reason
