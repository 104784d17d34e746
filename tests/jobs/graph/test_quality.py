"""Planted links come back; a popular pair that explains nothing does not."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import SparkSession

from jobs.graph.hires import NoHires, _repaired
from jobs.graph.links import Limits, mine_links
from jobs.graph.quality import Penalty, link_quality, recall_and_false_positives
from jobs.settings import Template

LABELS = "seeker_id bigint, job_id bigint, is_hire boolean, weight double"
MATCHES = "seeker_id bigint, job_id bigint, link int"


def test_weights_of_a_literal_world(spark: SparkSession) -> None:
    labels = [(i, 0, i < 50, 1.0) for i in range(100)]
    matches = [
        *[(i, 0, 0) for i in range(40)],  # link 0: 40 of the hires, no no-hires
        *[(i, 0, 1) for i in range(100)],  # link 1: everybody, says nothing
        *[(i, 0, 2) for i in range(30, 60)],  # link 2: ten hires that link 0 does not have, and ten no-hires
        *[(i, 0, 3) for i in range(60, 90)],  # link 3: no-hires alone: a negative weight
        (41, 0, 4),  # link 4: one hire, less than the penalty
    ]
    rows = spark.createDataFrame(labels, LABELS), spark.createDataFrame(matches, MATCHES)
    kept = link_quality(*rows, n_links=5, penalty=Penalty(strength=1.5))
    weights = {r.link: r.quality for r in kept.collect()}
    assert set(weights) == {0, 2}
    assert weights[0] > 2
    only_strong = link_quality(*rows, n_links=5, penalty=Penalty(strength=1.5, min_quality=weights[0]))
    assert only_strong.isEmpty(), "above the threshold, not at it"
    none = spark.createDataFrame([], "link int, quality double")
    assert recall_and_false_positives(*rows, kept=kept.where("link = 0")) == (pytest.approx(0.8), 0.0)
    linked = spark.createDataFrame([(2,)], "link int")
    assert recall_and_false_positives(*rows, kept=linked) == (pytest.approx(0.4), pytest.approx(1 / 3))
    assert recall_and_false_positives(*rows, kept=none) == (0.0, None)
    no_classes = rows[0].where("is_hire"), rows[1]
    assert link_quality(*no_classes, n_links=5, penalty=Penalty()).isEmpty()
    assert recall_and_false_positives(rows[0].limit(0), rows[1], kept)[0] is None


def test_planted_links_are_found_and_popularity_is_not(spark: SparkSession) -> None:
    """Occupation o is hired into occupation o + 10; nine in ten on both sides are of level 1, in any case."""
    draw = random.Random(3)

    def level() -> list[int]:
        return [1 if draw.random() < 0.9 else 2]

    hires = []
    for i in range(600):
        occupation = draw.randrange(6)
        seeker = {"occupation": [occupation], "level": level()}
        job = {"occupation": [occupation + 10], "level": level(), "region": [draw.randrange(3)]}
        hires.append((i, i, "hire", None, 1.0, seeker, job, False))
    hired = spark.createDataFrame(
        hires,
        "seeker_id bigint, job_id bigint, kind string, at_ts timestamp, weight double, "
        "seeker_terms map<string, array<int>>, job_terms map<string, array<int>>, is_job_later boolean",
    )
    pairs = hired.unionByName(_repaired(hired, NoHires()).selectExpr("*", "1.0D AS weight")).persist()
    templates = [Template(seeker=field, job=field) for field in ("occupation", "level")]
    mined = mine_links(pairs, templates, Limits(max_arity=2))
    kept = link_quality(mined.labels, mined.matches, mined.links.count(), Penalty()).persist()
    segments = {(r.seeker_segment, r.job_segment) for r in mined.links.join(kept, "link").collect()}
    assert segments == {(f"occupation={o}", f"occupation={o + 10}") for o in range(6)}
    recall, false_positives = recall_and_false_positives(mined.labels, mined.matches, kept)
    assert recall == 1.0, "every hire is of a planted pair"
    assert 0.1 < (false_positives or 0) < 0.2, "one re-paired hire in six is planted too: 1 in 7 of the linked"
