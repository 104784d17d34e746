"""How well the links of each strength foretell hires that they were not learnt from.

The strength that foretells best with its weights as they are is too weak to tell links from chance: a penalty that
keeps false links out also shrinks the true ones (Meinshausen, Relaxed lasso, Comput. Stat. Data Anal. 52, 2007). So the
strength only says which links there are, and these are weighed anew, by a penalty that is the same for all strengths,
before hires that came later are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jobs.graph.l1_path import Fit, Matches
from jobs.graph.lists import Floats, Ints
from jobs.graph.newton import log_losses

# The last pairs by time are held out: as many as make a fifth.
SHARE = 0.2
# In hires: enough that a link of three hires and no no-hires has a weight, and little enough to shrink no other.
REWEIGHED_AT = 1.0
# Strengths in turn that are worse than one before, after which weaker ones are not tried. Where hires are many, weak
# ones let in chance links without end: from 50,000 to 150,000 hires the path's cost grew by an exponent of 1.5.
PATIENCE = 3
# Losses that differ by a smaller share are equal: the weights are found no more exactly.
SAME_LOSS = 1e-4


def last_of_each(kind: Ints, share: float = SHARE) -> NDArray[np.bool_]:
    """(n,) bool: the last `share` of the pairs of each kind, in the order given.

    >>> last_of_each(np.array([0, 1, 0, 0, 0, 0, 1])).astype(int).tolist()
    [0, 0, 0, 0, 0, 1, 0]
    """
    is_last = np.zeros(len(kind), bool)
    for number in np.unique(kind):
        places = np.flatnonzero(kind == number)
        is_last[places[len(places) - int(share * len(places)) :]] = True
    return is_last


def held_out_losses(matches: Matches, is_held_out: NDArray[np.bool_], falling: list[float]) -> Floats | None:
    """(n,): mean log loss of the pairs held out, by the links that each of the first n strengths learns from the rest.

    By weight; n is all of them, unless `PATIENCE` in turn are worse than one before. None where there are not both
    hires and no-hires on either side. The pairs held out stay where they are and weigh nothing, so that their margins
    come with the others'.
    """
    sides = [matches.is_hire[is_held_out], matches.is_hire[~is_held_out]]
    if not all(side.any() and not side.all() for side in sides):
        return None
    learnt = replace(matches, weight=np.where(is_held_out, 0.0, matches.weight))
    fit, losses = Fit(learnt), list[float]()
    for strength in falling:
        fit.move_to(strength)
        margins = fit.reweighed(min(strength, REWEIGHED_AT))[is_held_out]
        loss = log_losses(margins, sides[0])
        losses.append(float(np.average(loss, weights=matches.weight[is_held_out])))
        if min(losses[-PATIENCE:]) > min(losses) * (1 + SAME_LOSS):
            break
    return np.array(losses)


def least(losses: Sequence[float]) -> int:
    """The place of the least loss, the first of equal ones.

    >>> least([0.6, 0.50002, 0.5, 0.55])
    1
    """
    enough = min(losses) * (1 + SAME_LOSS)
    return next(place for place, loss in enumerate(losses) if loss <= enough)
