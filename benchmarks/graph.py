"""The segment graph against the ratio scorer, the naive explode and liblinear; the last line is JSON.

    make bench-graph [SIZE=small|full] [DATA=../shared/data]

Hires of a market with planted links (`benchmarks.graph_data`) go the whole way from tables to chosen links, at several
sizes; the largest is scored against what was planted. With DATA, the moves of a real job board are asked for too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.graph_audiences import audience_recall
from benchmarks.graph_data import FIELDS, UNTIL, HireMarket, hire_market, split, write_tables
from benchmarks.graph_moves import next_occupations
from benchmarks.graph_scores import scored
from benchmarks.peak import Peak
from jobs.graph.frames import held
from jobs.graph.hires import PAIR, NoHires, labelled_pairs
from jobs.graph.l1_path import Matches
from jobs.graph.links import Limits, MinedLinks, mine_links
from jobs.graph.meta_links import combine_terms, pair_terms
from jobs.graph.quality import Penalty, Point, link_points, path_points
from jobs.settings import Template
from jobs.stage import start_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEED = 20_261_123
TEMPLATES = [Template(seeker=field, job=field) for field in FIELDS]
LIMITS, NO_HIRES, PENALTY = Limits(), NoHires(min_market=10, seed=7), Penalty()


@dataclass(frozen=True)
class Size:
    """Hires of each run, the last one scored, and those of the naive explode, which is one of them."""

    hires: tuple[int, ...]
    naive: int


SIZES = {
    "smoke": Size(hires=(1_000, 2_000), naive=1_000),
    "small": Size(hires=(10_000, 20_000, 40_000), naive=10_000),
    "full": Size(hires=(50_000, 150_000, 500_000), naive=50_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--data", default="", help="the folder that holds jobboard/ and onet/")
    given = parser.parse_args()
    size, start = SIZES[given.size], time.perf_counter()
    head(f"make bench-graph SIZE={given.size}" + (" DATA=../shared/data" if given.data else ""))
    spark = start_spark("benchmark of the segment graph")
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        # the first Spark jobs of a session and the first call of a compiled loop are no part of any size
        learnt(spark, hire_market(1_000, SEED), Path(folder) / "warm")
        seconds, peaks = [], []
        for n_hires in size.hires:
            market, later = split(hire_market(n_hires * 5 // 4, SEED))
            with Peak() as peak:
                run = learnt(spark, market, Path(folder) / str(n_hires))
            seconds.append(run.seconds)
            peaks.append(peak.mb)
            if n_hires == size.naive:
                naive_seconds, naive_rows = naive(spark, Path(folder) / str(n_hires))
                ours = run
            print(
                f"{n_hires:9,d} hires  {run.n_pairs:9,d} pairs  {run.n_candidates:9,d} candidate links  "
                f"{run.n_matches:11,d} matches  {run.seconds:7.1f} s, of it the path {run.path_seconds:6.1f} s  "
                f"peak {peak.mb:6,.0f} MB  data {market.hash}",
                flush=True,
            )
        trained = Trained.of(run)
        figures = scored(market, later, trained, PENALTY.strength)
        chosen = next(point for point in trained.path if point.strength == PENALTY.strength)
        figures |= audience_recall(market, later, trained, chosen, SEED)
        figures |= {
            "cost_exponent": round(float(np.polyfit(np.log(size.hires), np.log(seconds), 1)[0]), 3),
            "seconds": round(seconds[-1], 1),
            "path_seconds": round(run.path_seconds, 2),
            "peak_mb": round(max(peaks)),
        }
        print(
            f"\nnaive explode of all pairs of meta links, {size.naive:,} hires: {naive_rows:,} rows in "
            f"{naive_seconds:.1f} s; ours: mined in {ours.mine_seconds:.1f} s"
        )
        figures |= {"naive_over_ours_seconds": round(naive_seconds / ours.mine_seconds, 2)}
        figures |= liblinear(run, trained.matrix)
    if given.data:
        figures |= next_occupations(Path(given.data), SEED)
    else:
        print("\nthe job board: not measured, no DATA was named")
    print(f"\n{time.perf_counter() - start:.0f} s in all; load after: {os.getloadavg()[0]:.2f}")
    print(json.dumps(figures))
    spark.stop()


def head(command: str) -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}")
    names = ("pyspark", "numba", "numpy", "scikit-learn")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print(f"command: {command}; seed {SEED}")
    print(f"{LIMITS}\n{NO_HIRES}\n{PENALTY}")
    print(f"load before: {', '.join(f'{load:.2f}' for load in os.getloadavg())}\n", flush=True)


@dataclass(frozen=True)
class Learnt:
    mined: MinedLinks
    points: list[dict[str, Any]]
    n_pairs: int
    n_candidates: int
    n_matches: int
    seconds: float
    mine_seconds: float
    path_seconds: float


def learnt(spark: SparkSession, market: HireMarket, folder: Path) -> Learnt:
    """The whole way, timed; what is counted for the table is counted after the clock."""
    paths = write_tables(market, folder)
    tables = {name: spark.read.parquet(path) for name, path in paths.items()}
    start = time.perf_counter()
    pairs = held(
        labelled_pairs(tables["hires"], tables["events"], tables["seeker_terms"], tables["job_terms"], UNTIL, NO_HIRES)
    )
    paired = time.perf_counter()
    mined = mine_links(pairs, TEMPLATES, LIMITS)
    n_candidates = mined.links.count()
    found = time.perf_counter()
    points = held(link_points(mined.labels, mined.matches, n_candidates, PENALTY))
    mined.links.join(points.selectExpr("inline(kept)"), "link", "inner").collect()
    end = time.perf_counter()
    rows = [row.asDict() for row in points.drop("kept", "against").orderBy("strength", ascending=False).collect()]
    pairs.write.mode("overwrite").parquet(str(folder / "pairs"))
    return Learnt(
        mined, rows, pairs.count(), n_candidates,
        mined.matches.count(), end - start, found - paired, end - found,
    )  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """The candidates and the matrix in this process, and the path once more, with every point's links."""

    links: pd.DataFrame
    matrix: Matches
    path: list[Point]

    @staticmethod
    def of(run: Learnt) -> Trained:
        labels = run.mined.labels.toPandas().sort_values(list(PAIR)).reset_index(drop=True)
        labels["pair"] = np.arange(len(labels))
        matches = run.mined.matches.toPandas().merge(labels[[*PAIR, "pair"]], on=list(PAIR))
        matches = matches.sort_values(["pair", "link"])
        offsets = np.r_[0, np.cumsum(np.bincount(matches["pair"], minlength=len(labels)))]
        weight = (labels["weight"] / labels["weight"].mean()).to_numpy()
        numbers = matches["link"].to_numpy(np.int32)
        matrix = Matches(labels["is_hire"].to_numpy(bool), weight, offsets, numbers, run.n_candidates)
        path = list(path_points(matrix, PENALTY))
        assert [len(point.links) for point in path] == [row["n_links"] for row in run.points]
        links = run.mined.links.select("link", "seeker_segment", "job_segment", "meta_links").toPandas()
        return Trained(links, matrix, path)


