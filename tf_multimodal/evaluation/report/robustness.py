"""Accuracy where images are corrupted and texts are damaged."""

import dataclasses
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import PIL.Image

from tf_multimodal.data.columns import LazyColumn
from tf_multimodal.evaluation import bootstrap, label_set_metrics
from tf_multimodal.evaluation.report import corruptions, presence, text_damage
from tf_multimodal.evaluation.report.collect import Collected
from tf_multimodal.inference.predictor import make_source

MAX_ROWS = 300
_SAMPLES = 2_000  # of the bootstrap, for each of some fifty intervals


@dataclasses.dataclass(frozen=True)
class _Trial:
    """A damage to all rows.

    Attributes:
        kind: `image`, `text`, or neither.
        name: of the damage.
        setting: its strength, for the reader.
        texts: of the rows.
        level: of the corruption of images; None: they stay as they are.
    """

    kind: str
    name: str
    setting: str
    texts: Sequence[str]
    level: corruptions.Level | None = None


def make_robustness(
    collected: Collected, max_rows: int = MAX_ROWS, seed: int = 0
) -> dict[str, Any]:
    """Returns the section `robustness`: accuracy under damage, and what it loses.

    Each image is decoded, scaled down to a shorter side of 224 pixels, or of the
    model's own size where that is more, and corrupted before the model's resize; the
    clean accuracy is of the same images, not corrupted. An image or a text that a row
    does not have stays missing. `drop` is clean less damaged, of the same rows, with
    the paired interval by group.

    Args:
        collected: the split.
        max_rows: rows that are used, drawn evenly where there are more.
        seed: of the draw and of the damage; that to a row depends on no other row, but
            for the wrong captions.
    """
    rows = _choose_rows(collected, max_rows, seed)
    trials = list(_list_trials(collected, rows, seed))
    clean, *damaged = _predict(collected, rows, trials, seed)
    found: dict[str, dict[str, list[Any]]] = {"image": {}, "text": {}}
    for trial, correct in zip(trials[1:], damaged, strict=True):
        drop = _average(collected, rows, clean.astype(np.float64) - correct)
        levels = found[trial.kind].setdefault(trial.name, [])
        levels.append(
            {
                "severity": len(levels) + 1,
                "setting": trial.setting,
                **_average(collected, rows, correct),
                "drop": drop["accuracy"],
                "drop_interval": drop["interval"],
            }
        )
    return {
        "count": len(rows),
        "of": len(collected),
        "seed": seed,
        "clean": _average(collected, rows, clean),
        **{
            kind: [{"name": name, "levels": levels} for name, levels in kinds.items()]
            for kind, kinds in found.items()
        },
        "notes": _make_notes(collected, rows),
    }


def _choose_rows(collected: Collected, max_rows: int, seed: int) -> np.ndarray:
    """Returns positions of rows that count, in order, int64."""
    counted = np.flatnonzero(collected.weights > 0)
    if len(counted) <= max_rows:
        return counted
    return np.sort(np.random.default_rng(seed).choice(counted, max_rows, replace=False))


def _list_trials(collected: Collected, rows: np.ndarray, seed: int) -> Iterator[_Trial]:
    """Yields the clean rows, and then each damage that the model can meet."""
    every = presence.get_texts(collected)
    texts = [every[row] for row in rows.tolist()]
    yield _Trial("", "", "", texts)
    if collected.modalities != "text":
        for name, image_levels in corruptions.CORRUPTIONS.items():
            for image_level in image_levels:
                setting = image_level.setting
                yield _Trial("image", name, setting, texts, image_level)
    if collected.modalities == "image":
        return
    for name, levels in text_damage.DAMAGES.items():
        for level in levels:
            damaged = [
                level.apply(text, _make_random(collected, row, seed, name, level))
                for row, text in zip(rows.tolist(), texts, strict=True)
            ]
            yield _Trial("text", name, level.setting, damaged)
    others = text_damage.choose_wrong_rows(
        collected.truth[rows],
        np.array([bool(text.strip()) for text in texts], bool),
        np.random.default_rng(seed),
    )
    wrong = [
        texts[other] if text.strip() and other >= 0 else text
        for text, other in zip(texts, others.tolist(), strict=True)
    ]
    yield _Trial("text", "wrong caption", "of a row of another class", wrong)
    yield _Trial("text", "no text", "all texts empty", [""] * len(rows))


