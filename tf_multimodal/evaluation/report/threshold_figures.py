"""The figures of thresholds: what one buys of a class, and answers withheld."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tf_multimodal.evaluation.report.drawing import PALETTE, Drawing, draw, shorten

MAX_CURVES = 40  # classes that are drawn
_HEIGHT = 3.6  # inches
_NAME_COLUMNS = 22
_INK, _QUIET, _ACCENT = PALETTE["ink"], PALETTE["quiet"], PALETTE["accent"]


def draw_thresholds(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws precision and recall by class, and accuracy over coverage.

    The page shows the class that is chosen there; the PNGs show the first one.
    """
    drawings = []
    curves = list_curves(section)
    if curves:
        drawings = [_draw_precision_recall(curves), _draw_by_threshold(curves)]
    coverage = section.get("coverage")
    if coverage:
        alt = "Accuracy of the answers that are kept, over the share that is kept"
        with draw("coverage", "When unsure answers are withheld", alt, _HEIGHT) as (
            drawing,
            axes,
        ):
            axes.plot(coverage["coverage"], coverage["accuracy"], color=_ACCENT)
            axes.set(xlim=(0, 1.02), xlabel="answers kept", ylabel="accuracy of those")
            axes.set_ylim(top=1.01)
            _show_percent(axes)
        drawings.append(drawing)
    return drawings


def list_curves(section: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Returns number and class of the curves that are drawn, the worst first."""
    rows = section.get("classes", ())
    curves = [(i, row) for i, row in enumerate(rows) if row["recall"]]
    curves.sort(key=lambda curve: -curve[1]["support"])
    return sorted(
        curves[:MAX_CURVES], key=lambda curve: curve[1]["average_precision"] or 0
    )


def _draw_precision_recall(curves: list[tuple[int, Mapping[str, Any]]]) -> Drawing:
    alt = "Precision over recall, a curve for each class"
    with draw("precision_recall", "Precision over recall", alt, _HEIGHT) as (
        drawing,
        axes,
    ):
        for place, (number, row) in enumerate(curves):
            colour, width = (_QUIET, 0.8) if place else (_ACCENT, 2)
            axes.plot(
                row["recall"],
                row["precision"],
                color=colour,
                linewidth=width,
                zorder=3 - bool(place),
                label=None if place else shorten(row["class"], _NAME_COLUMNS),
                gid=f"line-{number}",
            )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
        _show_percent(axes)
    return drawing


def _draw_by_threshold(curves: list[tuple[int, Mapping[str, Any]]]) -> Drawing:
    """Draws precision and recall of each class; all but the first are hidden."""
    alt = "Precision and recall of the chosen class over the threshold"
    title = "Precision and recall over the threshold"
    styles = (("precision", _ACCENT, "-"), ("recall", _INK, "--"))
    with draw("by_threshold", title, alt, _HEIGHT) as (drawing, axes):
        for place, (number, row) in enumerate(curves):
            for key, colour, style in styles:
                axes.plot(
                    row["threshold"],
                    row[key],
                    color=colour,
                    linestyle=style,
                    marker="o" if len(row["threshold"]) < 2 else None,
                    alpha=0 if place else 1,
                    label=None if place else key,
                    gid=f"at-{key}-{number}",
                )
        axes.legend(frameon=False, labelcolor=_QUIET, loc="lower left")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="probability from")
        _show_percent(axes)
    return drawing


def _show_percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
