"""Planted links come back; a popular pair that explains nothing does not; the task says all that it found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.graph.fit import FITTED, FITTED_DDL, fitted_batches
from jobs.graph.hires import KINDS
from jobs.graph.learn import learn_links
from jobs.graph.links import Limits
from jobs.graph.quality import Penalty
from jobs.settings import Template

TEMPLATES = [Template(seeker=field, job=field) for field in ("occupation", "level")]
NAMES = ("seeker_occupation", "seeker_level", "job_occupation", "job_level")
Row = tuple[int, float, bool, list[int], list[int], list[int], list[int]]


def batch(rows: list[Row]) -> pa.RecordBatch:
    types = [pa.int32(), pa.float64(), pa.bool_(), *[pa.list_(pa.int32())] * 4]
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(types)]
    return pa.RecordBatch.from_arrays(columns, names=["kind", "weight", "is_job_later", *NAMES])


def fitted(
    rows: list[Row],
    penalty: Penalty,
    cuts: tuple[int, ...] = (),
    named: tuple[tuple[str, str], ...] = (),
    templates: Sequence[Template] = TEMPLATES,
) -> dict[str, list[dict[str, Any]]]:
    whole, ends = batch(rows), [0, *cuts, len(rows)]
    parts = [whole.slice(start, end - start) for start, end in pairwise(ends)] if rows else []
    made = list(fitted_batches(parts, templates, Limits(), penalty, named))
    assert all(part.schema == FITTED for part in made)
    table = pa.Table.from_batches(made)
    return {name: [row for row in table[name].to_pylist() if row is not None] for name in table.column_names}


@pytest.fixture
def world() -> list[Row]:
    """Occupation o is hired into occupation o + 10; nine in ten on both sides are of level 1, in any case."""
    draw = random.Random(3)
    rows: list[Row] = []
    for _ in range(600):
        own, levels = draw.randrange(6), [[1 if draw.random() < 0.9 else 2] for _ in range(2)]
        rows.append((1, 1.0, draw.random() < 0.1, [own], levels[0], [own + 10], levels[1]))
    # each hire's seeker with another hire's job
    others = draw.sample(rows, len(rows))
    repaired = [(4, 1.0, False, *hire[3:5], *other[5:]) for hire, other in zip(rows, others, strict=True)]
    return [row for both in zip(rows, repaired, strict=True) for row in both]


def figures_of(found: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], float | None]:
    return {(row["metric"], row["label"]): row["value"] for row in found["figure"]}


def test_planted_links_are_found_and_popularity_is_not(world: list[Row]) -> None:
    longer = ("level=1&occupation=0", "level=1&occupation=10")
    found = fitted(
        world, Penalty(strength=2), named=(longer, ("occupation=1", "occupation=10"), ("level=7", "level=7"))
    )
    kept = {(row["seeker_segment"], row["job_segment"]) for row in found["link"] if row["quality"] is not None}
    assert kept == {(f"occupation={o}", f"occupation={o + 10}") for o in range(6)}
    (other,) = (row for row in found["link"] if row["quality"] is None and not row["is_against"])
    assert (other["seeker_segment"], other["job_segment"]) == longer, "a candidate comes if it is named"
    hires = [row for row in world if row[0] == 1 and row[3] == [0] and row[4] == row[6] == [1]]
    assert (other["n_hires"], len(other["meta_links"])) == (len(hires), 2)
    assert not any(row["is_against"] for row in found["link"] if row["quality"] is not None)
    figures = figures_of(found)
    assert figures["candidate_links", ""] > 7
    assert (figures["support", "1"], figures["support", "2"]) == (3, 3)
    assert (figures["chosen_strength", ""], figures["links", ""], figures["recall", ""]) == (2, 6, 1), "all are planted"
    assert 0.1 < (figures["false_positives", ""] or 0) < 0.2, "one re-paired hire in six is planted: 1 in 7 linked"
    assert [figures["pairs", kind] for kind in KINDS] == [600, 0, 0, 600]
    assert figures["hires_with_later_job_version", ""] == sum(row[2] for row in world)
    assert figures["meta_links", "occupation→occupation"] == 6
    assert (figures["hires_outside_templates", ""], figures["cut", "terms"], figures["cut", "meta_links"]) == (0, 0, 0)
    terms = sorted((row["field"], row["term"]) for row in found["hired_term"])
    assert terms == [("level", 1), ("level", 2), *(("occupation", o) for o in range(6))]


def test_the_task_reads_batches(world: list[Row]) -> None:
    found = fitted(world, Penalty())
    assert fitted(world, Penalty(), cuts=(0, 7, 7, 500)) == found, "however they are cut"
    figures = figures_of(found)
    losses = {label: value for (metric, label), value in figures.items() if metric == "path_held_out_loss"}
    assert figures["path_links", f"{figures['chosen_strength', '']:g}"] == 6 == figures["links", ""]
    least = min(loss for loss in losses.values() if loss is not None)
    assert losses[f"{figures['chosen_strength', '']:g}"] == pytest.approx(least, rel=1e-4)


def test_a_link_of_the_same_term() -> None:
    """Of sixty occupations, with seven hires each, six in ten stay in their own."""
    draw = random.Random(0)
    rows: list[Row] = []
    for _ in range(400):
        own = draw.randrange(60)
        into = own if draw.random() < 0.6 else draw.randrange(60)
        rows.append((1, 0.5, False, [own], [], [into], []))
    others = draw.sample(rows, len(rows))
    rows = [row for hire, other in zip(rows, others, strict=True) for row in (hire, (4, 0.5, *hire[2:5], *other[5:]))]
    same = [Template(seeker="occupation", job="occupation", same=True)]
    found = fitted(rows, Penalty(strength=4), templates=same)
    (link,) = (row for row in found["link"] if row["quality"] is not None)
    assert (link["seeker_segment"], link["job_segment"]) == ("occupation=*", "occupation=*")
    assert link["quality"] > 3, "odds of twenty and more"
    stays = [Counter(row[3][0] for row in rows if row[0] == kind and row[3] == row[5]) for kind in (1, 4)]
    assert {(row["term"], row["n_hires"], row["n_no_hires"]) for row in found["same_term"]} == {
        (term, stays[0][term] / 2, stays[1][term] / 2) for term in {*stays[0], *stays[1]}
    }
    assert {(row["seeker_field"], row["job_field"]) for row in found["same_term"]} == {("occupation", "occupation")}
    assert all(row["term"] >= 0 for row in found["hired_term"])
    assert not fitted(rows, Penalty(), templates=TEMPLATES)["same_term"]
    (link,) = (row for row in fitted(rows, Penalty(), templates=same)["link"] if row["quality"] is not None)
    assert link["seeker_segment"] == "occupation=*", "later hires ask for it too"


def test_where_there_is_nothing_to_learn(world: list[Row]) -> None:
    hires, others = [row for row in world if row[0] == 1], [row for row in world if row[0] == 4]
    for rows, n_candidates in ((hires, True), (others, False), ([], False)):
        found = fitted(rows, Penalty(), named=(("occupation=0", "occupation=10"),))
        figures = figures_of(found)
        assert (figures["links", ""], figures["recall", ""], figures["chosen_strength", ""]) == (0, None, None)
        assert bool(figures["candidate_links", ""]) == bool(found["link"]) == n_candidates
        assert all(row["quality"] is None and row["is_against"] is False for row in found["link"])


def test_pairs_without_rows_by_spark(spark: SparkSession) -> None:
    columns = "seeker_id bigint, job_id bigint, kind string, at_ts timestamp, weight double, is_job_later boolean"
    terms = "seeker_terms map<string, array<int>>, job_terms map<string, array<int>>"
    learnt = learn_links(spark.createDataFrame([], f"{columns}, {terms}"), TEMPLATES, Limits(), Penalty())
    assert ("pairs", 0, "hire") in learnt.figures, "said, not left out"
    assert learnt.links.isEmpty()
    assert [*learnt.candidates.columns, "quality", "origin"] == learnt.links.columns
    assert spark.createDataFrame([], FITTED_DDL).select("link.*").columns[:5] == learnt.candidates.columns
