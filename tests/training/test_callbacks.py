"""What an interval's end does to the weights, and the speed that is shown."""

import keras
import numpy as np
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.training import callbacks
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interrupted, Interruption
from tf_multimodal.training.interval import Interval
from tf_multimodal.training.optimizer import make_optimizer
from tf_multimodal.training.plan import Plan
from tf_multimodal.training.state.progress import Progress

METRICS = {"accuracy": 0.5, "macro_f1": 0.5, "loss": 1.0}


class Seen:
    """A recorder that notes the weight at each call."""

    def __init__(self, read):
        self.read, self.seen = read, {}

    def log(self, line, timing, draw=None):
        self.seen["line"] = line

    def save_state(self, with_best=False):
        self.seen["state"] = (self.read(), with_best)

    def stage_best(self):
        self.seen["best"] = self.read()

    def wait(self):
        self.seen["waited"] = True

    def take_seconds(self):
        return 0.0


@pytest.fixture
def parts():
    """An interval's callback whose weight is 2 and its average 5."""
    settings = get_default_config().train
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = make_optimizer(settings, 10, model.trainable_variables, False)
    model.compile(optimizer, loss="mse")
    weight = model.trainable_variables[0]
    weight.assign([[2.0]])
    optimizer.averages[0].assign([[5.0]])
    recorder = Seen(lambda: float(np.asarray(weight)[0, 0]))
    interruption = Interruption()
    progress = Progress(step=1)

    def make(evaluate):
        interval = Interval(
            progress,
            Plan(1, 10),
            settings,
            None,
            None,
            evaluate,
            recorder,
            Devices(),
            interruption,
        )
        interval.set_model(model)
        return interval

    return make, recorder, interruption, progress, optimizer


def test_validation_and_best_have_the_averages(parts):
    """The state and the next step have the weights themselves."""
    make, recorder, _, progress, optimizer = parts
    seen = recorder.seen

    def evaluate():
        seen["validation"] = recorder.read()
        return METRICS

    make(evaluate).on_epoch_end(0, {"loss": 1.0})
    line = seen.pop("line")
    assert seen == {"validation": 5.0, "best": 5.0, "state": (2.0, True)}
    assert line["val_accuracy"] == 0.5 and line["epoch"] == 1
    assert progress.train_metrics is None
    assert recorder.read() == 2.0
    assert float(np.asarray(optimizer.averages[0])[0, 0]) == 5.0


def test_a_signal_in_the_evaluation_leaves_the_interval_open(parts):
    """It is evaluated when the run goes on; the state has the weights themselves."""
    make, recorder, _, progress, _ = parts

    def evaluate():
        raise Interrupted(15, 1)

    with pytest.raises(Interrupted):
        make(evaluate).on_epoch_end(0, {"loss": 1.0, "pairs/s": 3.0})
    assert recorder.seen == {"state": (2.0, False), "waited": True}
    assert progress.train_metrics == {"loss": 1.0} and progress.best_step == -1
    assert recorder.read() == 2.0


def test_a_signal_ends_the_run_after_the_state(parts):
    make, recorder, interruption, _, _ = parts
    interruption.signal = 15
    with pytest.raises(Interrupted, match="SIGTERM at step 1"):
        make(lambda: METRICS).on_epoch_end(0, {"loss": 1.0})
    assert recorder.seen["state"] == (2.0, True) and recorder.seen["waited"]


def test_speed_and_time_left(monkeypatch):
    """The first step of an interval compiles or follows an evaluation: not counted."""
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    progress = Progress()
    speed = callbacks.Speed(batch_size=10, progress=progress, total_steps=8)
    speed.on_epoch_begin(1)
    progress.step = 5
    logs: dict[str, float] = {}
    speed.on_train_batch_end(0, logs)
    assert logs == {}
    progress.step = 6
    speed.on_train_batch_end(1, logs)
    assert logs["pairs/s"] == pytest.approx(5.0)
    assert logs["minutes_left"] == pytest.approx(2 * 2 / 60)  # two of eight steps
    progress.step = 7
    speed.on_train_batch_end(2, logs)
    assert logs["minutes_left"] == pytest.approx(1 * 2 / 60)
