"""What happens at an interval's end: evaluation, best weights, logs, the state."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interrupted, Interruption
from tf_multimodal.training.optimizer import get_inner
from tf_multimodal.training.plan import Plan
from tf_multimodal.training.recorder import Recorder
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import Snapshot, StateVariables

Metrics = dict[str, float]
TIMES = ("pairs/s", "minutes_left")


class Interval(keras.callbacks.Callback):
    """Begins and ends an interval.

    Args:
        progress: the run's counters, kept up to date.
        plan: of the run.
        config: `config.train`.
        variables: the run's variables.
        begun: the state of a begun interval that goes on; else None.
        evaluate: returns the metrics on the validation split.
        recorder: writes logs and states.
        devices: all workers must stop together.
        interruption: signals received.
        draw: returns pictures of the last evaluation, by name.
    """

    def __init__(
        self,
        progress: Progress,
        plan: Plan,
        config: Any,
        variables: StateVariables,
        begun: Snapshot | None,
        evaluate: Callable[[], Metrics],
        recorder: Recorder,
        devices: Devices,
        interruption: Interruption,
        draw: Callable[[], Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        super().__init__()
        self._progress, self._plan, self._config = progress, plan, config
        self._variables, self._begun, self._evaluate = variables, begun, evaluate
        self._recorder, self._devices = recorder, devices
        self._interruption, self._draw = interruption, draw
        self._since = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._since = time.monotonic()
        if self._begun is not None:  # `fit` has just cleared the metrics
            self._variables.restore_metrics(self._begun)
            self._begun = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        progress = self._progress
        trained = time.monotonic()
        values = {k: float(v) for k, v in logs.items() if k not in TIMES}
        last = progress.step >= self._plan.total
        every = self._config.eval_intervals
        best = False
        evaluates = last or (every and (epoch + 1) % every == 0)
        if evaluates:
            progress.train_metrics = values
            metrics, best = self._run_evaluation(last)
            progress.train_metrics = None
            logs.update(metrics)
            values |= metrics
        rate = float(self.model.optimizer.learning_rate)
        line = {"step": progress.step, "epoch": epoch + 1, **values}
        timing = {
            "step": progress.step,
            "train_seconds": round(trained - self._since, 3),
            "evaluate_seconds": round(time.monotonic() - trained, 3),
            "state_seconds": round(self._recorder.take_seconds(), 3),
            "pairs_per_second": round(float(logs.get("pairs/s", 0.0)), 1),
        }
        draw = self._draw if evaluates else None
        self._recorder.log(line | {"learning_rate": rate}, timing, draw)
        self._recorder.save_state(with_best=best)
        if last or progress.stopped:
            return
        if self._devices.agree(self._interruption.signal is not None):
            self._recorder.wait()
            raise Interrupted(self._interruption.signal, progress.step)

    def _run_evaluation(self, last: bool) -> tuple[Metrics, bool]:
        """Returns the metrics of the averaged weights, and whether those are kept."""
        progress, keeps_best = self._progress, self._config.keep == "best"
        optimizer = get_inner(self.model.optimizer)
        optimizer.swap_averages()
        try:
            metrics = self._evaluate()
            better = self._is_progress(metrics)
            self._stop_early()
            kept = better if keeps_best else last or progress.stopped
            if kept:
                self._recorder.stage_best()
        except Interrupted:
            optimizer.swap_averages()
            self._recorder.save_state()
            self._recorder.wait()
            optimizer.swap_averages()
            raise
        finally:
            optimizer.swap_averages()
        return {f"val_{name}": value for name, value in metrics.items()}, kept

    def _stop_early(self) -> None:
        patience = self._config.patience
        if patience and self._progress.evaluations_without_progress >= patience:
            self._progress.stopped = True
            self.model.stop_training = True

    def _is_progress(self, metrics: Metrics) -> bool:
        monitor, progress = self._config.monitor, self._progress
        if not metrics:  # there are no validation rows
            return False
        value = -metrics[monitor] if monitor == "loss" else metrics[monitor]
        if progress.best_value is not None and value <= progress.best_value:
            progress.evaluations_without_progress += 1
            return False
        progress.best_step, progress.best_value = progress.step, value
        progress.evaluations_without_progress = 0
        return True
