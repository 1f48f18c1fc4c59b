"""The report's figures, each drawn from the numbers of its section alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tf_multimodal.evaluation.report.drawing import PALETTE, Drawing, draw, shorten
from tf_multimodal.evaluation.report.formats import format_points
from tf_multimodal.evaluation.report.threshold_figures import draw_thresholds

MAX_BARS = 40  # of a figure; more are left to the tables
_ROW = 0.27  # inches that a bar takes
_EDGES = 0.62  # inches of a figure of bars that are not bars
_NAME_COLUMNS, _SLICE_COLUMNS = 22, 30
_COUNTED_CLASSES = 25  # more do not leave room for a count in each cell
_INK, _QUIET, _LINE = PALETTE["ink"], PALETTE["quiet"], PALETTE["line"]
_ACCENT, _SOFT, _WARN = PALETTE["accent"], PALETTE["soft"], PALETTE["warn"]
_PAPER = PALETTE["paper"]


def make_figures(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Drawing]:
    """Returns every figure that the sections have numbers for, by name.

    Args:
        sections: of the report, by name; one with `not_available` has no figure.
    """
    painters: tuple[tuple[str, Callable[[Any], list[Drawing]]], ...] = (
        ("headline", draw_headline),
        ("text_worth", draw_text_worth),
        ("classes", draw_class_gains),
        ("curves", draw_curves),
        ("confusion", draw_confusion),
        ("thresholds", draw_thresholds),
        ("calibration", draw_calibration),
        ("slices", draw_slices),
        ("robustness", draw_robustness),
    )
    drawings = [
        drawing
        for name, painter in painters
        if name in sections and "not_available" not in sections[name]
        for drawing in painter(sections[name])
    ]
    return {drawing.name: drawing for drawing in drawings}


def draw_headline(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws the accuracy of each input with its interval."""
    rows = section["rows"]
    alt = "Accuracy with 95 % interval. " + "; ".join(
        f"{row['name']}: {row['metrics']['accuracy']:.1%}" for row in rows
    )
    bars = [
        (row["name"], row["metrics"]["accuracy"], row["intervals"].get("accuracy"))
        for row in rows
    ]
    with _draw_rows("headline", "Accuracy", alt, len(bars)) as (drawing, axes):
        _paint_points(axes, bars, [_ACCENT] + [_QUIET] * (len(bars) - 1))
        _show_percent(axes, "accuracy")
    return [drawing]


