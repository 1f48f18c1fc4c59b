"""Predictions as rows of a JSONL or CSV file."""

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tf_multimodal.data import atomic_file
from tf_multimodal.data.source import Source
from tf_multimodal.inference.predictions import Predictions

SUFFIXES = (".jsonl", ".csv")
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

    A row that gave the model nothing to go by has no prediction: None.

    Args:
        source: the rows that were predicted.
        predictions: of the source's rows.
        classes: names of the classes.
        with_labels: adds `label`, the true class.
    """
    for position, index in enumerate(predictions.index):
        row = {
            "id": str(source.ids[index]),
            "row": int(source.rows[index]),
            "file": str(source.files[index]),
            "text": _show_text(source.texts[index]),
        }
        if with_labels:
            row["label"] = classes[source.labels[index]]
        scores = [round(float(p), _DIGITS) for p in predictions.probabilities[position]]
        best = int(predictions.labels[position])
        usable = bool(predictions.usable[position])
        yield row | {
            "prediction": classes[best] if usable else None,
            "probability": scores[best] if usable else None,
            "probabilities": dict(zip(classes, scores, strict=True))
            if usable
            else None,
            "status": predictions.status[position],
        }


def _show_text(text: bytes | str) -> str:
    """Returns a text as str; what is not UTF-8 in it becomes U+FFFD."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


@contextlib.contextmanager
def write_rows(path: str | Path, classes: Sequence[str]) -> Iterator[RowWriter]:
    """Gives a writer; the file appears, complete, when the block ends well.

    Args:
        path: ends in `.jsonl` or `.csv`. A CSV file has a column `p_CLASS` for
            every class in place of `probabilities`.
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
        cells = {k: v for k, v in row.items() if k != "probabilities"}
        cells |= {f"p_{name}": scores.get(name) for name in self._classes}
        self._writer.writerow(cells)
