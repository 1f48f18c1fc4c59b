"""Predictions as rows of a JSONL or CSV file."""

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tf_multimodal.data import atomic_file
from tf_multimodal.data.source import Source
from tf_multimodal.inference.predictions import Predictions

SUFFIXES = (".jsonl", ".csv")
SEPARATOR = "|"  # between the classes of a multi-label cell, as in a manifest
_ROWS_AT_ONCE = 4096  # read from the source
_DIGITS = 8  # after the decimal point; float32 holds no more


class RowWriter(Protocol):
    """Takes the rows of a file, one by one."""

    def write(self, row: dict[str, Any]) -> None:
        """Writes one row of `make_rows`."""


def check_suffix(path: str | Path) -> None:
    """Raises ValueError unless the name says JSONL or CSV."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"The output's name must end in {' or '.join(SUFFIXES)}, which chooses "
            f"the format. Received: {str(path)!r}"
        )


def make_rows(
    source: Source,
    predictions: Predictions,
    classes: Sequence[str],
    with_labels: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yields a row for every prediction, in order.

    A row that gave the model nothing to go by has no prediction: None. Multi-label,
    `prediction`, `probability` and `label` are lists, the most probable class first,
    which are empty where there is none.

    Args:
        source: the rows that were predicted.
        predictions: of the source's rows.
        classes: names of the classes.
        with_labels: adds `label`, the true class.
    """
    for start in range(0, len(predictions), _ROWS_AT_ONCE):
        index = predictions.index[start : start + _ROWS_AT_ONCE]
        columns = (source.ids, source.rows, source.files, source.texts)
        cells = zip(*(column[index] for column in columns), strict=True)
        truth = source.get_truth(index) if with_labels else None
        for offset, (identity, number, file, text) in enumerate(cells):
            row = {
                "id": str(identity),
                "row": int(number),
                "file": str(file),
                "text": _show_text(text),
            }
            if truth is not None:
                row["label"] = _name_labels(truth[offset], classes)
            yield row | _describe_prediction(predictions, start + offset, classes)


def _name_labels(label: Any, classes: Sequence[str]) -> str | list[str]:
    """Returns the name of a label, or those of a label set."""
    if np.ndim(label):
        return [classes[i] for i in np.flatnonzero(label).tolist()]
    return classes[int(label)]


def _describe_prediction(
    predictions: Predictions, position: int, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns the columns of one prediction."""
    status = {"status": predictions.status[position]}
    if not predictions.usable[position]:
        empty = dict.fromkeys(("prediction", "probability", "probabilities"))
        return empty | status
    scores = [round(float(p), _DIGITS) for p in predictions.probabilities[position]]
    prediction: Any
    probability: Any
    if predictions.multi_label:
        chosen = np.flatnonzero(predictions.label_sets[position]).tolist()
        chosen.sort(key=lambda i: -scores[i])
        prediction = [classes[i] for i in chosen]
        probability = [scores[i] for i in chosen]
    else:
        best = int(predictions.labels[position])
        prediction, probability = classes[best], scores[best]
    return {
        "prediction": prediction,
        "probability": probability,
        "probabilities": dict(zip(classes, scores, strict=True)),
    } | status


def _show_text(text: bytes | str) -> str:
    """Returns a text as str; what is not UTF-8 in it becomes U+FFFD."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


@contextlib.contextmanager
def write_rows(path: str | Path, classes: Sequence[str]) -> Iterator[RowWriter]:
    """Gives a writer; the file appears, complete, when the block ends well.

    Args:
        path: ends in `.jsonl` or `.csv`. A CSV file has a column `p_CLASS` for
            every class in place of `probabilities`, and lists joined by `|`.
        classes: names of the classes.

    Raises:
        ValueError: the name ends otherwise.
    """
    check_suffix(path)
    as_csv = Path(path).suffix.lower() == ".csv"
    with atomic_file.write_atomically(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            yield _CsvWriter(file, classes) if as_csv else _JsonlWriter(file)


class _JsonlWriter:
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _CsvWriter:
    def __init__(self, file: Any, classes: Sequence[str]) -> None:
        self._classes = classes
        columns = ["id", "row", "file", "text", "prediction", "probability"]
        columns += [f"p_{name}" for name in classes]
        self._writer = csv.DictWriter(file, [*columns, "status"])
        self._writer.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        scores = row["probabilities"] or {}
        cells = {
            key: SEPARATOR.join(map(str, cell)) if isinstance(cell, list) else cell
            for key, cell in row.items()
            if key != "probabilities"
        }
        cells |= {f"p_{name}": scores.get(name) for name in self._classes}
        self._writer.writerow(cells)
