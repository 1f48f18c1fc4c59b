"""Requests that TensorFlow Serving answers for itself while it loads a model.

The first request to a graph is slow; these are sent before the model counts as
loaded. The format is TensorFlow Serving's, docs/saved_model_warmup.md there: a
TFRecord of at most 1,000 `PredictionLog`s. A request that fails fails the load.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tf_multimodal.data import spec
from tf_multimodal.serving.model_file import read_signatures
from tf_multimodal.serving.versions import EXTRA_DIR

ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # of the server's batching, too
WARMUP_FILE = "tf_serving_warmup_requests"

# One entry of each prepared input; the whole tensor is filled with it.
PREPARED = {
    spec.IMAGES: 0.5,
    spec.HAS_IMAGE: True,
    spec.TOKEN_IDS: 1,  # any piece of the vocabulary
    spec.PADDING_MASK: 1,
    spec.SEGMENT_IDS: 0,
    spec.HAS_TEXT: True,
}


def write_warmup(folder: pathlib.Path) -> int:
    """Writes one request for each signature and allowed batch size.

    Args:
        folder: a SavedModel; `assets.extra/tf_serving_warmup_requests` is written.

    Returns:
        The number of requests.

    Raises:
        ValueError: a signature has an input that is not one of the project's.
    """
    values = {**PREPARED, "image_bytes": _make_image(), "text": "A red bird in a tree."}
    signatures = read_signatures(folder)
    path = folder / EXTRA_DIR / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            for rows in ALLOWED_BATCH_SIZES:
                request = _make_request(name, signature.inputs, rows, values)
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
    return len(signatures) * len(ALLOWED_BATCH_SIZES)


def read_warmup(folder: pathlib.Path) -> list[predict_pb2.PredictRequest]:
    """Returns the requests beside a SavedModel, in the order of the file."""
    path = folder / EXTRA_DIR / WARMUP_FILE
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    logs = map(prediction_log_pb2.PredictionLog.FromString, records)
    return [log.predict_log.request for log in logs]


def _make_request(
    signature: str, inputs: Mapping[str, Any], rows: int, values: Mapping[str, Any]
) -> predict_pb2.PredictRequest:
    """Returns a request of `rows` equal rows.

    It names no model: the server warms up the one that it is loading.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for key, info in inputs.items():
        if key not in values:
            raise ValueError(
                f"There is no warm-up value for the input {key!r} of the signature "
                f"{signature!r}. Expected one of {', '.join(values)}."
            )
        shape = [rows, *(dim.size for dim in info.tensor_shape.dim[1:])]
        # One value and a shape: TensorFlow fills the tensor with it when it reads.
        tensor = tf.make_tensor_proto(values[key], tf.as_dtype(info.dtype), shape)
        request.inputs[key].CopyFrom(tensor)
    return request


def _make_image() -> bytes:
    """Returns a small JPEG, 64 by 48 px, with something in it."""
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)
    return tf.io.encode_jpeg(pixels).numpy()
