"""Writes states on a thread of its own, while training goes on."""

import concurrent.futures
import pathlib
from typing import Any

from tf_multimodal.training.state.snapshot import Snapshot
from tf_multimodal.training.state.store import StateStore


class StateWriter:
    """One state at a time is being written; leaving the block waits for it.

    Args:
        store: of the states.
        best: where a copy of the best weights is kept for users.
    """

    def __init__(self, store: StateStore, best: pathlib.Path) -> None:
        self._store, self._best = store, best
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "state-writer")
        self._pending: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "StateWriter":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            self.wait()
        except Exception:
            if kind is None:  # else what ended the block says more
                raise
        finally:
            self._thread.shutdown()

    def submit(self, snapshot: Snapshot, best: pathlib.Path | None = None) -> None:
        """Begins to write a state, once the one before is written.

        Args:
            snapshot: of the run; nobody changes it any more.
            best: a folder with the best weights, if this state's are.

        Raises:
            StateError: the state before could not be written.
        """
        self.wait()
        self._pending = self._thread.submit(self._write, snapshot, best)

    def wait(self) -> None:
        """Waits until what was submitted is durable.

        Raises:
            StateError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, snapshot: Snapshot, best: pathlib.Path | None) -> None:
        self._store.write(snapshot, best)
        if best is not None:
            self._store.publish_best(self._best)
