"""Prepared tensors that a caller made: a bad row must not fail its batch."""

from typing import Any

import tensorflow as tf

from tf_multimodal.data import row_status, spec

SEGMENTS = 2  # of BERT's inputs; the project's own are all 0


def mask_bad_rows(
    x: dict[str, tf.Tensor], preprocessor: Any
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Masks images that are not finite, and tokens that the model does not have.

    An id outside the vocabulary would fail the whole batch, and with a server's
    batching the requests of others.

    Args:
        x: what the model reads, by key of `data/spec.py`.
        preprocessor: the model's `ImageTextClassifierPreprocessor`.

    Returns:
        The same keys, and int32 [b], positions in `spec.STATUSES`: `ok`,
        `missing_input`, `undecodable_image` or `undecodable_text`.
    """
    x = dict(x)
    rows = tf.shape(next(iter(x.values())))[:1]
    image_status = text_status = tf.fill(rows, spec.STATUS_CODES[spec.OK])
    if spec.IMAGES in x:
        is_good = tf.reduce_all(tf.math.is_finite(x[spec.IMAGES]), [1, 2, 3])
        image_status = _mark(x[spec.HAS_IMAGE] & ~is_good, spec.UNDECODABLE_IMAGE)
        x[spec.IMAGES] = _keep(is_good, x[spec.IMAGES])
        x[spec.HAS_IMAGE] &= is_good
    if spec.TOKEN_IDS in x:
        num_pieces = preprocessor.tokenizer.vocabulary_size()
        is_good = _are_below(x[spec.TOKEN_IDS], num_pieces)
        is_good &= _are_below(x[spec.SEGMENT_IDS], SEGMENTS)
        text_status = _mark(x[spec.HAS_TEXT] & ~is_good, spec.UNDECODABLE_TEXT)
        x[spec.TOKEN_IDS] = _keep(is_good, x[spec.TOKEN_IDS])
        x[spec.SEGMENT_IDS] = _keep(is_good, x[spec.SEGMENT_IDS])
        x[spec.HAS_TEXT] &= is_good
    flags = [x[key] for key in (spec.HAS_IMAGE, spec.HAS_TEXT) if key in x]
    has_input = tf.reduce_any(tf.stack(flags), axis=0)
    return x, row_status.combine(image_status, text_status, has_input)


def _are_below(ids: tf.Tensor, bound: int) -> tf.Tensor:
    """Returns bool [b], whether all of a row's ids, [b, t], are in [0, bound)."""
    return tf.reduce_all((ids >= 0) & (ids < bound), axis=1)


def _keep(is_good: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the values, zeros in the rows that are not good."""
    shape = [-1] + [1] * (values.shape.rank - 1)
    return tf.where(tf.reshape(is_good, shape), values, tf.zeros_like(values))


def _mark(where: tf.Tensor, name: str) -> tf.Tensor:
    """Returns int32 [b], the position of a status where a row has it, else `ok`."""
    ok = spec.STATUS_CODES[spec.OK]
    return tf.where(where, spec.STATUS_CODES[name], ok)
