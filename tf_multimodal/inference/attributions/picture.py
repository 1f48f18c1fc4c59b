"""Pictures of explanations: heat maps over images, words with bars."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tf_multimodal.data import atomic_file
from tf_multimodal.inference.figure_fonts import make_text_settings

if TYPE_CHECKING:
    from tf_multimodal.inference.attributions.explanation import (
        Explanation,
        WordScore,
    )

FOR, AGAINST = "#1f5fbf", "#b3261e"  # the class
_IMAGE, _TEXT, _OTHER = "#e08214", "#1f5fbf", "#c3cad5"
_STRENGTH = 0.65  # of the heat map where it is 1
_CLASSES, _WORDS = 8, 24  # shown
_NAME_LENGTH = 24


def make_overlay(picture: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Lays a heat map over its picture; where it is 0 the picture shows through.

    Args:
        picture: uint8 [h, w, 3].
        heat_map: float [h, w], 0 to 1.

    Returns:
        uint8 [h, w, 3].
    """
    colours = matplotlib.colormaps["turbo"](heat_map)[..., :3] * 255
    share = _STRENGTH * np.asarray(heat_map)[..., np.newaxis]
    return np.rint((1 - share) * picture + share * colours).astype(np.uint8)


def draw_explanation(explanation: "Explanation", classes: Sequence[str]) -> Figure:
    """Draws image, heat map, probabilities, words and shares of the modalities.

    Args:
        explanation: of one row.
        classes: names of the classes.
    """
    with matplotlib.rc_context(make_text_settings()):
        words = choose_words(explanation.words, _WORDS)
        height = 4.2 + 0.24 * max(len(words), 4)
        figure = Figure(figsize=(10.0, height), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(
            2, 3, height_ratios=(3.0, height - 3.6), width_ratios=(1, 1, 1.2)
        )
        name = _shorten(classes[explanation.target])
        probability = explanation.probabilities[explanation.target]
        figure.suptitle(f"{name}  {probability:.1%}", fontsize=14, x=0.02, ha="left")
        _draw_images(figure, grid, explanation)
        _draw_probabilities(figure.add_subplot(grid[0, 2]), explanation, classes)
        _draw_words(figure.add_subplot(grid[1, :2]), explanation, words, name)
        _draw_shares(figure.add_subplot(grid[1, 2]), explanation)
    return figure


def write_explanation(
    explanation: "Explanation", classes: Sequence[str], path: str | Path
) -> None:
    """Writes what `draw_explanation` draws as a PNG file."""
    figure = draw_explanation(explanation, classes)
    with atomic_file.write_atomically(path) as temporary, warnings.catch_warnings():
        # A script without a font is drawn as boxes; that is no one's mistake.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not")
        figure.savefig(temporary, format="png", dpi=130)


def choose_words(words: Sequence["WordScore"], count: int) -> list["WordScore"]:
    """Returns the words of the largest scores, either way, in the text's order."""
    order = sorted(range(len(words)), key=lambda i: -abs(words[i].score))
    return [words[i] for i in sorted(order[:count])]


def _draw_images(figure: Figure, grid: Any, explanation: "Explanation") -> None:
    picture, heat_map = explanation.picture, explanation.heat_map
    left, right = (figure.add_subplot(grid[0, column]) for column in (0, 1))
    for axis in (left, right):
        axis.set_axis_off()
    if picture is None or heat_map is None:
        left.text(0.5, 0.5, "no image", ha="center", va="center", color="grey")
        return
    left.imshow(picture)
    left.set_title("what the network saw", loc="left", fontsize=10)
    right.imshow(make_overlay(picture, heat_map))
    found = "what speaks for it" if heat_map.any() else "nothing here speaks for it"
    right.set_title(found, loc="left", fontsize=10)


def _draw_probabilities(
    axis: Any, explanation: "Explanation", classes: Sequence[str]
) -> None:
    probabilities = explanation.probabilities
    order = np.argsort(-probabilities, kind="stable")[:_CLASSES].tolist()
    if explanation.target not in order:
        order[-1] = explanation.target
    names = [_shorten(classes[i]) for i in order]
    colours = [FOR if i == explanation.target else _OTHER for i in order]
    places = range(len(order))
    axis.barh(places, probabilities[order], color=colours)
    for place, i in zip(places, order, strict=True):
        axis.text(
            probabilities[i] + 0.02, place, f"{probabilities[i]:.1%}", va="center"
        )
    axis.set_yticks(places, names)
    axis.set_xlim(0, 1.25)
    axis.set_xticks([])
    axis.invert_yaxis()
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title("probabilities", loc="left", fontsize=10)


def _draw_words(
    axis: Any, explanation: "Explanation", words: list["WordScore"], name: str
) -> None:
    if not words:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no text", ha="center", va="center", color="grey")
        return
    scores = [word.score for word in words]
    colours = [FOR if score >= 0 else AGAINST for score in scores]
    places = range(len(words))
    axis.barh(places, scores, color=colours)
    axis.set_yticks(places, [_shorten(word.text) for word in words])
    for label, colour in zip(axis.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.margins(x=0.1)
    axis.invert_yaxis()
    axis.spines[["top", "right", "left"]].set_visible(False)
    left_out = len(explanation.words) - len(words)
    title = f"words for (right) and against {name}, in logits"
    if left_out:
        title += f"; {left_out} weaker ones left out"
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel(f"sum is off by {explanation.completeness_gap:.2%}", fontsize=9)


def _draw_shares(axis: Any, explanation: "Explanation") -> None:
    image, text = explanation.image_share, explanation.text_share
    if image is None or text is None:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "nothing to go by", ha="center", va="center", color="grey")
        return
    axis.barh([0, 1], [image, text], color=[_IMAGE, _TEXT])
    axis.set_yticks([0, 1], [f"image {image:.0%}", f"text {text:.0%}"])
    axis.set_xlim(0, 1)
    axis.set_ylim(3.5, -0.6)  # bars as thick as those beside them
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    axis.xaxis.tick_top()
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title("share of the answer", loc="left", fontsize=10)


def _shorten(name: str) -> str:
    """Returns what can be drawn of a name, on one short line."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
