"""Which point of the path to take: rules beside each other, on pairs of which it is known what was planted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.graph.held_out import REWEIGHED_AT
from jobs.graph.l1_path import Fit, Matches
from jobs.graph.lists import Floats


@dataclass(frozen=True)
class Rules:
    """For each strength of the path, falling (n,), what a rule looks at."""

    losses: Floats  # of all pairs, the links weighed anew
    held_out: Floats  # of the pairs held out, with the weights as they are
    n_links: Floats  # with a weight

    @staticmethod
    def of(matches: Matches, is_held_out: NDArray[np.bool_], falling: list[float]) -> Rules:
        learnt = replace(matches, weight=np.where(is_held_out, 0.0, matches.weight))
        whole, part = Fit(matches), Fit(learnt)
        rows = []
        for strength in falling:
            whole.move_to(strength)
            part.move_to(strength)
            again = whole.reweighed(min(strength, REWEIGHED_AT))
            later = loss(matches, part.margins)[is_held_out].mean()
            rows.append((loss(matches, again).sum(), later, (whole.weights != 0).sum()))
        return Rules(*np.array(rows).T)

    def chosen(self, matches: Matches, falling: list[float]) -> dict[str, float]:
        """The strength that each rule takes.

        BIC: Schwarz, Ann. Stat. 6, 1978. EBIC: Chen and Chen, Biometrika 95, 2008, with gamma 1. Universal: sqrt(2 log
        p) standard deviations (Donoho and Johnstone, Biometrika 81, 1994) of the hires of a candidate with as many
        pairs as the mean one; the nearest strength above.
        """
        n, p = len(matches.weight), matches.n_links
        rate = matches.is_hire.mean()
        deviation = np.sqrt(len(matches.carriers.values) / p * rate * (1 - rate))
        universal = np.sqrt(2 * np.log(p)) * deviation
        bic = 2 * self.losses + self.n_links * np.log(n)
        return {
            "always 2": 2.0,
            "always 4": 4.0,
            "held out, as they are": falling[int(np.argmin(self.held_out))],
            "universal": min((s for s in falling if s >= universal), default=falling[0]),
            "BIC": falling[int(np.argmin(bic))],
            "EBIC": falling[int(np.argmin(bic + 2 * self.n_links * np.log(p)))],
        }


def loss(matches: Matches, margins: Floats) -> Floats:
    return matches.weight * np.logaddexp(0.0, np.where(matches.is_hire, -margins, margins))
