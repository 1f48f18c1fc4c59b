"""What encoded images say of themselves, read before anything is decoded."""

import tensorflow as tf

from tf_multimodal.data.gif_frame import cut_first_frame
from tf_multimodal.data.image_bytes import join_bytes, read_bytes
from tf_multimodal.data.jpeg_header import read_jpeg_headers
from tf_multimodal.data.row_map import map_rows

# How a file begins (?: any byte); the bytes of width and of height, least first; how
# far to shift them, the mask behind that, and what to add. PNG: IHDR; BMP:
# BITMAPINFOHEADER; WebP: RFC 9649, and RFC 6386 (section 9.1) for VP8's frame header.
_FORMATS = (
    (b"\x89PNG", (19, 18, 17, 16), (23, 22, 21, 20), (0, 0), 0xFFFFFFFF, 0),
    (b"BM", (18, 19, 20, 21), (22, 23, 24, 25), (0, 0), 0xFFFFFFFF, 0),
    (b"RIFF????WEBPVP8 ", (26, 27, 26, 27), (28, 29, 28, 29), (0, 0), 0x3FFF, 0),
    (b"RIFF????WEBPVP8L", (21, 22, 23, 24), (21, 22, 23, 24), (0, 14), 0x3FFF, 1),
    (b"RIFF????WEBPVP8X", (24, 25, 26, 24), (27, 28, 29, 27), (0, 0), 0xFFFFFF, 1),
)
_START, _HEAD = 16, 32  # bytes that hold the beginnings, and the sizes
_EXTENDED_WEBP, _FLAGS, _ANIMATION = 4, 20, 0x02


def read_headers(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads sizes and orientations, and keeps from the decoder what it must not see.

    Args:
        images: string [b].

    Returns:
        string [b], what to decode: of a GIF its first frame, and nothing of formats
        whose size is not known here, nor of an animated WebP, which crashes TensorFlow
        2.21; int64 [b, 2], width and height, 0 where they are not known; and int32
        [b], the orientation, 1 (upright) to 8.
    """
    is_gif = tf.strings.substr(images, 0, 4) == b"GIF8"
    sizes, orientations = read_jpeg_headers(images)
    images, gif_sizes = tf.cond(
        tf.reduce_any(is_gif),
        lambda: _cut_gifs(images, is_gif),
        lambda: (images, sizes),
    )
    sizes = tf.where(is_gif[:, None], gif_sizes, sizes)
    is_other, other_sizes = _read_sizes(images)
    sizes = tf.where(is_other[:, None], other_sizes, sizes)
    is_known = tf.reduce_all(sizes > 0, 1)
    return tf.where(is_known, images, ""), sizes, orientations


def _cut_gifs(images: tf.Tensor, is_gif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first frames of the GIFs and their sizes."""
    no_size = tf.zeros([2], tf.int64)
    (frames, sizes), _ = map_rows(
        lambda row, _: cut_first_frame(row), tf.where(is_gif, images, ""), ("", no_size)
    )
    return tf.where(is_gif, frames, images), sizes


def _read_sizes(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns bool [b], whether a row is one of `_FORMATS`, and int64 [b, 2]."""
    heads = read_bytes(images, tf.zeros(tf.shape(images), tf.int64), _HEAD)
    patterns = [list(start.ljust(_START, b"?")) for start, *_ in _FORMATS]
    patterns = tf.constant(patterns, tf.int64)
    is_equal = (heads[:, None, :_START] == patterns) | (patterns == ord("?"))
    is_format = tf.reduce_all(is_equal, 2)
    which = tf.argmax(tf.cast(is_format, tf.int32), 1)
    width, height, shift, mask, added = (
        tf.gather(tf.constant(column, tf.int64), which)
        for column in zip(*(row[1:] for row in _FORMATS), strict=True)
    )
    places = tf.stack([width, height], 1)
    sizes = join_bytes(tf.gather(heads, places, batch_dims=1))
    sizes = tf.bitwise.right_shift(sizes, shift)
    sizes = tf.bitwise.bitwise_and(sizes, mask[:, None])
    # A BMP's height is negative where its rows run downwards.
    sizes = tf.where(sizes >= 1 << 31, (1 << 32) - sizes, sizes) + added[:, None]
    is_moving = tf.bitwise.bitwise_and(heads[:, _FLAGS], _ANIMATION) > 0
    is_refused = is_moving & (which == _EXTENDED_WEBP)
    return tf.reduce_any(is_format, 1), tf.where(~is_refused[:, None], sizes, 0)
