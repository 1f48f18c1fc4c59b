"""What an audit found, and the rows that it found it in."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_multimodal.data.source import Source

SHOWN_CHARS = 200  # of a text
NAMED = 1000  # rows of a finding that the JSON report lists
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A kind of trouble.

    Attributes:
        kind: its key in the report, e.g. `tiny_image`.
        title: what it is, e.g. `Tiny images: a side of less than 32 px`.
        count: rows that have it.
        rows: the first of them, as `describe_rows` makes them.
        indices: their positions in the source; none of rows that are not in it.
    """

    kind: str
    title: str
    count: int
    rows: tuple[dict[str, Any], ...]
    indices: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the finding without positions, which mean nothing outside."""
        return {
            "kind": self.kind,
            "title": self.title,
            "count": self.count,
            "rows": list(self.rows),
        }


def make_finding(
    source: Source,
    kind: str,
    title: str,
    indices: np.ndarray,
    notes: dict[int, str] | None = None,
) -> Finding:
    """Returns a finding in rows of a source.

    Args:
        source: the rows.
        kind, title: as `Finding` has them.
        indices: int64 [n], positions of the rows; each counts once.
        notes: what there is to say of some rows, by position.
    """
    indices = np.unique(indices)
    first = tuple(indices[:NAMED].tolist())
    rows = describe_rows(source, first)
    for index, row in zip(first, rows, strict=True):
        row["note"] = (notes or {}).get(index, "")
    return Finding(kind, title, len(indices), tuple(rows), first)


def describe_rows(source: Source, indices: Sequence[int]) -> list[dict[str, Any]]:
    """Returns row, id, file, split, label and text of rows, and room for a note."""
    return [
        {
            "row": int(source.rows[index]),
            "id": str(source.ids[index]),
            "file": str(source.files[index]),
            "split": str(source.splits[index]),
            "label": ", ".join(source.classes[i] for i in list_labels(source, index)),
            "text": str(source.texts[index])[:SHOWN_CHARS],
            "note": "",
        }
        for index in indices
    ]


def list_labels(source: Source, index: int) -> list[int]:
    """Returns the labels of a row: one, several or none."""
    if source.label_sets is not None:
        offsets = source.label_sets.offsets
        values = source.label_sets.values[offsets[index] : offsets[index + 1]]
        return values.tolist()
    label = int(source.labels[index])
    return [label] if label >= 0 else []


def compute_percentiles(values: np.ndarray) -> dict[str, float]:
    """Returns the percentiles of numbers by name; none of no numbers."""
    if not len(values):
        return {}
    found = np.percentile(values, PERCENTILES, method="nearest")
    names = ("smallest", *(f"{p} %" for p in PERCENTILES[1:-1]), "largest")
    return {name: float(value) for name, value in zip(names, found, strict=True)}
