"""BatchNorm folding: the same logits, and the given model stays as it was."""

import importlib

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.serving.folding import find_pairs, fold_batch_norm

SIDE, ROWS, CLASSES = 16, 4, 5
# Options of the ResNet, BatchNorm layers folded, and those that stay.
RESNETS = {
    "basic": ({"block_type": "basic_block"}, 6, 0),
    "bottleneck": ({"block_type": "bottleneck_block"}, 9, 0),
    # The first BatchNorm of each block and the last one read a sum.
    "pre_activation": (
        {"block_type": "bottleneck_block", "use_pre_activation": True},
        4,
        3,
    ),
    "vd": (
        {"block_type": "basic_block_vd"}
        | {"input_conv_filters": [32, 64], "input_conv_kernel_sizes": [3, 3]},
        8,
        0,
    ),
}


def make_resnet(**options):
    defaults = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    return keras_hub.models.ResNetBackbone(
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        **(defaults | options),
    )


def make_model(image_encoder, with_text=True, **options):
    """Returns a classifier with random weights and BatchNorm statistics."""
    text_encoder = EmbeddingTextBackbone(11, 6) if with_text else None
    shape = (SIDE, SIDE, 3) if image_encoder else None
    backbone = ImageTextBackbone(
        image_encoder, text_encoder, shape, lstm_units=4, **options
    )
    model = ImageTextClassifier(backbone, CLASSES, image_loss=0.5 * with_text)
    generator = np.random.RandomState(0)
    for variable in model.weights:
        positive = variable.name in ("gamma", "moving_variance")
        values = generator.uniform(0.5, 2, variable.shape)
        if not positive:
            width = np.prod(variable.shape[:-1])
            values = generator.normal(0, 1 / np.sqrt(max(width, 4)), variable.shape)
        variable.assign(values)
    return model


def make_inputs(model):
    generator = np.random.RandomState(1)
    x = {
        "images": generator.uniform(-2, 2, (ROWS, SIDE, SIDE, 3)).astype(np.float32),
        "has_image": np.array([True, True, True, False]),
        "token_ids": generator.randint(0, 11, (ROWS, 6)).astype(np.int32),
        "padding_mask": np.tile(np.int32([1, 1, 1, 1, 1, 0]), (ROWS, 1)),
        "segment_ids": np.zeros((ROWS, 6), np.int32),
        "has_text": np.array([True, False, True, True]),
    }
    return {key: x[key] for key in model.input}


def count_norms(model) -> int:
    layers = model.backbone.image_branch.encoder.layers
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in layers)


def assert_equal_logits(model, folded):
    x = make_inputs(model)
    expected = np.asarray(model(x))
    np.testing.assert_allclose(np.asarray(folded(x)), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.1  # the rows are told apart


@pytest.mark.parametrize("name", RESNETS)
def test_resnet_gives_the_same_logits(name):
    options, folds, left = RESNETS[name]
    encoder = make_resnet(**options)
    norms = [x for x in encoder.layers if type(x) is keras.layers.BatchNormalization]
    for number, norm in enumerate(norms):
        norm.epsilon = 0.01 * (number + 1)
    model = make_model(encoder)
    before = [np.array(weight) for weight in model.weights]
    folded, count = fold_batch_norm(model)
    assert (count, count_norms(folded), count_norms(model)) == (folds, left, len(norms))
    assert_equal_logits(model, folded)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), old)


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "late"},
        {"fusion": "concat", "bidirectional": True},
        {"fusion": "concat", "with_text": False},
        {"space_to_depth": 2},
    ],
)
def test_every_kind_of_classifier(options):
    side = options.get("space_to_depth", 1)
    encoder = make_resnet(
        block_type="basic_block", image_shape=(None, None, 3 * side**2)
    )
    model = make_model(encoder, **options)
    folded, count = fold_batch_norm(model)
    assert count == 6
    assert folded.backbone.fusion == model.backbone.fusion
    assert_equal_logits(model, folded)


