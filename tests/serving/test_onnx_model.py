"""The ONNX file: names, any number of rows, and the same probabilities."""

import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.conversion import ConversionError
from tf_multimodal.serving.onnx_model import load_onnx, write_onnx


@pytest.fixture(scope="module")
def path(predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(predictor.model, predictor.preprocessor, path)
    return path


def make_tensors(preprocessor, rows):
    """Returns rows that differ, each modality missing in some of them."""
    generator = np.random.default_rng(0)
    specs = spec.make_input_spec(
        preprocessor.modalities,
        preprocessor.image_size_px,
        preprocessor.sequence_length,
        rows,
    )
    x = {key: np.zeros(s.shape, s.dtype) for key, s in specs.items()}
    for key in x.keys() & {spec.HAS_IMAGE, spec.HAS_TEXT}:
        x[key] = generator.random(rows) > 0.3
    if spec.IMAGES in x:
        x[spec.IMAGES] = generator.random(x[spec.IMAGES].shape, np.float32)
    if spec.TOKEN_IDS in x:
        x[spec.TOKEN_IDS] = generator.integers(1, 16, x[spec.TOKEN_IDS].shape, np.int32)
        lengths = generator.integers(3, 9, (rows, 1))
        x[spec.PADDING_MASK] = (np.arange(8) < lengths).astype(np.int32)
    return x


@pytest.mark.parametrize("rows", [1, 5])
def test_probabilities_are_the_models(path, predictor, rows):
    x = make_tensors(predictor.preprocessor, rows)
    expected = compute_probabilities(predictor.model(x, training=False).numpy())
    received = load_onnx(path)(x)
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)
    if rows > 1:
        assert np.ptp(expected, axis=0).max() > 0.05  # the rows are told apart


def test_inputs_have_the_names_of_the_prepared_tensors(path, predictor):
    graph = onnx.load(path).graph
    preprocessor = predictor.preprocessor
    specs = spec.make_input_spec("image_text", preprocessor.image_size_px, 8)
    assert {value.name for value in graph.input} == set(specs)
    assert [value.name for value in graph.output] == ["probabilities"]
    for value in (*graph.input, *graph.output):
        first, *others = value.type.tensor_type.shape.dim
        assert first.dim_param == "batch"
        assert all(dim.dim_value for dim in others)


def test_a_model_of_images_takes_no_tokens(image_run, tmp_path):
    predictor = Predictor.from_run(image_run)
    path = tmp_path / "model.onnx"
    write_onnx(predictor.model, predictor.preprocessor, path)
    assert {value.name for value in onnx.load(path).graph.input} == set(spec.IMAGE_KEYS)
    x = make_tensors(predictor.preprocessor, 3)
    expected = compute_probabilities(predictor.model(x, training=False).numpy())
    np.testing.assert_allclose(load_onnx(path)(x), expected, rtol=0, atol=1e-5)


def test_mixed_precision_is_refused(small_run, tmp_path):
    predictor = Predictor.from_run(small_run, dtype="mixed_bfloat16")
    with pytest.raises(ConversionError, match="bfloat16: load the run with"):
        write_onnx(predictor.model, predictor.preprocessor, tmp_path / "model.onnx")


class Stubborn:
    """A network with an operation that ONNX lacks."""

    compute_dtype, activation = "float32", "softmax"

    def __call__(self, x, training):
        return tf.linalg.svd(x[spec.IMAGES], compute_uv=False)[..., 0]


def test_an_operation_that_onnx_lacks_is_an_error(predictor, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ConversionError, match="does not convert to ONNX: .*Svd"):
        write_onnx(Stubborn(), predictor.preprocessor, path)
    assert not path.exists()


@pytest.mark.parametrize("package", ["onnx", "tf2onnx", "onnxruntime"])
def test_a_missing_package_is_named(predictor, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / "model.onnx"
    with pytest.raises(ConversionError, match=rf"{package}.*tf_multimodal\[onnx\]"):
        if package == "onnxruntime":
            load_onnx(path)
        else:
            write_onnx(predictor.model, predictor.preprocessor, path)
