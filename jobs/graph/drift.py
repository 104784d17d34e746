"""What has changed since the last version of the graph, and how far its hires can be trusted."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.figures import Figure
from jobs.graph.learn import SEGMENTS, without_same


def link_drift(before: DataFrame, now: DataFrame, against: DataFrame, version: str) -> list[Figure]:
    """links_in, links_out, links_stayed and links_changed_sign, labelled with the version compared with.

    A link changed its sign where it was there before, and is now among those `against` a hire: it is out as well. Links
    that come of the same term on both sides are left out: they are as many as the dictionary has terms.
    """
    flags = [
        rows.select(*SEGMENTS, F.lit(True).alias(name)).distinct()
        for name, rows in (("was", without_same(before)), ("is", without_same(now)), ("speaks_against", against))
    ]
    both = flags[0].join(flags[1], list(SEGMENTS), "full").join(flags[2], list(SEGMENTS), "left")
    was, stays, speaks = (F.coalesce(name, F.lit(False)) for name in ("was", "is", "speaks_against"))
    counted = {
        "links_in": stays & ~was,
        "links_out": was & ~stays,
        "links_stayed": was & stays,
        "links_changed_sign": was & speaks,
    }
    row = both.agg(*[F.count(F.when(condition, True)).alias(name) for name, condition in counted.items()]).first()
    assert row is not None
    return [Figure(name, row[name], version) for name in counted]


def hire_quality(
    hires: DataFrame, seeker_terms: DataFrame, jobs: DataFrame, is_open: DataFrame, hired_terms: DataFrame
) -> list[Figure]:
    """hired_share [seekers, open jobs, segments], and impossible_hires by what is wrong with them.

    `seeker_terms` are those of the templates' fields: (seeker_id, terms); `jobs` has job_id and posted_ts, one row
    each, and `is_open` those of them open at some time of the hires. Segments are those of one seeker term, hired
    where enough hires have it. A hire of a job before it was posted cannot be; nor can one of a seeker or a job that
    the board does not know. None where there is nothing to divide by.
    """
    hired_seekers, hired_jobs = (hires.select(key).distinct() for key in ("seeker_id", "job_id"))
    seekers = seeker_terms.select("seeker_id").distinct()
    entries = seeker_terms.select(F.explode("terms").alias("field", "ids"))
    terms = entries.select("field", F.explode("ids").alias("term")).distinct()
    shares = {
        "seekers": _flagged(seekers, hired_seekers, ["seeker_id"]),
        "open jobs": _flagged(is_open.select("job_id"), hired_jobs, ["job_id"]),
        "segments": _flagged(terms, hired_terms, ["field", "term"]),
    }
    known = (
        hires.select("seeker_id", "job_id", "hired_ts")
        .join(jobs.select("job_id", "posted_ts", F.lit(True).alias("has_job")), "job_id", "left")
        .join(seekers.withColumn("has_seeker", F.lit(True)), "seeker_id", "left")
    )
    wrong = {
        "before the job was posted": F.coalesce(F.col("hired_ts") < F.col("posted_ts"), F.lit(False)),
        "of an unknown job": F.col("has_job").isNull(),
        "of an unknown seeker": F.col("has_seeker").isNull(),
    }
    named = [F.struct(F.lit(name).alias("name"), condition.alias("flag")) for name, condition in wrong.items()]
    # one job for all: each alone is a second of Spark's on a small board
    rows = [found.select(F.lit(name).alias("name"), "flag") for name, found in shares.items()]
    rows.append(known.select(F.inline(F.array(*named))))
    counted = reduce(DataFrame.unionByName, rows).groupBy("name")
    sums = {r["name"]: r for r in counted.agg(F.count("*").alias("n"), F.count_if("flag").alias("n_true")).collect()}
    return [
        *[
            Figure("hired_share", sums[name]["n_true"] / sums[name]["n"] if name in sums else None, name)
            for name in shares
        ],
        *[Figure("impossible_hires", sums[name]["n_true"] if name in sums else 0, name) for name in wrong],
    ]


def _flagged(all_of_them: DataFrame, hired: DataFrame, keys: list[str]) -> DataFrame:
    """flag: whether each is among the hired."""
    joined = all_of_them.join(hired.withColumn("is_hired", F.lit(True)), keys, "left")
    return joined.select(F.coalesce("is_hired", F.lit(False)).alias("flag"))
