"""The report's pictures of single rows as PNG: gallery, suspects, explanations."""

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
from matplotlib.axes import Axes

from tf_multimodal.evaluation.report.drawing import PALETTE, Drawing, draw, shorten
from tf_multimodal.evaluation.report.formats import list_shown, percent

MAX_CARDS = 12
_COLUMNS = 4
_CARD = (2.0, 2.35)  # inches, width and height
_SIDE = 0.62  # of an image, as a share of a card's width
_WORDS = 6  # of an explanation, those that weigh most
_TEXT_COLUMNS, _TEXT_LINES = 27, 2


def draw_sheets(sections: Mapping[str, Any]) -> list[Drawing]:
    """Returns a sheet of each list of rows that is not empty, PNG alone.

    Args:
        sections: of the report, by name.
    """
    examples = sections["examples"]
    gallery = sections.get("gallery", {})
    lists: dict[str, tuple[str, list[tuple[Any, list[str]]]]] = {
        "gallery_mistakes": (
            "The most confident mistakes",
            [_describe(row, examples) for row in gallery.get("mistakes", ())],
        ),
        "gallery_surprises": (
            "The most surprising rights",
            [_describe(row, examples) for row in gallery.get("surprises", ())],
        ),
        "suspects": (
            "Labels that may be wrong",
            [
                _describe_suspect(row, examples)
                for row in list_shown(sections.get("suspects", {}))
            ],
        ),
    }
    sheets = [
        _draw_cards(name, title, cards[:MAX_CARDS])
        for name, (title, cards) in lists.items()
        if cards
    ]
    explained = sections.get("explanations", {}).get("rows", ())
    if explained:
        sheets.append(_draw_explanations(explained[:MAX_CARDS], examples))
    return sheets


def _describe(
    row: Mapping[str, Any], examples: Mapping[int, Any]
) -> tuple[Any, list[str]]:
    """Returns what a card shows: the example and lines below its text."""
    example = examples[row["position"]]
    lines = [f"{example['prediction']} {percent(row['confidence'], 0)}"]
    if not example["correct"]:
        lines.append(f"label: {example['label']}")
    return example, lines


def _describe_suspect(
    row: Mapping[str, Any], examples: Mapping[int, Any]
) -> tuple[Any, list[str]]:
    names = [", ".join(row[key]) or "(none)" for key in ("suggested", "given")]
    suggested = percent(row["suggested_probability"], 0)
    lines = [f"{names[0]} {suggested}", f"label: {names[1]}"]
    return examples[row["position"]], lines


def _draw_cards(
    name: str, title: str, cards: Sequence[tuple[Any, list[str]]]
) -> Drawing:
    rows = -(-len(cards) // _COLUMNS)
    size = rows * _CARD[1] + 0.3, _COLUMNS * _CARD[0]
    with draw(name, title, title, *size, in_page=False) as (drawing, axes):
        _set_up(axes, _COLUMNS, rows * _CARD[1] / _CARD[0])
        for place, (example, lines) in enumerate(cards):
            row, column = divmod(place, _COLUMNS)
            x, y = column + 0.04, row * _CARD[1] / _CARD[0]
            _show(axes, example["thumbnail"], x, y, _SIDE)
            text = _wrap(example["text"] or "(no text)")
            style = {"va": "top", "fontsize": 8}
            axes.text(x, y + _SIDE + 0.05, text, color=PALETTE["ink"], **style)
            shown = "\n".join(shorten(line, _TEXT_COLUMNS) for line in lines)
            colour = PALETTE["quiet" if example["correct"] else "warn"]
            axes.text(x, y + _SIDE + 0.24, shown, color=colour, **style)
    return drawing


def _draw_explanations(
    rows: Sequence[Mapping[str, Any]], examples: Mapping[int, Any]
) -> Drawing:
    title = "What the answers rest on: image, heat map, words"
    lines = -(-len(rows) // 2)
    size = 1.6 * lines + 0.3, 11.2
    with draw("explanations", title, title, *size, in_page=False) as (drawing, axes):
        _set_up(axes, 7, lines)
        for place, row in enumerate(rows):
            y, column = divmod(place, 2)
            x = 3.6 * column
            example = examples[row["position"]]
            _show(axes, row["picture_jpeg"], x, y, 0.9)
            _show(axes, row["heat_map_jpeg"], x + 1, y, 0.9)
            head = f"{example['prediction']} {percent(row['probability'], 0)}"
            if not example["correct"]:
                head += f"   label: {example['label']}"
            style = {"va": "top", "fontsize": 9}
            axes.text(x + 2, y + 0.02, shorten(head, 34), color=PALETTE["ink"], **style)
            words = sorted(row["words"], key=lambda word: -abs(word[1]))[:_WORDS]
            for line, (word, score) in enumerate(words):
                colour = PALETTE["accent" if score >= 0 else "warn"]
                text = f"{score:+.2f}  {shorten(word, 22)}"
                axes.text(x + 2, y + 0.16 + 0.12 * line, text, color=colour, **style)
    return drawing


def _set_up(axes: Axes, width: float, height: float) -> None:
    """Makes axes a sheet of so many units, counted from the top left."""
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")


def _show(axes: Axes, jpeg: str | None, x: float, y: float, side: float) -> None:
    """Shows a JPEG in base64 within a square."""
    if jpeg is None:
        style = {"ha": "center", "va": "center", "fontsize": 8}
        axes.text(
            x + side / 2, y + side / 2, "no image", color=PALETTE["quiet"], **style
        )
        return
    pixels = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(jpeg))))
    height, width = (
        side * length / max(pixels.shape[:2]) for length in pixels.shape[:2]
    )
    top = y + (side - height) / 2
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(pixels, extent=(x, x + width, top + height, top))
    axes.set(xlim=limits[0], ylim=limits[1])  # `imshow` had set them to the image


def _wrap(text: str) -> str:
    wide = sum(ord(c) > 0x2E7F for c in text) > len(text) / 2
    columns = _TEXT_COLUMNS // 2 if wide else _TEXT_COLUMNS
    shown = "".join(c if c.isprintable() else " " for c in text)
    lines = textwrap.wrap(shown, columns, max_lines=_TEXT_LINES, placeholder=" …")
    return "\n".join(lines)
