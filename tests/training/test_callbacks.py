"""What an interval's end does to the weights."""

import pathlib

import keras
import numpy as np
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.training import callbacks
from tf_multimodal.training.optimizer import make_optimizer
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.state import Progress


def test_validation_and_best_have_the_averages(tmp_path, monkeypatch):
    """The state and the next step have the weights themselves."""
    settings = get_default_config().train
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = make_optimizer(settings, 10, model.trainable_variables, False)
    model.compile(optimizer, loss="mse")
    weight, average = model.trainable_variables[0], optimizer.averages[0]
    weight.assign([[2.0]])
    average.assign([[5.0]])
    seen = {}

    def read():
        return float(np.asarray(weight)[0, 0])

    def evaluate():
        seen["validation"] = read()
        return {"accuracy": 0.5, "macro_f1": 0.5, "loss": 1.0}

    def save_preset(folder):
        seen["best"] = read()
        pathlib.Path(folder).mkdir()

    def save_state(*_):
        seen["state"] = read()

    monkeypatch.setattr(callbacks, "save_state", save_state)
    interval = callbacks.Interval(
        RunDirectory(tmp_path), Progress(), settings, 1, 10, evaluate, save_preset
    )
    interval.set_model(model)
    interval.on_epoch_end(0, {"loss": 1.0})
    assert seen == {"validation": 5.0, "best": 5.0, "state": 2.0}
    assert read() == 2.0 and float(np.asarray(average)[0, 0]) == 5.0
    assert (tmp_path / "best").is_dir()


def test_speed_and_time_left(monkeypatch):
    """The first step of an interval compiles or follows an evaluation: not counted."""
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    speed = callbacks.Speed(batch_size=10, interval=4, total_steps=8)
    speed.on_epoch_begin(1)
    logs: dict[str, float] = {}
    speed.on_train_batch_end(0, logs)
    assert logs == {}
    speed.on_train_batch_end(1, logs)
    assert logs["pairs/s"] == pytest.approx(5.0)
    assert logs["minutes_left"] == pytest.approx(2 * 2 / 60)  # two of eight steps
    speed.on_train_batch_end(2, logs)
    assert logs["minutes_left"] == pytest.approx(1 * 2 / 60)
