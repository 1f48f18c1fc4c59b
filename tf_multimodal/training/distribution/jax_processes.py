"""How the processes of a run on JAX find each other, and how one ends without another.

JAX's own ends are a wait of minutes or an abort. A run may be killed at any moment, so
that ending at once, with the exit code that asks for a restart, loses nothing.
"""

import atexit
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

import jax

from tf_multimodal.training.interruption import (
    EXIT_INTERRUPTED,
    Interrupted,
    LostWorker,
)

PREFIX = "KERAS_DISTRIBUTION_"
ADDRESSES, PROCESSES, PROCESS = (
    f"{PREFIX}{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
HEARTBEAT_SECONDS = 30  # after so many without one a process counts as gone
# Of errors that name no type of their own: the collectives and the coordinator.
SIGNS = ("Gloo", "NCCL", "UNAVAILABLE:", "ABORTED:", "DEADLINE_EXCEEDED:", "heartbeat")
MESSAGE = (
    "Another process of the run is gone. Start all of them again with the same "
    "command: the run goes on from its last state."
)


def join_processes() -> None:
    """Joins the processes that the KERAS_DISTRIBUTION_ variables name, if any.

    Raises:
        ValueError: one of the variables is missing or malformed.
    """
    given = {name: os.environ.get(name, "") for name in (ADDRESSES, PROCESSES, PROCESS)}
    if not any(given.values()) or jax.distributed.is_initialized():
        return
    address = given[ADDRESSES].split(",")[0]
    total, own = given[PROCESSES], given[PROCESS]
    if not (
        address.rpartition(":")[2].isdecimal()
        and total.isdecimal()
        and own.isdecimal()
        and int(own) < int(total)
    ):
        raise ValueError(
            f"Several processes on JAX need {ADDRESSES} (HOST:PORT of the first one), "
            f"{PROCESSES} and {PROCESS} (from 0). Received: {given}"
        )
    # Its handler of SIGTERM would take the place of ours.
    jax.config.update("jax_enable_preemption_service", False)
    # Not Keras's `initialize`, which cannot set the heartbeat.
    jax.distributed.initialize(
        address,
        int(total),
        int(own),
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
    if int(total) > 1:
        end_on_abort()


def end_on_abort() -> None:
    """Gives an abort the exit code of a lost worker.

    JAX's coordinator aborts a process that lost another, from a thread of its own where
    no Python handler runs.
    """
    ctypes.CDLL(None).signal(signal.SIGABRT, _end_after_abort)


@contextlib.contextmanager
def lost_worker_raised() -> Iterator[None]:
    """Turns the errors of a collective whose other end is gone into LostWorker.

    After an error of its own a process ends without a wait for the others, which may
    be waiting for it. An interruption is one of all of them.

    Raises:
        LostWorker: says what to do, then what JAX said.
    """
    try:
        yield
    except (LostWorker, Interrupted):
        raise
    except BaseException as error:
        cause = _find_loss(error)
        if jax.process_count() > 1:  # runs before the end that JAX has registered
            atexit.register(_end, 1 if cause is None else EXIT_INTERRUPTED)
        if cause is None:
            raise
        raise LostWorker(f"{MESSAGE} JAX says: {str(cause).splitlines()[0]}") from error


def _find_loss(error: BaseException | None) -> BaseException | None:
    """Returns the error, or what it followed on, that tells of a lost process."""
    while error is not None and jax.process_count() > 1:
        # JAX raises the one when a result is read, the other at the call itself.
        is_jax = isinstance(error, (RuntimeError, ValueError))
        if is_jax and any(sign in str(error) for sign in SIGNS):
            return error
        error = error.__cause__ or error.__context__
    return None


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _end_after_abort(_: int) -> None:
    os.write(2, f"\n{MESSAGE} JAX's own message stands above.\n".encode())
    os._exit(EXIT_INTERRUPTED)
