"""Keeps two processes from one run directory."""

import json
import os
import pathlib
import socket
from typing import Any

import filelock

LOCK, HOLDER = ".lock", ".lock.json"


class RunLockError(ValueError):
    """Another process is at the run; the message names it."""


class RunLock:
    """Holds a run's directory; the system frees it when the process ends or is killed.

    Args:
        path: the run's directory; made where it is missing.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._lock = filelock.FileLock(path / LOCK)

    def __enter__(self) -> "RunLock":
        """Takes the lock.

        Raises:
            RunLockError: another process holds it.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            raise RunLockError(
                f"Another process is at the run in {self._path}: {self._describe()}. "
                "Wait for its end, or choose another --workdir."
            ) from None
        except NotImplementedError as error:
            raise RunLockError(
                f"{self._path} lies on a file system that cannot lock files, so that "
                "two processes could write one run. Choose another --workdir."
            ) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        (self._path / HOLDER).write_text(json.dumps(holder) + "\n", encoding="utf-8")
        return self

    def __exit__(self, *_: Any) -> None:
        self._lock.release()

    def _describe(self) -> str:
        try:
            holder = json.loads((self._path / HOLDER).read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError):
            return "it has not said which yet"
