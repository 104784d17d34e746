"""What further clauses and exclusions cost queries that ask for a region, ours and faiss with free bitmaps.

A job has a company, a grade or none, some skills, a time when it was posted and, half of them, one when it was closed.
Queries ask for their district (a tenth of the jobs); a case asks for more. Those at a time let a job without the time
pass, as the pipeline's do. The last asks for links instead, as its graph channel does: for jobs of some nodes, and none
of better ones; a job has a node of its occupation and mostly one of that and its grade.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.market import N_OCCUPATIONS, Asked, Market, ask, make_market, parts
from benchmarks.retrieval_measure import SEED, measure_ours, measure_rival
from benchmarks.rivals import Faiss
from gpu_retrieval import AllOf, AnyOf, Between, NoneOf, OneOf, Ragged, TermKnnIndex
from gpu_retrieval.clauses import Clause

N_COMPANIES, N_GRADES, N_SKILLS, K = 20_000, 9, 5_000, 100
SAMPLE = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class Case(Asked):
    """`more` says which of the jobs pass what a query asks beside its district: (n,) bool of the query's number."""

    numbers: np.ndarray
    district: Asked | None
    more: Callable[[int], np.ndarray]

    @property
    def digest(self) -> str:
        return f"{self.name} {super().digest}"

    def take(self, rows: np.ndarray) -> Case:
        asked = super().take(rows)
        return replace(
            self, queries=asked.queries, where=asked.where, exclude=asked.exclude, numbers=self.numbers[rows],
            district=None if self.district is None else self.district.take(rows),
        )  # fmt: skip

    def passing(self, market: Market, query: int) -> np.ndarray:
        more = self.more(int(self.numbers[query]))
        return more if self.district is None else more & self.district.passing(market, query)


def has_any(rows: Ragged, values: np.ndarray) -> np.ndarray:
    """(rows,) bool: which of them have one of the values."""
    found = np.zeros(len(rows), dtype=bool)
    found[rows.row_numbers()[np.isin(rows.values, values)]] = True
    return found


def nodes_of(occupation: np.ndarray, grade: np.ndarray, has_grade: np.ndarray) -> Ragged:
    n_nodes, first = 1 + has_grade, N_OCCUPATIONS + occupation * N_GRADES
    offsets = np.concatenate([[0], np.cumsum(n_nodes)]).astype(np.int64)
    values = np.repeat(occupation, n_nodes)
    values[offsets[1:][has_grade] - 1] = (first + grade)[has_grade]
    return Ragged(offsets, values.astype(np.int32))


