"""The gradients of unequal shares of a batch add up to the whole batch's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.training.distribution.share_of_batch import ShareOfBatch
from tf_multimodal.training.losses import SmoothedCrossentropy

RNG = np.random.RandomState(0)
LOGITS = RNG.normal(0, 2, (7, 4)).astype("float32")
LABELS = RNG.randint(0, 4, 7)
WEIGHTS = RNG.uniform(0, 2, 7).astype("float32")
LOSSES = {
    "one label": (SmoothedCrossentropy(0.1), LABELS),
    "label sets": (keras.losses.BinaryCrossentropy(True), np.eye(4)[LABELS]),
}


def _compute(loss, labels, rows):
    with tf.GradientTape() as tape:
        logits = tf.Variable(LOGITS)
        value = loss(labels[rows], logits[rows], WEIGHTS[rows])
    return float(value), tf.convert_to_tensor(tape.gradient(value, logits)).numpy()


@pytest.mark.parametrize("name", LOSSES)
def test_shares_add_up_to_the_batch(name):
    loss, labels = LOSSES[name]
    share = ShareOfBatch(loss, batch_size=7, num_replicas=3)
    value, gradient = _compute(loss, labels, slice(0, 7))
    shares = [slice(0, 2), slice(2, 4), slice(4, 7)]
    found = [_compute(share, labels, rows) for rows in shares]
    # `tf.distribute` divides by the replicas; no strategy is active here.
    np.testing.assert_allclose(sum(g for _, g in found) / 3, gradient, atol=1e-7)
    for rows, (local, _) in zip(shares, found, strict=True):
        assert local == pytest.approx(_compute(loss, labels, rows)[0])
    weighed = sum(2 * local for local, _ in found) + found[2][0]
    assert weighed / 7 == pytest.approx(value, rel=1e-6)


def test_config_round_trip():
    config = ShareOfBatch(SmoothedCrossentropy(0.2), 7, 3).get_config()
    assert (config["batch_size"], config["num_replicas"]) == (7, 3)
    assert keras.losses.deserialize(config["loss"]).label_smoothing == 0.2
