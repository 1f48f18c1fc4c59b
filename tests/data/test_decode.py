import threading

import numpy as np
import pytest
import tensorflow as tf
from image_samples import make_animated_webp, make_samples, make_turned

from tf_multimodal.data import decode, spec
from tf_multimodal.data.columns import UnreadableImage

RED = np.full((3, 4, 3), (255, 0, 0), np.uint8)


def make_pixels(image, position):
    """Red of the first pixel, and the position, in every place."""
    value = tf.cast(image[0, 0], tf.float32) + tf.cast(position, tf.float32)
    return tf.ones([2, 2, 1]) * value


def test_transparent_becomes_white_and_half_transparent_half_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 255
    pixels[0, :, 3] = (255, 128, 0)
    image = decode.decode_image(tf.io.encode_png(pixels)).numpy()
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]


def test_grey_with_and_without_alpha_becomes_rgb():
    grey = np.array([[[10], [200]]], np.uint8)
    image = decode.decode_image(tf.io.encode_png(grey)).numpy()
    assert image.tolist() == [[[10] * 3, [200] * 3]]
    with_alpha = np.array([[[10, 255], [10, 0]]], np.uint8)
    image = decode.decode_image(tf.io.encode_png(with_alpha)).numpy()
    assert image.tolist() == [[[10] * 3, [255] * 3]]


def test_sixteen_bits_become_eight():
    pixels = tf.io.encode_png(RED.astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode.decode_image(pixels), RED)


