"""Random numbers that depend on what they are drawn for, and on nothing else.

Every draw is a hash of the seed, the name of its stream and the ids of the thing drawn for: the same row gets
the same number in whatever partition, order or session it is computed, and two streams are independent.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

# Entries of the table that stands for a discrete distribution: a weight below 1/512 of the whole may get
# none.
TABLE_SIZE = 512


class Draws:
    """The random streams of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _key(self, stream: str) -> int:
        digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def bits(self, stream: str, *ids: Column) -> Column:
        """64 random bits, as a bigint. Ids are integers."""
        return F.xxhash64(F.lit(self._key(stream)), *[i.cast("bigint") for i in ids])

    def uniform(self, stream: str, *ids: Column) -> Column:
        """In [0, 1), in steps of 2^-53."""
        return F.shiftrightunsigned(self.bits(stream, *ids), 11).cast("double") * F.lit(2.0**-53)

    def chance(self, p: Column | float, stream: str, *ids: Column) -> Column:
        """True with probability p."""
        return self.uniform(stream, *ids) < p

    def below(self, n: Column | int, stream: str, *ids: Column) -> Column:
        """An int in [0, n), each alike."""
        return F.floor(self.uniform(stream, *ids) * n).cast("int")

    def normal(self, stream: str, *ids: Column) -> Column:
        """Mean 0, deviation 1 (Box-Muller)."""
        radius = F.sqrt(-2.0 * F.log(1.0 - self.uniform(f"{stream}/radius", *ids)))
        return radius * F.cos(2.0 * math.pi * self.uniform(f"{stream}/angle", *ids))

    def waiting(self, mean: Column | float, stream: str, *ids: Column) -> Column:
        """Exponential with that mean."""
        return -F.log(1.0 - self.uniform(stream, *ids)) * mean

    def one_of(self, values: Column | Sequence[str], stream: str, *ids: Column) -> Column:
        """One element of the array, each alike; null where the array is empty."""
        array = values if isinstance(values, Column) else constant(values, "array<string>")
        return F.get(array, self.below(F.size(array), stream, *ids))

    def weighted(self, weights: Sequence[float], stream: str, *ids: Column) -> Column:
        """The position of a weight, in proportion to it (to 1/512 of the whole)."""
        table = constant(proportional_table(weights), "array<int>")
        return F.get(table, self.below(TABLE_SIZE, stream, *ids))


def constant(values: Sequence, kind: str) -> Column:
    """A literal array of that type. One node of the plan, folded once: `array(lit(…), …)` is one an element."""
    return F.from_json(F.lit(json.dumps(values)), kind)


def proportional_table(weights: Sequence[float]) -> list[int]:
    """Positions repeated in proportion to their weights, TABLE_SIZE in all.

    >>> table = proportional_table([2, 1, 1])
    >>> len(table), table.count(0), table.count(1)
    (512, 256, 128)
    """
    total, reached, position, table = sum(weights), 0.0, -1, []
    for k in range(TABLE_SIZE):
        while reached <= (k + 0.5) / TABLE_SIZE * total:
            position += 1
            reached += weights[position]
        table.append(position)
    return table


def sigmoid(x: Column) -> Column:
    return 1.0 / (1.0 + F.exp(-x))


def board_id(kind: str, seed: int, number: Column) -> Column:
    """The board's id of the number-th user, posting, … : a UUID-like string."""
    digest = F.md5(F.concat(F.lit(f"{kind}/{seed}/"), number.cast("string")))
    cuts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)]
    return F.concat_ws("-", *[F.substring(digest, first, length) for first, length in cuts])