@pytest.mark.parametrize("options", [{"fusion": "late"}, {"fusion": "concat"}])
def test_logits_are_divided_by_the_temperature(options):
    encoder = make_resnet(block_type="basic_block", image_shape=(None, None, 3))
    model = make_model(encoder, **options)
    for head in model.heads.values():
        head.bias.assign(np.arange(head.bias.shape[0]))
    before = [np.array(weight) for weight in model.weights]
    x = make_inputs(model)
    expected = np.asarray(model(x)) / 2.5
    folded, _ = fold_batch_norm(model, temperature=2.5)
    np.testing.assert_allclose(np.asarray(folded(x)), expected, atol=1e-5)
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), old)


def test_a_model_of_text_has_nothing_to_fold():
    model = make_model(None)
    folded, count = fold_batch_norm(model)
    assert count == 0 and folded is not model
    assert_equal_logits(model, folded)


def test_only_a_batch_norm_that_alone_reads_a_convolution_is_folded():
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.BatchNormalization(name="on_the_input")(image)
    # Folded: a bias of its own, and neither scale nor offset.
    x = layers.Conv2D(4, 3, name="biased", bias_initializer="ones")(x)
    x = layers.BatchNormalization(scale=False, center=False, name="plain")(x)
    x = layers.Conv2D(4, 3, activation="relu", name="activated")(x)
    x = layers.BatchNormalization(name="after_relu")(x)
    two = layers.Conv2D(4, 1, name="read_twice")(x)
    x = layers.Add()([layers.BatchNormalization(name="one_of_two")(two), two])
    x = layers.Conv2D(4, 3, padding="same", name="by_rows")(x)
    x = layers.BatchNormalization(axis=1, name="over_rows")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="after_depthwise")(x)
    encoder = keras.Model(image, x)
    pairs = {conv.name: norm.name for conv, norm in find_pairs(encoder).items()}
    assert pairs == {"biased": "plain"}
    model = make_model(encoder)
    folded, count = fold_batch_norm(model)
    assert (count, count_norms(folded)) == (1, 5)
    assert_equal_logits(model, folded)


def test_what_is_an_output_or_called_twice_stays():
    image = keras.Input((SIDE, SIDE, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same")
    norm = keras.layers.BatchNormalization()
    mapped = conv(image)
    assert len(find_pairs(keras.Model(image, norm(mapped)))) == 1
    assert not find_pairs(keras.Model(image, [norm.output, mapped]))
    again = keras.layers.ReLU()(conv(norm.output))
    assert not find_pairs(keras.Model(image, again))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_cudnn_operation_is_traced_beside_a_gpu(bidirectional, monkeypatch):
    # A function of the same name hides the module from an ordinary import.
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)
    model = make_model(None, bidirectional=bidirectional)
    folded, _ = fold_batch_norm(model)
    assert "CudnnRNNV3" in list_ops(model)
    assert not [name for name in list_ops(folded) if "Cudnn" in name]


def list_ops(model) -> set[str]:
    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(make_inputs(model)).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return {node.op for node in nodes}


def test_weights_in_bfloat16_and_heads_in_float32():
    model = make_model(make_resnet(block_type="basic_block"))
    folded, count = fold_batch_norm(model, "bfloat16")
    assert count == 6
    dtypes = {
        path: weight.dtype for path, weight in folded.get_variable_paths().items()
    }
    heads = {path: dtype for path, dtype in dtypes.items() if path.startswith("head/")}
    assert set(heads.values()) == {"float32"}
    assert {dtypes[path] for path in dtypes.keys() - heads.keys()} == {"bfloat16"}
    x = make_inputs(model)
    expected, logits = np.asarray(model(x)), folded(x)
    assert logits.dtype == "float32"
    np.testing.assert_allclose(
        np.asarray(logits), expected, atol=0.03 * np.ptp(expected)
    )
