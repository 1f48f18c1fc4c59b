"""The preprocessor: KerasHub's own checks, missing inputs, images in tf.data."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.src.tests.test_case import TestCase
from model_samples import (
    BATCH,
    SIDE_PX,
    TOKENS,
    VOCABULARY,
    make_preprocessor,
    make_raw_inputs,
    make_task,
)

from tf_multimodal.data import spec
from tf_multimodal.data.tokenizer import WordPieceTokenizer
from tf_multimodal.models.image_text_classifier_preprocessor import (
    ImageTextClassifierPreprocessor,
)

TOKEN_IDS = [
    [2, 5, 7, 9, 3, 0],  # [CLS] red cat ##s [SEP]
    [2, 6, 8, 3, 0, 0],
    [2, 3, 0, 0, 0, 0],
    [2, 7, 9, 7, 9, 3],  # truncated: [SEP] is kept
]


class KerasHubTest(TestCase):
    def test_image_text(self):
        self._check("image_text")

    def test_text(self):
        self._check("text")

    def test_image(self):
        preprocessor = make_preprocessor("image")
        self.run_preprocessing_layer_test(
            ImageTextClassifierPreprocessor,
            {"image_converter": preprocessor.image_converter},
            (make_raw_inputs("image"), np.arange(BATCH), np.ones(BATCH)),
        )

    def _check(self, modalities):
        preprocessor = make_preprocessor(modalities)
        self.init_kwargs = {
            "image_converter": preprocessor.image_converter,
            "tokenizer": preprocessor.tokenizer,
            "sequence_length": TOKENS,
        }
        output = self.run_preprocessor_test(
            ImageTextClassifierPreprocessor,
            self.init_kwargs,
            (make_raw_inputs(modalities), np.arange(BATCH), np.ones(BATCH)),
        )
        self.assertAllEqual(output[0][spec.TOKEN_IDS], TOKEN_IDS)
        self.assertAllEqual(output[1], np.arange(BATCH))
        self.assertAllEqual(output[2], np.ones(BATCH))


@pytest.mark.parametrize("modalities", ["image", "text", "image_text"])
@pytest.mark.parametrize("in_tf_data", [False, True])
def test_output_follows_the_spec(modalities, in_tf_data):
    preprocessor, raw = make_preprocessor(modalities), make_raw_inputs()
    output = preprocessor(raw)
    if in_tf_data:
        dataset = tf.data.Dataset.from_tensor_slices(raw).batch(BATCH)
        output = dataset.map(preprocessor).get_single_element()
    expected = spec.make_input_spec(modalities, SIDE_PX, TOKENS, BATCH)
    received = {
        key: spec.TensorSpec(tuple(value.shape), value.dtype.name)
        for key, value in output.items()
    }
    assert received == expected
    assert preprocessor.modalities == modalities
    assert preprocessor.image_size_px == (None if modalities == "text" else SIDE_PX)


def test_text_becomes_tokens_mask_and_segments():
    output = make_preprocessor("text")({"text": make_raw_inputs()["text"]})
    assert np.array_equal(output[spec.TOKEN_IDS], TOKEN_IDS)
    assert np.array_equal(output[spec.PADDING_MASK], np.array(TOKEN_IDS) != 0)
    assert not np.any(output[spec.SEGMENT_IDS])


def test_text_without_a_word_is_missing():
    texts = ["red", "", "  \t\n", "\u200b\u00ad", "?", "xyz"]
    output = make_preprocessor("text")({"text": texts})
    assert output[spec.HAS_TEXT].numpy().tolist() == [
        *(True, False, False, False),
        *(True, True),  # an unknown word is a word
    ]


def test_absent_modalities_are_marked():
    preprocessor, raw = make_preprocessor(), make_raw_inputs()
    text_only = preprocessor({"text": raw["text"]})
    assert not np.any(text_only[spec.HAS_IMAGE])
    assert text_only[spec.IMAGES].shape == (BATCH, SIDE_PX, SIDE_PX, 3)
    assert np.array_equal(text_only[spec.TOKEN_IDS], TOKEN_IDS)
    image_only = preprocessor({"images": raw["images"]})
    assert not np.any(image_only[spec.HAS_TEXT])
    assert np.all(image_only[spec.HAS_IMAGE])
    assert np.array_equal(image_only[spec.TOKEN_IDS], [[2, 3, 0, 0, 0, 0]] * BATCH)
    assert set(image_only) == set(text_only) == set(preprocessor(raw))


def test_has_image_passes_through():
    raw = {**make_raw_inputs(), "has_image": np.array([True, False, True, False])}
    output = make_preprocessor()(raw)
    assert np.array_equal(output[spec.HAS_IMAGE], raw["has_image"])


def test_images_of_unknown_size_in_tf_data():
    preprocessor = make_preprocessor("image")
    big = np.random.RandomState(0).randint(0, 256, (37, 21, 3)).astype("uint8")
    ready = big[:SIDE_PX, :SIDE_PX]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter([big, ready]),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )
    rows = list(dataset.map(preprocessor.convert_images).as_numpy_iterator())
    assert [row.shape for row in rows] == [(SIDE_PX, SIDE_PX, 3)] * 2
    # Eager calls and graphs agree: KerasHub's converter alone differs on uint8.
    np.testing.assert_allclose(rows[0], preprocessor.convert_images(big), atol=1e-6)
    # An image that has the size already is only scaled.
    np.testing.assert_allclose(rows[1], ready / 127.5 - 1, atol=1e-5)


def test_images_stay_float32_under_a_mixed_converter():
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(8, 8), dtype="mixed_bfloat16"
    )
    preprocessor = ImageTextClassifierPreprocessor(image_converter=converter)
    assert preprocessor.convert_images(np.zeros((9, 9, 3))).dtype == tf.float32


def test_preset_of_a_task_holds_it(tmp_path):
    raw, task = make_raw_inputs(), make_task()
    task.save_to_preset(str(tmp_path))
    loaded = ImageTextClassifierPreprocessor.from_preset(str(tmp_path))
    assert loaded.tokenizer.get_vocabulary() == VOCABULARY
    before, after = task.preprocessor(raw), loaded(raw)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_limit_of_pixels_is_stored(tmp_path):
    task = make_task()
    assert task.preprocessor.max_image_px == spec.MAX_IMAGE_PX
    task.preprocessor.max_image_px = 1234
    task.save_to_preset(str(tmp_path))
    loaded = ImageTextClassifierPreprocessor.from_preset(str(tmp_path))
    assert loaded.max_image_px == 1234
    config = make_preprocessor().get_config()
    del config["max_image_px"]  # as a preset of an earlier version has it
    loaded = ImageTextClassifierPreprocessor.from_config(config)
    assert loaded.max_image_px == spec.MAX_IMAGE_PX


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="`max_image_px` must be at least 1"):
        ImageTextClassifierPreprocessor(
            tokenizer=WordPieceTokenizer(VOCABULARY), max_image_px=0
        )
    with pytest.raises(ValueError, match="None for both"):
        ImageTextClassifierPreprocessor()
    with pytest.raises(ValueError, match="at least 3"):
        ImageTextClassifierPreprocessor(
            tokenizer=WordPieceTokenizer(VOCABULARY), sequence_length=2
        )
    with pytest.raises(ValueError, match=r"'images' or 'text'.*\['caption'\]"):
        make_preprocessor()({"caption": ["red"]})
    with pytest.raises(ValueError, match="'images'"):
        make_preprocessor("image")({"text": ["red"]})
