"""Pictures of what `benchmarks.retrieval` measured: `python -m benchmarks.retrieval_plots RAW_OUTPUT ...`.

Reads the last line of each file that is JSON; of a figure in several, the last file's counts. Writes
`docs/benchmarks/retrieval_costs.png` and `retrieval_ratios.png`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
AXES = {
    "jobs": "jobs (50,000 queries at 0.1 %)",
    "queries": "queries (at 0.1 %)",
    "components": "components (50,000 queries at 0.1 %)",
    "k": "k (5,000 queries at 1 %)",
    "pass rate": "measured pass rate (1,000 queries)",
}
WANTED = 300


def main(paths: list[Path]) -> None:
    mpl.use("agg")
    result: dict[str, Any] = {"lines": []}
    for path in paths:
        found = json.loads([line for line in path.read_text().splitlines() if line.startswith("{")][-1])
        result = result | found | {"lines": result["lines"] + found["lines"]}
    if "costs" in result:
        draw_costs(result["costs"], result["cost_exponent"])
    if result["lines"]:
        draw_ratios(result["lines"])


def draw_costs(costs: dict[str, list[tuple[float, float]]], exponent: float) -> None:
    """One panel for each thing that grows, both axes logarithmic, with a line of exponent 1 through the last point."""
    figure, panels = plt.subplots(1, len(costs), figsize=(17, 3.6), sharey=False)
    for panel, (name, points) in zip(panels, costs.items(), strict=True):
        values, seconds = zip(*sorted(points), strict=True)
        panel.loglog(values, seconds, "o-", label="measured")
        panel.loglog(
            values, [seconds[-1] * value / values[-1] for value in values], ":", color="gray", label="in proportion"
        )
        panel.set_xlabel(AXES[name])
        panel.minorticks_off()
        panel.set_xticks(values, [f"{value:.2g}" if value < 1 else f"{value:,.0f}" for value in values], rotation=20)
        panel.grid(True, which="major", alpha=0.3)
    panels[0].set_ylabel("seconds of the batch")
    panels[0].set_title(f"exponent {exponent:.2f}", fontsize=10)
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(FOLDER / "retrieval_costs.png", dpi=100)


def draw_ratios(lines: list[dict[str, Any]]) -> None:
    """How many times faster than faiss, for each workload, and each n, d and k."""
    figure, panel = plt.subplots(figsize=(9, 4.2))
    workloads = list(dict.fromkeys(line["workload"] for line in lines))
    for n, d, k in sorted({(line["n"], line["d"], line["k"]) for line in lines}):
        own = {
            line["workload"]: line["faiss IndexFlatIP"]["ratio"]
            for line in lines
            if (line["n"], line["d"], line["k"]) == (n, d, k)
        }
        panel.semilogy(
            range(len(own)),
            [own[name] for name in workloads if name in own],
            "o-",
            label=f"{n / 1e6:g}M × {d}, k = {k}",
        )
    panel.axhline(WANTED, color="gray", linestyle=":", label=f"wanted: {WANTED}× from 1 % down")
    panel.set_xticks(range(len(workloads)), workloads)
    panel.set_xlabel("pass rate")
    panel.set_ylabel("times faiss IndexFlatIP, queries/s")
    panel.grid(True, which="major", alpha=0.3)
    panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(FOLDER / "retrieval_ratios.png", dpi=100)


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
