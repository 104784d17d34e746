"""What has changed since the last version of the graph, and how far its hires can be trusted."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

SEGMENTS = ("seeker_segment", "job_segment")
Figure = tuple[str, str, float | None]  # metric, label, value


def link_drift(before: DataFrame, now: DataFrame, against: DataFrame, version: str) -> list[Figure]:
    """links_in, links_out, links_stayed and links_changed_sign, labelled with the version compared with.

    A link changed its sign where it was there before, and is now among those `against` a hire: it is out as well.
    """
    flags = [
        rows.select(*SEGMENTS, F.lit(True).alias(name)).distinct()
        for name, rows in (("was", before), ("is", now), ("speaks_against", against))
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
    return [(name, version, row[name]) for name in counted]


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
    shares: list[Figure] = [
        ("hired_share", name, _share(all_of_them, hired, keys))
        for name, all_of_them, hired, keys in (
            ("seekers", seekers, hired_seekers, ["seeker_id"]),
            ("open jobs", is_open.select("job_id"), hired_jobs, ["job_id"]),
            ("segments", terms, hired_terms, ["field", "term"]),
        )
    ]
    known = (
        hires.select("seeker_id", "job_id", "hired_ts")
        .join(jobs.select("job_id", "posted_ts", F.lit(True).alias("has_job")), "job_id", "left")
        .join(seekers.withColumn("has_seeker", F.lit(True)), "seeker_id", "left")
    )
    wrong = {
        "before the job was posted": F.col("hired_ts") < F.col("posted_ts"),
        "of an unknown job": F.col("has_job").isNull(),
        "of an unknown seeker": F.col("has_seeker").isNull(),
    }
    row = known.agg(*[F.count(F.when(condition, True)).alias(name) for name, condition in wrong.items()]).first()
    assert row is not None
    return [*shares, *[("impossible_hires", name, row[name]) for name in wrong]]


def _share(all_of_them: DataFrame, hired: DataFrame, keys: list[str]) -> float | None:
    flagged = all_of_them.join(hired.withColumn("is_hired", F.lit(True)), keys, "left")
    row = flagged.agg(F.count("*").alias("n"), F.count("is_hired").alias("n_hired")).first()
    return row["n_hired"] / row["n"] if row is not None and row["n"] else None
