"""A link of the same term becomes one for each term of the jobs."""

from __future__ import annotations

from pyspark.sql import SparkSession

from jobs.graph.learn import Learnt
from jobs.graph.meta_links import SAME
from jobs.graph.same import of_each_term
from jobs.settings import Template

META = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
LINKS = (
    f"seeker_segment string, job_segment string, meta_links {META}, n_hires double, n_no_hires double, "
    "quality double, origin string"
)
COUNTED = "seeker_field string, job_field string, term int, n_hires double, n_no_hires double"


def test_one_link_a_term(spark: SparkSession) -> None:
    own, past = ("occupation", SAME, "occupation", SAME), ("past_occupation", SAME, "occupation", SAME)
    links = [
        ("occupation=*", "occupation=*", [own], 9.0, 1.0, 2.0, "learnt"),
        ("past_occupation=*", "occupation=*", [past], 5.0, 1.0, 1.25, "learnt"),
        ("occupation=1", "occupation=1", [("occupation", 1, "occupation", 1)], 4.0, 0.5, 0.75, "learnt"),
        ("occupation=1", "occupation=2", [("occupation", 1, "occupation", 2)], 3.0, 0.0, 1.5, "learnt"),
    ]
    counted = [("occupation", "occupation", 1, 4.0, 0.5), ("occupation", "occupation", 2, 2.0, 1.0)]
    against = [("occupation=3", "occupation=3"), ("occupation=1", "occupation=3")]
    learnt = Learnt(
        spark.createDataFrame(links, LINKS),
        spark.createDataFrame([], LINKS),
        spark.createDataFrame(against, "seeker_segment string, job_segment string"),
        spark.createDataFrame([], "field string, term int"),
        spark.createDataFrame(counted, COUNTED),
        [],
    )
    terms = [(1, {"occupation": [1, 2], "skill": [8]}), (2, {"occupation": [2, 3]}), (3, {})]
    jobs = spark.createDataFrame(terms, "job_id bigint, terms map<string,array<int>>")
    templates = [Template(seeker=field, job="occupation", same=True) for field in ("occupation", "past_occupation")]
    templates += [Template(seeker="skill", job="skill")]
    found = of_each_term(learnt, templates, jobs)
    assert of_each_term(learnt, templates[2:], jobs) is learnt.links
    assert found.columns == [*learnt.links.columns[:3], "n_hires", "n_no_hires", "origin", "quality"]
    rows = {(r.seeker_segment, r.job_segment): r for r in found.collect()}
    assert {name: (r.quality, r.origin, r.n_hires, r.n_no_hires) for name, r in rows.items()} == {
        ("occupation=1", "occupation=1"): (2.75, "learnt", 4.0, 0.5),  # its own link and that of all terms
        ("occupation=1", "occupation=2"): (1.5, "learnt", 3.0, 0.0),
        ("occupation=2", "occupation=2"): (2.0, "same", 2.0, 1.0),
        # occupation=3 speaks against a hire
        **{(f"past_occupation={n}", f"occupation={n}"): (1.25, "same", 0.0, 0.0) for n in (1, 2, 3)},
    }
    assert rows["occupation=2", "occupation=2"].meta_links[0].asDict() == {
        "seeker_field": "occupation", "seeker_term": 2, "job_field": "occupation", "job_term": 2,
    }  # fmt: skip