def draw_text_worth(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws what the text brings, and what is left of it without the classes' words."""
    image = section["over_image"]
    masked = section["words_masked"]
    bars = [
        ("with the text", image["difference"], image["interval"]),
        ("class words blanked", masked["difference"], masked["interval"]),
    ]
    alt = f"Gain over {image['name']} in points. " + "; ".join(
        f"{name}: {100 * gain:+.1f}" for name, gain, _ in bars
    )
    with _draw_rows("text_worth", "What the text brings", alt, len(bars)) as (
        drawing,
        axes,
    ):
        _paint_points(axes, bars, [_ACCENT, _QUIET])
        _show_points(axes, f"gain over {image['name']}, points")
    return [drawing]


def draw_class_gains(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws where the text helps and where it hurts, class by class."""
    rows = [row for row in section["rows"] if row["gain"] is not None]
    if not rows:
        return []
    rows.sort(key=lambda row: -row["gain"]["difference"])
    if len(rows) > MAX_BARS:
        rows = rows[: MAX_BARS // 2] + rows[-MAX_BARS // 2 :]
    gains = [row["gain"]["difference"] for row in rows]
    alt = (
        "What the text brings to each class, in points of its accuracy. Most: "
        f"{rows[0]['class']}, {100 * gains[0]:+.1f}; least: {rows[-1]['class']}, "
        f"{100 * gains[-1]:+.1f}"
    )
    with _draw_rows(
        "class_gains", "What the text brings, by class", alt, len(rows)
    ) as (drawing, axes):
        places = np.arange(len(rows))
        colours = [_SOFT if gain >= 0 else _WARN for gain in gains]
        axes.barh(places, gains, 0.6, color=colours)
        for place, row in enumerate(rows):
            ends = row["gain"]["interval"]
            axes.plot(ends, [place, place], color=_QUIET, linewidth=1)
        _name_rows(axes, [row["class"] for row in rows])
        _show_points(axes, f"gain over {section['inputs']['image']}, points")
    return [drawing]


def draw_curves(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws loss, and accuracy with macro F1, over the epochs."""
    panels = {
        "curves_loss": (("loss", "training"), ("val_loss", "validation")),
        "curves_accuracy": (
            ("accuracy", "training"),
            ("val_accuracy", "validation"),
            ("val_macro_f1", "validation, macro F1"),
        ),
    }
    styles = ((_QUIET, "-"), (_ACCENT, "-"), (_ACCENT, ":"))
    drawings = []
    for name, lines in panels.items():
        title = "Loss" if name == "curves_loss" else "Accuracy"
        alt = f"{title} over the epochs, in training and validation"
        with draw(name, title, alt, 2.9) as (drawing, axes):
            for (key, label), (colour, style) in zip(lines, styles, strict=False):
                points = [
                    (point.get("epoch", place), point[key])
                    for place, point in enumerate(section["points"])
                    if key in point
                ]
                if points:
                    marker = "o" if len(points) < 2 else None
                    axes.plot(
                        *zip(*points, strict=True),
                        color=colour,
                        linestyle=style,
                        marker=marker,
                        label=label,
                    )
            if axes.lines:
                axes.legend(frameon=False, labelcolor=_QUIET)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="epoch", ylabel=title.lower())
            if name == "curves_accuracy":
                axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        drawings.append(drawing)
    return drawings


def draw_confusion(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws the matrix, or, of more classes than it holds, the top confusions."""
    if section["counts"] is None:
        return _draw_top_confusions(section)
    counts = np.asarray(section["counts"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [shorten(name, _NAME_COLUMNS) for name in section["classes"]]
    side = 2.2 + 0.36 * len(names)
    alt = f"Confusion matrix of {len(names)} classes, coloured by share of the label"
    # The page has a table instead, whose cells are buttons.
    with draw("confusion", "Confusion matrix", alt, side, side, in_page=False) as (
        drawing,
        axes,
    ):
        colours = LinearSegmentedColormap.from_list("page", [_PAPER, _ACCENT])
        axes.imshow(shares, cmap=colours, vmin=0, vmax=1)
        axes.grid(False)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="prediction", ylabel="label")
        if len(names) <= _COUNTED_CLASSES:
            for (i, j), count in np.ndenumerate(counts):
                if count:
                    colour = _PAPER if shares[i, j] > 0.7 else _INK
                    style = {"ha": "center", "va": "center", "fontsize": 8}
                    axes.text(j, i, str(count), color=colour, **style)
    return [drawing]


def draw_calibration(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws the reliability diagram before and after temperature scaling."""
    drawings = []
    for state in ("before", "after"):
        found = section[state]
        bins = [b for b in found["bins"] if b["rows"]]
        alt = (
            f"Reliability {state} temperature scaling: accuracy over confidence. "
            f"Expected calibration error {found['ece']:.1%}"
        )
        title = f"Reliability {state} temperature scaling"
        with draw(f"reliability_{state}", title, alt, 3.6) as (drawing, axes):
            axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle=":")
            edges = [(b["low"] + b["high"]) / 2 for b in bins]
            widths = [0.9 * (b["high"] - b["low"]) for b in bins]
            axes.bar(edges, [b["accuracy"] for b in bins], widths, color=_SOFT)
            confidence = [b["confidence"] for b in bins]
            total = max((b["rows"] for b in bins), default=1)
            axes.scatter(
                confidence,
                [b["accuracy"] for b in bins],
                [10 + 90 * b["rows"] / total for b in bins],
                color=_ACCENT,
                zorder=3,
            )
            axes.set(xlim=(0, 1.02), ylim=(0, 1.05))
            axes.set(xlabel="confidence", ylabel="accuracy")
            axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
            axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        drawings.append(drawing)
    return drawings


def draw_slices(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws how much worse than the rest the worst slices are."""
    rows = section["rows"][: MAX_BARS // 2]
    if not rows:
        return []
    bars = [
        (
            f"{r['by'].removeprefix('column ')}: {r['name']}",
            r["difference"],
            r["difference_interval"],
        )
        for r in rows
    ]
    alt = "Accuracy of slices against the rest, in points. Worst: " + (
        f"{bars[0][0]}, {100 * bars[0][1]:+.1f}"
    )
    with _draw_rows("slices", "The worst slices", alt, len(bars)) as (drawing, axes):
        colours = [_WARN if row["survives"] else _QUIET for row in rows]
        _paint_points(axes, bars, colours)
        _name_rows(axes, [name for name, _, _ in bars], _SLICE_COLUMNS)
        _show_points(axes, "difference to the rest, points")
    return [drawing]


def draw_robustness(section: Mapping[str, Any]) -> list[Drawing]:
    """Draws the accuracy under damage to the image, and to the text."""
    drawings = []
    for modality in ("image", "text"):
        damages = section[modality]
        if not damages:
            continue
        clean = section["clean"]["accuracy"]
        alt = (
            f"Accuracy under damage to the {modality}, {clean:.1%} without. "
            + "; ".join(
                f"{damage['name']}: {damage['levels'][-1]['accuracy']:.1%} at the most"
                for damage in damages
            )
        )
        title = f"Damage to the {modality}"
        with _draw_rows(f"robustness_{modality}", title, alt, len(damages)) as (
            drawing,
            axes,
        ):
            axes.axvline(clean, color=_QUIET, linewidth=1, linestyle=":")
            for place, damage in enumerate(damages):
                values = [level["accuracy"] for level in damage["levels"]]
                axes.plot(
                    [clean, *values], [place] * (len(values) + 1), color=_LINE, zorder=1
                )
                sizes = [18 + 22 * i for i in range(len(values))]
                axes.scatter(
                    values, [place] * len(values), sizes, color=_ACCENT, zorder=3
                )
            _name_rows(axes, [damage["name"] for damage in damages])
            _show_percent(axes, "accuracy; larger dots: more damage")
        drawings.append(drawing)
    return drawings


def _draw_top_confusions(section: Mapping[str, Any]) -> list[Drawing]:
    cells = section["top"][: MAX_BARS // 2]
    if not cells:
        return []
    names = [
        f"{shorten(section['classes'][cell['label']], _NAME_COLUMNS // 2)} → "
        f"{shorten(section['classes'][cell['prediction']], _NAME_COLUMNS // 2)}"
        for cell in cells
    ]
    alt = f"The most frequent confusions. First: {names[0]}, {cells[0]['count']} rows"
    with _draw_rows("confusion", "Most frequent confusions", alt, len(cells)) as (
        drawing,
        axes,
    ):
        counts = [cell["count"] for cell in cells]
        axes.barh(range(len(cells)), counts, 0.6, color=_SOFT)
        _name_rows(axes, names)
        axes.set_xlabel("rows")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return [drawing]


def _draw_rows(name: str, title: str, alt: str, count: int) -> Any:
    """Gives axes high enough for so many rows; see `draw`."""
    return draw(name, title, alt, _EDGES + _ROW * max(count, 1))


def _paint_points(
    axes: Axes,
    bars: Sequence[tuple[str, float, Sequence[float] | None]],
    colours: Sequence[str],
) -> None:
    """Paints a point with its interval for each row."""
    for place, ((_, value, interval), colour) in enumerate(
        zip(bars, colours, strict=True)
    ):
        if interval is not None:
            axes.plot(interval, [place, place], color=colour, linewidth=2)
        axes.scatter([value], [place], 36, color=colour, zorder=3)
    _name_rows(axes, [name for name, _, _ in bars])


def _name_rows(axes: Axes, names: Sequence[str], columns: int = _NAME_COLUMNS) -> None:
    """Writes the names beside the rows, the first one at the top."""
    shown = [shorten(name, columns) for name in names]
    axes.set_yticks(range(len(shown)), shown, color=_INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _show_percent(axes: Axes, label: str) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label)


def _show_points(axes: Axes, label: str) -> None:
    axes.axvline(0, color=_QUIET, linewidth=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_points(x, 0)))
    axes.set_xlabel(label)
