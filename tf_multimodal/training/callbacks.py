"""What happens around the steps of `fit`: speed, logs, evaluation, states."""

import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.training.optimizer import get_inner
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.state import Progress, list_states, save_state

Metrics = dict[str, float]


TIMES = ("pairs/s", "minutes_left")


class NonFiniteLoss(RuntimeError):
    """Loss or weights are not numbers any more; the message names the step."""


class Speed(keras.callbacks.Callback):
    """Shows pairs per second and the minutes left in the progress bar.

    Both are of the current interval, its first step left out: in the first
    interval that one compiles, in the others it follows an evaluation.

    Args:
        batch_size: pairs of a step.
        interval: steps between states.
        total_steps: steps of the whole run.
    """

    def __init__(self, batch_size: int, interval: int, total_steps: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.interval, self.total_steps = interval, total_steps
        self.epoch, self.started = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch == 0:
            self.started = time.monotonic()
        else:
            self._add_speed(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.interval > 1:
            self._add_speed(self.interval - 1, logs)

    def _add_speed(self, steps: int, logs: dict | None) -> None:
        if logs is None:
            return
        seconds = max(time.monotonic() - self.started, 1e-6) / steps
        left = self.total_steps - self.epoch * self.interval - steps - 1
        logs["pairs/s"] = self.batch_size / seconds
        logs["minutes_left"] = left * seconds / 60


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Ends the run with an error as soon as the loss is not finite."""

    def __init__(self, directory: RunDirectory, interval: int) -> None:
        super().__init__()
        self.directory, self.interval = directory, interval
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if logs is None or math.isfinite(logs["loss"]):
            return
        step = self.epoch * self.interval + batch + 1
        raise NonFiniteLoss(_describe(self.directory, "The loss of", step))


class BadRows(keras.callbacks.Callback):
    """Says at an interval's end which rows could not be used: the first, and totals.

    Args:
        dropped: where the pipeline names them.
    """

    def __init__(self, dropped: DroppedRows) -> None:
        super().__init__()
        self.dropped = dropped

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        summary = self.dropped.summarize()
        if summary:
            print(summary)


class Interval(keras.callbacks.Callback):
    """Ends each interval: evaluation, best weights, logs and the run's state.

    Args:
        directory: the run's files.
        progress: the run's counters, kept up to date.
        config: `config.train`.
        interval: steps between states.
        total_steps: steps of the whole run.
        evaluate: returns the metrics on the validation split.
        save_preset: writes the model as a preset into a folder.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        config: Any,
        interval: int,
        total_steps: int,
        evaluate: Callable[[], Metrics],
        save_preset: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.directory, self.progress, self.config = directory, progress, config
        self.interval, self.total_steps = interval, total_steps
        self.evaluate, self.save_preset = evaluate, save_preset
        self.begun = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {} if logs is None else logs
        trained = time.monotonic()
        step = (epoch + 1) * self.interval
        if not all(
            bool(ops.all(ops.isfinite(v))) for v in self.model.trainable_weights
        ):
            raise NonFiniteLoss(_describe(self.directory, "The weights after", step))
        self.progress.step = step
        last = step >= self.total_steps
        every = self.config.eval_intervals
        if last or (every and (epoch + 1) % every == 0):
            self._evaluate(logs, last)
        values = {k: float(v) for k, v in logs.items() if k not in TIMES}
        rate = float(self.model.optimizer.learning_rate)
        line = {"step": step, "epoch": epoch + 1, **values, "learning_rate": rate}
        _append(self.directory.metrics, line)
        seconds = {
            "step": step,
            "train_seconds": round(trained - self.begun, 3),
            "evaluate_seconds": round(time.monotonic() - trained, 3),
            "pairs_per_second": round(float(logs.get("pairs/s", 0.0)), 1),
        }
        _append(self.directory.timing, seconds)
        save_state(self.directory.state, self.model, self.progress)

    def _evaluate(self, logs: dict, last: bool) -> None:
        optimizer = get_inner(self.model.optimizer)
        optimizer.swap_averages()
        try:
            metrics = self.evaluate()
            logs.update({f"val_{name}": value for name, value in metrics.items()})
            better = self._is_progress(metrics)
            self._stop_early()
            ends = last or self.progress.stopped
            if better if self.config.keep == "best" else ends:
                self._save_best()
        finally:
            optimizer.swap_averages()

    def _stop_early(self) -> None:
        patience = self.config.patience
        if patience and self.progress.evaluations_without_progress >= patience:
            self.progress.stopped = True
            self.model.stop_training = True

    def _is_progress(self, metrics: Metrics) -> bool:
        monitor, progress = self.config.monitor, self.progress
        if not metrics:  # there are no validation rows
            return False
        value = -metrics[monitor] if monitor == "loss" else metrics[monitor]
        if progress.best_value is not None and value <= progress.best_value:
            progress.evaluations_without_progress += 1
            return False
        progress.best_step, progress.best_value = progress.step, value
        progress.evaluations_without_progress = 0
        return True

    def _save_best(self) -> None:
        staging = self.directory.path / ".best"
        shutil.rmtree(staging, ignore_errors=True)
        self.save_preset(str(staging))
        # A folder cannot replace one with files in it: the old one steps aside.
        old = self.directory.old_best
        shutil.rmtree(old, ignore_errors=True)
        if self.directory.best.exists():
            os.replace(self.directory.best, old)
        os.replace(staging, self.directory.best)
        shutil.rmtree(old, ignore_errors=True)


def _describe(directory: RunDirectory, what: str, step: int) -> str:
    states = list_states(directory.state)
    last = f"The last good state is {states[-1]}." if states else "No state yet."
    return (
        f"{what} step {step}: not finite. {last} The same command would go on from "
        "there and, with the same batches, come to the same end: lower "
        "config.train.learning_rate, set config.train.clip_norm, or use "
        "config.dtype_policy=float32, with another --workdir."
    )


def _append(path: pathlib.Path, line: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