def clauses(n: int, n_queries: int) -> list[dict[str, Any]]:
    """One line a case."""
    market, rng, lines = make_market(n, 64, SEED), np.random.default_rng(SEED), []
    company, grade = rng.integers(0, N_COMPANIES, n, dtype=np.int32), rng.integers(0, N_GRADES, n, dtype=np.int32)
    has_grade, posted = rng.random(n) < 0.7, rng.random(n)
    closed = np.where(rng.random(n) < 0.5, posted + rng.random(n), np.nan)
    graded = np.concatenate([[0], np.cumsum(has_grade)]).astype(np.int64)
    lengths = rng.integers(0, 6, n)
    skills = rng.integers(0, N_SKILLS, lengths.sum(), dtype=np.int32)
    skill = Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), skills)
    node = nodes_of(market.occupation, grade, has_grade)
    terms = {
        "skill": skill,
        "node": node,
        "region": Ragged.of_one(market.region),
        "company": Ragged.of_one(company),
        "grade": Ragged(graded, grade[has_grade]),
    }
    numbers = {"posted": posted, "closed": closed}
    index, faiss = TermKnnIndex.build(np.arange(n), market.vectors, terms, numbers, device="cpu"), Faiss(market)
    whole = ask(market, "1%", n_queries, SEED + 5)
    region = next(part for part in parts(whole.where) if isinstance(part, AnyOf) and part.field == "region")
    district = Asked("a district", whole.queries, region)

    def lists(field: str, most: int, count: int, **options: Any) -> tuple[np.ndarray, AnyOf]:
        rows = rng.integers(0, most, (n_queries, count), dtype=np.int32)
        offsets = np.arange(n_queries + 1, dtype=np.int64) * count
        return rows, AnyOf(field, Ragged(offsets, rows.reshape(-1)), **options)

    at, (companies, of_company) = rng.random(n_queries), lists("company", N_COMPANIES, 3)
    grades, of_grade = lists("grade", N_GRADES, 2)
    asked_skills, of_skill = lists("skill", N_SKILLS, 100)
    like = rng.integers(0, n, n_queries)
    own = rng.integers(0, N_OCCUPATIONS, (n_queries, 4), dtype=np.int32)
    own[:, 0] = market.occupation[like]
    better = N_OCCUPATIONS + own[:, :2] * N_GRADES + grade[like, None]
    best = index.search(district.queries, 20, region).ids[:, ::2]
    excluded = np.concatenate([best, rng.integers(0, n, (n_queries, 10))], axis=1)
    exclude = Ragged(np.arange(n_queries + 1, dtype=np.int64) * 20, excluded.reshape(-1))

    def open_at(i: int) -> np.ndarray:
        return ~(posted > at[i]) & ~(closed < at[i])

    def among(i: int) -> np.ndarray:
        return has_grade & np.isin(grade, grades[i])

    def either(i: int) -> np.ndarray:
        return np.isin(company, companies[i]) | among(i)

    def is_shown(i: int) -> np.ndarray:
        shown = np.ones(n, dtype=bool)
        shown[excluded[i]] = False
        return shown

    def linked(i: int) -> np.ndarray:
        return has_any(node, own[i]) & ~has_any(node, better[i])

    when = [Between("posted", None, at, missing_passes=True), Between("closed", at, None, missing_passes=True)]
    everything = np.ones(n, dtype=bool)
    cases: list[tuple[str, list[Clause], Ragged | None, Callable[[int], np.ndarray]]] = [
        ("a district", [], None, lambda i: everything),
        ("without 20 ids", [], exclude, is_shown),
        ("open at its time", when, None, open_at),
        ("none of 3 companies", [NoneOf("company", of_company.rows)], None, lambda i: ~np.isin(company, companies[i])),
        ("2 grades or none", [replace(of_grade, missing_passes=True)], None, lambda i: ~has_grade | among(i)),
        ("3 companies or 2 grades", [OneOf(of_company, of_grade)], None, either),
        ("open, graded, without 20 ids", [*when, of_grade], exclude, lambda i: open_at(i) & among(i) & is_shown(i)),
        ("any of 100 skills", [of_skill], None, lambda i: has_any(skill, asked_skills[i])),
        ("none of 100 skills", [NoneOf("skill", of_skill.rows)], None, lambda i: ~has_any(skill, asked_skills[i])),
    ]  # fmt: skip
    links = AllOf(
        AnyOf("node", Ragged.from_lists(own)), NoneOf("node", Ragged.from_lists(better.astype(np.int32)))
    )  # fmt: skip
    print(f"\nclauses beside a district, {n:,} jobs × 64")
    asked = [(name, AllOf(region, *more), ids, district, mask) for name, more, ids, mask in cases]
    for name, where, ids, of_district, mask in [*asked, ("links, instead", links, None, None, linked)]:
        queries = np.arange(n_queries)
        case = Case(name, whole.queries, where, ids, numbers=queries, district=of_district, more=mask)
        ours = measure_ours(index, market, case, K)
        lines.append({"case": name, **ours})
        lines[-1][faiss.name] = measure_rival(faiss, market, case.take(np.arange(SAMPLE)), K, ours["queries_per_s"])
    return lines
