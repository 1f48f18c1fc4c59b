"""Sizes and orientations read from the bytes, the limit, and damaged headers."""

import io
import re
import struct

import numpy as np
import pytest
import tensorflow as tf
from image_samples import (
    ORIENTATION,
    make_animated_webp,
    make_exif,
    make_pixels,
    make_samples,
    make_turned,
    save,
)
from PIL import Image

from tf_multimodal.data import decode, image_header, spec

SAMPLES = make_samples()
HUGE = 60_000  # px a side; 14 bits are the most that VP8 and VP8L hold


def read_size(data: bytes) -> list[int]:
    return image_header.read_headers(tf.constant([data]))[1][0].numpy().tolist()


def read_orientation(data: bytes) -> int:
    return int(image_header.read_headers(tf.constant([data]))[2][0])


def write(data: bytes, place: int, part: bytes) -> bytes:
    return data[:place] + part + data[place + len(part) :]


def enlarge(name: str) -> bytes:
    """The sample with a header that says 60,000 x 60,000 (WebP: 16,383) pixels."""
    data = SAMPLES[name]
    little, big = struct.pack("<H", HUGE), struct.pack(">H", HUGE)
    if name.startswith("jpeg"):
        place = re.search(rb"\xff[\xc0\xc2]\x00[\x0b\x11\x14]\x08", data).start()
        return write(data, place + 5, big * 2)
    if name.startswith("png"):
        return write(data, 16, struct.pack(">II", HUGE, HUGE))
    if name.startswith("gif"):
        return write(data, data.index(b"\x2c" + bytes(4)) + 5, little * 2)
    if name.startswith("bmp"):
        return write(data, 18, struct.pack("<ii", HUGE, -HUGE))
    chunk = data[12:16]
    if chunk == b"VP8 ":
        return write(data, 26, struct.pack("<HH", 0x3FFF, 0x3FFF))
    if chunk == b"VP8L":
        return write(data, 21, struct.pack("<I", 0x0FFFFFFF))
    return write(data, 24, struct.pack("<I", HUGE)[:3] * 2)


@pytest.mark.parametrize("side_px", [1, 300])
@pytest.mark.parametrize("name", SAMPLES)
def test_sizes_are_those_of_the_image(name, side_px):
    image = Image.open(io.BytesIO(SAMPLES[name]))
    options = {"quality": 50} if name == "jpeg" else {}
    options |= {"lossless": True} if "lossless" in name else {}
    image = image.resize((side_px, 7))
    assert read_size(save(image, image.format or name.split("_")[0], **options)) == [
        side_px,
        7,
    ]
    assert read_size(SAMPLES[name]) == [16, 16]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_header_over_the_limit_is_not_decoded(name):
    data = enlarge(name)
    width, height = read_size(data)
    assert min(width, height) > 16_000
    images = tf.constant([SAMPLES["png"], data])
    _, status = decode.decode_batch(images, lambda *_: tf.zeros([2, 2, 3]), 2)
    assert [spec.STATUSES[code] for code in status] == [spec.OK, spec.IMAGE_TOO_LARGE]
    status, reason = decode.explain_failure(data)
    assert status == spec.IMAGE_TOO_LARGE
    assert f"{width} x {height}" in reason and "50000000" in reason
    assert "config.data.max_image_px" in reason
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
        decode.decode_image(data)


def test_the_limit_itself_is_allowed_and_what_is_above_is_not_decoded():
    images = tf.constant([SAMPLES["jpeg"], SAMPLES["webp"]])
    decoded = []

    def note(sides):
        decoded.append(sides)
        return True

    def transform(image, _):
        with tf.control_dependencies(
            [tf.numpy_function(note, [tf.shape(image)], bool)]
        ):
            return tf.zeros([2, 2, 3])

    for limit, expected in ((255, spec.IMAGE_TOO_LARGE), (256, spec.OK)):
        _, status = decode.decode_batch(images, transform, 2, max_image_px=limit)
        assert {spec.STATUSES[code] for code in status.numpy()} == {expected}
        assert decode.explain_failure(SAMPLES["jpeg"], limit)[0] == expected
        assert len(decoded) == (2 if expected == spec.OK else 0)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode.decode_image(SAMPLES["jpeg"], 255)


def test_what_has_no_size_is_zero():
    jpeg = SAMPLES["jpeg"]
    no_frame = jpeg[:2] + jpeg[jpeg.index(b"\xff\xda") :]
    for data in (b"", b"hello", jpeg[:20], no_frame, b"GIF89a", make_animated_webp()):
        assert 0 in read_size(data)


def test_jpeg_segments_are_walked_as_libjpeg_does():
    data = make_turned(6)
    fill = data[:2] + b"\xff\xff" + data[2:]
    place = data.index(b"\xff\xe1")
    stray = data[:place] + b"stray" + data[place:]
    comment = data[:2] + b"\xff\xfe\x00\x0a" + b"\xff\xc0 \xff\xe1" + b"12" + data[2:]
    for other in (fill, stray, comment):
        assert read_size(other) == [16, 16] and read_orientation(other) == 6
        np.testing.assert_array_equal(
            decode.decode_image(other), decode.decode_image(data)
        )


@pytest.mark.parametrize("byte_order", "<>")
def test_exif_that_says_nothing_usable_means_upright(byte_order):
    def read(entries):
        exif = make_exif(entries, byte_order)
        return read_orientation(save(make_pixels(), "JPEG", exif=exif))

    assert read([(0x010F, 2, 1, 65), (ORIENTATION, 3, 1, 8)]) == 8
    assert read([]) == read([(0x0110, 3, 1, 8)]) == 1
    assert read([(ORIENTATION, 3, 1, 0)]) == read([(ORIENTATION, 3, 1, 9)]) == 1
    assert read([(ORIENTATION, 3, 1, 65535)]) == 1
    exif = write(make_exif([(ORIENTATION, 3, 1, 8)], byte_order), 6, b"XX")
    assert read_orientation(save(make_pixels(), "JPEG", exif=exif)) == 1


def test_damaged_exif_is_never_an_error():
    data = make_turned(6)
    start = data.index(b"Exif")
    generator = np.random.RandomState(0)
    damaged = [data]
    for place in range(start, start + 32):
        for value in (0, 255, generator.randint(256)):
            damaged.append(write(data, place, bytes([value])))
    for length in range(8):  # the segment ends early, or runs over the end
        high = 255 if length % 2 else 0
        damaged.append(write(data, start - 2, bytes([high, length])))
    orientations = image_header.read_headers(tf.constant(damaged))[2].numpy()
    assert orientations[0] == 6 and {*orientations} <= set(range(1, 9))
    _, status = decode.decode_batch(
        tf.constant(damaged[: 1 + 3 * 32]),
        lambda image, _: tf.image.resize(image, [2, 2]),
        2,
    )
    # Inside of the block nothing can spoil the pixels.
    assert not np.any(status)
