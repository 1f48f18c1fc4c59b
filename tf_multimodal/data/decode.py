"""Encoded image bytes to pixels, one at a time or a batch with bad rows in it."""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec


def decode_image(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG, PNG, GIF (first frame), BMP or WebP.

    16 bits become 8, grey becomes RGB, and what is transparent becomes white.

    Args:
        image_bytes: string scalar.

    Returns:
        uint8 [h, w, 3].

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode.
    """
    image = tf.io.decode_image(image_bytes, expand_animations=False)
    channels = tf.shape(image)[-1]
    # The fourth byte of a BMP pixel is padding as a rule.
    is_bmp = tf.strings.substr(image_bytes, 0, 2) == "BM"
    image = tf.cond(
        channels == 3, lambda: image, lambda: _convert_to_rgb(image, channels, is_bmp)
    )
    image.set_shape([None, None, 3])
    return image


def decode_batch(
    images: tf.Tensor,
    transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    size_px: int,
    are_paths: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a batch in parallel; a bad image does not fail the others.

    Works eagerly, inside `tf.data` maps and in an exported function: it holds no
    Python op. A nested dataset ignores the errors, and the position that rides
    along tells which rows stayed.

    Args:
        images: string [b], encoded bytes or paths; empty: no image.
        transform: maps an image, uint8 [h, w, 3], and its position in the batch,
            int64 scalar, to float32 [size_px, size_px, 3].
        size_px: side of the result in pixels.
        are_paths: whether `images` are paths of files.

    Returns:
        float32 [b, size_px, size_px, 3], zeros where there is no image, and
        bool [b], True where there is one.
    """
    shape = (size_px, size_px, 3)
    count = tf.shape(images, tf.int64)[0]

    def load(position: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image_bytes = tf.io.read_file(image) if are_paths else image
        pixels = transform(decode_image(image_bytes), position)
        return position, tf.ensure_shape(tf.cast(pixels, tf.float32), shape)

    options = tf.data.Options()  # a short-lived dataset: what tuning costs is lost
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_warm_start = False
    # One row more than the images have, so that the dataset is never empty.
    sentinel = (count, tf.zeros(shape))
    positions, pixels = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), images))
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors(sentinel))
        .batch(count + 1)
        .with_options(options)
        .get_single_element()
    )
    positions = positions[:, None]
    pixels = tf.scatter_nd(positions, pixels, (count + 1, *shape))[:count]
    is_there = tf.ones(tf.shape(positions)[:1], tf.int32)
    is_there = tf.scatter_nd(positions, is_there, [count + 1])[:count] > 0
    return (
        tf.ensure_shape(pixels, (images.shape[0], *shape)),
        tf.ensure_shape(is_there, images.shape),
    )


def explain_failure(image: bytes | str) -> tuple[str, str]:
    """Tells why an image could not be used, by trying it again.

    Args:
        image: encoded bytes, or the path of a file.

    Returns:
        A status of `spec.STATUSES` and a sentence; `spec.OK` and an empty
        sentence for an image that decodes.
    """
    image_bytes: Any = image
    if isinstance(image, str):
        try:
            with open(image, "rb") as file:
                image_bytes = file.read()
        except FileNotFoundError:
            return spec.UNREADABLE_IMAGE, "The file does not exist."
        except OSError as error:
            return spec.UNREADABLE_IMAGE, f"The file cannot be read: {error.strerror}."
    if not image_bytes:
        return spec.UNDECODABLE_IMAGE, "The image is empty (0 bytes)."
    try:
        decode_image(tf.constant(image_bytes))
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*|\n.*", "", error.message).strip()
        return spec.UNDECODABLE_IMAGE, f"The image does not decode: {reason}"
    return spec.OK, ""


def _convert_to_rgb(
    image: tf.Tensor, channels: tf.Tensor, ignore_alpha: tf.Tensor
) -> tf.Tensor:
    colour_channels = (channels - 1) // 2 * 2 + 1  # 1 and 2: grey; 3 and 4: RGB
    colour = tf.cast(image[..., :colour_channels], tf.float32)
    opacity = tf.cast(image[..., -1:], tf.float32) / 255.0
    is_opaque = ignore_alpha | (channels % 2 == 1)
    opacity = tf.where(is_opaque, tf.ones_like(opacity), opacity)
    blended = tf.round(255.0 + (colour - 255.0) * opacity)
    shape = tf.concat([tf.shape(image)[:2], [3]], 0)
    return tf.cast(tf.broadcast_to(blended, shape), tf.uint8)
