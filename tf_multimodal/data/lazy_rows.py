"""Images and texts of chosen rows as tensors, read when a batch needs them."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tf_multimodal.data.source import Source


class BatchRows(NamedTuple):
    """What a batch is made of.

    Attributes:
        images: string [b], encoded bytes or paths; empty: no image.
        are_paths: bool [b], which of them are paths.
        texts: string [b]; empty: no text.
    """

    images: tf.Tensor
    are_paths: tf.Tensor
    texts: tf.Tensor


class Rows(Protocol):
    """Some rows of a source, by their places among them."""

    def read(self, chosen: tf.Tensor, draws: tf.Tensor) -> BatchRows:
        """Returns the rows at some places.

        Args:
            chosen: int64 [b], places in `indices`; -1: a row with nothing in it.
            draws: float32 [b] in [0, 1), which caption is taken.
        """


class LazyRows:
    """Some rows of a source, read by Python a batch at a time.

    Nothing is held in memory, however many rows there are. It cannot leave the
    process: a tf.data service needs `service.GraphRows`.

    Args:
        source: the rows.
        indices: int64 [n], which of them.
        with_images, with_texts: False: they come out empty and are not read.
        draw_captions: whether a text is one of the row's captions, drawn.
    """

    def __init__(
        self,
        source: Source,
        indices: np.ndarray,
        *,
        with_images: bool = True,
        with_texts: bool = True,
        draw_captions: bool = False,
    ) -> None:
        self._source, self._indices = source, indices
        self._with_images, self._with_texts = with_images, with_texts
        self._captions = source.captions if draw_captions else None

    def read(self, chosen: tf.Tensor, draws: tf.Tensor) -> BatchRows:
        """Returns the rows at some places; see `Rows.read`."""
        types = [tf.string, tf.bool, tf.string]
        values = tf.numpy_function(self._read, [chosen, draws], types)
        return BatchRows(*(tf.ensure_shape(value, chosen.shape) for value in values))

    def _read(
        self, chosen: np.ndarray, draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        is_row = chosen >= 0
        rows = self._indices[chosen[is_row]]
        images: np.ndarray = np.full(len(chosen), b"", object)
        texts, are_paths = images.copy(), np.zeros(len(chosen), bool)
        if self._with_images:
            values = self._source.images[rows]
            images[is_row] = encode_values(values)
            are_paths[is_row] = [isinstance(value, str) for value in values]
        if self._with_texts:
            texts[is_row] = encode_values(self._read_texts(rows, draws[is_row]))
        return images, are_paths, texts

    def _read_texts(self, rows: np.ndarray, draws: np.ndarray) -> Any:
        if self._captions is None:
            return self._source.texts[rows]
        found = [[c for c in captions if c] for captions in self._captions[rows]]
        return [
            captions[int(draw * len(captions))] if captions else ""
            for captions, draw in zip(found, draws, strict=True)
        ]


def encode_values(values: Any) -> np.ndarray:
    """Returns an object array of bytes of str or bytes; None is empty.

    A str that no bytes stand for, a lone surrogate, becomes what is not UTF-8.
    """
    encoded = np.empty(len(values), object)
    for place, value in enumerate(values):
        encoded[place] = _encode(value) if isinstance(value, str) else value or b""
    return encoded


def _encode(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")  # as Python has file names
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
