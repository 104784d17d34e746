"""Open an attempt of a run and freeze what it will use: settings, mapping and model versions.

The first task of every DAG. `--model NAME=VERSION` asks for a model version by name, `--model NAME=none` for a
run without that model.
"""

from __future__ import annotations

import os

from jobs.errors import RunError
from jobs.inputs.mapping import load_mapping
from jobs.intervals import Interval
from jobs.lake import Lake
from jobs.runs import open_attempt
from jobs.settings import Settings
from jobs.stage import one_clear_line, say, stage_parser, start_spark


def asked_models(pairs: list[str]) -> dict[str, str]:
    """
    >>> asked_models(["segment_graph=none"])
    {'segment_graph': 'none'}
    """
    for pair in pairs:
        if "=" not in pair:
            raise RunError(f"--model {pair!r}: expected NAME=VERSION or NAME=none")
    return {name: version for name, _, version in (pair.partition("=") for pair in pairs)}


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--settings", required=True, help="TOML file of settings")
    parser.add_argument("--mapping", required=True, help="TOML file that maps the board's tables to the contract")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=VERSION", help="a version by name")
    given = parser.parse_args()
    with one_clear_line("open_run"):
        interval = Interval.parse(given.start, given.end)
        settings = Settings.load(given.settings)
        mapping = load_mapping(given.mapping, os.environ).to_dict()
        asked = asked_models(given.model)
        spark = start_spark("open_run")
        run = open_attempt(Lake(spark, given.lake), given.dag, interval, settings, mapping, asked)
        say(f"opened {run.run_id}; models {run.models or 'none needed'}")
        spark.stop()


if __name__ == "__main__":
    main()
