"""Rows worth a look: confident mistakes, surprising rights, what is confused."""

import base64
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation import metrics
from tf_multimodal.evaluation.report.collect import BOTH, Collected
from tf_multimodal.evaluation.validation import MAX_CONFUSION_CLASSES

COUNT = 12  # rows of each list
THUMBNAIL_PX = 128  # the longer side
MAX_TEXT = 400  # characters of a text that is shown
TOP_CONFUSIONS = 40
CELL_EXAMPLES = 12
ALL_EXAMPLES = 600  # behind all cells: each has a picture in the page


def make_gallery(collected: Collected, count: int = COUNT) -> dict[str, Any]:
    """Returns the section `gallery`; of a group of near-duplicates one row is shown.

    Args:
        collected: the split.
        count: rows of each list, at most.

    Returns:
        `mistakes`: wrong rows, the most confident first; `surprises`: right ones, the
        least confident first; each a list of `position` and `confidence`. With label
        sets the confidence is that of the row's most confident wrong class, or of its
        least certain right one.
    """
    correct = collected.correct()
    counted = collected.weights > 0
    wrong_confidence, right_confidence = _measure_confidence(collected)
    mistakes = np.flatnonzero(~correct & counted)
    rights = np.flatnonzero(correct & counted)
    mistakes = mistakes[np.argsort(-wrong_confidence[mistakes], kind="stable")]
    rights = rights[np.argsort(right_confidence[rights], kind="stable")]

    def list_rows(positions: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
        kept = _keep_one_of_each_group(positions, collected.groups, count)
        return [{"position": i, "confidence": float(values[i])} for i in kept]

    return {
        "mistakes": list_rows(mistakes, wrong_confidence),
        "surprises": list_rows(rights, right_confidence),
        "mistakes_in_all": len(mistakes),
        "rights_in_all": len(rights),
    }


def make_confusion(collected: Collected) -> dict[str, Any]:
    """Returns the section `confusion`: counts, and the rows behind them.

    A row counts once, whatever its weight; one of weight 0 is left out.

    Args:
        collected: the split.

    Returns:
        `classes`; `counts`: int [c][c], row: the label, column: the prediction, or
        None beyond 40 classes; `cells`: of each cell with rows `label`, `prediction`
        (positions in `classes`), `count`, `share` of the label's rows and
        `positions`: at most 12 rows, the most confident first. `top`: the most
        frequent confusions, in the same form. Beyond 40 classes `cells` has no more
        than `top`. With label sets `not_available`: no row has one class alone.
    """
    if collected.multi_label:
        return {
            "not_available": "A row may have several labels here, so that no class is "
            "taken for one other class."
        }
    kept = collected.weights > 0
    counts = metrics.compute_confusion(
        collected.truth[kept], collected.logits[BOTH][kept]
    )
    totals = np.maximum(counts.sum(axis=1), 1)
    off_diagonal = counts.copy()
    np.fill_diagonal(off_diagonal, 0)
    order = np.argsort(-off_diagonal, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [divmod(int(flat), len(counts)) for flat in order]
    top_pairs = [(i, j) for i, j in pairs if off_diagonal[i, j]]
    is_small = len(counts) <= MAX_CONFUSION_CLASSES
    shown = list(zip(*np.nonzero(counts), strict=True)) if is_small else top_pairs
    positions = _find_positions(collected, [(int(i), int(j)) for i, j in shown])
    cells = {
        (i, j): {
            "label": i,
            "prediction": j,
            "count": int(counts[i, j]),
            "share": float(counts[i, j] / totals[i]),
            "positions": found,
        }
        for (i, j), found in positions.items()
    }
    return {
        "classes": list(collected.classes),
        "counts": counts.tolist() if is_small else None,
        "cells": list(cells.values()),
        "top": [cells[pair] for pair in top_pairs],
    }


def make_examples(
    collected: Collected, positions: Iterable[int]
) -> dict[int, dict[str, Any]]:
    """Returns what the report shows of rows, by position.

    Args:
        collected: the split.
        positions: of the rows; any order, repeated ones count once.

    Returns:
        For each `id`, `text` (at most 400 characters), `label`, `prediction`,
        `confidence`, `correct`, `status`, `file`, `row`, and `thumbnail`: a JPEG in
        base64, or None where the row has no usable image.
    """
    probabilities, correct = collected.probabilities(), collected.correct()
    examples = {}
    for position in sorted({int(position) for position in positions}):
        index = int(collected.index[position])
        source = collected.source
        picture = collected.get_thumbnail(position, THUMBNAIL_PX)
        prediction, confidence = _describe(collected, probabilities[position])
        examples[position] = {
            "id": clean_text(source.ids[index], 200),
            "text": clean_text(source.texts[index]),
            "label": _name_labels(collected, position),
            "prediction": prediction,
            "confidence": confidence,
            "correct": bool(correct[position]),
            "status": str(collected.status[position]),
            "file": clean_text(source.files[index], 200),
            "row": int(source.rows[index]),
            "thumbnail": base64.b64encode(picture).decode() if picture else None,
        }
    return examples


def clean_text(text: str | bytes, length: int = MAX_TEXT) -> str:
    """Returns a text on one line, cut, without what would disturb those around it.

    Control characters go, and lone surrogates, which UTF-8 cannot hold.
    """
    # A text may be a book.
    head = text[: 4 * length]
    if isinstance(head, bytes):
        head = head.decode("utf-8", "replace")
    shown = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(head)
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= length else shown[: length - 1].rstrip() + "…"


def _measure_confidence(collected: Collected) -> tuple[np.ndarray, np.ndarray]:
    """Returns, float [n] each, how sure a row is where wrong, and where right."""
    probabilities = collected.probabilities()
    if not collected.multi_label:
        confidence = probabilities.max(axis=1)
        return confidence, confidence
    said = probabilities >= spec.THRESHOLD
    certainty = np.where(said, probabilities, 1 - probabilities)
    wrong = said != (collected.truth > 0)
    return np.where(wrong, certainty, 0).max(axis=1), certainty.min(axis=1)


def _keep_one_of_each_group(
    positions: np.ndarray, groups: np.ndarray, count: int
) -> list[int]:
    """Returns the first `count` positions whose groups differ, in order."""
    kept: dict[Any, int] = {}
    for position in positions.tolist():
        if len(kept) == count:
            break
        kept.setdefault(groups[position], position)
    return list(kept.values())


def _describe(collected: Collected, row: np.ndarray) -> tuple[str, float]:
    """Returns the predicted classes of a row and the probability of the first."""
    if not collected.multi_label:
        best = int(row.argmax())
        return collected.classes[best], float(row[best])
    order = np.argsort(-row, kind="stable")
    names = [collected.classes[i] for i in order if row[i] >= spec.THRESHOLD]
    return ", ".join(names) or "(none)", float(row[order[0]])


def _name_labels(collected: Collected, position: int) -> str:
    truth = collected.truth[position]
    if not collected.multi_label:
        return collected.classes[int(truth)]
    return ", ".join(collected.classes[i] for i in np.flatnonzero(truth)) or "(none)"


def _find_positions(
    collected: Collected, pairs: list[tuple[int, int]]
) -> dict[tuple[int, int], list[int]]:
    """Returns the rows behind each cell, the most confident first, 600 in all.

    Every cell gets its first row before any gets its second.
    """
    predicted = collected.logits[BOTH].argmax(axis=1)
    confidence = collected.probabilities().max(axis=1)
    waiting: dict[tuple[int, int], list[int]] = {pair: [] for pair in pairs}
    order = np.argsort(-confidence, kind="stable")
    for position in order[collected.weights[order] > 0].tolist():
        pair = int(collected.truth[position]), int(predicted[position])
        if len(waiting.get(pair, range(CELL_EXAMPLES))) < CELL_EXAMPLES:
            waiting[pair].append(position)
    turns = sorted(
        (turn, place, pair)
        for place, (pair, found) in enumerate(waiting.items())
        for turn in range(len(found))
    )
    kept: dict[tuple[int, int], list[int]] = {pair: [] for pair in pairs}
    for turn, _, pair in turns[:ALL_EXAMPLES]:
        kept[pair].append(waiting[pair][turn])
    return kept
