"""A job market for benchmarks: skewed regions and occupations, clustered unit vectors, a salary, random tags.

Regions and occupations follow Zipf's law. A job's vector is its occupation's direction (occupations of one
family lie near one another), a little of its region's and noise. A query is drawn from the same market. Fixed
by the seed; `Market.digest` names the jobs and `Asked.digest` the queries.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from gpu_retrieval import AllOf, AnyOf, Between, Ragged, TermKnnIndex
from gpu_retrieval.clauses import Clause, take

N_REGIONS, N_OCCUPATIONS, N_FAMILIES, N_TAGS = 2_000, 4_000, 40, 10_000
# With exponent 1 the first region would hold an eighth of all jobs, and low pass rates could not be had.
ZIPF_EXPONENT = 0.7
SALARY_PASSES = 0.7
# Share of the jobs in a query's regions, and in its occupations; None: not asked. With the salary floor the
# product is near the pass rate, which is measured. Filters come in three widths, so that not all are shared.
SHARES: dict[str, tuple[float | None, float | None]] = {
    "100%": (None, None),
    "50%": (0.70, None),
    "10%": (0.35, 0.40),
    "1%": (0.10, 0.12),
    "0.1%": (0.030, 0.035),
    "0.01%": (0.009, 0.010),
}
WIDTHS = (0.6, 1.0, 1.5)
TAGS_ASKED = 10


@dataclass(frozen=True, eq=False)
class Market:
    """`vectors` (n, d) float32 of length 1; `region`, `occupation`, `tag` (n,) int32; `salary` (n,) float64."""

    vectors: np.ndarray
    region: np.ndarray
    occupation: np.ndarray
    tag: np.ndarray
    salary: np.ndarray
    seed: int

    @property
    def digest(self) -> str:
        return _digest(self.vectors, self.region, self.occupation, self.tag, self.salary)

    def index(self, storage: str = "float32") -> TermKnnIndex:
        n = len(self.region)
        offsets = np.arange(n + 1, dtype=np.int64)
        fields = {"region": self.region, "occupation": self.occupation, "tag": self.tag}
        terms = {name: Ragged(offsets, values) for name, values in fields.items()}
        return TermKnnIndex.build(
            np.arange(n), self.vectors, terms, {"salary": self.salary}, storage=storage, device="cpu"
        )

    def first(self, n: int) -> Market:
        """The first n jobs: rows are in random order."""
        columns = (self.region[:n], self.occupation[:n], self.tag[:n], self.salary[:n])
        return Market(self.vectors[:n], *columns, self.seed)


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries (q, d) float32, their filters and what they are not to be shown."""

    name: str
    queries: np.ndarray
    where: Clause | None
    exclude: Ragged | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: np.ndarray) -> Asked:
        where = None if self.where is None else take(self.where, rows)
        return Asked(self.name, self.queries[rows], where, None if self.exclude is None else self.exclude.take(rows))

    @property
    def digest(self) -> str:
        rows = [part.rows.values for part in parts(self.where) if isinstance(part, AnyOf)]
        return _digest(self.queries, *rows)

    def passing(self, market: Market, query: int) -> np.ndarray:
        """(n,) bool, from the columns themselves."""
        mask = np.ones(len(market.region), dtype=bool)
        for part in parts(self.where):
            column = getattr(market, part.field)
            mask &= np.isin(column, part.rows.row(query)) if isinstance(part, AnyOf) else column >= part.lo[query]
        return mask