def make_batch():
    png, jpeg = tf.io.encode_png(RED).numpy(), tf.io.encode_jpeg(RED).numpy()
    bad = [b"", b"hello", png[:40], jpeg[: len(jpeg) // 2], jpeg[:20]]
    statuses = [spec.MISSING_INPUT] + [spec.UNDECODABLE_IMAGE] * 4
    return tf.constant([png, *bad, jpeg, png]), [spec.OK, *statuses, *[spec.OK] * 2]


def get_names(status):
    return [spec.STATUSES[code] for code in status]


@pytest.mark.parametrize("mode", ["eager", "function", "dataset"])
def test_bad_rows_are_zeros_and_leave_the_others_alone(mode):
    images, expected = make_batch()

    def run(batch):
        return decode.decode_batch(batch, make_pixels, 2)

    if mode == "dataset":
        pixels, status = next(iter(tf.data.Dataset.from_tensors(images).map(run)))
    else:
        signature = [tf.TensorSpec([None], tf.string)]
        function = tf.function(run, input_signature=signature)
        pixels, status = run(images) if mode == "eager" else function(images)
    assert get_names(status) == expected
    assert pixels.shape == (8, 2, 2, 3)
    assert not pixels.numpy()[status != 0].any()
    red = pixels.numpy()[:, 0, 0, 0]
    assert red[0] == 255 and red[7] == 255 + 7  # the position of the row, in order
    assert abs(red[6] - (254 + 6)) <= 1  # a JPEG, not exact


def test_a_batch_of_bad_rows_only_and_an_empty_batch():
    for images in (["", "x"], []):
        batch = tf.constant(images, tf.string)
        pixels, status = decode.decode_batch(batch, make_pixels, 2)
        assert pixels.shape == (len(images), 2, 2, 3) and not pixels.numpy().any()
        expected = [spec.MISSING_INPUT, spec.UNDECODABLE_IMAGE]
        assert get_names(status) == expected[: len(images)]


def test_the_static_size_of_a_batch_is_kept():
    dataset = tf.data.Dataset.from_tensors(make_batch()[0])
    dataset = dataset.map(lambda b: decode.decode_batch(b, make_pixels, 2))
    assert dataset.element_spec[0].shape == (8, 2, 2, 3)
    assert dataset.element_spec[1].shape == (8,)


def test_paths_are_read_and_missing_files_are_bad_rows(tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(tf.io.encode_png(RED).numpy())
    (tmp_path / "empty.png").write_bytes(b"")
    names = ["gone.png", "good.png", None, "", "empty.png"]
    paths = tf.constant([str(tmp_path / n) if n is not None else "" for n in names])
    pixels, status = decode.decode_batch(paths, make_pixels, 2, are_paths=True)
    assert get_names(status) == [
        spec.UNREADABLE_IMAGE,
        spec.OK,
        spec.MISSING_INPUT,
        spec.UNREADABLE_IMAGE,
        spec.UNDECODABLE_IMAGE,
    ]
    assert pixels.numpy()[1, 0, 0].tolist() == [256, 1, 1]


@pytest.mark.parametrize("mode", ["eager", "dataset"])
def test_a_batch_may_hold_paths_and_bytes(mode, tmp_path):
    png = tf.io.encode_png(RED).numpy()
    (tmp_path / "red.png").write_bytes(png)
    images = [str(tmp_path / "red.png").encode(), png, str(tmp_path / "gone").encode()]
    images += [b"", b"hello"]
    flags = [True, False, True, True, False]
    batch = (tf.constant(images), tf.constant(flags))

    def run(images, flags):
        return decode.decode_batch(images, make_pixels, 2, flags)

    if mode == "dataset":
        pixels, status = next(iter(tf.data.Dataset.from_tensors(batch).map(run)))
    else:
        pixels, status = run(*batch)
    assert get_names(status) == [
        spec.OK,
        spec.OK,
        spec.UNREADABLE_IMAGE,
        spec.MISSING_INPUT,
        spec.UNDECODABLE_IMAGE,
    ]
    assert pixels.numpy()[:2, 0, 0, 0].tolist() == [255, 256]


def test_rows_are_decoded_at_the_same_time():
    """Each row waits until the other is there too."""
    barrier = threading.Barrier(2)

    def wait(image, position):
        meet = tf.numpy_function(lambda: barrier.wait(30) >= 0, [], tf.bool)
        with tf.control_dependencies([meet]):
            return make_pixels(image, position)

    images = tf.constant([tf.io.encode_png(RED).numpy()] * 2)
    function = tf.function(lambda batch: decode.decode_batch(batch, wait, 2))
    _, status = function(images)
    assert get_names(status) == [spec.OK, spec.OK]


def test_damaged_images_leave_the_good_rows_as_they_are():
    """Truncated and bit-flipped images of every format in mixed batches."""
    samples = list(make_samples().values()) + [make_turned(6), make_animated_webp()]
    signature = [tf.TensorSpec([None], tf.string)]
    decode_all = tf.function(
        lambda batch: decode.decode_batch(
            batch, lambda image, _: tf.image.resize(image, [4, 4]), 4
        ),
        input_signature=signature,
    )
    alone = [decode_all(tf.constant([sample])) for sample in samples]
    generator, found = np.random.RandomState(0), set()
    for _ in range(25):
        rows = [damage(sample, generator) for sample in samples]
        good = generator.choice(len(samples), 8, replace=False)
        for row in good:
            rows[row] = samples[row]
        pixels, status = decode_all(tf.constant(rows))
        found |= set(get_names(status))
        assert not pixels.numpy()[status != 0].any()
        for row in good:
            assert status[row] == alone[row][1][0]
            np.testing.assert_array_equal(pixels[row], alone[row][0][0])
    assert {spec.OK, spec.UNDECODABLE_IMAGE} <= found


def damage(data, generator):
    """Cut off somewhere, or with a few bits flipped, half of them in the header."""
    if generator.randint(4) == 0:
        return data[: generator.randint(1, len(data))]
    damaged = bytearray(data)
    end = min(len(data), generator.choice([64, len(data)]))
    for place in generator.randint(end, size=generator.randint(1, 9)):
        damaged[place] ^= 1 << generator.randint(8)
    return bytes(damaged)


def test_failures_are_explained(tmp_path):
    png = tf.io.encode_png(RED).numpy()
    (tmp_path / "empty.png").write_bytes(b"")
    assert decode.explain_failure(png) == (spec.OK, "")
    status, reason = decode.explain_failure(str(tmp_path / "gone.png"))
    assert status == spec.UNREADABLE_IMAGE and "does not exist" in reason
    status, reason = decode.explain_failure(str(tmp_path))
    assert status == spec.UNREADABLE_IMAGE and "directory" in reason
    status, reason = decode.explain_failure("a\0b")
    assert status == spec.UNREADABLE_IMAGE and "null byte" in reason
    image = UnreadableImage("unreadable: ../a.png")
    image.reason = "It leads out of the folder."
    assert decode.explain_failure(image) == (spec.UNREADABLE_IMAGE, image.reason)
    status, reason = decode.explain_failure(str(tmp_path / "empty.png"))
    assert status == spec.UNDECODABLE_IMAGE and "0 bytes" in reason
    status, reason = decode.explain_failure(b"hello")
    assert status == spec.UNDECODABLE_IMAGE and "no width and height" in reason
    status, reason = decode.explain_failure(png[:40])
    assert status == spec.UNDECODABLE_IMAGE and "does not decode: " in reason
    assert "{{" not in reason and "Op:" not in reason
