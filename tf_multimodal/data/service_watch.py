"""Says that a tf.data service gives nothing, where TensorFlow waits without a word."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

WARN_SECONDS = 30.0


def watch(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Returns the batches; waiting for one is warned of again and again.

    Only the time that a batch was asked for counts, not that of a training step. It is
    not an error: workers may be on their way.

    Args:
        batches: of the service.
        address: of the dispatcher, for the messages.
    """
    alarm = _Alarm(address)
    asked = tf.data.Dataset.counter().map(lambda _: _call(alarm.ask))

    def receive(_: tf.Tensor, batch: Any) -> Any:
        with tf.control_dependencies([_call(alarm.receive)]):
            return tf.nest.map_structure(tf.identity, batch)

    # A zip asks its first data set first.
    return tf.data.Dataset.zip((asked, batches)).map(receive)


class _Alarm:
    """Goes off when a batch was asked for and has not come."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._since = 0.0
        self._timer: threading.Timer | None = None

    def ask(self) -> bool:
        self._since = time.monotonic()
        self._start()
        return True

    def receive(self) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        return True

    def _start(self) -> None:
        self._timer = threading.Timer(WARN_SECONDS, self._warn)
        self._timer.daemon = True
        self._timer.start()

    def _warn(self) -> None:
        print(
            f"Warning: no batch has come from the tf.data service at {self._address} "
            f"for {time.monotonic() - self._since:.0f} s. Are its workers running, do "
            "they reach the dispatcher, and can this machine reach the address that "
            "each worker gives as its own?",
            file=sys.stderr,
            flush=True,
        )
        self._start()


def _call(function: Callable[[], bool]) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(function, [], tf.bool), [])
