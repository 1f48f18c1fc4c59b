"""The loss against Keras's own."""

import keras
import numpy as np
import pytest

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
