"""Starts runs, kills them, and goes on with them."""

import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.killed_runs.comparison import list_differences
from benchmarks.killed_runs.config import SOURCES
from tf_multimodal.training.interruption import EXIT_INTERRUPTED

ROOT = pathlib.Path(__file__).parents[2]
TERM_EVERY = 5  # each so many points gets a SIGTERM
GOING_ON = re.compile(r"Going on from the state of step (\d+)\.")


class Point(NamedTuple):
    """When a run is killed: `moment`, from 0 to 1, of the whole run's time."""

    number: int
    source: str
    moment: float
    signal: signal.Signals


class Outcome(NamedTuple):
    """What became of a point: where the run was, and what differs at its end."""

    point: Point
    place: str
    differences: list[str]


def draw_points(count: int, seed: int, sources: Sequence[str]) -> list[Point]:
    """Draws moments uniformly; the sources take turns."""
    generator = random.Random(seed)
    return [
        Point(
            number,
            sources[number % len(sources)],
            generator.random(),
            signal.SIGKILL if (number + 1) % TERM_EVERY else signal.SIGTERM,
        )
        for number in range(count)
    ]


def run_whole(folder: pathlib.Path, source: str) -> float:
    """Runs a source without a disturbance; returns the seconds it took."""
    begun = time.monotonic()
    with start(folder, source) as process:
        code = process.wait()
    if code:
        raise RuntimeError(f"The whole run ended with {code}; see {folder}/output.txt.")
    return time.monotonic() - begun


def run_point(
    folder: pathlib.Path, whole: pathlib.Path, point: Point, seconds: float
) -> Outcome:
    """Kills a run at a point, gives the same command again, and compares.

    Args:
        folder: for the run.
        whole: folder of the run that was left alone.
        point: when and how.
        seconds: that the whole run took.
    """
    with start(folder, point.source) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(point.moment * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, point.signal)
        wrong = check_exit(point, process.wait(), folder / "run")
    is_finished = (folder / "run/finished.json").exists()
    with start(folder, point.source) as process:
        code = process.wait()
    output = (folder / "output.txt").read_text(encoding="utf-8")
    if code:
        return Outcome(point, "?", [*wrong, f"exit code {code} of the second start"])
    steps = GOING_ON.findall(output)
    place = "end" if is_finished else steps[-1] if steps else "start"
    return Outcome(
        point, place, wrong + list_differences(whole / "run", folder / "run")
    )


def check_exit(point: Point, code: int, run: pathlib.Path) -> list[str]:
    """Returns what is wrong with how a signal ended a run, if anything is."""
    if point.signal == signal.SIGKILL or code == EXIT_INTERRUPTED:
        return []
    is_begun = (run / "experiment.json").exists()
    if not is_begun or (run / "finished.json").exists():
        return []  # Python was not listening yet, or no longer
    return [f"exit code {code} after a SIGTERM, not {EXIT_INTERRUPTED}"]


def start(folder: pathlib.Path, source: str) -> subprocess.Popen[bytes]:
    """Starts the run in a folder, in a process group of its own."""
    assert source in SOURCES
    folder.mkdir(parents=True, exist_ok=True)
    config = ROOT / "benchmarks/killed_runs/config.py"
    command = [str(ROOT / "train.py"), f"--config={config}:{source}"]
    if source == "dataset":
        command = ["-m", "benchmarks.killed_runs.dataset_run"]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *command, "--workdir=run"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
