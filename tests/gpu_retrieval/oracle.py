"""The contract once more, in plain Python loops: what every plan, device and budget must return.

Worlds draw components that are small multiples of 1/8 times a power of two of their row, so that float64
sums are exact and the oracle owes nothing to any order of summation.
"""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np

from gpu_retrieval import AllIn, AllOf, AnyOf, Between, NoneOf, OneOf, Ragged, TermKnnIndex

FIELDS = ("region", "skill", "title")
NUMBERS = ("salary_max", "level")


@dataclass(frozen=True)
class World:
    """Jobs and how to build the index over them."""

    ids: np.ndarray
    vectors: np.ndarray
    terms: dict[str, list[list[int]]]
    numbers: dict[str, np.ndarray]

    def build(self, **options) -> TermKnnIndex:
        terms = {name: Ragged.from_lists(rows) for name, rows in self.terms.items()}
        return TermKnnIndex.build(self.ids, self.vectors, terms, self.numbers, **options)

    def part(self, rows: np.ndarray) -> World:
        return World(
            self.ids[rows],
            np.ascontiguousarray(self.vectors[rows]),
            {name: [lists[row] for row in rows] for name, lists in self.terms.items()},
            {name: values[rows] for name, values in self.numbers.items()},
        )


@dataclass(frozen=True)
class Ask:
    """One batch of queries. `exclude` is a list of ids a query, None for no exclusion."""

    queries: np.ndarray
    k: int
    where: object = None
    exclude: list[list[int]] | None = None
    prior: np.ndarray | None = None

    def search(self, index: TermKnnIndex, **options):
        """The hits under the plan that is named; where none is, under every plan, equal to the last bit."""
        if "plan" not in options:
            hits = self.search(index, plan="auto", **options)
            for plan in index.plans:
                other = self.search(index, plan=plan, **options)
                assert_hits(other, (hits.ids, hits.scores, hits.n_matches))
            return hits
        exclude = None if self.exclude is None else Ragged.from_lists(self.exclude, dtype="int64")
        return index.search(self.queries, self.k, self.where, exclude=exclude, prior=self.prior, **options)

    def scratch(self, index: TermKnnIndex, **options) -> int:
        """Most bytes that NumPy allocates in a search, its outputs aside: a second one, as the first loads things."""
        self.search(index, **options)
        tracemalloc.start()
        try:
            self.search(index, **options)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        return peak - len(self.queries) * (self.k * 12 + 8)

    def one(self, i: int) -> Ask:
        rows = np.array([i])
        exclude = None if self.exclude is None else [self.exclude[i]]
        return replace(self, queries=self.queries[i : i + 1].copy(), where=take(self.where, rows), exclude=exclude)


def take(where, rows):
    """The filter for these queries only."""
    if where is None:
        return None
    applies = None if where.applies is None else where.applies[rows]
    if isinstance(where, (AllOf, OneOf)):
        return type(where)(*(take(part, rows) for part in where.clauses), applies=applies)
    if isinstance(where, Between):
        lo, hi = (None if end is None else end[rows] for end in (where.lo, where.hi))
        return replace(where, lo=lo, hi=hi, applies=applies)
    dtype = where.rows.values.dtype.name
    rows_of = Ragged.from_lists([where.rows.row(i) for i in rows], dtype=dtype)
    return replace(where, rows=rows_of, applies=applies)


def applies(where, i: int) -> bool:
    if where.applies is not None and not where.applies[i]:
        return False
    if isinstance(where, (AllOf, OneOf)):
        return any(applies(part, i) for part in where.clauses)
    return True


def passes(where, i: int, world: World, job: int) -> bool:
    """Whether the job passes query i's filter."""
    if where is None or not applies(where, i):
        return True
    if isinstance(where, AllOf):
        return all(passes(part, i, world, job) for part in where.clauses if applies(part, i))
    if isinstance(where, OneOf):
        return any(passes(part, i, world, job) for part in where.clauses if applies(part, i))
    if isinstance(where, Between):
        bounds = [None if end is None or end[i] != end[i] else end[i].item() for end in (where.lo, where.hi)]
        if bounds == [None, None]:
            return True
        value = world.numbers[where.field][job].item()
        if value != value:
            return where.missing_passes
        return (bounds[0] is None or bounds[0] <= value) and (bounds[1] is None or value <= bounds[1])
    asked, carried = set(where.rows.row(i).tolist()), set(world.terms[where.field][job])
    if isinstance(where, NoneOf):
        return not asked & carried
    if not asked:
        return isinstance(where, AllIn)
    if not carried:
        return where.missing_passes
    return bool(asked & carried) if isinstance(where, AnyOf) else asked <= carried


def score(query: np.ndarray, vector: np.ndarray, prior: float) -> np.float32:
    total = 0.0
    for a, b in zip(query.tolist(), vector.tolist(), strict=True):
        total += a * b
    return np.float32(total + prior)


