"""One size of the segment graph's benchmark, in a process of its own: `python -m benchmarks.graph_size --hires N`.

The last line is JSON. Printed are what the size cost, the path on later hires beside what was planted, and which point
each rule would take. `--rivals` times the naive explode and liblinear too, `--audiences` says what links are for.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.graph_audiences import audience_recall
from benchmarks.graph_data import FIELDS, UNTIL, HireMarket, hire_market, split, write_tables
from benchmarks.graph_head import head
from benchmarks.graph_memory import TEMPLATES, learn
from benchmarks.graph_rules import Rules
from benchmarks.graph_scores import planted, scored
from benchmarks.peak import Peak, cpu_seconds
from jobs.graph.fit import Fitted, LabelledPairs, fit_links
from jobs.graph.frames import held
from jobs.graph.held_out import last_of_each
from jobs.graph.hires import NoHires, labelled_pairs
from jobs.graph.learn import learn_links, rows_by_time
from jobs.graph.links import Limits
from jobs.graph.quality import Penalty, path_points
from jobs.stage import start_spark

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

SEED = 20_261_123
CHOSEN = ("chosen_strength", "links", "recall", "false_positives")
LIMITS, NO_HIRES, PENALTY = Limits(), NoHires(min_market=10, seed=7), Penalty()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hires", type=int, required=True)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--audiences", action="store_true")
    parser.add_argument("--memory", action="store_true", help="without Spark, as `graph_memory` learns")
    parser.add_argument("--brief", action="store_true", help="with --memory: no rules beside each other")
    parser.add_argument("--support", type=int, default=0, help="hires that a link needs; cost alone, with more memory")
    given = parser.parse_args()
    if given.memory:
        in_memory(given)
        return
    spark = start_spark("benchmark of the segment graph")
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        # the first Spark jobs of a session and the first call of a compiled loop are no part of any size
        learnt(spark, write_tables(hire_market(1_000, SEED), Path(folder) / "warm"))
        if given.support:
            print(json.dumps(wide(spark, given.hires, limits_of(given.support), Path(folder) / "run")))
            return
        market, later = split(hire_market(given.hires * 5 // 4, SEED))
        paths = write_tables(market, Path(folder) / "run")
        with Peak() as peak:
            run = learnt(spark, paths, into=Path(folder) / "run")
        figures = run | {"peak_mb": round(peak.mb)}
        naively = naive(spark, Path(folder) / "run") if given.rivals else None
        spark.stop()
        trained = trained_of(Path(folder) / "run")
    figures |= {"hires": given.hires} | counts(trained)
    print(
        f"\n{given.hires:,d} hires: {figures['pairs']:,d} pairs, {figures['candidates']:,d} candidate links, "
        f"{figures['matches']:,d} matches; data {market.hash}\n  {figures['seconds']:.1f} s: "
        f"pairs {figures['pair_seconds']:.1f}, mining, path and choice {figures['learn_seconds']:.1f}; "
        f"{figures['cpu_seconds']:.1f} s of cores' time; peak {figures['peak_mb']:,.0f} MB",
        flush=True,
    )
    if naively:
        print(f"  the naive explode: {naively[0]:,} rows in {naively[1]:.1f} s, without a path")
        figures |= {"naive_rows": naively[0], "naive_seconds": round(naively[1], 1)} | liblinear(trained)
    assert figures["links_by_spark"] == len(trained.points[trained.chosen or 0].links), "the same in this process"
    figures |= scored(market, later, trained)
    figures |= rules(market, trained)
    if given.audiences:
        figures |= audience_recall(market, later, trained, SEED)
    print(json.dumps(figures))


def limits_of(support: int) -> Limits:
    """LIMITS, or where so few hires are enough, with room for all candidates."""
    return replace(LIMITS, min_support=support, memory=3 * LIMITS.memory) if support else LIMITS


def wide(spark: SparkSession, n_hires: int, limits: Limits, folder: Path) -> dict[str, Any]:
    """What it costs to have candidates by tens of millions, by Spark; the market is not in memory meanwhile."""
    market = split(hire_market(n_hires * 5 // 4, SEED))[0]
    paths, digest = write_tables(market, folder), market.hash
    del market
    with Peak() as peak:
        run = learnt(spark, paths, limits)
    print(
        f"\n{n_hires:,d} hires, where {limits.min_support} makes a candidate: {run['candidates']:,d} candidate links, "
        f"{run['links_by_spark']} kept; data {digest}\n  {run['seconds']:.1f} s, {run['cpu_seconds']:.1f} s of cores' "
        f"time; peak {peak.mb:,.0f} MB, with a heap of {spark.conf.get('spark.driver.memory')}",
        flush=True,
    )
    return {f"wide_{name}": run[name] for name in ("candidates", "seconds", "cpu_seconds")} | {
        "wide_peak_mb": round(peak.mb)
    }


def in_memory(given: argparse.Namespace) -> None:
    """The counting, the path and the choice alone, in this process; with `rivals`, liblinear beside the path."""
    n_hires, support = given.hires, given.support
    flags = "".join(f" --{name}" for name in ("brief", "audiences", "rivals") if getattr(given, name))
    command = f"python -m benchmarks.graph_size --memory --hires {n_hires}{flags}"
    command += f" --support {support}" if support else ""
    limits = limits_of(support)
    head(command, f"{limits}\n{NO_HIRES}\n{PENALTY}", SEED)
    learn(hire_market(1_000, SEED), NO_HIRES, LIMITS, PENALTY, SEED)
    market, later = split(hire_market(n_hires * 5 // 4, SEED))
    start, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    with Peak() as peak:
        trained = learn(market, NO_HIRES, limits, PENALTY, SEED)
    seconds, cpu = time.perf_counter() - start, cpu_seconds(os.getpid()) - cpu
    figures: dict[str, Any] = {"hires": n_hires} | counts(trained)
    print(
        f"\n{n_hires:,d} hires in memory: {figures['pairs']:,d} pairs, {figures['candidates']:,d} candidate links, "
        f"{figures['matches']:,d} matches; data {market.hash}\n  {seconds:.2f} s, {cpu:.2f} s of cores' time; "
        f"peak {peak.mb:,.0f} MB",
        flush=True,
    )
    figures |= {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(peak.mb)}
    if support:
        figures |= {name: value for name, value, label in trained.figures(TEMPLATES) if name in CHOSEN and not label}
        print(json.dumps(figures))
        return
    figures |= scored(market, later, trained)
    if given.audiences:
        figures |= audience_recall(market, later, trained, SEED)
    if given.rivals:
        figures |= liblinear(trained)
    print(json.dumps(figures if given.brief else figures | rules(market, trained)))


def counts(trained: Fitted) -> dict[str, Any]:
    mined = trained.mined
    n_matches = len(mined.carriers.values)
    pairs = len(trained.pairs.kind)
    return {"pairs": pairs, "candidates": len(mined.items), "matches": n_matches, "supports": mined.supports}


def learnt(
    spark: SparkSession, paths: dict[str, str], limits: Limits = LIMITS, into: Path | None = None
) -> dict[str, Any]:
    """The whole way from tables, timed; its pairs are written to `into` after the clock."""
    tables = {name: spark.read.parquet(path) for name, path in paths.items()}
    start, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    pairs = held(
        labelled_pairs(tables["hires"], tables["events"], tables["seeker_terms"], tables["job_terms"], UNTIL, NO_HIRES)
    )
    paired = time.perf_counter()
    found = learn_links(pairs, TEMPLATES, limits, PENALTY)
    n_links = len(found.links.collect())
    end, cpu = time.perf_counter(), cpu_seconds(os.getpid()) - cpu
    if into:
        pairs.write.mode("overwrite").parquet(str(into / "pairs"))
        rows_by_time(pairs, TEMPLATES).write.mode("overwrite").parquet(str(into / "rows"))
    return {
        "seconds": round(end - start, 1), "pair_seconds": round(paired - start, 1),
        "learn_seconds": round(end - paired, 1), "cpu_seconds": round(cpu, 1), "links_by_spark": n_links,
        "candidates": next(round(value) for name, value, _ in found.figures if name == "candidate_links"),
    }  # fmt: skip


def trained_of(folder: Path) -> Fitted:
    """What the stage's task has learnt, once more, in this process, from the rows that it was given."""
    rows = LabelledPairs.of_table(pq.read_table(folder / "rows"), TEMPLATES)
    return fit_links(rows, TEMPLATES, LIMITS, PENALTY)


