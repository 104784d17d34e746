"""Small plots as SVG, for readers who may see no colours, on paper or on a phone.

Every series has a colour of Okabe and Ito's palette, a marker and a dash of its own. The same input gives the
same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# inches; a phone shows 4.6 of them at about four fifths, where 9 points can still be read
_SIZE = (4.6, 3.1)

_STYLE = {
    "svg.hashsalt": "shortlist",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "text.parse_math": False,  # a title may have dollars in it
}

_BLUE = "#0072B2"
_STYLES = {
    "blend": ("#000000", "o", "-"),
    "graph": ("#0072B2", "s", "-"),
    "click_chain": ("#009E73", "^", "-"),
    "apply_chain": ("#D55E00", "v", "-"),
    "click_neighbors": ("#009E73", "<", "--"),
    "apply_neighbors": ("#D55E00", ">", "--"),
    "click_vectors": ("#009E73", "<", ":"),
    "apply_vectors": ("#D55E00", ">", ":"),
    "terms": ("#E69F00", "D", "-"),
    "popular": ("#CC79A7", "P", "-"),
    "popular_global": ("#CC79A7", "X", "--"),
    "random": ("#777777", ".", ":"),
    "oracle": ("#56B4E9", "*", "--"),
}
_OTHER = ("#555555", "h", "-.")

# k, recall, low, high; the bounds are None where there is no interval
Point = tuple[int, float, float | None, float | None]


def recall_curves(rows: Mapping[str, Sequence[Point]]) -> bytes:
    """Recall over k, a line a row, with its interval as a bar; k on a logarithmic axis."""
    with _figure() as figure:
        axes = figure.add_subplot()
        for row, points in rows.items():
            colour, marker, dash = _STYLES.get(row, _OTHER)
            ks, recalls = [p[0] for p in points], [p[1] for p in points]
            axes.plot(ks, recalls, dash, color=colour, marker=marker, ms=4.5, lw=1.3, label=row.replace("_", " "))
            for k, _, low, high in points:
                if low is not None and high is not None:
                    axes.plot([k, k], [low, high], "-", color=colour, lw=1, alpha=0.6)
        ticks = sorted({point[0] for points in rows.values() for point in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{k:,}" for k in ticks])
        axes.minorticks_off()
        axes.set_xlabel("k")
        axes.set_ylabel("recall@k")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        return _svg(figure)


def link_path(points: Sequence[Mapping[str, Any]]) -> bytes:
    """Links, on a logarithmic axis, and false positives over recall, of the regression and of the ratio scorer.

    The figure of arXiv 2402.13435 (§3.1.2). `points` are those of `sections.link_path`; the chosen one has a ring.
    """
    with _figure(height=1.5 * _SIZE[1]) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for prefix, label, style in (("", "L1 regression", _STYLES["blend"]), ("ratio_", "ratio", _STYLES["terms"])):
            colour, marker, dash = style
            for axes, name in ((upper, "links"), (lower, "false_positives")):
                drawn = [(p["recall"], p[prefix + name]) for p in points if p[prefix + name] is not None]
                recalls, values = [x for x, _ in drawn], [y for _, y in drawn]
                axes.plot(recalls, values, dash, color=colour, marker=marker, ms=4.5, lw=1.3, label=label)
        for point in (p for p in points if p["is_chosen"]):
            for axes, name in ((upper, "links"), (lower, "false_positives")):
                axes.plot([point["recall"]], [point[name]], "o", ms=10, mfc="none", mec=_BLUE, mew=1.3)
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        upper.set_ylabel("links")
        lower.set_ylabel("false positives")
        lower.set_xlabel("recall")
        lower.set_ylim(bottom=0)
        figure.legend(
            *upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
        )
        return _svg(figure)


def histogram(counts: Mapping[str, float], xlabel: str, ylabel: str) -> bytes:
    """One bar a label, in the order given, with its share of all above it."""
    with _figure() as figure:
        axes = figure.add_subplot()
        bars = axes.bar(list(counts), list(counts.values()), color=_BLUE, width=0.7)
        total = sum(counts.values()) or 1.0
        axes.bar_label(bars, [f"{count / total:.0%}" for count in counts.values()], padding=2, fontsize=8)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        return _svg(figure)


def positions_swept(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Mean position, with its interval, a row a setting tried: further left is better."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    with _figure(height=0.9 + 0.17 * len(rows)) as figure:
        axes = figure.add_subplot()
        for kind, (colour, marker, _) in zip(kinds, list(_STYLES.values())[1:], strict=False):
            mine = [(place, row) for place, row in enumerate(rows) if row["kind"] == kind]
            places, means = [place for place, _ in mine], [row["position"] for _, row in mine]
            axes.hlines(places, [row["low"] for _, row in mine], [row["high"] for _, row in mine], color=colour, lw=1)
            axes.plot(means, places, marker, color=colour, ms=4.5, label=kind)
        axes.set_yticks(range(len(rows)), [f"{row['kind']} {row['value']}" for row in rows], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("mean position of the job acted on")
        return _svg(figure)


class _figure:
    """A figure in the house style, without pyplot and its global state; `height` in inches."""

    def __init__(self, height: float = _SIZE[1]) -> None:
        self.height = height

    def __enter__(self) -> Figure:
        import matplotlib
        from matplotlib.figure import Figure

        self.context = matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]
        self.context.__enter__()
        return Figure(figsize=(_SIZE[0], self.height), layout="constrained")

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(None, None, None)


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
