"""SIGTERM and SIGINT: the run writes its state and ends; the same command goes on."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# EX_TEMPFAIL of sysexits.h: try again. Also of a run that lost a worker.
EXIT_INTERRUPTED = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run. No `except Exception` may keep it from that.

    Args:
        number: of the signal; None: another worker received it.
        step: of the state that was written; None: no step was under way.
    """

    def __init__(self, number: int | None, step: int | None) -> None:
        by = "another worker" if number is None else signal.Signals(number).name
        kept = (
            "where no step was under way; nothing is lost."
            if step is None
            else f"at step {step}; its state is written."
        )
        super().__init__(f"Interrupted by {by} {kept} The same command goes on.")


class LostWorker(RuntimeError):
    """Another worker of the run is gone; all have to be started again."""


class Interruption:
    """Receives the signals while it is entered; a second one ends the process at once.

    In another thread than the main one, where Python gives no signals, it is idle.

    Attributes:
        signal: the one received while `delayed`; None so far.
    """

    signal: int | None = None

    def __init__(self) -> None:
        self._is_delayed = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def delayed(self) -> Iterator[None]:
        """Inside, a signal is only noted, for the run to end where it can go on.

        Raises:
            Interrupted: outside of this block, as soon as the signal comes.
        """
        self._is_delayed = True
        try:
            yield
        finally:
            self._is_delayed = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        if not self._is_delayed:
            raise Interrupted(number, None)
        name = signal.Signals(number).name
        print(f"\n{name}: writing the state; a second signal ends at once.", flush=True)
