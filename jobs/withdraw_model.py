"""Withdraw a model version: runs opened from now on do not take it, unless they ask for it by name.

    spark-submit jobs/withdraw_model.py --lake LAKE --model job_embeddings --version training_weekly-20260126-20260202-1

Attempts that were opened with it keep it, as what a run uses is frozen; what they published stays.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from pyspark.sql import functions as F

from jobs.errors import RunError
from jobs.lake import Lake
from jobs.runs import MODEL_NAMES
from jobs.stage import one_clear_line, say, start_spark
from schemas import MODELS
from schemas.render import spark_schema


def main(lake: Lake, model: str, version: str) -> bool:
    """Put the version's `withdrawn` event; False where it has one. RunError where it was never trained."""
    known = lake.read(MODELS, model_name=model).where(F.col("model_version") == version)
    events = {row["event"]: row.asDict() for row in known.collect()}
    if "trained" not in events:
        raise RunError(f"model {model} has no version {version!r}")
    if "withdrawn" in events:
        return False
    row = events["trained"] | {"event": "withdrawn", "event_ts": datetime.now(UTC)}
    lake.append(MODELS, lake.spark.createDataFrame([row], spark_schema(MODELS)), once=f"withdrawn:{model}:{version}")
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True, help="folder or object-store prefix of the tables")
    parser.add_argument("--model", required=True, choices=MODEL_NAMES)
    parser.add_argument("--version", required=True, help="the training run that made it")
    given = parser.parse_args()
    with one_clear_line("withdraw_model"):
        spark = start_spark("withdraw_model")
        done = main(Lake(spark, given.lake), given.model, given.version)
        say(f"{given.model} {given.version}: {'withdrawn' if done else 'was withdrawn already'}")
        spark.stop()
