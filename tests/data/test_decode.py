import struct

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import decode, spec

RED = np.full((3, 4, 3), (255, 0, 0), np.uint8)


def encode_bmp(pixels_bgra: np.ndarray) -> bytes:
    height, width, depth = pixels_bgra.shape
    data = pixels_bgra[::-1].tobytes()
    header = struct.pack("<2sIHHI", b"BM", 54 + len(data), 0, 0, 54)
    info = (40, width, height, 1, 8 * depth, 0, len(data), 0, 0, 0, 0)
    return header + struct.pack("<IiiHHIIiiII", *info) + data


def encode_with_pillow(kind: str, **kwargs) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(RED).save(stream, kind, **kwargs)
    return stream.getvalue()


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


def test_bmp_ignores_its_fourth_byte():
    bgra = np.concatenate([RED[..., ::-1], np.zeros((3, 4, 1), np.uint8)], -1)
    np.testing.assert_array_equal(decode.decode_image(encode_bmp(bgra)), RED)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_gif_and_webp(kind):
    pytest.importorskip("PIL")
    kwargs = {"lossless": True} if kind == "WEBP" else {}
    image = decode.decode_image(encode_with_pillow(kind, **kwargs)).numpy()
    np.testing.assert_array_equal(image, RED)


def test_animated_gif_gives_its_first_frame():
    pillow = pytest.importorskip("PIL.Image")
    frames = [pillow.fromarray(RED), pillow.fromarray(255 - RED)]
    data = encode_with_pillow("GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode.decode_image(data), RED)


def make_batch():
    png, jpeg = tf.io.encode_png(RED).numpy(), tf.io.encode_jpeg(RED).numpy()
    bad = [b"", b"hello", png[:40], jpeg[: len(jpeg) // 2], jpeg[:20]]
    return tf.constant([png, *bad, jpeg, png]), [True] + [False] * 5 + [True] * 2


@pytest.mark.parametrize("mode", ["eager", "function", "dataset"])
def test_bad_rows_are_zeros_and_leave_the_others_alone(mode):
    images, expected = make_batch()

    def run(batch):
        return decode.decode_batch(batch, make_pixels, 2)

    if mode == "dataset":
        pixels, ok = next(iter(tf.data.Dataset.from_tensors(images).map(run)))
    else:
        signature = [tf.TensorSpec([None], tf.string)]
        function = tf.function(run, input_signature=signature)
        pixels, ok = run(images) if mode == "eager" else function(images)
    assert ok.numpy().tolist() == expected
    assert pixels.shape == (8, 2, 2, 3)
    assert not pixels.numpy()[~ok.numpy()].any()
    red = pixels.numpy()[:, 0, 0, 0]
    assert red[0] == 255 and red[7] == 255 + 7  # the position of the row, in order
    assert abs(red[6] - (254 + 6)) <= 1  # a JPEG, not exact


def test_a_batch_of_bad_rows_only_and_an_empty_batch():
    for images in (["", "x"], []):
        batch = tf.constant(images, tf.string)
        pixels, ok = decode.decode_batch(batch, make_pixels, 2)
        assert pixels.shape == (len(images), 2, 2, 3) and not ok.numpy().any()


def test_the_static_size_of_a_batch_is_kept():
    dataset = tf.data.Dataset.from_tensors(make_batch()[0])
    dataset = dataset.map(lambda b: decode.decode_batch(b, make_pixels, 2))
    assert dataset.element_spec[0].shape == (8, 2, 2, 3)
    assert dataset.element_spec[1].shape == (8,)


def test_paths_are_read_and_missing_files_are_bad_rows(tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(tf.io.encode_png(RED).numpy())
    paths = tf.constant([str(tmp_path / "gone.png"), str(good), "", str(tmp_path)])
    pixels, ok = decode.decode_batch(paths, make_pixels, 2, are_paths=True)
    assert ok.numpy().tolist() == [False, True, False, False]
    assert pixels.numpy()[1, 0, 0].tolist() == [256, 1, 1]


def test_failures_are_explained(tmp_path):
    png = tf.io.encode_png(RED).numpy()
    (tmp_path / "empty.png").write_bytes(b"")
    assert decode.explain_failure(png) == (spec.OK, "")
    status, reason = decode.explain_failure(str(tmp_path / "gone.png"))
    assert status == spec.UNREADABLE_IMAGE and "does not exist" in reason
    status, reason = decode.explain_failure(str(tmp_path))
    assert status == spec.UNREADABLE_IMAGE and "directory" in reason
    status, reason = decode.explain_failure(str(tmp_path / "empty.png"))
    assert status == spec.UNDECODABLE_IMAGE and "0 bytes" in reason
    status, reason = decode.explain_failure(b"hello")
    assert status == spec.UNDECODABLE_IMAGE and "Unknown image file format" in reason
    assert "{{" not in reason and "Op:" not in reason
