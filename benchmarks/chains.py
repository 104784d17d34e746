"""How the cost of cutting chains grows with the events, on one machine; the last line is JSON.

    make bench-chains SIZE=small

Sizes over a factor of ten go through the code of the pipeline (`chain_events`), from Delta to Delta, in a Spark of two
threads and `--memory`. Cost is time on a core, which other work on the machine hardly changes: `cost_exponent` is the
slope of its logarithm by that of the events, `peak_mb` the most memory that Spark and what it starts held at any size.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peak import Peak, cpu_seconds

SEED = 20260105
SIZES = {
    "smoke": [100_000, 200_000],
    "small": [300_000, 1_000_000, 3_000_000],
    "full": [5_000_000, 15_000_000, 50_000_000],
}
# A first run, not counted, pays for Java's warming up.
WARM_UP = 50_000
ACTIONS = ("view", "view", "view", "view", "view", "save", "apply", "impression")
DAYS = 30
EVENTS_A_SEEKER = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--memory", default="2g", help="of Spark's JVM")
    parser.add_argument("--events", type=int, nargs="*", default=(), help="sizes in place of those of --size")
    given = parser.parse_args()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--master local[2] --driver-memory {given.memory} pyspark-shell"
    events = " ".join(str(n) for n in given.events)
    head(f"make bench-chains SIZE={given.size}" + (f' EVENTS="{events}"' if events else ""), given.memory)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-chains-") as scratch, Peak() as peak:
        spark = started()
        chained(spark, Path(scratch), WARM_UP)
        for n in given.events or SIZES[given.size]:
            peak.forget()
            rows.append(chained(spark, Path(scratch), n))
            rows[-1] |= {"peak_mb": round(peak.mb), "anonymous_mb": round(peak.anonymous_mb)}
            shown = rows[-1]
            print(
                f"{n:12,d} events {shown['seconds']:8.1f} s {shown['core_seconds']:8.1f} s on a core "
                f"{n / shown['core_seconds']:10,.0f} events a core-second "
                f"{shown['chains']:12,d} chains {shown['peak_mb']:8,d} MB, {shown['anonymous_mb']:8,d} anonymous",
                flush=True,
            )
        spark.stop()
    seconds = [row["core_seconds"] for row in rows]
    slope = np.polyfit(np.log([row["events"] for row in rows]), np.log(seconds), 1)[0]
    figures = {"cost_exponent": round(float(slope), 3)}
    figures |= {name: max(row[name] for row in rows) for name in ("peak_mb", "anonymous_mb")}
    figures |= {"events_per_core_second": round(rows[-1]["events"] / seconds[-1])}
    print(json.dumps(figures))


def head(command: str, memory: str) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"{cpu}, {os.cpu_count()} cores, {total:.0f} GiB; Python {platform.python_version()}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pyspark", "delta-spark", "pyarrow"))
    print(f"{versions}; local[2], JVM of {memory}")
    print(f"command: {command}; seed {SEED}, load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())}")


def started():  # type: ignore[no-untyped-def]
    from jobs.stage import start_spark

    spark = start_spark("bench-chains")
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def chained(spark, scratch: Path, n: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Seconds from the events' table to the chains' table, and how many chains there are."""
    from jobs.chains.sessionize import Cut, chain_events

    events, chains = str(scratch / f"events-{n}"), str(scratch / f"chains-{n}")
    drawn(spark, n).write.format("delta").partitionBy("date").save(events)
    start, spent = time.perf_counter(), cpu_seconds(os.getpid())
    chain_events(spark.read.format("delta").load(events), Cut()).write.format("delta").partitionBy("date").save(chains)
    seconds, spent = time.perf_counter() - start, cpu_seconds(os.getpid()) - spent
    return {
        "events": n,
        "seconds": seconds,
        "core_seconds": spent,
        "chains": spark.read.format("delta").load(chains).count(),
    }


def drawn(spark, n: int):  # type: ignore[no-untyped-def]
    """`n` events over thirty days: bursts of a few minutes by seekers of forty events each, whatever `n`."""
    from pyspark.sql import functions as F

    def hashed(salt: int, *columns: str) -> F.Column:  # type: ignore[name-defined]
        return F.pmod(F.xxhash64(F.lit(SEED + salt), *columns), F.lit(1 << 30)) / F.lit(float(1 << 30))

    seekers = max(1, n // EVENTS_A_SEEKER)
    second = F.floor(hashed(1, "seeker_id", "burst") * DAYS * 86_400) + F.floor(hashed(2, "id") * 1800)
    kinds = F.array(*(F.lit(action) for action in ACTIONS))
    return (
        spark.range(n)
        .withColumn("seeker_id", F.floor(hashed(3, "id") * seekers).cast("bigint"))
        .withColumn("burst", F.floor(hashed(4, "id") * 8))
        .withColumn("event_ts", F.timestamp_seconds(F.lit(1_767_225_600) + second))
        .select(
            F.col("id").cast("string").alias("event_id"),
            "seeker_id",
            F.floor(hashed(5, "id") * 100_000).cast("bigint").alias("job_id"),
            F.lit("seeker").alias("actor"),
            F.get(kinds, F.floor(hashed(6, "id") * len(ACTIONS)).cast("int")).alias("action"),
            "event_ts",
            F.to_date("event_ts").alias("date"),
            (hashed(7, "id") * 120).alias("dwell_seconds"),
            F.col("event_ts").alias("arrived_ts"),
        )
    )


if __name__ == "__main__":
    main()
