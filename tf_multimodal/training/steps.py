"""What happens after each training step: counting, watching the loss, states."""

import math
import time
from typing import Any

import keras

from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interrupted, Interruption
from tf_multimodal.training.recorder import Recorder
from tf_multimodal.training.rollback import CAUSES, NonFiniteLoss, find_next_batch
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import StateVariables

AGREE_STEPS = 8  # steps between the workers' questions to each other


class Steps(keras.callbacks.Callback):
    """Counts steps and batches; ends the interval where the run is to stop.

    Args:
        progress: the run's counters, kept up to date.
        interval: steps of an interval; its end is another callback's.
        skipped: numbers of batches that the data leave out.
        variables: the run's variables.
        recorder: takes states.
        devices: all workers must take a state at the same step.
        interruption: signals received.
        state_minutes: minutes between states within an interval; 0: none.
    """

    def __init__(
        self,
        progress: Progress,
        interval: int,
        skipped: frozenset[int],
        variables: StateVariables,
        recorder: Recorder,
        devices: Devices,
        interruption: Interruption,
        state_minutes: float,
    ) -> None:
        super().__init__()
        self._progress, self._interval, self._skipped = progress, interval, skipped
        self._variables, self._recorder, self._devices = variables, recorder, devices
        self._interruption, self._state_minutes = interruption, state_minutes
        self._batches: list[int] = []

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        progress = self._progress
        read = find_next_batch(progress.batch, self._skipped)
        self._batches = [*self._batches, read][-CAUSES:]
        progress.step += 1
        progress.batch = find_next_batch(read + 1, self._skipped)
        if logs is not None and not math.isfinite(logs["loss"]):
            raise NonFiniteLoss("The loss of", progress.step, self._batches)
        if progress.step % self._interval == 0:
            self._check_weights()
            return  # the end of the interval writes the state
        if self._devices.num_workers > 1 and progress.step % AGREE_STEPS:
            return
        if self._devices.agree(self._interruption.signal is not None):
            self._check_weights()
            self._recorder.save_state()
            self._recorder.wait()
            raise Interrupted(self._interruption.signal, progress.step)
        if self._devices.agree(self._is_time()):
            self._check_weights()
            self._recorder.save_state()

    def _check_weights(self) -> None:
        """Keeps a state from being written that no run could go on from."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        if not self._variables.are_finite():
            raise NonFiniteLoss(
                "The weights after", self._progress.step, self._batches[-1:]
            )

    def _is_time(self) -> bool:
        seconds = time.monotonic() - self._recorder.last_state
        return bool(self._state_minutes) and seconds >= 60 * self._state_minutes
