"""Each fix is still needed; a test that fails here says which one to remove."""

import keras
import numpy as np
import pytest
from keras.src.backend.tensorflow import trainer as keras_trainer
from worker_processes import train_replicas

from tf_multimodal.training.distribution import keras_fixes


def test_checked_version():
    assert keras.__version__.startswith(f"{keras_fixes.KERAS_VERSION}."), (
        "Look whether this Keras still needs the fixes, then change KERAS_VERSION."
    )


def test_keras_is_as_it_was_afterwards():
    before = keras_trainer.reduce_per_replica
    with pytest.raises(KeyError), keras_fixes.fixed_keras():
        assert keras_trainer.reduce_per_replica is keras_fixes.average_over_replicas
        raise KeyError
    assert keras_trainer.reduce_per_replica is before


@pytest.mark.slow
def test_uneven_batches_need_the_skipped_symbolic_build():
    [answer] = train_replicas("mirrored", 7, "build")
    assert "must have the same size and shape" in answer["error"]


@pytest.mark.slow
def test_workers_need_the_mean_of_scalars():
    for answer in train_replicas("multiworker", 8, "reduce"):
        assert "Invalid reduction dimension 0" in answer["error"]


@pytest.mark.slow
def test_clipping_needs_the_gradients_sum():
    [one] = train_replicas("one", 8)
    [two] = train_replicas("mirrored", 8, "clip")
    differences = np.subtract(one["history"]["loss"], two["history"]["loss"])
    assert np.abs(differences).max() > 1e-3
