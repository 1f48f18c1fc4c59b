"""The predictor: order, padding, statuses and precision."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.inference import prediction_file, predictions
from tf_multimodal.inference.predictor import Predictor, make_source
from tf_multimodal.inference.run_reader import RunError, read_run


@pytest.fixture(scope="module")
def predictor(small_run):
    return Predictor.from_run(small_run)


@pytest.fixture(scope="module")
def source(predictor):
    config = predictor.config
    return read_manifest(config.data.manifest, config.data.columns)


def test_is_float32_all_through(predictor):
    layers = predictor.model._flatten_layers()
    kinds = (keras.layers.Conv2D, keras.layers.LSTM, keras.layers.Dense)
    dtypes = [layer.compute_dtype for layer in layers if isinstance(layer, kinds)]
    assert len(dtypes) >= 4 and set(dtypes) == {"float32"}


def test_probabilities_are_the_softmax_of_the_model(predictor, source):
    index = source.get_indices("train")
    result = predictor.predict_source(source, index, batch_size=4)
    images = np.stack([_read_pixels(source.images[i]) for i in index])
    x = {"images": images, "text": [source.texts[i] for i in index]}
    logits = predictor.model(predictor.preprocessor(x), training=False)
    expected = keras.ops.softmax(logits)
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_array_equal(result.labels, np.argmax(expected, axis=1))


def _read_pixels(path):
    pixels = tf.io.decode_png(tf.io.read_file(path), channels=3)
    return pixels.numpy().astype(np.float32)


def test_order_and_padding_do_not_matter(predictor, source):
    every = predictor.predict_source(source, batch_size=16)
    np.testing.assert_array_equal(every.index, np.arange(len(source)))
    index = np.array([7, 0, 9, 3, 1])
    some = predictor.predict_source(source, index, batch_size=2)
    np.testing.assert_array_equal(some.index, index)
    np.testing.assert_allclose(
        some.probabilities, every.probabilities[index], atol=1e-6
    )
    assert np.ptp(every.probabilities, axis=0).max() > 1e-3  # rows do differ
    assert [some.status[i] for i in (0, 3)] == [every.status[7], every.status[3]]


def test_no_rows(predictor, source):
    result = predictor.predict_source(source, np.zeros(0, np.int64))
    assert len(result) == 0 and result.probabilities.shape == (0, 3)


def test_statuses_and_what_is_left(predictor, source):
    result = predictor.predict_source(source, np.arange(6))
    assert result.status == [
        spec.OK,
        spec.OK,
        spec.UNDECODABLE_IMAGE,
        spec.OK,
        spec.OK,
        spec.UNREADABLE_IMAGE,
    ]
    assert result.usable.tolist() == [True, True, True, True, True, False]
    assert [bool(reason) for reason in result.reasons] == [
        status != spec.OK for status in result.status
    ]
    # A bad image is as good as none.
    text = source.texts[2]
    alone = predictor.predict([None], [text])
    np.testing.assert_allclose(
        alone.probabilities[0], result.probabilities[2], atol=1e-6
    )


def test_good_rows_are_not_read_again(predictor, source, monkeypatch):
    asked = []
    monkeypatch.setattr(
        predictions.row_status, "explain", lambda status, *_: asked.append(status) or ""
    )
    predictor.predict_source(source, np.arange(6))
    assert asked == [spec.UNDECODABLE_IMAGE, spec.UNREADABLE_IMAGE]


def test_masking_hides_a_modality(predictor, source):
    first = np.arange(1)
    text_only = predictor.predict_source(source, first, mask_images=True)
    expected = predictor.predict([None], [source.texts[0]])
    np.testing.assert_allclose(
        text_only.probabilities, expected.probabilities, atol=1e-6
    )
    image_only = predictor.predict_source(source, first, mask_texts=True)
    assert np.abs(image_only.probabilities - text_only.probabilities).max() > 1e-4
    assert image_only.status == text_only.status == [spec.OK]


def test_predict_takes_bytes(predictor, source):
    image = open(source.images[0], "rb").read()
    result = predictor.predict(
        [image, image, None, None, b"no image"], ["a red bird", None, "", " ", "x"]
    )
    from_file = predictor.predict_source(source, np.arange(1))
    np.testing.assert_allclose(
        result.probabilities[0], from_file.probabilities[0], atol=1e-6
    )
    assert result.status == [
        spec.OK,
        spec.OK,
        spec.MISSING_INPUT,
        spec.MISSING_INPUT,
        spec.UNDECODABLE_IMAGE,
    ]
    assert result.usable.tolist() == [True, True, False, False, True]


def test_texts_may_be_bytes_and_bad_ones_are_masked(predictor):
    texts = ["two cats", b"two cats", "é".encode(), b"cat \xff", "cat \ud800"]
    result = predictor.predict([None] * 5, texts)
    np.testing.assert_array_equal(result.probabilities[0], result.probabilities[1])
    assert result.status == [spec.OK] * 3 + [spec.UNDECODABLE_TEXT] * 2
    assert result.usable.tolist() == [True] * 3 + [False] * 2
    assert "byte 0xff at position 4" in result.reasons[3]
    source = make_source([None] * 5, texts)
    assert source.texts[2] == "é" and source.texts[3] == b"cat \xff"
    rows = list(prediction_file.make_rows(source, result, predictor.classes))
    assert [row["text"] for row in rows[1:4]] == ["two cats", "é", "cat \ufffd"]
    assert rows[3]["status"] == "undecodable_text" and rows[3]["prediction"] is None
    json.dumps(rows, ensure_ascii=False).encode()  # can be written


def test_a_large_image_is_masked_and_the_reason_names_the_setting(predictor):
    image = tf.io.encode_png(np.zeros((3, 4, 3), np.uint8)).numpy()
    image = image[:16] + b"\x00\x01\x00\x00" * 2 + image[24:]
    result = predictor.predict([image], ["two cats"])
    assert result.status == [spec.IMAGE_TOO_LARGE] and result.usable.all()
    assert "65536 x 65536" in result.reasons[0]
    assert "config.data.max_image_px" in result.reasons[0]
    alone = predictor.predict([None], ["two cats"])
    np.testing.assert_array_equal(result.probabilities, alone.probabilities)


def test_predict_wants_pairs(predictor):
    with pytest.raises(ValueError, match="1 and 2"):
        predictor.predict([None], ["a", "b"])


def test_forward_is_traced_once(predictor, source):
    predictor.predict_source(source, batch_size=3)
    before = predictor.model.predict_function.experimental_get_tracing_count()
    predictor.predict_source(source, np.arange(4), batch_size=3)
    predictor.predict([None], ["a"], batch_size=3)
    after = predictor.model.predict_function.experimental_get_tracing_count()
    assert after == before > 0


def test_image_model_does_not_need_text(image_run):
    predictor = Predictor.from_run(image_run)
    columns = predictor.config.data.columns
    source = read_manifest(predictor.config.data.manifest, columns)
    result = predictor.predict_source(source, np.arange(6))
    assert result.usable.tolist() == [True, True, False, True, False, False]
    assert result.status[4] == spec.MISSING_INPUT  # it has a text, but no image


def test_labels_must_fit_the_model(run_copy):
    (run_copy / "labels.txt").write_text("bird\ncat\n")
    assert read_run(run_copy).classes == ("bird", "cat")
    with pytest.raises(RunError, match="names 2 classes, the model in best/ has 3"):
        Predictor.from_run(run_copy)


def test_source_keeps_trailing_zero_bytes():
    assert make_source([b"a\0\0"], ["x"]).images[0] == b"a\0\0"


def test_softmax_of_large_logits():
    result = predictions.compute_probabilities(np.array([[1e4, 1e4, -1e4]], np.float32))
    np.testing.assert_array_equal(result, np.array([[0.5, 0.5, 0]], np.float32))
