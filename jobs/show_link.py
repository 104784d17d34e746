"""Print a link of the segment graph and the hires behind it, newest first.

    python -m jobs.show_link --lake LAKE --link NODE_ID [--version MODEL_VERSION] [--top 20]

Starts Spark: the hires are joined again to the profiles and postings of their time, as they were when the version was
trained. What has come to the lake since, late, is there too.
"""

from __future__ import annotations

import argparse
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.build_segment_graph import known_terms, looked_back
from jobs.errors import StageError
from jobs.graph.evidence import evidence
from jobs.lake import Lake, LakeReader
from jobs.reporting.attempts import current_attempt
from jobs.reporting.words import link_of
from jobs.runs import DAILY, frozen_run
from jobs.stage import one_clear_line, say, start_spark
from schemas import ENTITY_IDS, HIRES, JOB_TERMS, JOBS, SEEKER_TERMS


def main(lake: Lake, version: str | None, node_id: int, top: int) -> list[str]:
    """The lines to print. StageError where the version, by default that of the newest published run, lacks the link."""
    reader = LakeReader(lake.root)
    version = version or current_attempt(reader, DAILY).model("segment_graph")
    link, words = link_of(reader, version, node_id)
    if link is None:
        raise StageError(f"segment graph {version} has no link {node_id}")
    hires = behind(lake, str(version), link).persist()
    shown = named(lake, hires).orderBy(F.desc("hired_ts"), "seeker", "job").limit(top).collect()
    lines = [f"link {node_id} of {version}, {link['origin']}: {words.link(link)}"]
    lines += [f"{hires.count()} hires carry it; {len(shown)} of them, the newest:"]
    return lines + [about(row.asDict()) for row in shown]


def behind(lake: Lake, version: str, link: dict[str, Any]) -> DataFrame:
    run = frozen_run(lake, version)
    seekers, jobs = (known_terms(lake, run, table) for table in (SEEKER_TERMS, JOB_TERMS))
    sides = [{(m[f"{side}_field"], m[f"{side}_term"]) for m in link["meta_links"]} for side in ("seeker", "job")]
    return evidence(looked_back(lake, run, HIRES, "hired_ts"), seekers, jobs, *sides)


def named(lake: Lake, hires: DataFrame) -> DataFrame:
    """`hires` with the board's own ids, seeker and job, and the job's newest title."""
    names = lake.read(ENTITY_IDS)
    for kind in ("seeker", "job"):
        ids = names.where(F.col("kind") == kind)
        ids = ids.select(F.col("entity_id").alias(f"{kind}_id"), F.col("external_id").alias(kind))
        hires = hires.join(ids, f"{kind}_id", "left")
    titles = lake.read(JOBS).groupBy("job_id").agg(F.max_by("title", "valid_from").alias("title"))
    return hires.join(titles, "job_id", "left")


def about(row: dict[str, Any]) -> str:
    counts = (
        "" if row["source"] == "confirmed" and row["weight"] == 1 else f", {row['source']}, counts {row['weight']:g}"
    )
    return f"  {row['hired_ts']:%Y-%m-%d}  seeker {row['seeker']} -> {row['title']} ({row['job']}){counts}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--link", required=True, type=int, help="its node id, as in segment_links")
    parser.add_argument("--version", help="of the segment graph; unless given, that of the newest published run")
    parser.add_argument("--top", type=int, default=20, help="how many hires to print")
    given = parser.parse_args()
    with one_clear_line("show_link"):
        spark = start_spark("show_link")
        say("\n".join(main(Lake(spark, given.lake), given.version, given.link, given.top)))
        spark.stop()
