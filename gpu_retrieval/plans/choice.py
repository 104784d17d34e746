"""The plans there are, and which one a search takes.

A plan is a function from a `SearchTask` to `Hits`. All give the same answer; a new one is a line in `PLANS`
and a case in `choose_plan`.
"""

from __future__ import annotations

from collections.abc import Callable

from gpu_retrieval.backend import Backend
from gpu_retrieval.loops import compiled
from gpu_retrieval.plans import kernels, terms
from gpu_retrieval.plans.kernel_check import ready
from gpu_retrieval.plans.shared import WORTH_LOADING, scan, shared
from gpu_retrieval.sharing.costs import PAIR_COMPONENT_NS, TOGETHER
from gpu_retrieval.sharing.term_draws import PAIR_COMPONENT_NS as TERMS_COMPONENT_NS
from gpu_retrieval.task import SearchTask
from gpu_retrieval.topk import Hits

PLANS: dict[str, Callable[[SearchTask], Hits]] = {
    "scan": scan,
    "shared": shared,
    "terms": terms.search,
    "kernels": kernels.search,
}
# Without Numba a group is some dozen calls of NumPy, and a candidate's selection is a partition; a pair of the
# scan by arrays, per component and beside it.
ARRAYS_GROUP_NS, ARRAYS_FACTOR = 1_000_000.0, 40.0
ARRAYS_NS_PER_COMPONENT, ARRAYS_NS = 0.012, 3.0


def plans_on(backend: Backend) -> tuple[str, ...]:
    """The plans that a search there can take."""
    there = {"kernels": ready(backend), "terms": compiled.AVAILABLE and not backend.on_gpu}
    return tuple(plan for plan in PLANS if there.get(plan, True))


def choose_plan(plan: str, task: SearchTask) -> tuple[str, str]:
    """The plan's name and why it is taken; ValueError for a plan that there is not on the task's device."""
    backend, d, n_queries = task.backend, task.queries.shape[1], len(task.queries)
    if plan != "auto":
        if plan not in (known := plans_on(backend)):
            raise ValueError(f"plan: expected 'auto' or one of {sorted(known)}, got {plan!r}")
        return plan, "asked for by name"
    if ready(backend):
        return "kernels", "on a GPU: jobs are drawn, checked, scored and selected there"
    if backend.on_gpu:
        return "scan", "on a GPU without the kernels: candidates are drawn on the host, which a GPU does not wait for"
    groups, n_rows = task.groups, sum(len(segment) for segment in task.segments)
    if n_queries == groups.n_undriven:
        return "scan", "no query has an AnyOf or AllIn to draw jobs from"
    n_pairs, costs = n_queries * n_rows, {"shared": groups.cost_ns}
    if not compiled.AVAILABLE:
        costs["shared"] = ARRAYS_FACTOR * groups.cost_ns + ARRAYS_GROUP_NS * len(groups)
    if n_pairs < WORTH_LOADING or not compiled.AVAILABLE:
        costs["scan"] = n_pairs * (ARRAYS_NS_PER_COMPONENT * d + ARRAYS_NS)
    elif n_pairs * task.parts.shares.min() * PAIR_COMPONENT_NS * d / TOGETHER < groups.cost_ns:
        # What a group shares is checked once, as in `groups`, so that few of all pairs may be left.
        costs["scan"] = task.undriven.cost_ns
    reason = (
        f"{n_queries:,} queries in {len(groups):,} groups draw {groups.n_drawn_a_query:,.1f} of {n_rows:,} jobs each"
    )
    # Term at a time each query meets every job that it draws: not worth a look where that alone costs more.
    n_drawn = groups.n_drawn_a_query * n_queries
    draw = task.term_draw if WORTH_LOADING < n_drawn < min(costs.values()) / (TERMS_COMPONENT_NS * d) else None
    if draw is not None and terms.has_room(task, draw):
        costs["terms"] = draw.cost_ns(d, min(task.k, task.n_alive), task.memory_budget)
        reason += f", {draw.n_sharing:,.1f} queries a job"
    name = min(costs, key=lambda name: costs[name])
    each = ", ".join(f"{ns / n_queries / 1e3:,.1f} by {plan}" for plan, ns in sorted(costs.items()))
    reason += f"; estimated µs a query: {each}"
    if groups.n_undriven:
        reason += f"; {groups.n_undriven:,} queries that nothing drives draw them all either way"
    return name, reason
