"""Bytes out of the middle of encoded images, a batch at a time."""

import tensorflow as tf


def read_bytes(images: tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
    """Reads some bytes of every image.

    Args:
        images: string [b].
        positions: int64 [b], at least 0, where to start.
        count: how many bytes.

    Returns:
        int64 [b, count], 0 behind an image's end.
    """
    lengths = tf.cast(tf.strings.length(images), tf.int64)
    positions = tf.minimum(positions, lengths)
    parts = tf.strings.substr(images, positions, tf.ones_like(positions) * count)
    return tf.cast(tf.io.decode_raw(parts, tf.uint8, fixed_length=count), tf.int64)


def join_bytes(digits: tf.Tensor) -> tf.Tensor:
    """Joins bytes to numbers.

    Args:
        digits: int64 [..., n], n at most 4, least first.

    Returns:
        int64 [...].
    """
    powers = tf.constant([1, 1 << 8, 1 << 16, 1 << 24], tf.int64)
    return tf.reduce_sum(digits * powers[: digits.shape[-1]], -1)
