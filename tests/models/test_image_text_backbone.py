"""The backbone: KerasHub's own checks, its cut, what is frozen or missing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from keras import ops
from keras_hub.src.tests.test_case import TestCase
from model_samples import (
    BATCH,
    VARIANTS,
    make_backbone_kwargs,
    make_image_encoder,
    make_inputs,
    make_text_encoder,
)

from tf_multimodal.data import spec
from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.layers import TOKEN_KEYS, Encoder, fold_pixels

SHAPES = {
    "late": {"image_features": (BATCH, 256), "text_features": (BATCH, 5)}
    | {"joint_features": (BATCH, 261)},
    "concat_embedding_bidirectional": {"joint_features": (BATCH, 266)},
    "image": {"image_features": (BATCH, 256), "joint_features": (BATCH, 256)},
    "text": {"text_features": (BATCH, 5), "joint_features": (BATCH, 5)},
}


class KerasHubTest(TestCase):
    @parameterized.named_parameters((name, name) for name in VARIANTS)
    def test_backbone(self, name):
        variant = VARIANTS[name]
        self.run_backbone_test(
            ImageTextBackbone,
            make_backbone_kwargs(**variant),
            make_inputs(variant.get("modalities", "image_text")),
            SHAPES[name],
        )

    @parameterized.named_parameters((name, name) for name in VARIANTS)
    def test_saved_model(self, name):
        variant = VARIANTS[name]
        self.run_model_saving_test(
            ImageTextBackbone,
            make_backbone_kwargs(**variant),
            make_inputs(variant.get("modalities", "image_text")),
        )

    def test_embedding_text_backbone(self):
        inputs = make_inputs("text")
        self.run_backbone_test(
            EmbeddingTextBackbone,
            {"vocabulary_size": 11, "embedding_dim": 7},
            {key: inputs[key] for key in TOKEN_KEYS},
            {"sequence_output": (BATCH, 6, 7)},
        )


def test_cut_model_equals_whole():
    backbone, inputs = ImageTextBackbone(**make_backbone_kwargs()), make_inputs()
    inputs[spec.HAS_TEXT][1] = False
    whole = backbone(inputs)
    cut = backbone.joint(
        {
            "feature_map": backbone.image_branch(inputs[spec.IMAGES]),
            "token_states": backbone.text_branch({k: inputs[k] for k in TOKEN_KEYS}),
            **{
                key: ops.convert_to_tensor(inputs[key])
                for key in (spec.PADDING_MASK, spec.HAS_IMAGE, spec.HAS_TEXT)
            },
        }
    )
    assert set(whole) == set(cut)
    for name in whole:
        np.testing.assert_allclose(whole[name], cut[name], atol=1e-6)


def test_cut_model_shares_its_variables():
    backbone = ImageTextBackbone(**make_backbone_kwargs())
    parts = (backbone.image_branch, backbone.text_branch, backbone.joint)
    weights = [id(weight) for part in parts for weight in part.weights]
    assert sorted(weights) == sorted(id(weight) for weight in backbone.weights)


def test_fold_pixels_is_space_to_depth():
    images = np.random.RandomState(0).rand(2, 4, 6, 3).astype("float32")
    np.testing.assert_array_equal(
        fold_pixels(images, 2), tf.nn.space_to_depth(images, 2)
    )


def test_missing_modality_gets_the_embedding_and_trains_it():
    backbone, inputs = ImageTextBackbone(**make_backbone_kwargs()), make_inputs()
    inputs[spec.HAS_IMAGE][0] = False
    inputs[spec.HAS_TEXT][1:] = False
    for name, features in (("image", 256), ("text", 5)):
        layer = backbone.joint.get_layer(f"missing_{name}")
        layer.embedding.assign(np.arange(features))
    with tf.GradientTape() as tape:
        outputs = backbone(inputs)
        loss = tf.reduce_sum(outputs["joint_features"])
    assert np.array_equal(outputs["image_features"][0], np.arange(256))
    assert not np.array_equal(outputs["image_features"][1], np.arange(256))
    assert np.array_equal(outputs["text_features"][1:], [np.arange(5)] * 3)
    assert np.abs(outputs["text_features"][0]).max() < 1  # the LSTM's own
    joint = np.concatenate([outputs["image_features"], outputs["text_features"]], 1)
    assert np.array_equal(outputs["joint_features"], joint)
    image, text = (
        backbone.joint.get_layer(f"missing_{name}").embedding
        for name in ("image", "text")
    )
    gradients = tape.gradient(loss, [image.value, text.value])
    assert np.array_equal(gradients[0], np.full(256, 1))  # one row had no image
    assert np.array_equal(gradients[1], np.full(5, 3))  # three had no text


def test_missing_input_is_not_read():
    backbone, inputs = ImageTextBackbone(**make_backbone_kwargs()), make_inputs()
    inputs[spec.HAS_IMAGE][:] = False
    before = backbone(inputs)["joint_features"]
    inputs[spec.IMAGES] += 1
    assert np.array_equal(before, backbone(inputs)["joint_features"])


def test_padding_is_not_read():
    kwargs = make_backbone_kwargs(bidirectional=True)
    backbone, inputs = ImageTextBackbone(**kwargs), make_inputs()
    before = backbone(inputs)["text_features"]
    inputs[spec.TOKEN_IDS][inputs[spec.PADDING_MASK] == 0] = 7
    np.testing.assert_allclose(before, backbone(inputs)["text_features"], atol=1e-6)


def test_frozen_encoder_does_not_drop_out():
    branch = ImageTextBackbone(**make_backbone_kwargs()).text_branch
    inputs = {key: make_inputs()[key] for key in TOKEN_KEYS}
    at_rest = np.asarray(branch(inputs))
    assert not np.allclose(at_rest, branch(inputs, training=True))
    branch.trainable = False
    np.testing.assert_array_equal(at_rest, branch(inputs, training=True))
    branch.trainable = True
    assert not np.allclose(at_rest, branch(inputs, training=True))


def test_frozen_encoder_does_not_move_batch_norm():
    branch = ImageTextBackbone(**make_backbone_kwargs()).image_branch
    images = make_inputs()[spec.IMAGES]
    branch.trainable = False
    before = branch.get_weights()
    at_rest = np.asarray(branch(images))
    np.testing.assert_array_equal(at_rest, branch(images, training=True))
    assert all(map(np.array_equal, before, branch.get_weights()))
    branch.trainable = True
    branch(images, training=True)
    assert not all(map(np.array_equal, before, branch.get_weights()))


def test_unused_pooler_never_trains():
    branch = Encoder(make_text_encoder())
    pooler = branch.encoder.get_layer("pooled_dense")
    branch.trainable = False
    branch.trainable = True
    trained = {id(variable) for variable in branch.trainable_variables}
    assert trained and not trained & {id(weight) for weight in pooler.weights}
    assert len(branch.trainable_variables) == len(branch.weights) - 2


def test_requested_dtype_reaches_the_encoders():
    saved = ImageTextBackbone(**make_backbone_kwargs(dtype="mixed_bfloat16"))
    config = {**saved.get_config(), "dtype": "float32"}
    untouched = keras.saving.serialize_keras_object(saved.image_branch.encoder)
    loaded = ImageTextBackbone.from_config(config)
    assert {layer.compute_dtype for layer in loaded._flatten_layers()} == {"float32"}
    assert config["image_encoder"] == untouched
    loaded = ImageTextBackbone.from_config({**config, "dtype": None})
    assert {layer.compute_dtype for layer in loaded._flatten_layers()} == {"float32"}
    kept = ImageTextBackbone.from_config(saved.get_config())
    assert kept.text_branch.encoder.compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_encoder": None, "text_encoder": None}, "needs an `image_encoder`"),
        ({"fusion": "early"}, "late, concat"),
        ({"image_shape": (16, 16)}, "all known"),
        ({"image_shape": (17, 17, 3)}, "multiples of `space_to_depth`"),
        ({"space_to_depth": 1}, "must read 3 channels"),
    ],
)
def test_bad_arguments_are_named(change, message):
    kwargs = {"image_encoder": make_image_encoder(), "text_encoder": None}
    kwargs |= {"image_shape": (16, 16, 3), "space_to_depth": 2}
    with pytest.raises(ValueError, match=message):
        ImageTextBackbone(**{**kwargs, **change})
