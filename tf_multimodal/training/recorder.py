"""Writes what a run leaves behind as it goes: logs, best weights, states."""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.event_log import EventLog, cut_events
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import StateVariables
from tf_multimodal.training.state.store import StateError
from tf_multimodal.training.state.writer import StateWriter
from tf_multimodal.training.trackers import Trackers


class Recorder:
    """Takes states on all workers and writes them on the chief.

    Attributes:
        seconds: that training has waited for states since the last call of
            `take_seconds`.

    Args:
        directory: the run's files.
        progress: the run's counters.
        variables: the run's variables.
        writer: writes states beside the training.
        devices: which worker this is.
        save_preset: writes the model as a preset into a folder.
        trackers: what else shows the metrics; None: nothing.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        variables: StateVariables,
        writer: StateWriter,
        devices: Devices,
        save_preset: Callable[[str], None],
        trackers: Trackers | None = None,
    ) -> None:
        self._directory, self._progress = directory, progress
        self._variables, self._writer = variables, writer
        self._devices, self._save_preset = devices, save_preset
        self._events = EventLog(directory.tensorboard)
        self._trackers = trackers
        self._seconds = 0.0
        self.last_state = time.monotonic()

    def log(
        self,
        line: dict[str, float],
        timing: dict[str, float],
        draw: Callable[[], Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        """Appends to `metrics.jsonl`, `timing.jsonl`, TensorBoard's events, trackers.

        Args:
            line: metrics of an interval.
            timing: its times; `log_seconds`, what this takes, is added.
            draw: returns pictures of its evaluation, uint8 [h, w, 3] by name; None:
                there was none.
        """
        if not self._devices.is_chief:
            return
        begun = time.monotonic()
        epoch = int(line["epoch"]) - 1
        values = {k: v for k, v in line.items() if k not in ("step", "epoch")}
        pictures = draw() if draw else {}
        with _explain(self._directory.path):
            _append(self._directory.metrics, line)
            self._events.write(epoch, values, pictures)
        if self._trackers is not None:
            self._trackers.log(epoch, values)
        seconds = {"log_seconds": round(time.monotonic() - begun, 3)}
        with _explain(self._directory.path):
            _append(self._directory.timing, timing | seconds)

    def restore_logs(self, logs: dict[str, bytes], first_epoch: int) -> None:
        """Puts all that `log` writes back to what it was at a state.

        Args:
            logs: of the state.
            first_epoch: the first interval that is done again, from 0.
        """
        if self._devices.is_chief:
            self._events.close()
            self._directory.restore_logs(logs)
            cut_events(self._directory.tensorboard, first_epoch)

    def save_state(self, with_best: bool = False) -> None:
        """Copies the state; it is written while training goes on.

        Args:
            with_best: the weights that `stage_best` wrote are this state's best.

        Raises:
            StateError: the state before could not be written.
        """
        begun = time.monotonic()
        logs = self._directory.read_logs() if self._devices.is_chief else {}
        snapshot = self._variables.take(self._progress, logs)
        if self._devices.is_chief:
            self._writer.submit(snapshot, self._staging if with_best else None)
        self.last_state = time.monotonic()
        self._seconds += self.last_state - begun

    def stage_best(self) -> None:
        """Writes the model as it is now beside the states."""
        if self._devices.is_chief:
            self._writer.wait()  # it may still be moving the last one
            shutil.rmtree(self._staging, ignore_errors=True)
            with _explain(self._staging):
                self._save_preset(str(self._staging))

    def wait(self) -> None:
        """Waits until all states are durable."""
        self._writer.wait()

    def close(self) -> None:
        """Closes what is open."""
        self._events.close()

    def take_seconds(self) -> float:
        """Returns how long training has waited for states since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @property
    def _staging(self) -> pathlib.Path:
        return self._directory.state / ".best"


@contextlib.contextmanager
def _explain(path: pathlib.Path) -> Iterator[None]:
    """Tells that nothing is lost where the disk is full."""
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise StateError(
            f"{path} cannot be written: {error}. The states stay as they are. Mend it, "
            "free some space as a rule, and give the same command again."
        ) from error


def _append(path: pathlib.Path, line: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
