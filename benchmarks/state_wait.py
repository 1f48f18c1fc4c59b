"""How long training waits for its states, on the default config.

    python -m benchmarks.state_wait

Trains `configs/openclipart.py` with a state every few steps, in a temporary directory.
A step waits for the check of the weights, the copy in memory and, where the disk is
slower than the steps, for the state before; the files are written beside the training.
The exit code is 1 where any step waits for a tenth of a second or longer.
"""

import functools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

_LIMIT_SECONDS = 0.1
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Passes over the data.", 1)
_SECONDS = flags.DEFINE_float("seconds", 3.0, "Between states.", 0.0)
_CACHE = flags.DEFINE_string("cache_dir", "data", "Prepared data and weights.")


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from configs import openclipart
    from tf_multimodal.training import run
    from tf_multimodal.training.recorder import Recorder
    from tf_multimodal.training.state.store import StateStore
    from tf_multimodal.training.steps import Steps

    config = openclipart.get_config()
    config.cache_dir = _CACHE.value
    config.train.epochs = _EPOCHS.value
    config.train.state_minutes = _SECONDS.value / 60
    waited = {
        "check of the weights": time_calls(Steps, "_check_weights"),
        "copy in memory": time_calls(Recorder, "save_state"),
    }
    written = time_calls(StateStore, "write")
    steps = time_calls(Steps, "on_train_batch_end")
    with tempfile.TemporaryDirectory() as folder:
        run.run(config, folder)
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {len(written)} states\n"
    )
    print("| milliseconds | median | longest |\n|---|---:|---:|")
    for name, seconds in waited.items():
        print_row(f"a step waits: {name}", seconds)
    # The state of step 0 is not on the list: no step has begun.
    print_row("all that a step waits", steps)
    print_row("written beside the training", written)
    sys.exit(max(steps) >= _LIMIT_SECONDS)


def time_calls(owner: type, name: str) -> list[float]:
    """Wraps a method; returns the list that its calls' seconds are added to."""
    method: Callable[..., Any] = getattr(owner, name)
    seconds: list[float] = []

    @functools.wraps(method)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - begun)

    setattr(owner, name, timed)
    return seconds


def print_row(name: str, seconds: list[float]) -> None:
    """Prints a row of the table."""
    median, longest = statistics.median(seconds), max(seconds)
    print(f"| {name} | {1000 * median:.0f} | {1000 * longest:.0f} |")


if __name__ == "__main__":
    app.run(main)
