"""Encoded image bytes to pixels, one at a time or a batch with bad rows in it."""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_multimodal.data import files, spec
from tf_multimodal.data.image_header import read_headers
from tf_multimodal.data.jpeg_header import UPRIGHT, turn_upright
from tf_multimodal.data.row_map import map_rows

_PNG_HEAD = 65_536  # bytes that are searched for the chunk tRNS
# A PNG in grey or RGB (its byte 25) with a tRNS chunk. \C is any byte.
_KEYED_PNG = r"\CPNG\C{21}[\x00\x02]\C*tRNS\C*"
_HEADERS = 32  # images whose headers `decode_dataset` reads at once


def decode_image(
    image_bytes: tf.Tensor, max_image_px: int = spec.MAX_IMAGE_PX
) -> tf.Tensor:
    """Decodes JPEG, PNG, GIF (first frame), BMP or WebP, and turns it upright.

    16 bits become 8, grey becomes RGB, and what is transparent becomes white.

    Args:
        image_bytes: string scalar.
        max_image_px: limit on width times height; a larger image is not decoded.

    Returns:
        uint8 [h, w, 3].

    Raises:
        tf.errors.InvalidArgumentError: bytes that do not decode, or too many pixels.
    """
    images = tf.reshape(image_bytes, [1])
    data, orientations, _ = _read_allowed(images, max_image_px)
    return _decode(data[0], orientations[0])


