"""The TensorFlow Lite file: what it takes, what it needs, and what it answers."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.serving.conversion import ConversionError
from tf_multimodal.serving.tflite_model import load_tflite, write_tflite


@pytest.fixture(scope="module")
def tensors(predictor):
    """Five rows; the second has no text, the third no image."""
    generator = np.random.default_rng(0)
    side = predictor.preprocessor.image_size_px
    lengths = generator.integers(3, 9, (5, 1))
    return {
        spec.IMAGES: generator.random((5, side, side, 3), np.float32),
        spec.HAS_IMAGE: np.array([True, True, False, True, True]),
        spec.TOKEN_IDS: generator.integers(1, 16, (5, 8), np.int32),
        spec.PADDING_MASK: (np.arange(8) < lengths).astype(np.int32),
        spec.SEGMENT_IDS: np.zeros((5, 8), np.int32),
        spec.HAS_TEXT: np.array([True, False, True, True, True]),
    }


def test_probabilities_are_the_models(predictor, tensors, tmp_path):
    path = tmp_path / "model.tflite"
    write_tflite(predictor.model, predictor.preprocessor, path)
    # The weights are in the file, and not variables that nobody sets.
    assert path.stat().st_size > 4 * predictor.model.count_params()
    expected = compute_probabilities(predictor.model(tensors, training=False).numpy())
    received = load_tflite(path)(tensors)
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.05  # the rows are told apart

    with warnings.catch_warnings(action="ignore"):
        interpreter = tf.lite.Interpreter(model_path=str(path))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": sorted(tensors), "outputs": ["probabilities"]}
    }


class Network:
    """A stand-in for the model, of one function of the images."""

    compute_dtype, activation = "float32", "softmax"

    def __init__(self, compute):
        self.compute = compute

    def __call__(self, x, training):
        return self.compute(x[spec.IMAGES])


def test_what_does_not_convert_is_an_error_of_one_line(predictor, tmp_path):
    path = tmp_path / "model.tflite"
    network = Network(lambda images: tf.math.asinh(images[:, 0, :, 0]))
    with pytest.raises(ConversionError, match="Lite's own .*: 'tf.Asinh' op") as error:
        write_tflite(network, predictor.preprocessor, path)
    assert "\n" not in str(error.value)
    assert not path.exists()
