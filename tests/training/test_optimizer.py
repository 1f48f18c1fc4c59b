"""The optimizer: its average, its exceptions from decay, loss scaling, schedule."""

import keras
import numpy as np
import pytest

from tf_multimodal import config as config_lib
from tf_multimodal.training.optimizer import (
    AveragingAdamW,
    get_inner,
    make_optimizer,
)


@pytest.fixture
def settings():
    config = config_lib.get_default_config().train
    config.learning_rate = 0.1
    config.weight_decay = 0.5
    config.warmup_fraction = 0.5
    return config


def make_variables():
    shapes = {"kernel": (2, 2), "bias": (2,), "embedding": (3, 2)}
    return [keras.Variable(np.ones(s, "float32"), name=n) for n, s in shapes.items()]


def test_average_follows_the_weights_and_is_only_read():
    variable = keras.Variable([1.0], name="kernel")
    optimizer = AveragingAdamW(average_decay=0.5, learning_rate=1.0, weight_decay=0.0)
    optimizer.build([variable])
    values, average = [], 1.0
    for step in range(1, 4):
        optimizer.apply([keras.ops.ones(1)], [variable])
        values.append(float(variable[0]))
        decay = min(0.5, (1 + step) / (10 + step))
        average = average * decay + values[-1] * (1 - decay)
    assert float(optimizer.averages[0][0]) == pytest.approx(average, abs=1e-6)
    optimizer.finalize_variable_values([variable])
    assert float(variable[0]) == values[-1]
    optimizer.swap_averages()
    assert float(variable[0]) == pytest.approx(average, abs=1e-6)
    optimizer.swap_averages()
    assert float(variable[0]) == values[-1]


def test_average_of_the_right_variable_when_only_some_train():
    first, second = keras.Variable([1.0], name="a"), keras.Variable([1.0], name="b")
    optimizer = AveragingAdamW(average_decay=0.5, learning_rate=1.0)
    optimizer.build([first, second])
    optimizer.apply([keras.ops.ones(1)], [second])
    assert float(optimizer.averages[0][0]) == 1.0
    assert float(optimizer.averages[1][0]) < 1.0


def test_no_decay_on_biases_and_embeddings(settings):
    variables = make_variables()
    optimizer = make_optimizer(settings, 2, variables, scale_loss=False)
    for _ in range(2):
        optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    kernel, bias, embedding = (np.asarray(v) for v in variables)
    assert (kernel < 1).all() and (bias == 1).all() and (embedding == 1).all()


def test_warm_up_and_cosine(settings):
    optimizer = make_optimizer(settings, 100, make_variables(), scale_loss=False)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 25, 50, 75, 100)]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.05, 0.0], abs=1e-6)


def test_loss_scaling_skips_a_step_that_overflows(settings):
    settings.warmup_fraction = 0.0
    variables = make_variables()
    optimizer = make_optimizer(settings, 10, variables, scale_loss=True)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(get_inner(optimizer), AveragingAdamW)
    scale = float(optimizer.dynamic_scale)
    infinite = [keras.ops.full(v.shape, np.inf) for v in variables]
    optimizer.apply(infinite, variables)
    assert (np.asarray(variables[0]) == 1).all()
    assert float(optimizer.dynamic_scale) == scale / 2
    optimizer.apply([keras.ops.full(v.shape, scale) for v in variables], variables)
    assert (np.asarray(variables[1]) < 1).all()


def test_global_norm_clipping(settings):
    settings.clip_norm = 0.5
    optimizer = make_optimizer(settings, 10, make_variables(), scale_loss=False)
    assert optimizer.global_clipnorm == 0.5
    settings.clip_norm = 0.0
    optimizer = make_optimizer(settings, 10, make_variables(), scale_loss=False)
    assert optimizer.global_clipnorm is None
