"""What a JPEG says before its pixels: its size, and how it has to be turned.

The size stands in the frame header (ITU-T T.81, B.2.2); the orientation in EXIF's APP1
segment, in the first directory of a TIFF file (CIPA DC-008). A camera writes what it
saw and how it was held; TensorFlow's decoder leaves the second to us.
"""

import tensorflow as tf

from tf_multimodal.data.image_bytes import join_bytes, read_bytes

UPRIGHT = 1
_MARKER, _APP1 = 0xFF, 0xE1
_BARE = (0x00, 0x01, *range(0xD0, 0xD8))  # no segment follows these
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC))
_FRAMES += tuple(range(0xCD, 0xD0))
_LAST = (*_FRAMES, 0xD8, 0xD9, 0xDA)  # nothing that we read comes behind these
_STEPS = 2000  # over segments, and bytes that stray between them
_TAG = 0x0112
_ENTRIES = 64  # of the directory; they are in order, and ours is one of the first


def read_jpeg_headers(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the sizes and orientations of a batch.

    Args:
        images: string [b]; those that are not JPEGs are passed over.

    Returns:
        int64 [b, 2], width and height, 0 where there is no frame header; and int32
        [b], the orientation, 1 to 8, 1 (upright) where there is none or it is damaged.
    """
    count = tf.shape(images)[0]
    nothing = tf.zeros([count], tf.int64)
    is_jpeg = tf.strings.substr(images, 0, 3) == b"\xff\xd8\xff"

    def look(
        positions: tf.Tensor, active: tf.Tensor, sizes: tf.Tensor, exif: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        head = read_bytes(images, positions, 10)
        is_marker, kind = active & (head[:, 0] == _MARKER), head[:, 1]
        is_frame = is_marker & _is_in(kind, _FRAMES)
        sizes = tf.where(is_frame[:, None], _join(head[:, 5:9])[:, ::-1], sizes)
        is_exif = tf.reduce_all(head[:, 4:] == list(b"Exif\0\0"), 1)
        is_exif &= is_marker & (kind == _APP1) & (exif == 0)
        exif = tf.where(is_exif, positions + 10, exif)
        # As libjpeg does: what is not a marker is passed over byte by byte.
        length = tf.where(_is_in(kind, _BARE), nothing, _join(head[:, 2:4])[:, 0])
        step = tf.where(is_marker & (kind != _MARKER), 2 + length, 1)
        is_within = positions < tf.cast(tf.strings.length(images), tf.int64)
        active &= is_within & ~(is_marker & _is_in(kind, _LAST))
        return positions + step, active, sizes, exif

    _, _, sizes, exif = tf.while_loop(
        lambda _, active, *__: tf.reduce_any(active),
        look,
        (nothing + 2, is_jpeg, tf.zeros([count, 2], tf.int64), nothing),
        maximum_iterations=_STEPS,
    )
    orientations = tf.cond(
        tf.reduce_any(exif > 0),
        lambda: _read_orientations(images, exif),
        lambda: tf.fill([count], UPRIGHT),
    )
    return sizes, orientations


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image.

    Args:
        image: [h, w, 3].
        orientation: int32 scalar, 1 to 8.

    Returns:
        [h, w, 3]; from 5 on the sides are swapped.
    """
    swapped = tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2])
    is_upturned = _is_in(orientation, (3, 4, 7, 8))
    is_mirrored = _is_in(orientation, (2, 3, 6, 7))
    axes = tf.boolean_mask([0, 1], tf.stack([is_upturned, is_mirrored]))
    return tf.reverse(tf.transpose(image, swapped), axes)


def _read_orientations(images: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Returns int32 [b]; `exif` is where the TIFF header starts, 0: nowhere."""
    head = read_bytes(images, exif, 8)
    is_little = tf.reduce_all(head[:, :4] == [*b"II", 42, 0], 1)
    is_big = tf.reduce_all(head[:, :4] == [*b"MM", 0, 42], 1)

    def join(digits: tf.Tensor) -> tf.Tensor:
        is_reversed = tf.reshape(is_big, [-1] + [1] * (digits.shape.rank - 1))
        return join_bytes(tf.where(is_reversed, digits[..., ::-1], digits))

    directory = exif + join(head[:, 4:])
    count = join(read_bytes(images, directory, 2))
    entries = read_bytes(images, directory + 2, 12 * _ENTRIES)
    entries = tf.reshape(entries, [-1, _ENTRIES, 12])
    is_tag = join(entries[..., :2]) == _TAG
    is_tag &= tf.range(_ENTRIES, dtype=tf.int64) < count[:, None]
    value = tf.reduce_max(tf.where(is_tag, join(entries[..., 8:10]), UPRIGHT), 1)
    is_valid = (exif > 0) & (is_little | is_big) & (value >= 1) & (value <= 8)
    return tf.cast(tf.where(is_valid, value, UPRIGHT), tf.int32)


def _join(digits: tf.Tensor) -> tf.Tensor:
    """Returns [b, n] numbers of two bytes each, greatest first, in [b, 2 n]."""
    return digits[:, ::2] * 256 + digits[:, 1::2]


def _is_in(values: tf.Tensor, choices: tuple[int, ...]) -> tf.Tensor:
    """Returns bool, whether each value is one of the choices."""
    return tf.reduce_any(values[..., None] == list(choices), -1)
