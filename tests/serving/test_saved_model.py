"""The SavedModel: its graph, its precision and its files."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.serving.saved_model import write_saved_model

TOLERANCE = 1e-5


def load(folder):
    """Returns a function from lists of image bytes and texts to the outputs."""
    model = tf.saved_model.load(str(folder))  # kept alive: it holds the variables

    def ask(images, texts):
        answer = model.signatures["serving_default"](
            image_bytes=tf.constant(images, tf.string), text=tf.constant(texts)
        )
        return {key: value.numpy() for key, value in answer.items()}

    return ask


def count_ops(folder) -> collections.Counter:
    """Counts the operations in the graph and its functions, by name."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    functions = [node for f in graph.library.function for node in f.node_def]
    return collections.Counter(node.op for node in [*graph.node, *functions])


def make_pairs() -> tuple[list[bytes], list[str]]:
    """Returns images in several formats, missing and bad ones, and texts."""
    pixels = np.random.RandomState(0).randint(0, 256, (24, 40, 4), np.uint8)
    rgb, grey = pixels[..., :3], pixels[..., :1]
    images = [
        tf.io.encode_jpeg(rgb),
        tf.io.encode_jpeg(grey, format="grayscale"),
        tf.io.encode_png(pixels),
        tf.io.encode_png(rgb.astype(np.uint16) * 257),
        tf.io.encode_png(rgb[:5, :3]),
    ]
    texts = ["two cats", "a red bird", "", "Zwölf Äpfel 서울의", " the  SIGN "]
    good = [image.numpy() for image in images]
    bad = [b"", b"", b"not an image", good[0][:30]]
    return good + bad, texts + ["a bird", "", "a symbol", "a symbol"]


def test_answers_equal_predict_in_the_session_loader(servable, predictor):
    images, texts = make_pairs()
    expected = predictor.predict(images, texts)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        folder = str(servable / "1")
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
        signature = model.signature_def["serving_default"]
        feed = {
            signature.inputs["image_bytes"].name: images,
            signature.inputs["text"].name: [text.encode() for text in texts],
        }
        outputs = {key: info.name for key, info in signature.outputs.items()}
        answer = session.run(outputs, feed)
    np.testing.assert_allclose(
        answer["probabilities"], expected.probabilities, rtol=0, atol=TOLERANCE
    )
    assert [status.decode() for status in answer["status"]] == expected.status
    assert np.ptp(expected.probabilities, axis=0).max() > 0.05  # told apart


def test_network_and_tokenizer_are_in_the_file_once(servable, predictor):
    ops = count_ops(servable / "1")
    encoder = predictor.model.backbone.image_branch.encoder
    kinds = collections.Counter(type(layer).__name__ for layer in encoder.layers)
    assert ops["Conv2D"] == kinds["Conv2D"] > 0
    assert ops["FastWordpieceTokenizeWithOffsets"] == 1


def test_batch_norm_is_folded(servable, predictor):
    ops = count_ops(servable / "1")
    encoder = predictor.model.backbone.image_branch.encoder
    assert any("BatchNorm" in type(layer).__name__ for layer in encoder.layers)
    # The small run's text branch has no normalization of its own.
    assert not {"Rsqrt", "FusedBatchNormV3"} & ops.keys()


def test_each_weight_is_stored_once(servable, predictor):
    variables = tf.train.load_checkpoint(str(servable / "1/variables/variables"))
    shapes = variables.get_variable_to_shape_map().values()
    stored = sum(int(np.prod(shape)) for shape in shapes)
    # Folding leaves one vector, the bias, of the four of a BatchNorm.
    held = sum(int(np.prod(weight.shape)) for weight in predictor.model.weights)
    assert 0.9 * held < stored < held


def test_files_beside_the_model(servable, predictor):
    extra = servable / "1/assets.extra"
    names = {path.name for path in extra.iterdir()}
    assert names >= {"server_ops.json", "tf_serving_warmup_requests"}
    labels = (extra / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == list(predictor.classes)
    pieces = (extra / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    assert pieces == predictor.preprocessor.tokenizer.get_vocabulary()


def test_a_model_of_images_has_no_vocabulary(image_run, tmp_path):
    predictor = Predictor.from_run(image_run)
    folder = tmp_path / "1"
    write_saved_model(predictor, folder)
    images, texts = make_pairs()
    expected = predictor.predict(images, texts).probabilities
    answer = load(folder)(images, texts)["probabilities"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=TOLERANCE)
    assert not (folder / "assets.extra/vocabulary.txt").exists()


def test_bfloat16_halves_the_weights_and_answers_in_float32(
    servable, predictor, tmp_path
):
    folder = tmp_path / "1"
    assert write_saved_model(predictor, folder, "bfloat16") == 3  # BatchNorms folded
    small, large = (
        (path / "variables/variables.data-00000-of-00001").stat().st_size
        for path in (folder, servable / "1")
    )
    assert small < 0.6 * large
    images, texts = make_pairs()
    expected = predictor.predict(images, texts).probabilities
    answer = load(folder)(images, texts)
    for signature in tf.saved_model.load(str(folder)).signatures.values():
        dtypes = {x.dtype.name for x in signature.structured_outputs.values()}
        assert "bfloat16" not in dtypes
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=0.02)
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-6)
    checkpoint = tf.train.load_checkpoint(str(folder / "variables/variables"))
    stored = checkpoint.get_variable_to_dtype_map().values()
    assert stored and collections.Counter(stored).most_common(1)[0][0] == tf.bfloat16


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trained_in_mixed_precision(run_copy, tmp_path, policy):
    preset = run_copy / "best"
    ImageTextClassifier.from_preset(str(preset), dtype=policy).save_to_preset(
        str(preset)
    )
    images, texts = make_pairs()
    predictor = Predictor.from_run(run_copy)
    expected = predictor.predict(images, texts).probabilities
    for precision, tolerance in {"float32": TOLERANCE, "bfloat16": 0.02}.items():
        folder = tmp_path / precision
        write_saved_model(predictor, folder, precision)
        answer = load(folder)(images, texts)["probabilities"]
        np.testing.assert_allclose(answer, expected, rtol=0, atol=tolerance)
        assert answer.dtype == np.float32
        assert not [name for name in count_ops(folder) if "Cudnn" in name]


def test_another_precision_is_refused(predictor, tmp_path):
    with pytest.raises(ValueError, match="float32, bfloat16. Received: 'float16'"):
        write_saved_model(predictor, tmp_path / "1", "float16")
    assert list(tmp_path.iterdir()) == []