def _predict(
    collected: Collected, rows: np.ndarray, trials: Sequence[_Trial], seed: int
) -> np.ndarray:
    """Returns, bool [trials, rows], which are right."""
    images = _read_images(collected, rows)

    def get_image(place: int) -> bytes:
        number, row = divmod(place, len(rows))
        pixels, level = images[row], trials[number].level
        if pixels is None:
            return b""
        if level is None:
            return _encode(pixels)
        name = trials[number].name
        random = _make_random(collected, int(rows[row]), seed, name, level)
        return _encode(level.apply(pixels, random))

    texts = [text for trial in trials for text in trial.texts]
    # One pass, whose images are made while the model works on those before.
    source = dataclasses.replace(
        make_source([None] * len(texts), texts),
        images=LazyColumn(len(texts), get_image),
    )
    found = collected.predictor.predict_source(source).probabilities
    truth = np.concatenate([collected.truth[rows]] * len(trials))
    if collected.multi_label:
        correct = label_set_metrics.find_correct(truth, found)
    else:
        correct = found.argmax(axis=1) == truth
    return correct.reshape(len(trials), len(rows))


def _read_images(collected: Collected, rows: np.ndarray) -> list[np.ndarray | None]:
    """Returns pixels uint8 [h, w, 3], scaled down; None where there is no image."""
    if collected.modalities == "text":
        return [None] * len(rows)
    usable, side_px = presence.find_images(collected), _find_side(collected)
    return [
        _shrink(collected.read_image(row), side_px) if usable[row] else None
        for row in rows.tolist()
    ]


def _find_side(collected: Collected) -> int:
    """Returns the shorter side, in pixels, that images are scaled down to."""
    own = collected.predictor.preprocessor.image_size_px
    return max(corruptions.REFERENCE_PX, own)


def _shrink(pixels: np.ndarray | None, side_px: int) -> np.ndarray | None:
    if pixels is None or min(pixels.shape[:2]) <= side_px:
        return pixels
    factor = side_px / min(pixels.shape[:2])
    height, width = (round(side * factor) for side in pixels.shape[:2])
    picture = PIL.Image.fromarray(pixels)
    return np.array(picture.resize((width, height), PIL.Image.Resampling.BOX))


def _encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "BMP")  # the fastest that loses nothing
    return buffer.getvalue()


def _make_random(
    collected: Collected, row: int, seed: int, name: str, level: Any
) -> np.random.Generator:
    """Returns random numbers of a row and a damage, whatever else is drawn."""
    kind = zlib.crc32(f"{name} {level.setting}".encode())
    return np.random.default_rng([seed, kind, int(collected.index[row])])


def _average(
    collected: Collected, rows: np.ndarray, values: np.ndarray
) -> dict[str, Any]:
    """Returns `accuracy`, a mean over the rows, and its `interval`, by group."""
    mean, low, high = bootstrap.bootstrap_mean(
        values,
        collected.groups[rows],
        _SAMPLES,
        weights=collected.weights[rows].astype(np.float64),
    )
    return {"accuracy": mean / 100, "interval": [low / 100, high / 100]}


def _make_notes(collected: Collected, rows: np.ndarray) -> list[str]:
    notes = []
    if len(rows) < len(collected):
        notes.append(
            f"Measured on {len(rows)} of {len(collected)} rows, so that the clean "
            "accuracy differs from that of all."
        )
    for kind, find in (("image", presence.find_images), ("text", presence.find_texts)):
        missing = len(rows) - int(find(collected)[rows].sum())
        if missing and kind in collected.modalities.split("_"):
            notes.append(
                f"{missing} of the rows have no usable {kind}; it stays missing."
            )
    if collected.modalities != "text":
        notes.append(
            f"Images are scaled down to a shorter side of {_find_side(collected)} "
            "pixels, then corrupted; strengths are severities 1, 3 and 5 of Hendrycks "
            "and Dietterich 2019."
        )
    return notes
