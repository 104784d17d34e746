"""The file of overrides: what it may say, and what becomes of the links."""

from __future__ import annotations

import re

import pytest
from pyspark.sql import SparkSession

from jobs.errors import SettingsError
from jobs.graph.overrides import Names, Override, named_overrides, overridden, parse_overrides

DICTIONARY = [
    ("occupation", "15-2051", 1, "data analyst"),
    ("occupation", "15-2052", 2, "ML engineer"),
    ("occupation", "15-2053", 3, "ML engineer"),  # a label that two terms share
    ("level", "mid", 5, None),
    ("level", "data analyst", 6, None),  # the same text in another field
]
NAMES = Names.of({"occupation", "level"}, DICTIONARY)

BAN = '[[ban]]\nseeker = { occupation = "data analyst", level = "mid" }\njob = { occupation = "15-2052" }\n'
FORCE = '[[force]]\nseeker = { occupation = "15-2052" }\njob = { occupation = ["15-2051", "15-2053"] }\nquality = 2\n'
WEIGH = '[[weigh]]\nseeker = { level = "mid" }\njob = { level = "mid" }\ntimes = 0.5\n'


def test_what_a_file_says() -> None:
    found = parse_overrides(BAN + FORCE + WEIGH, NAMES, "o.toml")
    assert found.entries == (
        Override("ban", (("level", 5), ("occupation", 1)), (("occupation", 2),), None),
        Override("force", (("occupation", 2),), (("occupation", 1), ("occupation", 3)), 2.0),
        Override("weigh", (("level", 5),), (("level", 5),), 0.5),
    )
    assert found.entries[0].segments == ("level=5&occupation=1", "occupation=2"), "as segment_links writes them"
    assert found.entries[0].meta_links == [("level", 5, "occupation", 2), ("occupation", 1, "occupation", 2)]
    assert found.entries[1].meta_links == [("occupation", 2, "occupation", 1), ("occupation", 2, "occupation", 3)]
    assert parse_overrides("", NAMES, "o.toml").version == ""
    versions = {parse_overrides(text, NAMES, "o.toml").version for text in (BAN, FORCE, BAN + FORCE)}
    assert len(versions) == 3
    assert all(re.fullmatch("[0-9a-f]{12}", version) for version in versions)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[ban", "o.toml: not TOML"),
        ("[[bann]]", "unknown table 'bann'; did you mean 'ban'"),
        ("ban = 3", "expected [[ban]], got 3"),
        (BAN.replace("occupation = ", "occuption = ", 1), "ban[0].seeker: unknown attribute 'occuption'; did you mean"),
        (BAN.replace("data analyst", "astronaut"), "ban[0].seeker: the term dictionary has no occupation 'astronaut'"),
        (BAN.replace("15-2052", "ML engineer"), "ban[0].job: 2 terms of occupation are called 'ML engineer'"),
        (BAN + "quality = 1\n", "ban[0]: expected job, seeker, got job, quality, seeker"),
        (FORCE.replace("quality = 2\n", ""), "force[0]: expected job, quality, seeker, got job, seeker"),
        (FORCE.replace("= 2\n", "= -2\n"), "force[0].quality: expected a number above 0, got -2"),
        (FORCE.replace("= 2\n", "= true\n"), "force[0].quality: expected a number above 0, got True"),
        (BAN + BAN.replace("data analyst", "15-2051"), "occupation=2 is there twice, in ban and ban"),
        ('[[ban]]\nseeker = {}\njob = { level = "mid" }\n', "ban[0].seeker: expected attributes"),
        ('[[ban]]\nseeker = { level = 5 }\njob = { level = "mid" }\n', "the term dictionary has no level 5"),
    ],
)
def test_what_it_may_not_say(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        parse_overrides(text, NAMES, "o.toml")


def test_what_becomes_of_links(spark: SparkSession) -> None:
    meta = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"
    columns = f"seeker_segment string, job_segment string, meta_links {meta}, n_hires double, n_no_hires double"
    banned = ("level=5&occupation=1", "occupation=2", [("level", 5, "occupation", 2)], 4.0, 1.0)
    halved = ("level=5", "level=5", [("level", 5, "level", 5)], 9.0, 3.0)
    other = ("occupation=1", "occupation=2", [("occupation", 1, "occupation", 2)], 5.0, 2.0)
    dropped = ("occupation=2", "occupation=1&occupation=3", [("occupation", 2, "occupation", 1)], 3.0, 3.0)
    mined = spark.createDataFrame([banned, halved, other, dropped], columns)
    kept = [(*row, 1.5, "learnt") for row in (banned, halved, other)]
    kept = spark.createDataFrame(kept, f"{columns}, quality double, origin string")

    dictionary = spark.createDataFrame(DICTIONARY, "field string, term string, term_id int, label string")
    overrides = named_overrides(BAN + FORCE + WEIGH, dictionary, "o.toml")
    found = {
        (r.seeker_segment, r.job_segment): (r.origin, r.quality, r.n_hires)
        for r in overridden(kept, mined, overrides).collect()
    }
    assert (
        found
        == {
            other[:2]: ("learnt", 1.5, 5.0),  # part of the banned one, and not it
            halved[:2]: ("weighed", 0.75, 9.0),
            dropped[:2]: ("forced", 2.0, 3.0),  # mined, not kept: with its counts
        }
    )
    without = {r.origin for r in overridden(kept, mined, named_overrides("", dictionary, "")).collect()}
    assert without == {"learnt"}
    forced = overridden(kept.limit(0), mined.limit(0), overrides).collect()
    assert [(r.origin, r.n_hires) for r in forced] == [("forced", 0.0)], "where no hire supports it, too"
