"""The rows of a data set, whatever they were read from."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.quoting import shorten


class Column(Protocol):
    """Values of the rows by position; an object array is one, too.

    What is large stays on disk: a column holds what was asked for, no more.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any:
        """Returns the value at an int, or an object array of those at an int array."""

    def __iter__(self) -> Iterator[Any]: ...


class LeftOutRow(NamedTuple):
    """A row that a source has and that is not among its rows; the reason says why."""

    file: str  # the source's, or the image's as written
    row: int
    id: str
    reason: str
    status: str = spec.UNUSABLE_ROW  # or of one cell, such as `unusable_label`


class Part(NamedTuple):
    """A part of a mixture: rows `start` to `stop`, drawn with this weight."""

    name: str
    weight: float
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """The labels of rows that may have several, or none.

    Attributes:
        offsets: int64 [n + 1]; row i has `values[offsets[i]:offsets[i + 1]]`.
        values: int32, labels.
        num_classes: how many classes there are.
    """

    offsets: np.ndarray
    values: np.ndarray
    num_classes: int

    def get(self, indices: np.ndarray) -> np.ndarray:
        """Returns float32 [len(indices), num_classes]: 1 where a row has the label."""
        matrix = np.zeros((len(indices), self.num_classes), np.float32)
        for place, index in enumerate(indices):
            start, stop = self.offsets[index], self.offsets[index + 1]
            matrix[place, self.values[start:stop]] = 1.0
        return matrix


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows with random access: encoded images (or their paths) and texts.

    Attributes:
        name: shown in messages, e.g. `pairs.csv` or `openclipart/1.0.0`.
        classes: names of the classes; label `i` is `classes[i]`.
        images: column; encoded bytes, or the path of a file as str; empty where a row
            has no image.
        texts: column of str, or of bytes where a text is not UTF-8; empty where a row
            has no text. With captions: the first one that is not empty.
        labels: int32 [n]; -1 where the label is not known. With label sets: the first
            label of each, or -1.
        weights: float32 [n], at least 0.
        ids: column of str, unique.
        groups: column of str; rows of a group never cross splits.
        splits: object [n] of str, `train`, `validation` or `test`.
        files: column of str, for messages: the image's file as written.
        rows: int64 [n], for messages: line of the manifest, or position.
        captions: column of tuples of str, one for each of `caption_names`; empty
            where a row lacks one. None: there is one text a row.
        caption_names: where the captions come from, e.g. their columns.
        label_sets: None where a row has one label.
        left_out: rows that were read and cannot be used.
        excluded: how many rows the class map leaves out.
        parts: of a mixture; they cover the rows. Empty: no mixture.
        fingerprint: a hash over ids, texts and images; empty: not known, as where one
            of these was replaced.
    """

    name: str
    classes: tuple[str, ...]
    images: Column
    texts: Column
    labels: np.ndarray
    weights: np.ndarray
    ids: Column
    groups: Column
    splits: np.ndarray
    files: Column
    rows: np.ndarray
    captions: Column | None = None
    caption_names: tuple[str, ...] = ()
    label_sets: LabelSets | None = None
    left_out: tuple[LeftOutRow, ...] = ()
    excluded: int = 0
    parts: tuple[Part, ...] = ()
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def rows_read(self) -> int:
        """How many rows there were, those that are left out among them."""
        return len(self) + len(self.left_out) + self.excluded

    def get_indices(self, split: str) -> np.ndarray:
        """Returns the rows of a split, in order, int64."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def get_truth(self, indices: np.ndarray) -> np.ndarray:
        """Returns labels int32 [n], or, of label sets, float32 [n, classes]."""
        if self.label_sets is None:
            return self.labels[indices]
        return self.label_sets.get(indices)

    def describe_row(self, index: int) -> str:
        """Returns file, row and id of a row, for an error message."""
        return (
            f"{self.name}, row {self.rows[index]} (id {self.ids[index]}, "
            f"image {shorten(self.files[index]) or 'none'})"
        )

    def count_labels(self, indices: np.ndarray) -> np.ndarray:
        """Returns int64 [classes], how many of some rows have each label."""
        found = self.labels[indices]
        if (sets := self.label_sets) is not None:
            has = np.zeros(len(self), bool)
            has[indices] = True
            found = sets.values[np.repeat(has, np.diff(sets.offsets))]
        return np.bincount(found[found >= 0], minlength=len(self.classes))

    def compute_fingerprint(self) -> str:
        """Returns a hash over ids, texts, labels, weights, splits and images.

        Images that are paths count by their path, not by their content.
        """
        digest = hashlib.sha256("\x1f".join(self.classes).encode())
        if self.fingerprint:
            digest.update(self.fingerprint.encode())
        else:
            for column in (self.ids, self.texts, self.images):
                for value in column:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    digest.update(len(data).to_bytes(8, "little") + data)
        digest.update("\x1f".join(self.splits).encode())
        digest.update(self.labels.astype("<i4").tobytes())
        digest.update(self.weights.astype("<f4").tobytes())
        if self.label_sets is not None:
            digest.update(self.label_sets.values.astype("<i4").tobytes())
            digest.update(self.label_sets.offsets.astype("<i8").tobytes())
        return digest.hexdigest()


def find_first(rows: Iterable[LeftOutRow]) -> list[LeftOutRow]:
    """Returns the first row of each status."""
    first: dict[str, LeftOutRow] = {}
    for row in rows:
        first.setdefault(row.status, row)
    return list(first.values())


def describe_counts(counts: Mapping[str, int]) -> str:
    """Returns numbers by name for a message, such as `2 unusable_label, 1 ok`."""
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