def naive(spark: SparkSession, folder: Path) -> tuple[float, int]:
    """Seconds, and rows written down, where every pair of meta links of every labelled pair is counted."""
    from pyspark.sql import functions as F

    pairs = spark.read.parquet(str(folder / "pairs")).withColumn("is_hire", F.col("kind") == "hire")
    start = time.perf_counter()
    sides = [pair_terms(pairs, side, list(FIELDS), min_support=1, max_terms=1000) for side in ("seeker", "job")]
    carried = combine_terms(*sides, TEMPLATES).withColumn(
        "meta", F.concat_ws("/", "seeker_field", "seeker_term", "job_field", "job_term")
    )
    metas = F.sort_array(F.collect_set("meta"))
    alone = F.transform("metas", lambda m: F.array(m))
    together = F.flatten(
        F.transform(
            "metas",
            lambda a: F.transform(F.filter("metas", lambda b: b > a), lambda b: F.array(a, b)),
        )
    )
    exploded = (
        carried.groupBy(*PAIR)
        .agg(metas.alias("metas"))
        .join(pairs.select(*PAIR, "is_hire"), list(PAIR), "inner")
        .select("is_hire", F.explode(F.concat(alone, together)).alias("items"))
    )
    counted = exploded.groupBy("items").agg(F.count("*").alias("n"), F.sum(F.col("is_hire").cast("int")).alias("hires"))
    row = counted.agg(F.sum("n"), F.count(F.when(F.col("hires") >= LIMITS.min_support, True))).first()
    assert row is not None
    return time.perf_counter() - start, row[0]


def liblinear(run: Learnt, matrix: Matches) -> dict[str, float]:
    """scikit-learn's solver on the same matrix, all of it in memory, at every strength of the path."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    x = sparse.csr_matrix(
        (np.ones(len(matrix.links)), matrix.links, matrix.offsets), (len(matrix.weight), matrix.n_links)
    )
    start = time.perf_counter()
    for point in run.points:
        LogisticRegression(l1_ratio=1.0, solver="liblinear", C=1 / point["strength"], intercept_scaling=100).fit(
            x, matrix.is_hire, sample_weight=matrix.weight
        )
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    list(path_points(matrix, PENALTY))
    own = time.perf_counter() - start
    print(f"liblinear, the same {len(run.points)} strengths: {seconds:.1f} s")
    print(f"ours, with the counts and the ratio's curve: {own:.1f} s; as the stage runs it: {run.path_seconds:.1f} s")
    return {"liblinear_seconds": round(seconds, 2), "path_alone_seconds": round(own, 2)}


if __name__ == "__main__":
    main()
