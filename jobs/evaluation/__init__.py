"""How well retrieval does: next-action cases, recall and its baselines, position lift."""

from jobs.evaluation.baselines import oracle, popular_global, random_order
from jobs.evaluation.cases import earlier_jobs, next_action_cases
from jobs.evaluation.metrics import retrieval_figures, target_ranks
from jobs.evaluation.position_lift import list_positions, position_lift_figures, shown_lists

__all__ = [
    "earlier_jobs", "list_positions",
    "next_action_cases", "oracle", "popular_global", "position_lift_figures", "random_order",
    "retrieval_figures", "shown_lists", "target_ranks",
]  # fmt: skip
