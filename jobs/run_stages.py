"""Run several stages of an attempt in one Spark session, one after the other.

For stages that a small board goes through in seconds: starting Spark takes longer than they do. Each stage is the
one of its own file, with its own figures and its own writes; run again after a failure, all of them run again and
leave the same. `jobs/run_stages.py --stages ingest,standardize_entities …` takes what every stage takes.
"""

from __future__ import annotations

from importlib import import_module

from jobs.errors import StageError, nearest
from jobs.intervals import Interval
from jobs.lake import Lake
from jobs.runs import STAGES, open_run
from jobs.stage import Main, one_clear_line, run_open_stage, stage_parser, start_spark


def stage_mains(names: str) -> list[tuple[str, Main]]:
    """The stages named, comma-separated, in the order given.

    >>> stage_mains("ingest,publsh")
    Traceback (most recent call last):
        ...
    jobs.errors.StageError: there is no stage 'publsh'; did you mean 'publish'?
    """
    asked = names.split(",")
    known = sorted({name for stages in STAGES.values() for name in stages})
    for name in asked:
        if name not in known:
            raise StageError(f"there is no stage {name!r}; {nearest(name, known)}")
    return [(name, import_module(f"jobs.{name}").main) for name in asked]


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--stages", required=True, help="comma-separated, in order: ingest,standardize_entities")
    given = parser.parse_args()
    with one_clear_line("run_stages"):
        interval = Interval.parse(given.start, given.end)
        stages = stage_mains(given.stages)
        spark = start_spark(given.stages)
        lake = Lake(spark, given.lake)
        for name, stage in stages:
            with one_clear_line(name):
                run_open_stage(name, stage, lake, open_run(lake, given.dag, interval))
            spark.catalog.clearCache()
        spark.stop()


if __name__ == "__main__":
    main()
