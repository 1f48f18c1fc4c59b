"""Images of a bounded size, for the records."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_multimodal.data import files, spec
from tf_multimodal.data.decode import decode_image, explain_failure
from tf_multimodal.data.image_header import read_headers
from tf_multimodal.data.jpeg_header import UPRIGHT


class ScaledImage(NamedTuple):
    """An image as it goes into a record, or why it does not."""

    data: bytes  # encoded
    width: int  # pixels, as it is shown
    height: int
    status: str = spec.OK
    reason: str = ""


def scale_image(
    image: bytes | str, max_px: int, quality: int, max_image_px: int
) -> ScaledImage:
    """Makes an image upright and at most so large, as JPEG.

    One that is upright and small enough stays as it is, byte for byte; it is decoded
    all the same, so that one that does not decode is found here.

    Args:
        image: encoded bytes, or the path of a file.
        max_px: largest longer side in pixels; 0: every image stays as it is.
        quality: of JPEG, 1 to 100.
        max_image_px: limit on width times height; a larger image is not decoded.

    Returns:
        The image; without data, and with status and reason, where it cannot be used.
    """
    try:
        data = files.read_file(image) if isinstance(image, str) else image
        scaled, size = _get_scaler(max_px, quality, max_image_px)(tf.constant(data))
    except (OSError, ValueError, tf.errors.OpError) as error:
        status, reason = explain_failure(image, max_image_px)
        if status == spec.OK:  # `explain_failure` had more luck
            status, reason = spec.UNREADABLE_IMAGE, str(error)
        return ScaledImage(b"", 0, 0, status, reason)
    height, width = size.numpy().tolist()
    return ScaledImage(scaled.numpy(), width, height)


@functools.cache
def _get_scaler(
    max_px: int, quality: int, max_image_px: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def scale(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decode_image(data, max_image_px)
        size = tf.shape(image)[:2]
        longer = tf.reduce_max(size)
        _, _, orientations = read_headers(data[None])
        if not max_px:
            return data, size
        factor = tf.minimum(1.0, max_px / tf.cast(longer, tf.float32))
        small = tf.cast(tf.round(tf.cast(size, tf.float32) * factor), tf.int32)
        small = tf.maximum(small, 1)

        def encode() -> tf.Tensor:
            pixels = tf.image.resize(image, small, antialias=True)
            pixels = tf.saturate_cast(tf.round(pixels), tf.uint8)
            return tf.io.encode_jpeg(pixels, format="rgb", quality=quality)

        is_fit = (longer <= max_px) & (orientations[0] == UPRIGHT)
        return tf.cond(is_fit, lambda: data, encode), small

    return scale
