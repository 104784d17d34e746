"""Turn what profiles and jobs say into terms: titles to occupations, values to ids.

Reads the run's taxonomy and the versions of `seekers` and `jobs` that this run restates (all of them where the
taxonomy is new to some); adds to `term_dictionary`; rewrites the same dates of `seeker_terms` and `job_terms`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial, reduce
from typing import TYPE_CHECKING, TypeVar

from pyspark.sql import functions as F

from jobs.figures import Figure
from jobs.intervals import Dates
from jobs.lake import Lake
from jobs.runs import Run
from jobs.stage import run_stage, say
from jobs.terms.dictionary import entity_terms, new_terms
from jobs.terms.fields import check_fields, job_fields, long_texts, seeker_fields
from jobs.terms.lookup import surface_forms, text_terms
from jobs.terms.version import taxonomy_version
from jobs.threads import side_by_side
from schemas import JOB_TERMS, JOBS, SEEKER_TERMS, SEEKERS, TAXONOMY, TERM_DICTIONARY, Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")

ENTITIES = {
    "seeker": (SEEKERS, SEEKER_TERMS, seeker_fields),
    "job": (JOBS, JOB_TERMS, job_fields),
}
END_OF_TIME = date(9999, 1, 1)


def main(lake: Lake, run: Run) -> None:
    version, options = taxonomy_version(lake, run), run.settings.standardize_entities
    taxonomy = lake.read_or_empty(TAXONOMY, taxonomy_version=version)
    check_fields(row["field"] for row in taxonomy.select("field").distinct().collect())
    dates = by_entity(lambda entity: dates_to_write(lake, run, entity, version))

    def texts_of(entity: str) -> DataFrame:
        table, _, fields = ENTITIES[entity]
        return long_texts(lake.read(table, dates[entity]), key_of(entity), fields()).localCheckpoint()

    longs = by_entity(texts_of)
    texts = reduce(lambda a, b: a.unionByName(b), [long.select("dictionary", "how", "text") for long in longs.values()])
    forms = surface_forms(taxonomy, options.max_entities_a_surface, options.max_ngram)
    terms = text_terms(texts.where("text IS NOT NULL").distinct(), forms, options.max_ngram).localCheckpoint()
    dictionary = stored_terms(lake, terms, taxonomy)

    def write_terms(entity: str) -> list[Figure]:
        _, table, _ = ENTITIES[entity]
        rows = entity_terms(longs[entity], terms, dictionary, key_of(entity))
        rows = rows.withColumn("taxonomy_version", F.lit(version))
        lake.replace(table, {"taxonomy_version": version, "date": dates[entity]}, rows)
        return coverage(lake, table, dates[entity], version)

    for figures in by_entity(write_terms).values():
        run.record_all(figures)


def by_entity(call: Callable[[str], T]) -> dict[str, T]:
    """What `call` returns for seekers and for jobs, made side by side."""
    return dict(zip(ENTITIES, side_by_side(*[partial(call, entity) for entity in ENTITIES]), strict=True))


def key_of(entity: str) -> tuple[str, ...]:
    return (f"{entity}_id", "valid_from", "date")


def dates_to_write(lake: Lake, run: Run, entity: str, version: str) -> Dates:
    """The run's dates; every date where some other date has versions without terms under this taxonomy."""
    source, table, _ = ENTITIES[entity]
    restated = run.restated(source)
    there = lake.read(source).select("date").distinct()
    written = lake.read_or_empty(table, taxonomy_version=version).select("date").distinct()
    lacking = there.join(written, "date", "left_anti")
    others = lacking.where((F.col("date") < F.lit(restated.first)) | (F.col("date") >= F.lit(restated.end)))
    if others.isEmpty():
        return restated
    say(f"  {table.name}: taxonomy {version} is new to some dates: all versions are standardised")
    return Dates(run.history_start, END_OF_TIME)


def stored_terms(lake: Lake, terms: DataFrame, taxonomy: DataFrame) -> DataFrame:
    """The dictionary, after the terms that are new were added to it."""
    new = new_terms(terms, lake.read_or_empty(TERM_DICTIONARY), taxonomy).localCheckpoint()
    lake.create(TERM_DICTIONARY)
    if not new.isEmpty():
        lake.merge_new(TERM_DICTIONARY, new)
    return lake.read(TERM_DICTIONARY)


def coverage(lake: Lake, table: Table, dates: Dates, version: str) -> list[Figure]:
    """Figures: versions written, and the share of them that has a term in each field."""
    written = lake.read(table, dates, taxonomy_version=version)
    names = [made.field for made in (seeker_fields() if table is SEEKER_TERMS else job_fields())]
    shares = [F.avg(F.map_contains_key("terms", name).cast("double")).alias(name) for name in names]
    row = written.agg(F.count(F.lit(1)).alias("_rows"), *shares).collect()[0]
    coverages = [Figure("coverage", row[name], f"{table.name}.{name}") for name in names]
    return [Figure("rows_written", row["_rows"], table.name), *coverages]


if __name__ == "__main__":
    run_stage("standardize_entities", main)
