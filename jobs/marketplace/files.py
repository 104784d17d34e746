"""Small files of a market, wherever it lies: through Hadoop, so that an object store does as well as a folder."""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import SparkSession

MARKER = "market.json"


def _open(spark: SparkSession, path: str) -> tuple[Any, Any]:
    jvm: Any = spark._jvm
    where = jvm.org.apache.hadoop.fs.Path(path)
    return where.getFileSystem(spark._jsc.hadoopConfiguration()), where


def read_json(spark: SparkSession, path: str) -> dict | None:
    """The file's content; None where there is no such file."""
    files, where = _open(spark, path)
    if not files.exists(where):
        return None
    stream = files.open(where)
    try:
        return json.loads(bytes(stream.readAllBytes()).decode("utf-8"))
    finally:
        stream.close()


def write_json(spark: SparkSession, path: str, content: dict) -> None:
    """Replace the file."""
    files, where = _open(spark, path)
    stream = files.create(where, True)
    try:
        stream.write((json.dumps(content, indent=1) + "\n").encode("utf-8"))
    finally:
        stream.close()


def names_in(spark: SparkSession, path: str) -> list[str]:
    """What lies in the folder; nothing where there is no such folder."""
    files, where = _open(spark, path)
    return [entry.getPath().getName() for entry in files.listStatus(where)] if files.exists(where) else []


def delete(spark: SparkSession, path: str) -> None:
    """Delete the file or folder, if it is there."""
    files, where = _open(spark, path)
    files.delete(where, True)
