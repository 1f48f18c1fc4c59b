"""The task where a row may have several labels: losses, metrics and presets."""

import json

import keras
import numpy as np
import pytest
from model_samples import BATCH, make_inputs, make_raw_inputs, make_task

from tf_multimodal.models.image_text_classifier import ImageTextClassifier

SETS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], "float32")


def test_trains_and_evaluates_on_label_sets():
    task = make_task(fusion="late", image_loss=1.0, activation="sigmoid")
    task.compile(jit_compile=False)
    history = task.fit(make_raw_inputs(), SETS, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    logits = task.predict(make_raw_inputs(), verbose=0)
    result = task.evaluate(make_raw_inputs(), SETS, verbose=0, return_dict=True)
    expected = ((logits > 0) == (SETS > 0)).mean()
    assert result["binary_accuracy"] == pytest.approx(expected)


def test_branch_losses_add_up():
    task = make_task(image_loss=0.5, text_loss=2.0, fusion="late", activation="sigmoid")
    weights = np.array([1.0, 0.0, 2.0, 0.5], "float32")
    logits = task(make_inputs(), training=True)
    each = {
        name: (np.logaddexp(0, x) - SETS * x).mean(axis=1)
        for name, x in ((k, keras.ops.convert_to_numpy(v)) for k, v in logits.items())
    }
    expected = each["joint"] + 0.5 * each["image"] + 2.0 * each["text"]
    total = task.compute_loss(y=SETS, y_pred=logits, sample_weight=weights)
    np.testing.assert_allclose(total, (weights * expected).sum() / BATCH, rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_preset_keeps_the_activation(activation, tmp_path):
    make_task(activation=activation).save_to_preset(str(tmp_path))
    loaded = ImageTextClassifier.from_preset(str(tmp_path))
    assert loaded.activation == activation
    assert loaded.multi_label == (activation == "sigmoid")


def test_a_preset_without_an_activation_has_one_label_a_row(tmp_path):
    make_task().save_to_preset(str(tmp_path))
    path = tmp_path / "task.json"
    task = json.loads(path.read_text())
    assert task["config"].pop("activation") == "softmax"
    path.write_text(json.dumps(task))
    assert not ImageTextClassifier.from_preset(str(tmp_path)).multi_label


def test_other_activations_are_refused():
    with pytest.raises(ValueError, match="softmax, sigmoid. Received: 'relu'"):
        make_task(activation="relu")