def rules(market: HireMarket, trained: Fitted) -> dict[str, Any]:
    """Print what each rule chooses, and of what was planted it then finds and what it finds besides."""
    falling = [point.strength for point in trained.points]
    assert trained.matches is not None
    chosen = {"held out, weighed anew": falling[trained.chosen or 0]}
    is_held_out = last_of_each(trained.pairs.kind)
    chosen |= Rules.of(trained.matches, is_held_out, falling).chosen(trained.matches, falling)
    found = zip(trained.points, planted(market, trained), strict=True)
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


def naive(spark: SparkSession, folder: Path) -> tuple[int, float]:
    """Rows written down, and seconds, where every pair of meta links of every labelled pair is counted."""
    from pyspark.sql import functions as F

    def of_field(field: str) -> Column:
        seekers, jobs = (F.coalesce(F.try_element_at(f"{s}_terms", F.lit(field)), F.array()) for s in ("seeker", "job"))
        each = F.transform(seekers, lambda a: F.transform(jobs, lambda b: F.concat_ws("/", F.lit(field), a, b)))
        return F.flatten(each)

    start = time.perf_counter()
    alone = F.transform("metas", lambda m: F.array(m))
    together = F.flatten(
        F.transform(
            "metas",
            lambda a: F.transform(F.filter("metas", lambda b: b > a), lambda b: F.array(a, b)),
        )
    )
    exploded = (
        spark.read.parquet(str(folder / "pairs"))
        .select((F.col("kind") == "hire").alias("is_hire"), F.concat(*map(of_field, FIELDS)).alias("metas"))
        .select("is_hire", F.explode(F.concat(alone, together)).alias("items"))
    )
    counted = exploded.groupBy("items").agg(F.count("*").alias("n"), F.sum(F.col("is_hire").cast("int")).alias("hires"))
    row = counted.agg(F.sum("n"), F.count(F.when(F.col("hires") >= LIMITS.min_support, True))).first()
    assert row is not None
    return row[0], time.perf_counter() - start


