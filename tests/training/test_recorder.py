"""What a run writes as it goes, and a disk that is full."""

import errno
import json

import numpy as np
import pytest

from tf_multimodal.training import recorder as recorder_lib
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.recorder import Recorder
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.store import StateError

LINE = {"step": 5, "epoch": 1, "loss": 2.0, "val_loss": 3.0}


class Worker(Devices):
    """Not the chief."""

    worker = 1


class Writer:
    """Keeps what is submitted."""

    def __init__(self):
        self.submitted = []

    def submit(self, snapshot, best=None):
        self.submitted.append((snapshot, best))

    def wait(self):
        """All is written."""


class Variables:
    """Counts how often they are read."""

    taken = 0

    def take(self, progress, logs):
        self.taken += 1
        return logs


@pytest.fixture
def make(tmp_path):
    """Makes a recorder of a run in `tmp_path`."""

    def make(save_preset=lambda folder: None, devices=None):
        return Recorder(
            RunDirectory(tmp_path),
            Progress(step=5),
            Variables(),
            Writer(),
            devices or Devices(),
            save_preset,
        )

    return make


def test_the_logs_go_with_the_state(make, tmp_path):
    recorder = make()
    recorder.log(LINE, {"step": 5, "train_seconds": 1.0})
    recorder.save_state()
    ((logs, best),) = recorder._writer.submitted
    assert json.loads(logs["metrics.jsonl"]) == LINE and best is None
    recorder.log(LINE | {"step": 10, "epoch": 2}, {"step": 10})
    recorder.restore_logs(logs, first_epoch=1)
    assert (tmp_path / "metrics.jsonl").read_bytes() == logs["metrics.jsonl"]
    assert len((tmp_path / "timing.jsonl").read_text().splitlines()) == 1


def test_only_the_chief_writes_but_all_take_the_state(make, tmp_path):
    recorder = make(devices=Worker())
    recorder.log(LINE, {"step": 5})
    recorder.stage_best()
    recorder.save_state(with_best=True)
    assert not list(tmp_path.iterdir()) and not recorder._writer.submitted
    assert recorder._variables.taken == 1  # reading is collective


def test_pictures_are_drawn_where_they_are_written(make, tmp_path):
    drawn = []

    def draw():
        drawn.append(1)
        return {"examples": np.zeros((2, 2, 3), np.uint8)}

    make(devices=Worker()).log(LINE, {"step": 5}, draw)
    assert not drawn and not list(tmp_path.iterdir())
    make().log(LINE, {"step": 5}, draw)
    assert len(drawn) == 1
    (path,) = (tmp_path / "tensorboard/validation").iterdir()
    assert b"examples" in path.read_bytes()
    timing = json.loads((tmp_path / "timing.jsonl").read_text())
    assert timing.keys() == {"step", "log_seconds"}


def test_trackers_get_the_values_on_the_chief(make):
    class Seen(list):
        def log(self, epoch, values):
            self.append((epoch, values))

    seen = Seen()
    for devices in (Worker(), Devices()):
        recorder = make(devices=devices)
        recorder._trackers = seen
        recorder.log(LINE, {"step": 5})
    assert seen == [(0, {"loss": 2.0, "val_loss": 3.0})]


def test_a_full_disk_is_said_with_what_to_do(make, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StateError, match="best cannot be written.*No space.*free some"):
        make(save_preset=fail).stage_best()
    monkeypatch.setattr(recorder_lib, "_append", fail)
    with pytest.raises(StateError, match="No space left on device.*same command"):
        make().log(LINE, {"step": 5})
