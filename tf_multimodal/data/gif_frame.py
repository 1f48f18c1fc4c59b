"""The first frame of a GIF, cut out before it is decoded.

TensorFlow's decoder reads all frames to return one, makes the image as large as the
largest of them and ignores which colour is transparent. Layout: GIF89a specification,
sections 17 to 25.
"""

import tensorflow as tf

_EXTENSION, _FRAME = 0x21, 0x2C  # how a block begins
_GRAPHIC_CONTROL = 0xF9  # the extension that names the transparent colour
_NOWHERE = -1  # a position
_RUN = 1024  # sub-blocks of one size, at most, that are passed in one hop
# Of a file. 300 are enough for the 75 MB of sub-blocks, all but the last of 255 bytes,
# that 50 million pixels can take (12 bits each); XMP, read as sub-blocks, takes about
# one for 80 characters.
_HOPS = 2000
_HEADER = 13  # bytes in front of the global palette
_DESCRIPTOR = 10  # bytes of a frame's


def cut_first_frame(image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a GIF that holds the first frame alone, white where it is transparent.

    Args:
        image_bytes: string scalar, a GIF.

    Returns:
        string scalar, empty where there is no frame, or too many small blocks; and
        int64 [2], its width and height, 0 where there is none.
    """
    data = tf.io.decode_raw(image_bytes, tf.uint8)

    def skip_extension(
        position: tf.Tensor, hops: tf.Tensor, control: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        is_control = _at(data, position + 1) == _GRAPHIC_CONTROL
        control = tf.where(is_control, position, control)
        return *_skip_blocks(data, position + 2, hops), control

    first = _HEADER + _measure_palette(_at(data, 10))
    frame, hops, control = tf.while_loop(
        lambda position, hops, _: (hops > 0) & (_at(data, position) == _EXTENSION),
        skip_extension,
        (first, tf.constant(_HOPS), tf.constant(_NOWHERE)),
    )
    low, high = (tf.stack([_at(data, frame + i) for i in p]) for p in ((5, 7), (6, 8)))
    size = tf.cast(low + 256 * high, tf.int64)
    own_palette = _measure_palette(_at(data, frame + 9))
    end, hops = _skip_blocks(data, frame + _DESCRIPTOR + own_palette + 1, hops)
    end = tf.minimum(end, tf.size(data))

    cut = tf.strings.join([tf.strings.substr(image_bytes, 0, end), ";"])
    has_own = own_palette > 0
    palette = tf.where(has_own, frame + _DESCRIPTOR, _HEADER)
    cut = tf.cond(
        (control != _NOWHERE) & (_at(data, control + 3) % 2 == 1),
        lambda: _whiten(cut, control, palette + 3 * _at(data, control + 6)),
        lambda: cut,
    )
    # The frame alone: its offset in the animation would leave a part of it outside.
    cut = _write(cut, frame + 1, bytes(4))
    is_frame = (hops > 0) & (_at(data, frame) == _FRAME)
    return tf.where(is_frame, cut, ""), tf.where(is_frame, size, 0)


def _at(data: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Returns the byte at a position, int32 scalar; 0 behind the end."""
    return tf.reduce_sum(tf.cast(data[position : position + 1], tf.int32))


def _measure_palette(flags: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of the palette that follows a descriptor, int32 scalar."""
    colours = tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 0x07))
    return tf.where(flags >= 0x80, 3 * colours, 0)


def _skip_blocks(
    data: tf.Tensor, position: tf.Tensor, hops: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Passes a chain of sub-blocks and its terminator, which costs a hop as well.

    Args:
        data: uint8 [n], the file.
        position: int32 scalar, of the first sub-block.
        hops: int32 scalar, how many are left.

    Returns:
        The position behind, and the hops that are left; without one, the chain was
        not passed.
    """

    def hop(position: tf.Tensor, hops: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = _at(data, position)
        sizes = data[position : position + _RUN * (size + 1) : size + 1]
        is_same = tf.cast(tf.cast(sizes, tf.int32) == size, tf.int32)
        count = tf.reduce_sum(tf.math.cumprod(is_same))
        return position + count * (size + 1), hops - 1

    position, hops = tf.while_loop(
        lambda position, hops: (hops > 0) & (_at(data, position) > 0),
        hop,
        (position, hops),
    )
    return position + 1, hops - 1


def _whiten(gif: tf.Tensor, control: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
    """Makes the transparent colour an opaque white."""
    return _write(_write(gif, colour, b"\xff" * 3), control + 3, bytes(1))


def _write(text: tf.Tensor, position: tf.Tensor, part: bytes) -> tf.Tensor:
    """Returns the string with a part overwritten; as it is outside of it."""
    is_inside = (position >= 0) & (position + len(part) <= tf.strings.length(text))
    start = tf.where(is_inside, position, 0)
    behind = tf.where(is_inside, position + len(part), 0)
    part = tf.where(is_inside, part, b"")
    return tf.strings.join(
        [
            tf.strings.substr(text, 0, start),
            part,
            tf.strings.substr(text, behind, tf.strings.length(text)),
        ]
    )