def make_market(n: int, d: int, seed: int, *, threads: int = 1) -> Market:
    """The jobs of a seed. With more threads than one they are others, drawn by a generator a part."""
    rng = np.random.default_rng(seed)
    families = _units(rng.standard_normal((N_FAMILIES, d)))
    directions = _units(families[rng.integers(0, N_FAMILIES, N_OCCUPATIONS)] + 0.6 * _noise(rng, N_OCCUPATIONS, d))
    places = _noise(rng, N_REGIONS, d)
    region = _zipf(rng, N_REGIONS, n)
    occupation = _zipf(rng, N_OCCUPATIONS, n)
    vectors = np.empty((n, d), dtype=np.float32)

    def fill(start: int, own: np.random.Generator) -> None:
        part = slice(start, min(start + 100_000, n))
        rows = directions[occupation[part]] + 0.2 * places[region[part]] + 0.7 * _noise(own, part.stop - start, d)
        vectors[part] = _units(rows)

    starts = range(0, n, 100_000)
    with ThreadPoolExecutor(threads) as pool:
        # Waits for each, and raises what one of them raises.
        list(pool.map(fill, starts, [rng] * len(starts) if threads == 1 else rng.spawn(len(starts))))
    tag = rng.integers(0, N_TAGS, n, dtype=np.int32)
    salary = np.round(np.exp(rng.normal(10.5, 0.5, n)), -2)
    return Market(vectors, region, occupation, tag, salary, seed)


def ask(market: Market, workload: str, n_queries: int, seed: int) -> Asked:
    """Queries near a random job of their own region and occupation, with filters of about this pass rate."""
    rng = np.random.default_rng(seed)
    like = rng.integers(0, len(market.region), n_queries)
    queries = _units(market.vectors[like] + 0.5 * _noise(rng, n_queries, market.vectors.shape[1])).astype(np.float32)
    if workload == "distinct":
        return Asked(workload, queries, AnyOf("tag", _distinct_tags(rng, n_queries)))
    in_regions, in_occupations = SHARES[workload]
    parts: list[Clause] = []
    for field, share in (("region", in_regions), ("occupation", in_occupations)):
        if share is not None:
            parts.append(AnyOf(field, _districts(rng, getattr(market, field), like, share)))
    if not parts:
        return Asked(workload, queries, None)
    floor = np.quantile(market.salary, rng.uniform(0, 2 * (1 - SALARY_PASSES), n_queries))
    return Asked(workload, queries, AllOf(*parts, Between("salary", floor, None)))


def _distinct_tags(rng: np.random.Generator, n_queries: int) -> Ragged:
    rows = rng.integers(0, N_TAGS, (n_queries, TAGS_ASKED), dtype=np.int32)
    assert len(np.unique(np.sort(rows, axis=1), axis=0)) == n_queries
    return Ragged(np.arange(n_queries + 1, dtype=np.int64) * TAGS_ASKED, rows.reshape(-1))


def _districts(rng: np.random.Generator, column: np.ndarray, like: np.ndarray, share: float) -> Ragged:
    """The district of each query's own value, at one of three widths: values that hold about so many jobs."""
    counts = np.bincount(column)
    order = rng.permutation(len(counts))
    lists: list[list[np.ndarray]] = []
    for width in WIDTHS:
        reached = np.cumsum(counts[order])
        district = np.empty(len(counts), dtype=np.int64)
        district[order] = (reached - counts[order]) // max(1, int(share * width * len(column)))
        by_district = [np.flatnonzero(district == number).astype(np.int32) for number in range(district.max() + 1)]
        lists.append([by_district[number] for number in district])
    widths = rng.integers(0, len(WIDTHS), len(like))
    return Ragged.from_lists([lists[width][value] for width, value in zip(widths, column[like], strict=True)])


def parts(where: Clause | None) -> tuple[AnyOf | Between, ...]:
    """The conjunction of a benchmark's filter."""
    if where is None:
        return ()
    return where.clauses if isinstance(where, AllOf) else (where,)


def _zipf(rng: np.random.Generator, size: int, n: int) -> np.ndarray:
    weights = np.arange(1, size + 1) ** -ZIPF_EXPONENT
    return rng.choice(size, n, p=weights / weights.sum()).astype(np.int32)


def _noise(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows of length near 1."""
    return rng.standard_normal((n, d)) / np.sqrt(d)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()[:16]
