"""The losses against Keras's own, and by hand."""

import keras
import numpy as np
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.training import losses
from tf_multimodal.training.losses import SmoothedCrossentropy

RNG = np.random.RandomState(0)
LOGITS = RNG.normal(0, 3, (6, 4)).astype("float32")
LABELS = RNG.randint(0, 4, 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_equals_keras(smoothing):
    reference = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing
    )
    expected = reference(keras.ops.one_hot(LABELS, 4), LOGITS)
    loss = SmoothedCrossentropy(smoothing)(LABELS, LOGITS)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_weights_are_summed_over_the_batch_size():
    weights = np.array([2, 0, 0, 0, 0, 0], "float32")
    loss = SmoothedCrossentropy()(LABELS, LOGITS, sample_weight=weights)
    single = SmoothedCrossentropy()(LABELS[:1], LOGITS[:1])
    assert float(loss) == pytest.approx(2 * float(single) / 6, rel=1e-5)


def test_float32_from_half_precision_logits():
    loss = SmoothedCrossentropy()(LABELS, keras.ops.cast(LOGITS, "bfloat16"))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_config_round_trip():
    loss = keras.losses.deserialize(keras.losses.serialize(SmoothedCrossentropy(0.2)))
    assert isinstance(loss, SmoothedCrossentropy) and loss.label_smoothing == 0.2


def _make_config(**train):
    config = get_default_config()
    config.train.update(train)
    return config


SETS = RNG.randint(0, 2, (6, 4)).astype("float32")


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_multi_label_is_the_mean_over_classes(smoothing):
    loss = losses.make_loss(_make_config(label_smoothing=smoothing), multi_label=True)
    targets = SETS * (1 - smoothing) + smoothing / 2
    values = np.logaddexp(0, LOGITS) - targets * LOGITS
    weights = np.array([2, 0, 1, 1, 0, 1], "float32")
    expected = (values.mean(axis=1) * weights).sum() / 6
    received = loss(SETS, keras.ops.cast(LOGITS, "float32"), sample_weight=weights)
    assert float(received) == pytest.approx(expected, rel=1e-5)
    assert keras.backend.standardize_dtype(received.dtype) == "float32"


def test_one_label_has_its_loss_and_accuracy():
    loss = losses.make_loss(_make_config(label_smoothing=0.3), multi_label=False)
    assert isinstance(loss, SmoothedCrossentropy) and loss.label_smoothing == 0.3
    (accuracy,) = losses.make_metrics(multi_label=False)
    expected = (LOGITS.argmax(1) == LABELS).mean()
    assert float(accuracy(LABELS, LOGITS)) == pytest.approx(expected)
    assert accuracy.name == "accuracy"


def test_multi_label_accuracy_wants_all_classes_right():
    (accuracy,) = losses.make_metrics(multi_label=True)
    truth = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]], "float32")
    logits = np.array([[2, -1, 0], [2, -1, -1], [-1, -2, -3], [1, 1, -1]], "float32")
    weights = np.array([1, 1, 2, 1], "float32")
    assert float(accuracy(truth, logits, sample_weight=weights)) == pytest.approx(0.6)
    assert accuracy.name == "accuracy"


def test_balanced_weights_of_label_sets_are_refused():
    config = _make_config(class_weights="balanced")
    losses.make_loss(config, multi_label=False)
    with pytest.raises(ValueError, match="class_weights='none'"):
        losses.make_loss(config, multi_label=True)
