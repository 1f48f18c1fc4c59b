"""Pictures of an evaluation, as PNG files or, while a run trains, as pixels."""

import collections
import contextlib
import hashlib
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tf_multimodal.data import atomic_file, spec
from tf_multimodal.evaluation import scores
from tf_multimodal.inference.figure_fonts import make_text_settings

if TYPE_CHECKING:
    from tf_multimodal.data.source import Source
    from tf_multimodal.inference.predictions import Predictions

_DPI = 130  # of files
_SCREEN_DPI = 80  # of pixels for TensorBoard, which keeps them all
_COLUMNS = 4  # of the examples
_SEARCHED_ROWS = 20_000  # for examples, evenly spread; more take seconds
_CLASSES_SHOWN = 3  # of an example that has several, the most probable ones
_RIGHT, _WRONG = "#1a7f37", "#b3261e"
_TRAIN, _VALIDATION = "#7a8699", "#1f5fbf"
_COUNTED_CLASSES = 25  # more do not leave room for a count in each cell
_NAMED_CLASSES = 60  # more do not leave room for their names


def plot_curves(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draws loss and accuracy over the epochs.

    Args:
        history: lines of metrics.jsonl; keys that a line lacks leave a gap.
        path: the PNG file.
    """
    with _draw(path, (9.0, 3.6)) as figure:
        axes = figure.subplots(1, 2)
        for axis, key in zip(axes, ("loss", "accuracy"), strict=True):
            for prefix, name, color in (
                ("", "training", _TRAIN),
                ("val_", "validation", _VALIDATION),
            ):
                points = [
                    (line.get("epoch", i), line[prefix + key])
                    for i, line in enumerate(history)
                    if line.get(prefix + key) is not None
                ]
                marker = "o" if len(points) < 2 else None
                axis.plot(
                    *(zip(*points, strict=True) if points else ((), ())),
                    color=color,
                    label=name,
                    marker=marker,
                )
            axis.set_xlabel("epoch")
            axis.set_title(key, loc="left")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
        axes[1].legend(frameon=False, loc="lower right")


def plot_confusion(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], path: str | Path
) -> None:
    """Draws the confusion matrix: counts, coloured by the share of the label's rows.

    Args:
        confusion: int [c, c]; row: the label, column: the prediction.
        classes: names of the classes.
        path: the PNG file.
    """
    with _draw(path, _measure_confusion(classes)) as figure:
        _fill_confusion(figure, confusion, classes)


def render_confusion(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> np.ndarray:
    """Returns what `plot_confusion` draws as pixels, uint8 [h, w, 3]."""
    with _make_figure(_measure_confusion(classes)) as figure:
        _fill_confusion(figure, confusion, classes)
        return _rasterise(figure)


def _measure_confusion(classes: Sequence[str]) -> tuple[float, float]:
    side = min(14.0, 2.8 + 0.42 * len(classes))
    return side + 1.2, side


def _fill_confusion(
    figure: Figure, confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> None:
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xlabel("prediction")
    axis.set_ylabel("label")
    if len(classes) <= _NAMED_CLASSES:
        names = [_clean(name, 24) for name in classes]
        size = 9 if len(classes) <= _COUNTED_CLASSES else 6
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
        axis.set_yticks(range(len(names)), names, fontsize=size)
    if len(classes) <= _COUNTED_CLASSES:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[i, j] > 0.6 else "black"
                axis.text(
                    j, i, count, ha="center", va="center", color=color, fontsize=8
                )
    bar = figure.colorbar(picture, ax=axis, fraction=0.046, pad=0.03)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    bar.set_label("share of the label's pairs")


def plot_examples(
    source: "Source", predictions: "Predictions", path: str | Path, count: int = 8
) -> None:
    """Draws a few pairs with label, prediction and confidence.

    Args:
        source: the rows, with labels.
        predictions: of some of its rows.
        path: the PNG file.
        count: number of pairs; fewer where there are fewer.
    """
    chosen = choose_examples(source, predictions, count)
    images = [source.images[int(predictions.index[place])] for place in chosen]
    with _draw(path, _measure_examples(len(chosen))) as figure:
        pixels = [read_image(image) for image in images]
        _fill_examples(figure, source, predictions, chosen, pixels)


def render_examples(
    source: "Source", predictions: "Predictions", images: Sequence[np.ndarray | None]
) -> np.ndarray:
    """Draws all of some pairs with label, prediction and confidence.

    Args:
        source: the rows, with labels.
        predictions: of some of its rows, all of which are drawn.
        images: pixels uint8 [h, w, 3] of each; None where there is no usable image.

    Returns:
        uint8 [h, w, 3].
    """
    chosen = list(range(len(predictions)))
    with _make_figure(_measure_examples(len(chosen))) as figure:
        _fill_examples(figure, source, predictions, chosen, images)
        return _rasterise(figure)


def _measure_examples(count: int) -> tuple[float, float]:
    return 2.9 * _COLUMNS, 3.9 * -(-count // _COLUMNS)


def _fill_examples(
    figure: Figure,
    source: "Source",
    predictions: "Predictions",
    chosen: Sequence[int],
    images: Sequence[np.ndarray | None],
) -> None:
    axes = figure.subplots(-(-len(chosen) // _COLUMNS), _COLUMNS, squeeze=False).ravel()
    correct = scores.find_correct(source, predictions)
    for axis in axes:
        axis.set_axis_off()
    for axis, position, image in zip(axes, chosen, images, strict=False):
        index = int(predictions.index[position])
        _show_image(axis, image)
        axis.set_title(_clean(source.texts[index], 90) or "(no text)", fontsize=9.5)
        is_right = bool(correct[position])
        axis.text(
            0.5,
            -0.04,
            _describe_prediction(source, predictions, position, is_right),
            ha="center",
            va="top",
            fontsize=10.5,
            color=_RIGHT if is_right else _WRONG,
        )


def _describe_prediction(
    source: "Source", predictions: "Predictions", position: int, is_right: bool
) -> str:
    """Returns the predicted classes with their probabilities, and missed labels."""
    probabilities = predictions.probabilities[position]
    index = int(predictions.index[position])
    if predictions.multi_label:
        chosen = np.flatnonzero(predictions.label_sets[position])
        chosen = chosen[np.argsort(-probabilities[chosen], kind="stable")]
        labels = np.flatnonzero(source.get_truth(np.array([index]))[0])
    else:
        chosen = predictions.labels[[position]]
        labels = source.labels[[index]]
    lines = [
        f"{_clean(source.classes[i], 30)}  {probabilities[i]:.0%}"
        for i in chosen[:_CLASSES_SHOWN]
    ]
    if len(chosen) > _CLASSES_SHOWN:
        lines.append(f"and {len(chosen) - _CLASSES_SHOWN} more")
    lines = lines or ["(none)"]
    if not is_right:
        names = ", ".join(source.classes[i] for i in labels) or "(none)"
        lines.append(f"label: {_clean(names, 30 if len(labels) < 2 else 60)}")
    return "\n".join(lines)


def choose_examples(
    source: "Source", predictions: "Predictions", count: int
) -> list[int]:
    """Returns positions of pairs to show, always the same: right ones, then wrong.

    Three in eight are wrong, where there are so many, and as many classes as
    possible take part; beyond that chance decides, by a hash of the ids.

    Args:
        source: the rows, with labels.
        predictions: of some of its rows.
        count: number of pairs.
    """
    labels = source.labels[predictions.index]
    is_right = scores.find_correct(source, predictions)
    ids = source.ids[predictions.index]
    right = _mix_classes(np.flatnonzero(is_right), labels, ids)
    wrong = _mix_classes(np.flatnonzero(~is_right), labels, ids)
    num_wrong = min(len(wrong), max(count * 3 // 8, count - len(right)))
    return right[: count - num_wrong] + wrong[:num_wrong]


def choose_rows(source: "Source", indices: np.ndarray, count: int) -> np.ndarray:
    """Returns rows to show whatever their predictions, of as many classes as possible.

    Args:
        source: the rows, with labels.
        indices: int64 [n], those to choose from.
        count: number of rows; fewer where there are fewer.

    Returns:
        int64 [count], ascending.
    """
    indices = indices[:: -(-len(indices) // _SEARCHED_ROWS) or 1]
    positions = np.arange(len(indices))
    mixed = _mix_classes(positions, source.labels[indices], source.ids[indices])
    return np.sort(indices[mixed[:count]])


def _mix_classes(
    positions: np.ndarray, labels: np.ndarray, ids: np.ndarray
) -> list[int]:
    """Returns one position of every class, then a second one of every class, ..."""

    def get_digest(position: int) -> str:
        return hashlib.sha256(f"examples {ids[position]}".encode()).hexdigest()

    seen: collections.Counter[int] = collections.Counter()
    turns = {}
    for position in sorted(positions.tolist(), key=get_digest):
        turns[position] = seen[labels[position]]
        seen[labels[position]] += 1
    return sorted(turns, key=turns.__getitem__)


@contextlib.contextmanager
def _draw(path: str | Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Gives a figure to draw on, of a size in inches, and writes it to `path`."""
    with _make_figure(size) as figure:
        yield figure
        with atomic_file.write_atomically(path) as temporary:
            figure.savefig(temporary, dpi=_DPI, bbox_inches="tight", pad_inches=0.12)


@contextlib.contextmanager
def _make_figure(size: tuple[float, float]) -> Iterator[Figure]:
    """Gives a figure of a size in inches, and how it is to look while drawn."""
    with matplotlib.rc_context(make_text_settings()), warnings.catch_warnings():
        # A script without a font is drawn as boxes; that is no one's mistake.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _rasterise(figure: Figure) -> np.ndarray:
    """Returns the figure's pixels, uint8 [h, w, 3]."""
    figure.set_dpi(_SCREEN_DPI)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def read_image(
    image: bytes | str, max_image_px: int = spec.MAX_IMAGE_PX
) -> np.ndarray | None:
    """Returns pixels uint8 [h, w, 3], upright; None where there is no usable image.

    Args:
        image: encoded, or the path of a file; empty: there is none.
        max_image_px: limit on width times height.
    """
    import tensorflow as tf

    from tf_multimodal.data import decode, files

    if not len(image):
        return None
    try:
        content = files.read_file(image) if isinstance(image, str) else image
        return decode.decode_image(tf.constant(content), max_image_px).numpy()
    except (OSError, ValueError, tf.errors.OpError):
        return None


def _show_image(axis: Any, image: np.ndarray | None) -> None:
    """Draws an image into the middle of a framed square, 0 to 1 both ways."""
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor="#d0d5dd"))
    if image is None:
        axis.text(0.5, 0.5, "no image", ha="center", va="center", color="grey")
        return
    height, width = (0.48 * side / max(image.shape[:2]) for side in image.shape[:2])
    extent = (0.5 - width, 0.5 + width, 0.5 - height, 0.5 + height)
    axis.imshow(image, extent=extent, aspect="equal")
    axis.set(xlim=(0, 1), ylim=(0, 1))  # `imshow` had set them to the image


def _clean(text: str, width: int) -> str:
    """Returns the text in at most three lines, `width` columns in all.

    Characters that cannot be drawn are left out; wide ones count twice.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    share = 2 if wide > len(text) / 2 else 1
    columns = min(width, 30) // share
    lines = textwrap.wrap(text, columns, max_lines=-(-width // 30), placeholder=" …")
    return "\n".join(lines)
