"""Trains a small model on one device or on several, and prints what came of it.

python replicas_process.py one|mirrored|multiworker BATCH_SIZE [build|reduce|clip]

The last argument leaves out a fix of keras_fixes.py.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.training.distribution import keras_fixes
from tf_multimodal.training.distribution.choice import make_devices
from tf_multimodal.training.losses import make_loss, make_metrics
from tf_multimodal.training.optimizer import get_inner, make_optimizer

ROWS, STEPS, EPOCHS = 90, 4, 3
RNG = np.random.RandomState(0)
X = RNG.normal(0, 1, (ROWS, 8)).astype("float32")
Y = X[:, :3].argmax(1).astype("int32")
WEIGHTS = RNG.uniform(0, 2, ROWS).astype("float32")


def main(distribution, batch_size, left_out=""):
    if distribution == "mirrored":
        cpus = [tf.config.LogicalDeviceConfiguration()] * 2
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, cpus)
    config = get_default_config()
    config.distribution = "none" if distribution == "one" else distribution
    config.train.update({"batch_size": int(batch_size), "learning_rate": 0.01})
    config.train.update({"clip_norm": 0.05, "ema": 0.9, "label_smoothing": 0.1})
    if left_out:
        for name, original in ORIGINALS[left_out].items():
            setattr(keras_fixes, name, original)
    try:
        answer = train(make_devices(config), config)
    except (ValueError, tf.errors.OpError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))


def train(devices, config):
    keras.utils.set_random_seed(0)
    size = config.train.batch_size
    with devices.scope():
        metrics = make_metrics(False)
        model = make_model()
        devices.prepare_model(model, config)
        optimizer = make_optimizer(config.train, 12, model.trainable_variables, False)
        loss = devices.wrap_loss(make_loss(config, False), size)
        model.compile(optimizer, loss, weighted_metrics=metrics, jit_compile=False)
    share = devices.split_batch(size)

    def make_batch(step):
        rows = ((step * size + tf.range(size, dtype=tf.int64)) % ROWS)[slice(*share)]
        return tf.gather(X, rows), tf.gather(Y, rows), tf.gather(WEIGHTS, rows)

    with devices.fitting():
        data = devices.distribute(
            lambda: tf.data.Dataset.range(2**40).map(make_batch), size
        )
        history = keras.Model.fit(
            model, data, steps_per_epoch=STEPS, epochs=EPOCHS, verbose=0, shuffle=False
        ).history
        counters = [v for metric in model.metrics for v in metric.variables]
        variables = [*model.variables, *optimizer.variables, *counters]
        values = devices.read(variables)
        devices.assign(variables, values)
        again = devices.read(variables)
        get_inner(optimizer).swap_averages()
        averages = devices.read(model.trainable_variables)
        return {
            "name": devices.describe_batch(size),
            "share": share,
            "history": history,
            "values": [value.ravel().tolist() for value in values],
            "again": [value.ravel().tolist() for value in again],
            "averages": [value.ravel().tolist() for value in averages],
            "logits": devices.predict(model, X[share.start : share.stop]).tolist(),
            "gathered": [v.decode() for v in devices.gather(b"w" * devices.worker)],
            "agreed": [devices.agree(devices.worker == 1), devices.agree(False)],
        }


def make_model():
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(16, activation="relu")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(1e-9, seed=1)(hidden)  # its seed generator counts
    return keras.Model(inputs, keras.layers.Dense(3)(hidden))


TRAINER = keras_fixes.keras_trainer.TensorFlowTrainer
ORIGINALS = {
    "build": {"skip_symbolic_build": TRAINER._maybe_symbolic_build},
    "reduce": {"average_over_replicas": keras_fixes.keras_trainer.reduce_per_replica},
    "clip": {
        "apply_summed_gradients": keras_fixes.BaseOptimizer.apply_gradients,
        "keep_gradients": keras_fixes.TFOptimizer._all_reduce_sum_gradients,
    },
}


if __name__ == "__main__":
    main(*sys.argv[1:])
