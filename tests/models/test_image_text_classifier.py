"""The task: KerasHub's own checks, losses, weights' paths, precision, presets."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from keras_hub.src.tests.test_case import TestCase
from model_samples import (
    BATCH,
    CLASSES,
    VARIANTS,
    make_backbone_kwargs,
    make_inputs,
    make_preprocessor,
    make_raw_inputs,
    make_task,
)

from tf_multimodal.data import spec
from tf_multimodal.models.image_text_backbone import ImageTextBackbone
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

LABELS = np.array([0, 1, 2, 1], "int32")


class KerasHubTest(TestCase):
    @parameterized.named_parameters((name, name) for name in VARIANTS)
    def test_task(self, name):
        modalities = VARIANTS[name].get("modalities", "image_text")
        both = modalities == "image_text"
        self.run_task_test(
            ImageTextClassifier,
            {
                "backbone": ImageTextBackbone(**make_backbone_kwargs(**VARIANTS[name])),
                "preprocessor": make_preprocessor(modalities),
                "num_classes": CLASSES,
                "image_loss": 0.5 if both else 0.0,
                "text_loss": 1.0 if both else 0.0,
            },
            (make_raw_inputs(modalities), LABELS, np.array([1, 0, 2, 1])),
            expected_output_shape=(BATCH, CLASSES),
            compile_kwargs={"jit_compile": False},
        )

    @parameterized.named_parameters((name, name) for name in VARIANTS)
    def test_saved_model(self, name):
        modalities = VARIANTS[name].get("modalities", "image_text")
        self.run_model_saving_test(
            ImageTextClassifier,
            {
                "backbone": ImageTextBackbone(**make_backbone_kwargs(**VARIANTS[name])),
                "preprocessor": None,
                "num_classes": CLASSES,
            },
            make_inputs(modalities),
        )


@pytest.mark.parametrize("fusion", ["late", "concat"])
def test_branch_losses_add_up(fusion):
    task = make_task(image_loss=0.5, text_loss=2.0, fusion=fusion)
    weights = np.array([1.0, 0.0, 2.0, 0.5], "float32")
    logits = task(make_inputs(), training=True)
    assert set(logits) == {"joint", "image", "text"}
    each = {
        name: keras.ops.convert_to_numpy(
            keras.losses.sparse_categorical_crossentropy(LABELS, values, True)
        )
        for name, values in logits.items()
    }
    expected = each["joint"] + 0.5 * each["image"] + 2.0 * each["text"]
    total = task.compute_loss(y=LABELS, y_pred=logits, sample_weight=weights)
    np.testing.assert_allclose(total, (weights * expected).sum() / BATCH, rtol=1e-5)
    alone = task.compute_loss(y=LABELS, y_pred=logits["joint"], sample_weight=weights)
    expected = (weights * each["joint"]).sum() / BATCH
    np.testing.assert_allclose(alone, expected, rtol=1e-5)


def test_regularizers_count_once():
    task = make_task(image_loss=1.0, text_loss=1.0, fusion="late")
    logits = task(make_inputs(), training=True)
    before = task.compute_loss(y=LABELS, y_pred=logits)
    head = task.heads["image"]
    head.kernel.regularizer = keras.regularizers.L2(1.0)
    expected = before + tf.reduce_sum(head.kernel.value**2)
    np.testing.assert_allclose(
        task.compute_loss(y=LABELS, y_pred=logits), expected, rtol=1e-5
    )


def test_late_logits_are_the_sum_of_the_branches():
    task = make_task(fusion="late")
    logits = task(make_inputs(), training=True)
    np.testing.assert_allclose(
        logits["joint"], logits["image"] + logits["text"], atol=1e-6
    )
    assert set(task.heads) == {"image", "text"}


def test_heads_exist_only_where_they_are_used():
    assert set(make_task().heads) == {"joint"}
    assert set(make_task(text_loss=1.0).heads) == {"text", "joint"}
    for modalities in ("image", "text"):
        task = make_task(modalities=modalities, fusion="late", image_loss=1.0)
        assert set(task.heads) == {"joint"}
        assert set(task(make_inputs(modalities), training=True)) == {"joint"}


def test_metrics_and_prediction_use_the_joint_logits():
    task, inputs = make_task(fusion="late", image_loss=1.0), make_inputs()
    task.preprocessor = None
    logits = task.predict(inputs, verbose=0)
    assert logits.shape == (BATCH, CLASSES) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, task(inputs), atol=1e-5)
    labels = np.where(np.arange(BATCH) < 3, logits.argmax(-1), logits.argmin(-1))
    result = task.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert result["sparse_categorical_accuracy"] == pytest.approx(3 / 4)


def test_row_of_weight_zero_does_not_train():
    """What the row says must not matter: neither its label nor its image."""
    changes = []
    for label, shift in ((0, 0.0), (2, 5.0)):
        keras.utils.set_random_seed(0)
        task = make_task(fusion="late", image_loss=1.0)
        task.preprocessor = None
        # BatchNorm reads all rows of a batch, whatever they weigh.
        task.backbone.image_branch.trainable = False
        task.backbone.text_branch.trainable = False
        task.backbone.joint.get_layer("token_dropout").rate = 0.0
        inputs, labels = make_inputs(), LABELS.copy()
        inputs[spec.IMAGES][0] += shift
        labels[0] = label
        task.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        before = task.get_weights()
        weights = np.array([0, 1, 1, 1], "float32")
        task.fit(inputs, labels, sample_weight=weights, verbose=0)
        after = task.get_weights()
        changes.append([b - a for a, b in zip(before, after, strict=True)])
    assert any(np.abs(change).max() > 0 for change in changes[0])
    for first, second in zip(*changes, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradient_reaches_every_trainable_variable(name):
    variant = VARIANTS[name]
    both = "modalities" not in variant
    task = make_task(**variant, image_loss=float(both), text_loss=float(both))
    inputs = make_inputs(variant.get("modalities", "image_text"))
    for key in (spec.HAS_IMAGE, spec.HAS_TEXT):
        if key in inputs:
            inputs[key][0] = False
    with tf.GradientTape() as tape:
        loss = task.compute_loss(y=LABELS, y_pred=task(inputs, training=True))
    variables = task.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    without = [
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient))
    ]
    # A key's bias shifts all of a query's scores alike: softmax takes it out.
    assert [path for path in without if not path.endswith("key/bias")] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_variable_paths(name, tmp_path):
    task = make_task(**VARIANTS[name], dropout=0.1)
    paths = task.get_variable_paths()
    assert sorted(map(id, paths.values())) == sorted(map(id, task.weights))
    starts = {path.split("/")[0] for path in paths}
    modalities = task.backbone.modalities.split("_")
    assert starts == {f"{m}_encoder" for m in modalities} | {"joint", "head"}
    assert not any("seed" in path for path in paths)
    statistics = [path for path in paths if path.endswith("moving_mean")]
    assert bool(statistics) == ("image" in modalities)
    task.save_to_preset(str(tmp_path))
    loaded = ImageTextClassifier.from_preset(str(tmp_path)).get_variable_paths()
    assert list(loaded) == list(paths)
    for path, variable in paths.items():
        np.testing.assert_array_equal(variable, loaded[path])


@pytest.mark.parametrize("name", VARIANTS)
def test_preset_predicts_the_same(name, tmp_path):
    task = make_task(**VARIANTS[name], image_loss=0.5)
    raw = make_raw_inputs(task.backbone.modalities)
    task.save_to_preset(str(tmp_path))
    loaded = ImageTextClassifier.from_preset(str(tmp_path))
    assert loaded.preprocessor.modalities == task.backbone.modalities
    assert loaded.image_loss == 0.5 and loaded.backbone.fusion == task.backbone.fusion
    np.testing.assert_array_equal(
        loaded.predict(raw, verbose=0), task.predict(raw, verbose=0)
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_reloads_in_float32(policy, tmp_path):
    task = make_task(fusion="late", image_loss=1.0, text_loss=1.0, dtype=policy)
    assert task.backbone.joint.get_layer("lstm").compute_dtype == policy[6:]
    raw = make_raw_inputs()
    task.compile(run_eagerly=True)
    history = task.fit(raw, LABELS, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    logits = task(make_inputs(), training=True)
    assert {value.dtype.name for value in logits.values()} == {"float32"}
    task.save_to_preset(str(tmp_path))
    for dtype in ({"dtype": "float32"}, {}):
        loaded = ImageTextClassifier.from_preset(str(tmp_path), **dtype)
        layers = [*loaded.backbone._flatten_layers(), *loaded.heads.values()]
        assert {layer.compute_dtype for layer in layers} == {"float32"}
    np.testing.assert_allclose(
        loaded.predict(raw, verbose=0), task.predict(raw, verbose=0), atol=0.1
    )
    kept = ImageTextClassifier.from_preset(str(tmp_path), dtype=policy)
    assert kept.backbone.image_branch.encoder.compute_dtype == policy[6:]


def test_fit_and_predict_take_raw_images_and_text():
    task, raw = make_task(fusion="late", image_loss=1.0), make_raw_inputs()
    task.compile(jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices((raw, LABELS)).batch(2)
    history = task.fit(dataset, epochs=2, verbose=0).history
    assert set(history) == {"loss", "sparse_categorical_accuracy"}
    logits = task.predict(raw, verbose=0)
    assert logits.shape == (BATCH, CLASSES)
    np.testing.assert_allclose(
        logits, task.predict(dataset.map(lambda x, y: x), verbose=0), atol=1e-6
    )
    image_only = task.predict({"images": raw["images"]}, verbose=0)
    # The third text is empty: that row has no text either way.
    np.testing.assert_allclose(logits[2], image_only[2], atol=1e-6)
    assert not np.allclose(logits[0], image_only[0])


def test_dropout_in_front_of_the_heads():
    inputs = make_inputs()
    task = make_task(modalities="image", dropout=0.5)
    task.backbone.trainable = False
    image = {key: inputs[key] for key in spec.IMAGE_KEYS}
    at_rest = task(image)
    assert np.array_equal(at_rest, task(image))
    assert not np.allclose(at_rest, task(image, training=True)["joint"])
