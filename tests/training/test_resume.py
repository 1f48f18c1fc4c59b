"""A run that is stopped and gone on with ends bit-identical to one left alone."""

import signal

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tensorflow_config

from benchmarks.killed_runs.comparison import list_differences
from benchmarks.killed_runs.config import get_config
from benchmarks.killed_runs.data import write_files
from tf_multimodal.training import run
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interruption
from tf_multimodal.training.recorder import Recorder
from tf_multimodal.training.steps import Steps

INTERVAL = 4  # steps; 12 in all, 20 of the mixture
# Where it stops: at which call of what, and the step of the state it goes on from.
SIGNALS = {
    "inside an interval": (Steps, "on_train_batch_end", 6, 6),
    "at an interval's end": (Steps, "on_train_batch_end", 8, 8),
    "in an evaluation": (Devices, "predict", 5, 8),  # of three batches each
    "after an evaluation": (Recorder, "log", 2, 8),
}
ERRORS = {
    "in an evaluation": (Devices, "predict", 5, 4),
    "between log and state": (Recorder, "save_state", 3, 4),
    "in the first interval": (Steps, "on_train_batch_end", 3, 0),
}
LOW_PRECISION = {"dtype_policy": "mixed_float16"}
EARLY_STOP = {"train.learning_rate": 0.0, "train.ema": 0.0, "train.patience": 2}
LAST = {"train.ema": 0.0, "train.keep": "last"}
RUNS = {
    "captions, the loss scaled": ("captions", LOW_PRECISION),
    "a mixture, stopped early": ("mixture", EARLY_STOP),
    "label sets, the last weights": ("label_sets", LAST),
    "images": ("csv", {"model.modalities": "image_text"}),
}


@pytest.fixture(scope="module", autouse=True)
def determinism():
    """The runs turn it on for the whole process; other tests do without."""
    yield
    tensorflow_config.disable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `data`, and runs two levels below."""
    folder = tmp_path_factory.mktemp("resume")
    write_files(folder / "data")
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """A run over texts that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        return run_in(patch, folder / "csv" / "whole", make_config("csv"))


def make_config(source, **changes):
    config = get_config(source)
    config.model.modalities = "text"
    config.train.state_minutes = 0.0
    config.train.state_steps = INTERVAL
    config.train.epochs = 1  # 11 batches; of the mixture 21
    config.update_from_flattened_dict(changes)
    return config


def run_in(patch, folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    patch.chdir(folder)
    keras.utils.clear_session()  # the names of layers count from there
    return folder / run.run(config, "run")


def stop_at(patch, place, action):
    """Lets a call do something else first."""
    owner, name, number, _ = place
    method, calls = getattr(owner, name), []

    def count(*arguments, **keywords):
        calls.append(name)
        if len(calls) == number:
            action()
        return method(*arguments, **keywords)

    patch.setattr(owner, name, count)


def send_signal(patch, place):
    def receive():
        patch.setattr(Interruption, "signal", signal.SIGTERM)

    stop_at(patch, place, receive)


def raise_error(patch, place):
    def fail():
        raise KeyboardInterrupt

    stop_at(patch, place, fail)


def run_with_a_stop(patch, folder, config, stop, place):
    """Returns the finished run, and what the second start printed."""
    with pytest.MonkeyPatch.context() as inner:
        stop(inner, place)
        with pytest.raises(KeyboardInterrupt):  # what `Interrupted` is, too
            run_in(patch, folder, config)
    return run_in(patch, folder, config)


@pytest.mark.parametrize(
    ("stop", "place"),
    [(send_signal, place) for place in SIGNALS.values()]
    + [(raise_error, place) for place in ERRORS.values()],
    ids=[f"signal {name}" for name in SIGNALS] + [f"error {name}" for name in ERRORS],
)
def test_wherever_it_stops(folder, whole, monkeypatch, capsys, request, stop, place):
    path = folder / "csv" / request.node.callspec.id.replace(" ", "_")
    found = run_with_a_stop(monkeypatch, path, make_config("csv"), stop, place)
    output = capsys.readouterr().out
    step = place[-1]
    assert (f"Going on from the state of step {step}." in output) == bool(step)
    assert list_differences(whole, found) == []


@pytest.mark.parametrize(("source", "changes"), RUNS.values(), ids=list(RUNS))
def test_whatever_it_trains(folder, monkeypatch, capsys, request, source, changes):
    name = request.node.callspec.id.replace(" ", "_")
    config = make_config(source, **changes)
    whole = run_in(monkeypatch, folder / name / "whole", config)
    place = (Steps, "on_train_batch_end", 10, 10)  # after two evaluations
    path = folder / name / "stopped"
    found = run_with_a_stop(monkeypatch, path, config, send_signal, place)
    assert "Going on from the state of step 10." in capsys.readouterr().out
    assert list_differences(whole, found) == []
