"""What groups of queries cost by counts, to be told apart by: nanoseconds of one core, of which only ratios matter.

Fitted to 470 searches by the compiled loops on an AMD Zen 4 (docs/benchmarks/retrieval.md, "The planner").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A group, and a query, whatever they find.
GROUP_NS, QUERY_NS = 4_000.0, 2_000.0
# A row drawn, once a batch for all groups that draw the same; bytes of a batch's budget that it takes.
DRAW_NS, BYTES_PER_DRAWN = 5.0, 8
# A drawn row looked at for each clause that its group shares, of whose field no row has two terms; or put in the order
# of the field's terms, and a term there, once for all groups that draw the same.
KEEP_NS, ORDER_NS, TERM_NS = 1.9, 5.5, 0.7
# A row left brought in for up to MOST_TOGETHER queries, and for each of its components.
GATHER_NS, GATHER_COMPONENT_NS, MOST_TOGETHER = 10.5, 0.08, 128
# Rows that lie in their order are seen coming, where so many of the drawn ones are left.
IN_ORDER_SHARE = 0.25
# A component of a row with the queries of a register; with a query alone, whose rows fill the register, a part of it.
PAIR_COMPONENT_NS, TOGETHER, ALONE = 0.095, 16, 0.25
# For each clause of a query's own: with the queries of a register, or by a mask for each pair. The latter also for a
# clause that a group shares where rows have several terms, and each row.
SIDE_NS, CHECK_NS = 0.75, 8.0
# More of a clause of which rows have several terms: a row's list brought in, and with the queries of a register.
LIST_NS, LISTED_NS = 15.0, 3.0
# Of a query's k best, or of what passes if that is less; and for each of its components.
RESULT_NS, RESULT_COMPONENT_NS = 34.0, 0.22
# Of what is met to find the limit, which grows with the root of k and of the rows that pass.
LIMIT_NS = 12.5


def result_ns(d: int, k: int, n_passing: float | np.ndarray) -> np.ndarray:
    """What the k best of so many rows that pass cost a query."""
    n_passing = np.maximum(n_passing, 0)
    limit_ns = np.where(n_passing > k, LIMIT_NS * np.sqrt(n_passing * k), 0)
    return QUERY_NS + (RESULT_NS + RESULT_COMPONENT_NS * d) * np.minimum(k, n_passing) + limit_ns


def shared_ns(*, single: bool) -> float:
    """What a clause that a group shares costs each row that it draws; `single` where no row has two of its terms."""
    return KEEP_NS if single else CHECK_NS + LIST_NS


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """(groups,) numbers of each: queries (`sizes`), rows `drawn`, what they cost by clauses that all share (`keep_ns`).

    `share` of the rows is left by those, and `own_share` of that by the `n_own` clauses of a query, `n_listed` of which
    are on terms that a row may have several of. `is_first` of those that draw the same rows; `in_order` where rows are
    drawn in their order. With `beside` own clauses are checked for the queries of a register at once. Where groups
    share one clause each, of whose field no row has two terms, `n_terms` is how many the field has.
    """

    sizes: np.ndarray
    drawn: np.ndarray
    is_first: np.ndarray
    share: np.ndarray
    keep_ns: np.ndarray
    own_share: np.ndarray
    n_own: np.ndarray
    n_listed: np.ndarray
    in_order: np.ndarray
    beside: bool
    n_terms: int | None

    def cost_ns(self, d: int, k: int, memory_budget: int) -> float:
        """The estimate for all groups."""
        rows, alone = self.drawn * self.share, self.sizes == 1
        registers = np.where(alone, ALONE, -(-self.sizes // TOGETHER))
        is_seen_coming = self.in_order & (self.share >= IN_ORDER_SHARE) & ~alone
        gather_ns = GATHER_COMPONENT_NS * d + np.where(is_seen_coming, 0, GATHER_NS)
        beside_ns = SIDE_NS * self.n_own + LISTED_NS * self.n_listed if self.beside else 0
        per_register = PAIR_COMPONENT_NS * d + beside_ns
        gather_ns = gather_ns + (LIST_NS * self.n_listed if self.beside else 0)
        per_row = -(-self.sizes // MOST_TOGETHER) * gather_ns + registers * per_register
        per_query = result_ns(d, k, rows * self.own_share) + (0 if self.beside else CHECK_NS * self.n_own * rows)
        scoring = float((rows * per_row + self.sizes * per_query).sum())
        return GROUP_NS * len(self.sizes) + self._drawing_ns(memory_budget) + scoring

    def _drawing_ns(self, memory_budget: int) -> float:
        total = float(self.drawn.sum())
        # Groups that draw the same fall in as many batches as the budget makes of them.
        n_again = total / max(1, memory_budget // 8 // BYTES_PER_DRAWN)
        again = n_again * total / max(1, len(self.drawn))
        keeping = float((self.drawn * self.keep_ns).sum())
        if self.n_terms is not None:
            first = self.is_first & (self.keep_ns > 0)
            in_order = ORDER_NS * (float(self.drawn[first].sum()) + again)
            keeping = min(keeping, in_order + TERM_NS * self.n_terms * (np.count_nonzero(first) + n_again))
        return DRAW_NS * (float(self.drawn[self.is_first].sum()) + again) + keeping
