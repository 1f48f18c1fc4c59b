"""What `fit` shows as it goes: speed, and rows that cannot be used."""

import time

import keras

from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.state.progress import Progress


class Speed(keras.callbacks.Callback):
    """Shows pairs per second and the minutes left in the progress bar.

    Both are of the current interval, its first step left out: in the first
    interval that one compiles, in the others it follows an evaluation.

    Args:
        batch_size: pairs of a step.
        progress: the run's counters.
        total_steps: steps of the whole run.
    """

    def __init__(self, batch_size: int, progress: Progress, total_steps: int) -> None:
        super().__init__()
        self.batch_size, self.progress = batch_size, progress
        self.total_steps = total_steps
        self.steps, self.started = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.steps = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == 0:
            self.started = time.monotonic()
            return
        self.steps = batch
        self._add_speed(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._add_speed(logs)

    def _add_speed(self, logs: dict | None) -> None:
        if logs is None or not self.steps:
            return
        seconds = max(time.monotonic() - self.started, 1e-6) / self.steps
        left = self.total_steps - self.progress.step
        logs["pairs/s"] = self.batch_size / seconds
        logs["minutes_left"] = left * seconds / 60


class BadRows(keras.callbacks.Callback):
    """Says at an interval's end which rows could not be used: the first, and totals.

    Args:
        dropped: where the pipeline names them.
        devices: the workers, each of which meets its own.
    """

    def __init__(self, dropped: DroppedRows, devices: Devices) -> None:
        super().__init__()
        self.dropped, self.devices = dropped, devices

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        found = self.devices.gather(self.dropped.take_new())
        for rows in found[: self.devices.worker] + found[self.devices.worker + 1 :]:
            self.dropped.add_others(rows)
        summary = self.dropped.summarize()
        if summary:
            print(summary)