def decode_dataset(
    dataset: tf.data.Dataset, max_image_px: int = spec.MAX_IMAGE_PX
) -> tf.data.Dataset:
    """Decodes one image after the other, each in its own size.

    The headers are read a batch at a time: a row at a time it takes longer than to
    decode a small image.

    Args:
        dataset: of (index, image bytes): int64 and string scalars.
        max_image_px: limit on width times height; a larger image is not decoded.

    Returns:
        A data set of (index, uint8 [h, w, 3]) in the same order, without the images
        that do not decode.
    """

    def read(index: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        data, orientations, _ = _read_allowed(images, max_image_px)
        return index, data, orientations

    return (
        dataset.batch(_HEADERS)
        .map(read)
        .unbatch()
        .map(
            lambda index, data, orientation: (index, _decode(data, orientation)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .ignore_errors()
    )


def decode_batch(
    images: tf.Tensor,
    transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    size_px: int,
    are_paths: bool | tf.Tensor = False,
    max_image_px: int = spec.MAX_IMAGE_PX,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a batch in parallel; a bad image does not fail the others.

    Works eagerly, inside `tf.data` maps and in an exported function: it holds no
    Python op.

    Args:
        images: string [b], encoded bytes or paths; empty: no image.
        transform: maps an image, uint8 [h, w, 3], and its position in the batch,
            int64 scalar, to float32 [size_px, size_px, 3].
        size_px: side of the result in pixels.
        are_paths: whether `images` are paths of files, of all rows or bool [b].
        max_image_px: limit on width times height, read from an image's header; a
            larger image is not decoded.

    Returns:
        float32 [b, size_px, size_px, 3], zeros where there is no usable image, and
        int32 [b], positions in `spec.STATUSES`: `ok`, `missing_input` for no image,
        or what is wrong with it.
    """
    is_missing = images == ""
    data, is_read = images, tf.ones_like(is_missing)
    if are_paths is True:
        data, is_read = map_rows(lambda path, _: tf.io.read_file(path), images, "")
    elif are_paths is not False:
        data, is_read = tf.cond(
            tf.reduce_any(are_paths),
            lambda: _read_files(images, are_paths),
            lambda: (images, tf.ones_like(is_missing)),
        )
    data, orientations, is_too_large = _read_allowed(data, max_image_px)
    nothing = tf.zeros((size_px, size_px, 3))

    def load(row: tuple[tf.Tensor, tf.Tensor], position: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(transform(_decode(*row), position), tf.float32)
        return tf.ensure_shape(pixels, nothing.shape)

    pixels, is_decoded = map_rows(load, (data, orientations), nothing)
    status = tf.fill(tf.shape(images), spec.STATUS_CODES[spec.OK])
    for condition, name in (
        (~is_decoded, spec.UNDECODABLE_IMAGE),
        (is_too_large, spec.IMAGE_TOO_LARGE),
        (~is_read, spec.UNREADABLE_IMAGE),
        (is_missing, spec.MISSING_INPUT),
    ):
        status = tf.where(condition, spec.STATUS_CODES[name], status)
    return (
        tf.ensure_shape(pixels, (images.shape[0], *nothing.shape)),
        tf.ensure_shape(status, images.shape),
    )


def explain_failure(
    image: bytes | str, max_image_px: int = spec.MAX_IMAGE_PX
) -> tuple[str, str]:
    """Tells why an image could not be used, by trying it again.

    Args:
        image: encoded bytes, or the path of a file, or a
            `columns.UnreadableImage`.
        max_image_px: limit on width times height.

    Returns:
        A status of `spec.STATUSES` and a sentence; `spec.OK` and an empty
        sentence for an image that decodes.
    """
    image_bytes: Any = image
    if isinstance(image, str):
        reason = getattr(image, "reason", "")
        if reason:
            return spec.UNREADABLE_IMAGE, reason
        try:
            image_bytes = files.read_file(image)
        except FileNotFoundError:
            return spec.UNREADABLE_IMAGE, "The file does not exist."
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            return spec.UNREADABLE_IMAGE, f"The file cannot be read: {why}."
    if not image_bytes:
        return spec.UNDECODABLE_IMAGE, "The image is empty (0 bytes)."
    data, sizes, orientations = _read_one_header(tf.constant([image_bytes]))
    width, height = sizes[0].numpy().tolist()
    if width * height > max_image_px:
        return spec.IMAGE_TOO_LARGE, (
            f"The image has {width} x {height} = {width * height} pixels, more than "
            f"the {max_image_px} of config.data.max_image_px. Scale it down, or train "
            "with a higher limit."
        )
    if not data[0].numpy():
        return spec.UNDECODABLE_IMAGE, (
            "The image does not decode: no width and height were found at its start. "
            "Expected JPEG, PNG, GIF, BMP or WebP (not animated)."
        )
    try:
        _decode(data[0], orientations[0])
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*|\n.*", "", error.message).strip()
        return spec.UNDECODABLE_IMAGE, f"The image does not decode: {reason}"
    return spec.OK, ""


def _read_files(images: tf.Tensor, are_paths: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns the bytes of all images, and which could be read."""

    def read(row: tuple[tf.Tensor, tf.Tensor], _: tf.Tensor) -> tf.Tensor:
        image, is_path = row
        return tf.cond(is_path, lambda: tf.io.read_file(image), lambda: image)

    return map_rows(read, (images, are_paths), "")


@tf.function(input_signature=[tf.TensorSpec([1], tf.string)])
def _read_one_header(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Is `read_headers`, traced once: op by op it takes 50 ms an image."""
    return read_headers(images)


def _read_allowed(
    images: tf.Tensor, max_image_px: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what to decode, string [b], orientations and which are too large."""
    data, sizes, orientations = read_headers(images)
    is_too_large = tf.reduce_prod(sizes, 1) > max_image_px
    return tf.where(is_too_large, "", data), orientations, is_too_large


def _decode(data: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Decodes what `read_headers` let pass, and turns it upright."""
    # A colour that is declared transparent comes as alpha only where that is asked for.
    image = tf.cond(
        tf.strings.regex_full_match(tf.strings.substr(data, 0, _PNG_HEAD), _KEYED_PNG),
        lambda: tf.io.decode_png(data, channels=4),
        lambda: tf.io.decode_image(data, expand_animations=False),
    )
    is_rgb = tf.shape(image)[-1] == 3

    def finish() -> tf.Tensor:
        colours = tf.cond(is_rgb, lambda: image, lambda: _convert_to_rgb(image, data))
        return turn_upright(colours, orientation)

    image = tf.cond(is_rgb & (orientation == UPRIGHT), lambda: image, finish)
    image.set_shape([None, None, 3])
    return image


def _convert_to_rgb(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Makes any number of channels three, and what is transparent white."""
    is_bmp, channels = tf.strings.substr(data, 0, 2) == "BM", tf.shape(image)[-1]
    image = tf.cond(
        is_bmp & (channels == 1), lambda: _look_up_colours(image, data), lambda: image
    )
    channels = tf.shape(image)[-1]
    colour_channels = (channels - 1) // 2 * 2 + 1  # 1 and 2: grey; 3 and 4: RGB
    colour = tf.cast(image[..., :colour_channels], tf.float32)
    opacity = tf.cast(image[..., -1:], tf.float32) / 255.0
    # The fourth byte of a BMP pixel is padding as a rule.
    is_opaque = is_bmp | (channels % 2 == 1)
    opacity = tf.where(is_opaque, tf.ones_like(opacity), opacity)
    blended = tf.round(255.0 + (colour - 255.0) * opacity)
    shape = tf.concat([tf.shape(image)[:2], [3]], 0)
    return tf.cast(tf.broadcast_to(blended, shape), tf.uint8)


def _look_up_colours(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Returns the colours of a BMP whose pixels are places in its palette."""
    header_size = tf.io.decode_raw(tf.strings.substr(data, 14, 4), tf.int32)[0]
    palette = tf.strings.substr(data, 14 + header_size, 1024)
    palette = tf.io.decode_raw(palette, tf.uint8, fixed_length=1024)
    colours = tf.reshape(palette, [256, 4])[:, 2::-1]  # blue, green, red, unused
    return tf.gather(colours, tf.cast(image[..., 0], tf.int32))
