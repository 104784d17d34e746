"""One size of the segment graph's benchmark, in a process of its own: `python -m benchmarks.graph_size --hires N`.

The last line is JSON. Printed are what the size cost, the path on later hires beside what was planted, and which point
each rule would take. `--naive` counts the naive explode too, `--audiences` what links are for.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.graph_audiences import audience_recall
from benchmarks.graph_data import FIELDS, UNTIL, HireMarket, hire_market, split, write_tables
from benchmarks.graph_head import head
from benchmarks.graph_memory import Trained, learn
from benchmarks.graph_rules import Rules
from benchmarks.graph_scores import planted, scored
from benchmarks.peak import Peak, cpu_seconds
from jobs.graph.frames import held
from jobs.graph.held_out import last_of_each
from jobs.graph.hires import KINDS, PAIR, NoHires, labelled_pairs
from jobs.graph.l1_path import Matches
from jobs.graph.links import Limits, MinedLinks, mine_links
from jobs.graph.meta_links import combine_terms, pair_terms
from jobs.graph.quality import HIRE, Penalty, chosen_point, link_points, path_points
from jobs.settings import Template
from jobs.stage import start_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEED = 20_261_123
TEMPLATES = [Template(seeker=field, job=field) for field in FIELDS]
LIMITS, NO_HIRES, PENALTY = Limits(), NoHires(min_market=10, seed=7), Penalty()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hires", type=int, required=True)
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--audiences", action="store_true")
    parser.add_argument("--memory", action="store_true", help="without Spark, as `graph_memory` learns")
    parser.add_argument("--brief", action="store_true", help="with --memory: no rules beside each other")
    given = parser.parse_args()
    if given.memory:
        in_memory(given.hires, is_brief=given.brief)
        return
    spark = start_spark("benchmark of the segment graph")
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        # the first Spark jobs of a session and the first call of a compiled loop are no part of any size
        learnt(spark, hire_market(1_000, SEED), Path(folder) / "warm")
        market, later = split(hire_market(given.hires * 5 // 4, SEED))
        with Peak() as peak:
            run = learnt(spark, market, Path(folder) / "run")
        print(
            f"\n{given.hires:,d} hires: {run.n_pairs:,d} pairs, {run.n_candidates:,d} candidate links, "
            f"{run.n_matches:,d} matches; data {market.hash}\n  {run.seconds:.1f} s: pairs {run.pair_seconds:.1f}, "
            f"mining {run.mine_seconds:.1f}, path and choice {run.path_seconds:.1f}; "
            f"{run.cpu_seconds:.1f} s of cores' time; peak {peak.mb:,.0f} MB",
            flush=True,
        )
        figures: dict[str, Any] = {
            "hires": given.hires, "pairs": run.n_pairs, "candidates": run.n_candidates, "matches": run.n_matches,
            "seconds": round(run.seconds, 1), "cpu_seconds": round(run.cpu_seconds, 1),
            "path_seconds": round(run.path_seconds, 1), "peak_mb": round(peak.mb),
        }  # fmt: skip
        if given.naive:
            figures |= naive(spark, Path(folder) / "run", run.mine_seconds)
        trained = trained_of(run, Path(folder) / "run")
        spark.stop()
    figures |= scored(market, later, trained, trained.chosen)
    figures |= rules(market, trained)
    if given.audiences:
        figures |= audience_recall(market, later, trained, trained.path[trained.chosen], SEED)
        figures |= liblinear(trained)
    print(json.dumps(figures))


def in_memory(n_hires: int, *, is_brief: bool) -> None:
    """The counting, the path and the choice alone, in this process."""
    command = f"python -m benchmarks.graph_size --memory --hires {n_hires}" + " --brief" * is_brief
    head(command, f"{LIMITS}\n{NO_HIRES}\n{PENALTY}", SEED)
    learn(hire_market(1_000, SEED), NO_HIRES, LIMITS, PENALTY, SEED)
    market, later = split(hire_market(n_hires * 5 // 4, SEED))
    start, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    with Peak() as peak:
        trained = learn(market, NO_HIRES, LIMITS, PENALTY, SEED)
    seconds, cpu = time.perf_counter() - start, cpu_seconds(os.getpid()) - cpu
    counts = (len(trained.matrix.weight), trained.matrix.n_links, len(trained.matrix.links))
    print(
        f"\n{n_hires:,d} hires in memory: {counts[0]:,d} pairs, {counts[1]:,d} candidate links, {counts[2]:,d} "
        f"matches; data {market.hash}\n  {seconds:.1f} s, {cpu:.1f} s of cores' time; peak {peak.mb:,.0f} MB",
        flush=True,
    )
    figures: dict[str, Any] = dict(zip(("pairs", "candidates", "matches"), counts, strict=True))
    figures |= {"hires": n_hires, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "peak_mb": round(peak.mb)}
    figures |= scored(market, later, trained, trained.chosen)
    print(json.dumps(figures if is_brief else figures | rules(market, trained)))


@dataclass(frozen=True)
class Learnt:
    mined: MinedLinks
    points: list[dict[str, Any]]
    n_pairs: int
    n_candidates: int
    n_matches: int
    pair_seconds: float
    mine_seconds: float
    path_seconds: float
    cpu_seconds: float

    @property
    def seconds(self) -> float:
        return self.pair_seconds + self.mine_seconds + self.path_seconds


def learnt(spark: SparkSession, market: HireMarket, folder: Path) -> Learnt:
    """The whole way, timed; what is counted for the table is counted after the clock."""
    paths = write_tables(market, folder)
    tables = {name: spark.read.parquet(path) for name, path in paths.items()}
    start, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    pairs = held(
        labelled_pairs(tables["hires"], tables["events"], tables["seeker_terms"], tables["job_terms"], UNTIL, NO_HIRES)
    )
    paired = time.perf_counter()
    mined = mine_links(pairs, TEMPLATES, LIMITS)
    n_candidates = mined.links.count()
    found = time.perf_counter()
    points = held(link_points(mined.labels, mined.matches, n_candidates, PENALTY))
    mined.links.join(points.selectExpr("inline(kept)"), "link", "inner").collect()
    end, cpu = time.perf_counter(), cpu_seconds(os.getpid()) - cpu
    rows = [row.asDict() for row in points.drop("kept", "against").orderBy("strength", ascending=False).collect()]
    pairs.write.mode("overwrite").parquet(str(folder / "pairs"))
    for name, table in (("labels", mined.labels), ("matches", mined.matches), ("links", mined.links)):
        table.write.mode("overwrite").parquet(str(folder / name))
    n_pairs, n_matches = (pq.read_table(folder / name, columns=["pair"]).num_rows for name in ("labels", "matches"))
    seconds = (paired - start, found - paired, end - found, cpu)
    return Learnt(mined, rows, n_pairs, n_candidates, n_matches, *seconds)


def trained_of(run: Learnt, folder: Path) -> Trained:
    """The candidates and the matrix in this process, and the path once more, with every point's links.

    From what `learnt` has written to `folder`; the pairs in the order in which the stage's task has them.
    """
    labels = pq.read_table(folder / "labels").to_pandas().sort_values(["at_ts", *PAIR]).reset_index(drop=True)
    matches = pq.read_table(folder / "matches")
    numbers = pd.Index(labels["pair"]).get_indexer(matches["pair"].to_numpy())
    link = matches["link"].to_numpy()
    order = np.lexsort((link, numbers))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=len(labels)))])
    kind = labels["kind"].map({name: place for place, name in enumerate(KINDS, HIRE)}).to_numpy()
    weight = (labels["weight"] / labels["weight"].mean()).to_numpy()
    matrix = Matches(kind == HIRE, weight, offsets, link[order].astype(np.int32), run.n_candidates)
    is_held_out = last_of_each(kind)
    path = list(path_points(matrix, PENALTY, is_held_out))
    assert [len(point.links) for point in path] == [row["n_links"] for row in run.points]
    columns = ["link", "seeker_segment", "job_segment", "meta_links"]
    links = pq.read_table(folder / "links", columns=columns).to_pandas()
    return Trained(links, matrix, is_held_out, path, chosen_point(path, PENALTY))


def rules(market: HireMarket, trained: Trained) -> dict[str, Any]:
    """Print what each rule chooses, and of what was planted it then finds and what it finds besides."""
    falling = [point.strength for point in trained.path]
    chosen = {"held out, weighed anew": falling[trained.chosen]}
    chosen |= Rules.of(trained.matrix, trained.is_held_out, falling).chosen(trained.matrix, falling)
    found = zip(trained.path, planted(market, trained), strict=True)
    against = {point.strength: row | {"links": len(point.links)} for point, row in found}
    figures = {}
    print("  rule                       strength    links   precision   recall")
    for rule, strength in chosen.items():
        if strength not in against:
            continue
        row = against[strength]
        print(f"  {rule:26s} {strength:8g} {row['links']:8,d} {row['precision']:11.4f} {row['planted']:8.4f}")
        figures[f"rule {rule}"] = [strength, round(row["precision"], 4), round(row["planted"], 4)]
    return figures


def naive(spark: SparkSession, folder: Path, mine_seconds: float) -> dict[str, Any]:
    """Seconds, and rows written down, where every pair of meta links of every labelled pair is counted."""
    from pyspark.sql import functions as F

    pairs = spark.read.parquet(str(folder / "pairs")).withColumn("is_hire", F.col("kind") == "hire")
    start = time.perf_counter()
    seekers, jobs = (pair_terms(pairs, side, list(FIELDS), min_support=1, max_terms=1000) for side in ("seeker", "job"))
    carried = combine_terms(seekers, jobs, TEMPLATES).withColumn(
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
    seconds = time.perf_counter() - start
    assert row is not None
    print(f"  the naive explode: {row[0]:,} rows in {seconds:.1f} s; ours: mined in {mine_seconds:.1f} s")
    return {"naive_seconds": round(seconds, 1), "naive_over_ours_seconds": round(seconds / mine_seconds, 2)}


def liblinear(trained: Trained) -> dict[str, Any]:
    """scikit-learn's solver on the same matrix, all of it in memory, at every strength of the path."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    matrix = trained.matrix
    x = sparse.csr_matrix(
        (np.ones(len(matrix.links)), matrix.links, matrix.offsets), (len(matrix.weight), matrix.n_links)
    )
    start = time.perf_counter()
    for point in trained.path:
        LogisticRegression(l1_ratio=1.0, solver="liblinear", C=1 / point.strength, intercept_scaling=100).fit(
            x, matrix.is_hire, sample_weight=matrix.weight
        )
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    list(path_points(matrix, PENALTY))
    own = time.perf_counter() - start
    print(f"liblinear, the same {len(trained.path)} strengths: {seconds:.1f} s; ours, with the counts: {own:.1f} s")
    return {"liblinear_seconds": round(seconds, 1), "path_alone_seconds": round(own, 1)}


if __name__ == "__main__":
    main()
