"""How a batch of queries is cut for the kernels: tiles of queries and places, in rounds that fit the budget.

Places are the drawn rows of one draw after another (kernels/common.cuh says how the kernels see them). The layout of
a tile must match `Tile` there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TILE_QUERIES, GROUP, ITEM_GROUPS = 16, 32, 32
# A group has a word of mask and a best score for each query; a place has a row.
BYTES_PER_GROUP, BYTES_PER_PLACE, BYTES_PER_TILE = 8, 4, 7 * 8


@dataclass(frozen=True, eq=False)
class Round:
    """Places [start, stop) and the `tiles` (n, 7) int64 over them.

    Query q of the batch has `counts[q]` groups from word `offsets[q]` on, at most one span of them a round;
    queries [first, last) are those of the tiles.
    """

    start: int
    stop: int
    tiles: np.ndarray
    n_items: int
    n_words: int
    offsets: np.ndarray
    counts: np.ndarray
    first: int
    last: int
    most_groups: int


def rounds(sizes: np.ndarray, n_places: np.ndarray, budget: int, *, listed: bool) -> Iterator[Round]:
    """Rounds over draws: draw i has `sizes[i]` queries, neighbours in the batch, and `n_places[i]` places.

    Each takes at most `budget` bytes, or a single group's. Without `listed`, rows take none.
    """
    per_group = BYTES_PER_GROUP * sizes + (BYTES_PER_PLACE * GROUP if listed else 0)
    per_draw = BYTES_PER_TILE * -(-sizes // TILE_QUERIES)
    if (per_draw + per_group * -(-n_places // GROUP)).sum() <= budget:
        # All at once, which is most of what few queries ask for.
        if len(sizes) == 1:
            yield from _one_draw(int(sizes[0]), int(n_places[0]))
        elif (some := np.flatnonzero((n_places > 0) & (sizes > 0))).size:
            stops, queries = np.cumsum(n_places), np.cumsum(sizes) - sizes
            starts = stops - n_places
            yield _round(starts[some], stops[some], sizes[some], queries[some], int(sizes.sum()), listed)
        return
    most = np.maximum(1, (budget - per_draw) // np.maximum(1, per_group)) * GROUP
    n_pieces = np.where(sizes > 0, -(-n_places // most), 0)
    draw = np.repeat(np.arange(len(sizes)), n_pieces)
    number = np.arange(len(draw)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    before = np.cumsum(n_places) - n_places
    starts = before[draw] + number * most[draw]
    stops = np.minimum(starts + most[draw], before[draw] + n_places[draw])
    cost = np.cumsum(per_draw[draw] + per_group[draw] * -(-(stops - starts) // GROUP))
    queries_before = np.cumsum(sizes) - sizes
    goes_on = np.flatnonzero(number > 0)
    at = 0
    while at < len(draw):
        done = cost[at - 1] if at else 0
        end = max(at + 1, int(np.searchsorted(cost, done + budget, side="right")))
        # A query has one span of groups a round: where a draw goes on, another round begins.
        later = int(np.searchsorted(goes_on, at, side="right"))
        if later < len(goes_on):
            end = min(end, int(goes_on[later]))
        part = slice(at, end)
        yield _round(starts[part], stops[part], sizes[draw[part]], queries_before[draw[part]], int(sizes.sum()), listed)
        at = end


def _one_draw(n_queries: int, n_places: int) -> Iterator[Round]:
    """The one round of queries that draw the same, where there is something to draw."""
    if n_queries == 0 or n_places == 0:
        return
    n_groups, n_tiles = -(-n_places // GROUP), -(-n_queries // TILE_QUERIES)
    n_items, first = -(-n_groups // ITEM_GROUPS), TILE_QUERIES * np.arange(n_tiles)
    tiles = np.empty((n_tiles, 7), dtype=np.int64)
    tiles[:] = 0, TILE_QUERIES, 0, n_places, 0, n_groups, 0
    tiles[:, 0], tiles[:, 4], tiles[:, 6] = first, first * n_groups, np.arange(n_tiles) * n_items
    tiles[-1, 1] = n_queries - TILE_QUERIES * (n_tiles - 1)
    yield Round(
        start=0,
        stop=n_places,
        tiles=tiles,
        n_items=n_tiles * n_items,
        n_words=n_queries * n_groups,
        offsets=np.arange(n_queries) * n_groups,
        counts=np.full(n_queries, n_groups, dtype=np.uint32),
        first=0,
        last=n_queries,
        most_groups=n_groups,
    )


def _round(
    starts: np.ndarray, stops: np.ndarray, sizes: np.ndarray, queries: np.ndarray, n_queries: int, listed: bool
) -> Round:
    n_tiles = -(-sizes // TILE_QUERIES)
    piece = np.repeat(np.arange(len(starts)), n_tiles)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(n_tiles) - n_tiles, n_tiles)
    first = queries[piece] + number * TILE_QUERIES
    n_own = np.minimum(TILE_QUERIES, sizes[piece] - number * TILE_QUERIES)
    n_groups = -(-(stops - starts) // GROUP)[piece]
    n_items = -(-n_groups // ITEM_GROUPS)
    words, items = n_own * n_groups, np.cumsum(n_items) - n_items
    word = np.cumsum(words) - words
    # A list of rows begins with the round's.
    origin = starts[0] if listed else 0
    columns = (first, n_own, starts[piece] - origin, (stops - starts)[piece], word, n_groups, items)
    offsets, counts = np.zeros(n_queries, dtype=np.int64), np.zeros(n_queries, dtype=np.uint32)
    own = np.repeat(np.arange(len(piece)), n_own)
    within = np.arange(len(own)) - np.repeat(np.cumsum(n_own) - n_own, n_own)
    offsets[first[own] + within] = word[own] + within * n_groups[own]
    counts[first[own] + within] = n_groups[own]
    return Round(
        start=int(starts[0]),
        stop=int(stops[-1]),
        tiles=np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.int64),
        n_items=int(n_items.sum()),
        n_words=int(words.sum()),
        offsets=offsets,
        counts=counts,
        first=int(first[0]),
        last=int(first[-1] + n_own[-1]),
        most_groups=int(n_groups.max()),
    )
