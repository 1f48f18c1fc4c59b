"""Every format and orientation: as Pillow shows it, and the same on every path."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from image_samples import (
    decode_with_pillow,
    make_animated_webp,
    make_pixels,
    make_samples,
    make_turned,
    save,
)
from PIL import Image

from tf_multimodal.data import decode, pipeline, spec

LOSSY = 8  # of 255: the decoders of JPEG round in other places
SAMPLES = make_samples()
TURNED = {f"turned_{number}": make_turned(number) for number in range(1, 9)}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_as_pillow_shows_it(name):
    image = decode.decode_image(tf.constant(SAMPLES[name])).numpy()
    expected = decode_with_pillow(SAMPLES[name])
    assert image.dtype == np.uint8 and image.shape == expected.shape
    difference = np.abs(image.astype(int) - expected)
    is_lossy = name.startswith("jpeg") or name in ("webp", "webp_alpha")
    assert difference.max() <= (LOSSY if is_lossy else 1)


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_as_pillow_turns_it(orientation, byte_order):
    data = make_turned(orientation, byte_order, side_px=24)
    image = decode.decode_image(tf.constant(data)).numpy()
    expected = decode_with_pillow(data)
    assert image.shape == expected.shape
    assert image.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))
    assert np.abs(image.astype(int) - expected).max() <= LOSSY
    # The picture has no symmetry: each orientation is another image.
    upright = make_pixels(side_px=24)[:16]
    is_upright = image.shape == upright.shape and np.all(
        np.abs(image.astype(int) - upright) <= LOSSY
    )
    assert is_upright == (orientation == 1)


def test_training_evaluation_and_serving_see_the_same_images(
    make_source, make_preprocessor, config
):
    images = [*SAMPLES.values(), *TURNED.values()]
    count = len(images)
    source = make_source(count, images)
    source = dataclasses.replace(source, labels=np.arange(count, dtype=np.int32))
    preprocessor, rows = make_preprocessor(), np.arange(count)
    config.train.batch_size = count
    train = pipeline.make_train_dataset(source, rows, preprocessor, config)
    x, labels, weights = next(iter(train))
    assert np.all(weights == 1)
    trained = np.zeros(x[spec.IMAGES].shape, np.float32)
    trained[labels.numpy()] = x[spec.IMAGES]
    dataset = pipeline.make_eval_dataset(source, rows, preprocessor, batch_size=count)
    evaluated = next(iter(dataset))
    assert not np.any(evaluated[spec.STATUS])

    signature = [tf.TensorSpec([None], tf.string)] * 2
    serve = tf.function(
        lambda images, texts: pipeline.make_inputs(images, texts, preprocessor),
        input_signature=signature,
    )
    served, status = serve(tf.constant(images), tf.constant(list(source.texts)))
    assert not np.any(status)
    evaluated = evaluated[spec.INPUTS][spec.IMAGES]
    np.testing.assert_array_equal(served[spec.IMAGES], evaluated)
    # The images have the size of the model, so that both resizings do nothing.
    np.testing.assert_allclose(trained, evaluated, atol=1e-4)
    expected = np.stack([decode_with_pillow(image) for image in images]) / 127.5 - 1
    np.testing.assert_allclose(evaluated, expected, atol=(LOSSY + 0.1) / 127.5)


def test_an_animated_webp_is_refused_before_it_reaches_the_decoder():
    status, reason = decode.explain_failure(make_animated_webp())
    assert status == spec.UNDECODABLE_IMAGE and "not animated" in reason


def test_bytes_of_another_format_are_refused():
    tiff = save(make_pixels(), "TIFF")
    jpeg_xl = b"\xff\x0a" + bytes(40)
    for data in (tiff, jpeg_xl):
        assert decode.explain_failure(data)[0] == spec.UNDECODABLE_IMAGE


def make_gif(*frames, canvas=None, **options) -> bytes:
    return save(frames[0], "GIF", save_all=True, append_images=frames[1:], **options)


def test_gif_frames_behind_the_first_play_no_part():
    """Nor does damage in them, nor how large they say they are."""
    first, second = (Image.fromarray(make_pixels()).quantize(n) for n in (8, 16))
    gif = make_gif(first, second.rotate(90), optimize=False)
    expected = decode.decode_image(tf.constant(save(first, "GIF"))).numpy()
    place = gif.rindex(b"\x2c", 0, len(gif) - 40)
    huge = gif[: place + 5] + b"\xff\xff\xff\xff" + gif[place + 9 :]
    for data in (gif, huge, gif[: place + 2]):
        np.testing.assert_array_equal(decode.decode_image(data), expected)


def insert_comments(gif: bytes, comments: bytes) -> bytes:
    place = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:place] + comments + gif[place:]


@pytest.mark.parametrize(
    ("blocks", "count", "expected"),
    [
        (b"\x01,\x02,," * 100, 9, spec.OK),
        (b"\x01,\x02,," * 100, 11, spec.UNDECODABLE_IMAGE),  # too many in all
        (b"\x01,\x02,," * 1100, 1, spec.UNDECODABLE_IMAGE),  # too many in one
        (b"\x01,", 900, spec.OK),
        (b"\x01,", 1100, spec.UNDECODABLE_IMAGE),  # too many extensions
    ],
)
def test_a_gif_of_small_blocks_is_given_up(blocks, count, expected):
    """Legal, but 2 MB of these would hold up a batch for seconds."""
    comment = b"\x21\xfe" + blocks + b"\x00"
    gif = insert_comments(SAMPLES["gif"], comment * count)
    assert decode.explain_failure(gif)[0] == expected


def test_small_blocks_of_the_pixels_count_as_well():
    gif = SAMPLES["gif"]
    gif = gif[: gif.rindex(b"\x2c" + bytes(4)) + 11] + b"\x01,\x02,," * 1100 + b"\0;"
    assert decode.explain_failure(gif)[0] == spec.UNDECODABLE_IMAGE


def test_blocks_of_the_largest_frame_are_passed():
    """75 MB in blocks of 255 bytes: 50 million pixels of 12 bits."""
    blocks = (b"\xff" + bytes(255)) * (75_000_000 // 255)
    gif = insert_comments(SAMPLES["gif"], b"\x21\xfe" + blocks + b"\x00")
    assert decode.explain_failure(gif)[0] == spec.OK


def test_gif_with_a_palette_of_its_own_and_an_offset():
    frame = Image.fromarray(make_pixels()).quantize(8)
    gif = save(frame, "GIF")
    head, palette, rest = gif[:13], gif[13 : 13 + 24], gif[13 + 24 :]
    head = head[:10] + b"\x00" + head[11:]  # no global palette
    place = rest.index(b"\x2c")
    flags = bytes([0x82 | rest[place + 9] & 0x40])  # a local palette of 8 colours
    descriptor = b"\x2c\x05\x00\x03\x00" + rest[place + 5 : place + 9] + flags
    gif = head + rest[:place] + descriptor + palette + rest[place + 10 :]
    expected = np.asarray(frame.convert("RGB"))
    np.testing.assert_array_equal(decode.decode_image(gif), expected)
