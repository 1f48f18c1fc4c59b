"""Kills runs at random moments, and compares how they end with one left alone.

    python -m benchmarks.kill --points=50 --seed=0

For each source a tiny run is done once without a disturbance. Others of the same
command are killed at moments drawn uniformly over its time, start-up and ending
included: their process group gets a SIGKILL, every fifth a SIGTERM. The same command
is given again, and what it leaves behind is compared bit by bit. The exit code is 1 if
anything differs.
"""

import contextlib
import io
import os
import pathlib
import platform
import shutil
import signal
import sys
import tempfile

from absl import app, flags

from benchmarks.killed_runs.config import SOURCES
from benchmarks.killed_runs.data import write_data
from benchmarks.killed_runs.points import Outcome, draw_points, run_point, run_whole

_POINTS = flags.DEFINE_integer("points", 50, "Moments of a kill.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
_SOURCES = flags.DEFINE_list("sources", list(SOURCES), "Which sources take turns.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "A new folder for data and runs. Default: one that is removed."
)


def main(argv: list[str]) -> None:
    """Runs all points and prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    unknown = sorted(set(_SOURCES.value) - set(SOURCES))
    if unknown:
        raise app.UsageError(f"Unknown sources {unknown}; known: {', '.join(SOURCES)}.")
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}", flush=True)
    if _WORKDIR.value:
        outcomes = run_points(pathlib.Path(_WORKDIR.value))
    else:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = run_points(pathlib.Path(folder))
    print_table(outcomes)
    sys.exit(1 if any(outcome.differences for outcome in outcomes) else 0)


def run_points(folder: pathlib.Path) -> list[Outcome]:
    """Runs the points source by source, so that the times of a source are alike."""
    folder = folder.resolve()
    with contextlib.redirect_stdout(io.StringIO()):
        write_data(folder / "data")
    points = draw_points(_POINTS.value, _SEED.value, _SOURCES.value)
    outcomes = []
    for source in _SOURCES.value:
        own = [point for point in points if point.source == source]
        whole = folder / source / "whole"
        seconds = run_whole(whole, source) if own else 0.0
        for point in own:
            place = folder / source / f"point_{point.number:03d}"
            outcome = run_point(place, whole, point, seconds)
            print(
                f"{source}: {point.signal.name} after {point.moment * seconds:.1f} of "
                f"{seconds:.1f} s, gone on from {outcome.place}: "
                f"{'; '.join(outcome.differences) or 'equal'}",
                flush=True,
            )
            outcomes.append(outcome)
            if not outcome.differences:
                shutil.rmtree(place)
    return outcomes


def print_table(outcomes: list[Outcome]) -> None:
    """Prints a row for each source: kills, states gone on from, equal endings."""
    print("\n| source | kills | gone on from the state of step | equal |")
    print("|---|---|---|---|")
    for source in _SOURCES.value:
        own = [outcome for outcome in outcomes if outcome.point.source == source]
        places = ", ".join(
            outcome.place + "*" * (outcome.point.signal == signal.SIGTERM)
            for outcome in sorted(own, key=lambda outcome: outcome.point.moment)
        )
        equal = sum(not outcome.differences for outcome in own)
        print(f"| {source} | {len(own)} | {places} | {equal} of {len(own)} |")
    equal = sum(not outcome.differences for outcome in outcomes)
    print(f"| all | {len(outcomes)} | | {equal} of {len(outcomes)} |")
    print("\nstart: there was no state yet; end: it was finished; *: SIGTERM")


if __name__ == "__main__":
    app.run(main)
