"""The rows of a data set, whatever they were read from."""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows with random access: encoded images (or their paths) and texts.

    Attributes:
        name: shown in messages, e.g. `pairs.csv` or `openclipart/1.0.0`.
        classes: names of the classes; label `i` is `classes[i]`.
        images: object [n]; encoded bytes, or absolute paths (str) where
            `images_are_paths`; empty where a row has no image.
        images_are_paths: what `images` holds.
        texts: object [n] of str, or of bytes where a text is not UTF-8; empty where a
            row has no text.
        labels: int32 [n]; -1 where the label is not known.
        weights: float32 [n], at least 0.
        ids: object [n] of str, unique.
        groups: object [n] of str; rows of a group never cross splits.
        splits: object [n] of str, `train`, `validation` or `test`.
        files: object [n] of str, for messages: the image's file as written.
        rows: int64 [n], for messages: line of the manifest, or position.
    """

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    images_are_paths: bool
    texts: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    ids: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    files: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def get_indices(self, split: str) -> np.ndarray:
        """Returns the rows of a split, in order, int64."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def describe_row(self, index: int) -> str:
        """Returns file, row and id of a row, for an error message."""
        return (
            f"{self.name}, row {self.rows[index]} (id {self.ids[index]}, "
            f"image {self.files[index] or 'none'})"
        )

    def compute_fingerprint(self) -> str:
        """Returns a hash over ids, texts, labels, weights, splits and images.

        Images that are paths count by their path, not by their content.
        """
        digest = hashlib.sha256("\x1f".join(self.classes).encode())
        images = self.files if self.images_are_paths else self.images
        for column in (self.ids, self.texts, self.splits, images):
            for value in column:
                data = value if isinstance(value, bytes) else str(value).encode()
                digest.update(len(data).to_bytes(8, "little") + data)
        digest.update(self.labels.astype("<i4").tobytes())
        digest.update(self.weights.astype("<f4").tobytes())
        return digest.hexdigest()
