"""Which taxonomy version a run works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import StageError
from schemas import RUN_METRICS

if TYPE_CHECKING:
    from jobs.lake import Lake
    from jobs.runs import Run

# The version of a board that maps no taxonomy: terms are normalised text alone.
NO_TAXONOMY = "none"

METRIC = "taxonomy_version"


def taxonomy_version(lake: Lake, run: Run) -> str:
    """The version that the run's own ingest recorded; StageError where it has not run.

    It is the label of the metric `taxonomy_version` (the value is the number of rows), so that every stage
    of the run reads the same one, whatever is ingested meanwhile.
    """
    metrics = lake.read_or_empty(RUN_METRICS, run_id=run.run_id, stage="ingest")
    labels = [row["label"] for row in metrics.where(f"metric = '{METRIC}'").select("label").collect()]
    if not labels:
        raise StageError(f"run_metrics has no {METRIC} of {run.run_id}: run the stage ingest first")
    return str(labels[0])
