"""Values of TensorFlow data sets as cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data.readers import cells


def to_cell(value: Any, names: Sequence[str] | None, is_image: bool) -> Any:
    """Returns a value of an element as `RawRows` wants it.

    Args:
        value: as `as_numpy_iterator` gives it: bytes, number, array or dict.
        names: of the classes, where the value is a label or a sequence of labels.
        is_image: bytes are an encoded image, and uint8 [height, width, channels]
            is a decoded one, which becomes a PNG file; else bytes are a text.

    Raises:
        ValueError: a label has no name.
    """
    if is_image:
        return value if isinstance(value, bytes) else _encode_image(value)
    if isinstance(value, bytes):
        return cells.decode_text(value)
    if isinstance(value, np.ndarray):
        return [to_cell(item, names, False) for item in value]
    if isinstance(value, tf.RaggedTensor | tf.compat.v1.ragged.RaggedTensorValue):
        return to_cell(value.to_list(), names, False)
    if isinstance(value, list):
        return [to_cell(item, names, False) for item in value]
    if names is None:
        return cells.to_cell(value.item() if isinstance(value, np.generic) else value)
    if value < 0:  # -1 stands for a label that is not known
        return None
    if value >= len(names):
        raise ValueError(f"label {value} is none of the {len(names)} classes.")
    return names[int(value)]


def _encode_image(pixels: Any) -> bytes:
    array = np.asarray(pixels)
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.dtype != np.uint8:
        raise ValueError(
            "expected an encoded image, or uint8 [height, width, channels]. Received: "
            f"{array.dtype} {list(array.shape)}"
        )
    return tf.io.encode_png(array).numpy()