def liblinear(trained: Fitted) -> dict[str, Any]:
    """scikit-learn's solver on the same matrix, all of it in memory, at every strength of the path."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    matches = trained.matches
    assert matches is not None
    carriers = matches.carriers
    x = sparse.csc_matrix(
        (np.ones(len(carriers.values)), carriers.values, carriers.offsets), (len(matches.weight), matches.n_links)
    ).tocsr()
    with Peak() as peak:
        start = time.process_time()
        for point in trained.points:
            LogisticRegression(l1_ratio=1.0, solver="liblinear", C=1 / point.strength, intercept_scaling=100).fit(
                x, matches.is_hire, sample_weight=matches.weight
            )
        seconds = time.process_time() - start
    with Peak() as own_peak:
        start = time.process_time()
        list(path_points(matches, replace(PENALTY, weakest_strength=trained.points[-1].strength)))
        own = time.process_time() - start
    print(
        f"liblinear, the same {len(trained.points)} strengths: {seconds:.1f} s of a core, peak {peak.mb:,.0f} MB; "
        f"ours, with the counts: {own:.1f} s, {own_peak.mb:,.0f} MB",
        flush=True,
    )
    return {"liblinear_seconds": round(seconds, 1), "liblinear_ours_seconds": round(own, 1)}


if __name__ == "__main__":
    main()
