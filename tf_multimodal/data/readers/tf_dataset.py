"""A `tf.data.Dataset` of the caller's, read once."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.readers import cells, tensors


class TfDataset:
    """Rows of a data set whose elements are dicts of one row's tensors.

    Args:
        dataset: finite and not batched. Texts are scalar strings; an image is a scalar
            string, the content of its file, or uint8 [height, width, channels]; a
            label is a scalar string, or an integer, the position in `classes`; a list
            of labels is [n] of these.
        name: for messages.
        image: key of the image; "": none.
        label: key of the label or of the labels; "": none.
        classes: names of the labels that are integers.

    Raises:
        ValueError: the data set has no end, or its elements are no dicts of one row.
    """

    setting = "dataset"
    root = ""

    def __init__(
        self,
        dataset: tf.data.Dataset,
        name: str,
        image: str = "image",
        label: str = "label",
        classes: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self._dataset, self._classes = dataset, classes
        self._image, self._label = image, label
        # Its rows can only be known by reading them: no two readers are the same.
        self._fingerprint = uuid.uuid4().hex
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"{name} has no end. Expected each row once: leave out `repeat()`."
            )
        spec = dataset.element_spec
        if not isinstance(spec, dict):
            raise ValueError(
                f"{name}: expected elements that are dicts, such as {{'image': …, "
                f"'text': …, 'label': …}}. Received: {spec}"
            )
        if image in spec and spec[image].shape.rank not in (0, 3, None):
            raise ValueError(
                f"{name}: expected one row an element. Received {image!r} of the shape "
                f"{spec[image].shape}. Leave out `batch()`, or call `unbatch()`."
            )

    def compute_fingerprint(self) -> str:
        """Returns a value that no other reader has."""
        return self._fingerprint

    def list_columns(self) -> list[str]:
        """Returns the keys of the elements."""
        return list(self._dataset.element_spec)

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered from 0; an image or label that is none: a problem.

        Raises:
            ValueError: labels are integers, and there are no classes for them.
        """
        spec = self._dataset.element_spec
        if (
            self._label in columns
            and spec[self._label].dtype.is_integer
            and not self._classes
        ):
            raise ValueError(
                f"{self.name}: the labels {self._label!r} are integers. Give their "
                "names as classes=[…], in order."
            )
        yield from cells.make_blocks(self._make_rows(columns), columns)

    def _make_rows(
        self, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        for row, element in enumerate(self._dataset.as_numpy_iterator()):
            try:
                yield row, {c: self._get_value(element[c], c) for c in columns}
            except ValueError as error:
                yield Problem(row, f"{error}")

    def _get_value(self, value: Any, column: str) -> Any:
        is_named = column == self._label and not isinstance(value, bytes)
        names = self._classes if is_named else None
        return tensors.to_cell(value, names, column == self._image)