def answer(world: World, ask: Ask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids, scores, n_matches as `Hits` has them."""
    n_queries = len(ask.queries)
    ids = np.full((n_queries, ask.k), -1, dtype=np.int64)
    scores = np.full((n_queries, ask.k), -np.inf, dtype=np.float32)
    n_matches = np.zeros(n_queries, dtype=np.int64)
    for i in range(n_queries):
        shut_out = set() if ask.exclude is None else set(ask.exclude[i])
        found = []
        for job in range(len(world.ids)):
            if world.ids[job].item() not in shut_out and passes(ask.where, i, world, job):
                prior = 0.0 if ask.prior is None else ask.prior[job].item()
                found.append((-score(ask.queries[i], world.vectors[job], prior), world.ids[job].item()))
        n_matches[i] = len(found)
        for place, (negative, job_id) in enumerate(sorted(found)[: ask.k]):
            ids[i, place], scores[i, place] = job_id, -negative
    return ids, scores, n_matches


def assert_hits(hits, expected) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(hits.ids, expected[0])
    np.testing.assert_array_equal(hits.n_matches, expected[2])
    np.testing.assert_array_equal(hits.scores.view(np.uint32), (expected[1] + np.float32(0)).view(np.uint32))
    assert hits.ids.dtype == np.int64
    assert hits.scores.dtype == np.float32
    assert hits.n_matches.dtype == np.int64


def make_world(rng: random.Random, n: int, d: int) -> World:
    """Jobs with repeated terms, missing values, ids out of order, ties and rows of very different lengths."""
    ids = rng.sample(range(3 * n + 5), n)
    vectors = np.array([_row(rng, d) for _ in range(n)], dtype=np.float32).reshape(n, d)
    if n and rng.random() < 0.3:
        vectors[:] = vectors[0]
    terms = {field: [_terms(rng) for _ in range(n)] for field in FIELDS}
    if rng.random() < 0.5:
        # A field of one term a job is what the index orders its rows by.
        terms["title"] = [[rng.randint(0, 3)] for _ in range(n)]
    salary = [rng.choice([np.nan, np.inf, -np.inf, -1.5, 0.0, 1.0, 2.0, 2.5, 3.0]) for _ in range(n)]
    level = [rng.choice([-(2**63), 2**63 - 1, 2**53 + 1, 0, 1, 2, 3]) for _ in range(n)]
    numbers = {"salary_max": np.array(salary, np.float64), "level": np.array(level, np.int64)}
    return World(np.array(ids, dtype=np.int64), vectors, terms, numbers)


def _row(rng: random.Random, d: int) -> list[float]:
    if rng.random() < 0.1:
        return [0.0] * d
    scale = 2.0 ** rng.choice([0, 0, 0, -3, 5, -30, 30])
    return [rng.randint(-16, 16) / 8 * scale for _ in range(d)]


def _terms(rng: random.Random) -> list[int]:
    # 99 is a term that few or no jobs have; repeats and order must not matter.
    return [rng.choice([0, 1, 2, 3, 4, 99]) for _ in range(rng.choice([0, 1, 1, 2, 3]))]


def make_ask(rng: random.Random, world: World, n_queries: int, k: int) -> Ask:
    """Queries with filters that nest, exclusions of known and unknown ids, and a prior, each there or not."""
    d = world.vectors.shape[1]
    queries = np.array([_row(rng, d) for _ in range(n_queries)], dtype=np.float32).reshape(n_queries, d)
    where = make_where(rng, n_queries, depth=rng.choice([0, 1, 1, 2, 3])) if rng.random() < 0.85 else None
    exclude = None
    if rng.random() < 0.5:
        known = [*world.ids.tolist(), 10**12, -7]
        exclude = [[rng.choice(known) for _ in range(rng.randint(0, 4))] for _ in range(n_queries)]
    prior = None
    if rng.random() < 0.5:
        prior = np.array([rng.randint(-8, 8) / 4 for _ in world.ids], dtype=np.float32)
    return Ask(queries, k, where, exclude, prior)


def make_where(rng: random.Random, n_queries: int, depth: int):
    """A filter; some rows are shared by queries, some are one query's own."""
    applying = np.array([rng.random() < 0.7 for _ in range(n_queries)], dtype=bool) if rng.random() < 0.4 else None
    if depth:
        parts = [make_where(rng, n_queries, rng.randint(0, depth - 1)) for _ in range(rng.randint(0, 3))]
        return rng.choice([AllOf, OneOf])(*parts, applies=applying)
    missing_passes = rng.random() < 0.3
    if rng.random() < 0.3:
        lo, hi = (_bounds(rng, n_queries) for _ in range(2))
        return Between(rng.choice(NUMBERS), lo, hi, missing_passes=missing_passes, applies=applying)
    shared = [_terms(rng) for _ in range(2)]
    rows = [rng.choice(shared) if rng.random() < 0.6 else _terms(rng) for _ in range(n_queries)]
    field, ragged = rng.choice(FIELDS), Ragged.from_lists(rows)
    if rng.random() < 0.3:
        return NoneOf(field, ragged, applies=applying)
    return rng.choice([AnyOf, AllIn])(field, ragged, missing_passes=missing_passes, applies=applying)


def _bounds(rng: random.Random, n_queries: int) -> np.ndarray | None:
    if rng.random() < 0.25:
        return None
    if rng.random() < 0.5:
        # 2**53 + 1 is no float64, and the ends of int64 have no float64 neighbour on one side.
        values = [rng.choice([-(2**63), 2**63 - 1, 2**53, 2**53 + 1, 0, 1, 2, 3]) for _ in range(n_queries)]
        return np.array(values, dtype=np.int64)
    values = [rng.choice([np.nan, np.inf, -np.inf, 2.0**63, 0.5, 1.0, 2.0, 2.5, 3.0]) for _ in range(n_queries)]
    return np.array(values, dtype=np.float64)
