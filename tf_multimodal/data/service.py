"""Batches made by a tf.data service: workers on other machines decode and augment.

https://www.tensorflow.org/api_docs/python/tf/data/experimental/service
"""

import socket
import urllib.parse
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data.lazy_rows import BatchRows, encode_values
from tf_multimodal.data.service_watch import watch
from tf_multimodal.data.source import Source

MAX_BYTES = 2**28  # of all texts, paths and image bytes: they travel in one message
PATIENCE_STEPS = 256  # a batch that is so far behind the newest was lost
_BLOCK_ROWS = 4096
_PATIENCE_SECONDS = 10


class GraphRows:
    """Some rows of a source as tensors in the graph, which workers can run.

    A worker has no Python of ours, so that what a row needs must be in the graph:
    the paths of images, which each worker reads by itself, or their bytes.

    Args:
        source: the rows.
        indices: int64 [n], which of them.
        with_images, with_texts: False: they come out empty.
        draw_captions: whether a text is one of the row's captions, drawn.

    Raises:
        ValueError: the rows are too large to travel.
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
        images, are_paths, texts, num_bytes = [], [], [], 0
        captions = source.captions if draw_captions else None
        for start in range(0, len(indices), _BLOCK_ROWS):
            rows = indices[start : start + _BLOCK_ROWS]
            values = source.images[rows] if with_images else [b""] * len(rows)
            images.append(encode_values(values))
            are_paths += [isinstance(value, str) for value in values]
            if captions is not None and with_texts:
                found = np.array(list(map(tuple, captions[rows])), object)
            else:
                empty = np.full(len(rows), b"", object)
                found = (source.texts[rows] if with_texts else empty)[:, None]
            texts.append(encode_values(found.ravel()).reshape(found.shape))
            num_bytes += sum(map(len, images[-1])) + sum(map(len, texts[-1].flat))
            _check_size(source, num_bytes)
        self._images = tf.constant(np.concatenate(images), tf.string)
        self._are_paths = tf.constant(are_paths)
        self._texts = tf.constant(np.concatenate(texts), tf.string)

    def read(self, chosen: tf.Tensor, draws: tf.Tensor) -> BatchRows:
        """Returns the rows at some places; see `LazyRows.read`."""
        texts = tf.gather(self._texts, chosen)  # [b, captions]
        is_text = texts != ""
        ranks = tf.cumsum(tf.cast(is_text, tf.int32), 1) * tf.cast(is_text, tf.int32)
        counts = tf.cast(tf.reduce_max(ranks, 1), tf.float32)
        wanted = 1 + tf.cast(draws * counts, tf.int32)
        places = tf.argmax(ranks == wanted[:, None], 1)  # the first of none: empty
        return BatchRows(
            tf.gather(self._images, chosen),
            tf.gather(self._are_paths, chosen),
            tf.gather(texts, places, batch_dims=1),
        )


def distribute(
    steps: tf.data.Dataset,
    make_batch: Callable[[tf.Tensor], Any],
    address: str,
    start_step: int,
) -> tf.data.Dataset:
    """Returns the batches of steps as the workers of a service make them.

    Each step is made once, by one worker (dynamic sharding), and they come in any
    order. A worker that is lost takes the batches that it held with it; those are
    made here.

    Args:
        steps: int64 scalars from `start_step` on, by ones.
        make_batch: maps a step to a structure of tensors; it holds no Python.
        address: of the dispatcher, `grpc://HOST:PORT`.
        start_step: the first one.

    Raises:
        ValueError: there is no dispatcher at this address.

    Where no batch comes for minutes, the data set raises `tf.errors.UnknownError`.
    """
    _check_address(address)
    service = tf.data.experimental.service
    batches = steps.map(
        lambda step: (step, make_batch(step)), num_parallel_calls=tf.data.AUTOTUNE
    ).apply(service.distribute(service.ShardingPolicy.DYNAMIC, address))
    batches = watch(batches, address)
    nothing = (tf.constant(start_step, tf.int64), tf.zeros([0], tf.int64))

    def add_lost(element: Any, is_new: tf.Tensor, lost: tf.Tensor) -> tf.data.Dataset:
        count = tf.cast(is_new, tf.int64)  # else it was given up, and came after all
        arrived = tf.data.Dataset.from_tensors(element[1]).take(count)
        made_here = tf.data.Dataset.from_tensor_slices(lost).map(make_batch)
        return arrived.concatenate(made_here)

    return batches.scan(nothing, _find_lost).flat_map(add_lost)


def _find_lost(state: Any, element: Any) -> tuple[Any, Any]:
    """Tells which steps are too far behind the newest one to be still on their way.

    Args:
        state: the step after the newest, and the steps before it that did not come.
        element: a step that came, and its batch.

    Returns:
        The next state; the element, whether it was waited for, and the lost steps.
    """
    (after, missing), step = state, element[0]
    missing = tf.concat([missing, tf.range(after, tf.maximum(after, step + 1))], 0)
    after = tf.maximum(after, step + 1)
    is_new = tf.reduce_any(missing == step)
    missing = tf.boolean_mask(missing, missing != step)
    is_lost = missing < after - PATIENCE_STEPS
    lost = tf.boolean_mask(missing, is_lost)
    return (after, tf.boolean_mask(missing, ~is_lost)), (element, is_new, lost)


def _check_size(source: Source, num_bytes: int) -> None:
    if num_bytes > MAX_BYTES:
        raise ValueError(
            f"The rows of {source.name} are too large for config.data.service: texts, "
            "paths and images that have no file of their own travel to the workers "
            f"in one message of at most {MAX_BYTES >> 20} MiB. Store each image in a "
            "file that the workers can read, and name it in a manifest. (Images in "
            "records, tar files and tables have no file of their own.)"
        )


def _check_address(address: str) -> None:
    """Fails at once where TensorFlow would wait for a dispatcher for hours."""
    url: Any = urllib.parse.urlsplit(address)
    try:
        if url.scheme != "grpc" or not url.hostname or not url.port:
            raise ValueError("it is not of this form")
        place = (url.hostname, url.port)
        socket.create_connection(place, _PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            "config.data.service must be the address of a running dispatcher, "
            f"grpc://HOST:PORT. Received {address!r}: {error}. Start one, or unset it."
        ) from error
