"""What the defaults of the segment graph rest on: shares of no-hires, inferred links, a target of liquidity.

    python -m benchmarks.graph_choices

Learnt in memory (`graph_memory`) at 10,000 hires of the market of `graph_data`, asked for hires that came later. Spark
runs for the stage's own inference and liquidity. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import graph_data
from benchmarks.graph_audiences import has, parts
from benchmarks.graph_data import N_OCCUPATIONS, HireMarket, hire_market, split, write_tables
from benchmarks.graph_head import head
from benchmarks.graph_memory import learn, said
from benchmarks.graph_scores import matches_of, occupations, planted
from jobs.graph.engines import graph_engine
from jobs.graph.fit import Fitted
from jobs.graph.hires import NoHires
from jobs.graph.inferred import Inference, inferred_links
from jobs.graph.links import Limits
from jobs.graph.liquidity import enough_nodes
from jobs.graph.lists import Ints
from jobs.graph.nodes import assign_nodes
from jobs.graph.quality import Penalty, recall_and_false_positives
from jobs.stage import start_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SEED, N_HIRES, FAMILY = 20_261_123, 10_000, 4
SHARES = {
    "the default": NoHires(),
    "none applied": NoHires(applied_per_hire=0),
    "none seen": NoHires(seen_per_hire=0),
    "random alone": NoHires(applied_per_hire=0, seen_per_hire=0),
    "half the random": NoHires(random_per_hire=0.5),
    "twice the random": NoHires(random_per_hire=2.0),
    "none random": NoHires(random_per_hire=0),
    "one applied and one seen a hire": NoHires(applied_per_hire=1, seen_per_hire=1),
}
WITHHELD = np.arange(3, N_OCCUPATIONS, 10)
TARGETS = (0, 200, 100, 50, 25)
SEGMENTS = "seeker_segment string, job_segment string"
META = "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>"


def main() -> None:
    head("python -m benchmarks.graph_choices", f"{Limits()}\n{NoHires()}\n{Penalty()}", SEED)
    figures: dict[str, Any] = {"shares": ablation()}
    spark = start_spark("benchmark of the segment graph's choices")
    spark.sparkContext.setLogLevel("ERROR")
    for name, family in (("a ring", 0), ("families", FAMILY)):
        figures[f"inferred, {name}"] = inferred(spark, name, family)
    for name, penalty in (("as chosen", Penalty()), ("strength 1", Penalty(strength=1.0, weakest_strength=1.0))):
        figures[f"liquidity, {name}"] = liquidity(spark, name, penalty)
    spark.stop()
    print(json.dumps(figures))


def ablation() -> dict[str, Any]:
    """Of each share: strength chosen, links, planted, dreams among them, and recall on later hires."""
    market, later = split(hire_market(N_HIRES * 5 // 4, SEED))
    print(f"no-hires a hire, at {N_HIRES:,} hires; data {market.hash}")
    print(f"  {'':34s} candidates  strength    links   precision   recall   dreams   later: recall  false positives")
    figures = {}
    for name, shares in SHARES.items():
        trained = learn(market, shares, Limits(), Penalty(), SEED)
        assert trained.chosen is not None
        point, row = trained.points[trained.chosen], planted(market, trained)[trained.chosen]
        dreams = sum(
            any((b - a) % N_OCCUPATIONS == graph_data.DREAM for a, b in occupations(link["meta_links"]))
            for link in said(trained, point.links)
        )
        recall, false_positives = recall_and_false_positives(matches_of(later, trained), point.links)
        print(
            f"  {name:34s} {len(trained.mined.items):10,d} {point.strength:9.3g} {len(point.links):8,d} "
            f"{row['precision']:11.4f} {row['planted']:8.4f} {dreams:8,d} {recall:15.4f} {false_positives or 0:16.4f}",
            flush=True,
        )
        figures[name] = [point.strength, len(point.links), row["precision"], row["planted"], recall, false_positives]
    return figures


def inferred(spark: SparkSession, name: str, family: int) -> dict[str, Any]:
    """Recall on later hires of occupations whose seekers' hires were withheld, without and with inferred links."""
    market, later = split(hire_market(N_HIRES * 5 // 4, SEED, family))

    def kept(pairs: Ints) -> Ints:
        return pairs[~np.isin(market.seekers.occupation[pairs[:, 0]], WITHHELD)]

    part = replace(market, hires=kept(market.hires), applied=kept(market.applied), seen=kept(market.seen))
    trained = learn(part, NoHires(), Limits(), Penalty(), SEED)
    learnt = chosen_links(spark, trained).drop("node_id")
    is_of_withheld = np.isin(later.seekers.occupation[later.hires[:, 0]], WITHHELD)
    vain = later.applied[np.isin(later.seekers.occupation[later.applied[:, 0]], WITHHELD)]
    print(f"\n{name}: {len(WITHHELD)} of {N_OCCUPATIONS} occupations withheld; {is_of_withheld.sum():,} of their hires")
    print(f"  {'':22s}    links   of them planted   recall of hires   share of applications in vain linked")
    figures = {}
    own = [row.meta_links for row in learnt.collect()]
    for shared in (0, 2, 1):
        more: list[Any] = []
        if shared:
            found = inferred_links(learnt, graph_engine(spark), Inference(discount=0.5, min_shared=shared)).collect()
            more = [row.meta_links for row in found]
        metas = [[meta.asDict() for meta in link] for link in own + more]
        right = [bool(occupations(link) & market.truth) for link in metas[len(own) :]]
        recall = linked(later, later.hires[is_of_withheld], metas).mean()
        wrongly = linked(later, vain, metas).mean()
        what = f"shared by {shared} or more" if shared else "none inferred"
        share = f"{np.mean(right):.4f}" if right else "–"
        print(f"  {what:22s} {len(more):8,d} {share:>17s} {recall:17.4f} {wrongly:38.4f}", flush=True)
        figures[what] = [len(more), round(float(np.mean(right)), 4) if right else None, recall, wrongly]
    return figures


def linked(market: HireMarket, pairs: Ints, links: list[Any]) -> Any:
    """(pairs,) bool: whether the pair carries one of the links."""
    found = np.zeros(len(pairs), bool)
    for metas in links:
        sides = ((market.seekers, pairs[:, 0], "seeker"), (market.jobs, pairs[:, 1], "job"))
        both = [has(side, *part)[at] for side, at, name in sides for part in sorted(parts(metas, name))]
        found |= np.logical_and.reduce(both)
    return found


def liquidity(spark: SparkSession, name: str, penalty: Penalty) -> dict[str, Any]:
    """Jobs reached and recall on later hires, where a seeker's segments are added until so many are reached."""
    market, later = split(hire_market(N_HIRES * 5 // 4, SEED))
    trained = learn(market, NoHires(), Limits(), penalty, SEED)
    links = chosen_links(spark, trained)
    asked = spark.createDataFrame(pd.DataFrame(later.hires, columns=["seeker_id", "job_id"]))
    print(f"\nliquidity, {links.count():,} links ({name}), {len(later.hires):,} later hires")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        tables = {side: spark.read.parquet(path) for side, path in write_tables(market, Path(folder)).items()}
        hired = tables["seeker_terms"].join(asked.select("seeker_id").distinct(), "seeker_id", "left_semi")
        nodes = assign_nodes(hired, links, "seeker").localCheckpoint()
        open_nodes = assign_nodes(tables["job_terms"], links, "job").localCheckpoint()
        of_job: dict[int, Any] = dict(open_nodes.toPandas().itertuples(index=False))
        for target in TARGETS:
            needed = enough_nodes(nodes, links, open_nodes, target or 1 << 30)
            reach = {label: value for _, value, label in needed.figures()}
            of_seeker: dict[int, Any] = dict(needed.nodes.toPandas().itertuples(index=False))
            hits = [bool({*of_seeker.get(seeker, ())} & {*of_job.get(job, ())}) for seeker, job in later.hires.tolist()]
            print(
                f"  target {target or 'none':>5}: {reach['after/mean']:7.1f} jobs reached on average, "
                f"{reach['after/p10']:.0f} by the tenth who reach fewest; recall {np.mean(hits):.4f}",
                flush=True,
            )
            figures[str(target)] = [round(reach["after/mean"] or 0, 1), round(float(np.mean(hits)), 4)]
    return figures


def chosen_links(spark: SparkSession, trained: Fitted) -> DataFrame:
    """The links of the chosen point as the stage has them, with node_id."""
    point = trained.point
    assert point is not None
    rows = [
        (number, *link.values(), quality, "learnt")
        for number, (link, quality) in enumerate(zip(said(trained, point.links), point.qualities.tolist(), strict=True))
    ]
    columns = f"node_id int, {SEGMENTS}, meta_links {META}, n_hires double, n_no_hires double, quality double"
    return spark.createDataFrame(rows, f"{columns}, origin string")


if __name__ == "__main__":
    main()
