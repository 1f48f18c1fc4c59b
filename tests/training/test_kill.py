"""The program that kills runs: its draws, its comparison, and a few of its points."""

import json
import pathlib
import shutil
import signal

import h5py
import numpy as np
import pytest

from benchmarks.killed_runs import points
from benchmarks.killed_runs.comparison import list_differences
from benchmarks.killed_runs.config import SOURCES
from tf_multimodal.training.event_log import EventLog
from tf_multimodal.training.interruption import EXIT_INTERRUPTED

STATE = "state/step_0000000004"


def write_run(run: pathlib.Path) -> pathlib.Path:
    """What a finished run leaves behind, as far as it is compared."""
    for name in (STATE, "best"):
        (run / name).mkdir(parents=True)
    for name in ("finished.json", "versions.json", "best/config.json"):
        (run / name).write_text("{}")
    for name in ("labels.txt", "splits.csv"):
        (run / name).write_text("a\n")
    (run / "metrics.jsonl").write_text('{"step": 4, "loss": 0.5}\n')
    (run / "timing.jsonl").write_text('{"step": 4, "train_seconds": 1.5}\n')
    (run / STATE / "progress.json").write_text('{"step": 4}')
    np.savez(run / STATE / "variables.npz", **{"optimizer/00000": np.zeros(3, "f4")})
    with h5py.File(run / "best/model.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros(2, "f4")
    events = EventLog(run / "tensorboard")
    events.write(0, {"loss": 0.5, "val_loss": 0.75})
    events.close()
    return run


@pytest.fixture
def runs(tmp_path):
    return write_run(tmp_path / "whole"), write_run(tmp_path / "other")


def change_state(run):
    values = np.array([0, 0, 1e-30], "f4")
    np.savez(run / STATE / "variables.npz", **{"optimizer/00000": values})


def change_best(run):
    with h5py.File(run / "best/model.weights.h5", "a") as file:
        file["layers/dense/vars/0"][1] = 1e-30


def add_point(run):
    events = EventLog(run / "tensorboard")
    events.write(0, {"val_loss": 0.75})
    events.close()


def change_times(run):
    (run / "timing.jsonl").write_text('{"step": 4, "train_seconds": 9.5}\n')


def add_line(run):
    with (run / "timing.jsonl").open("a") as file:
        file.write('{"step": 8}\n')


def change_metrics(run):
    (run / "metrics.jsonl").write_text('{"step": 4, "loss": 0.50000001}\n')


def change_counters(run):
    (run / STATE / "progress.json").write_text(json.dumps({"step": 4, "batch": 5}))


def remove_best(run):
    shutil.rmtree(run / "best")
    (run / "best").mkdir()
    (run / "best/config.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_times, []),
        (change_state, ["state optimizer/00000"]),
        (change_best, ["best layers/dense/vars/0"]),
        (remove_best, ["best layers/dense/vars/0"]),
        (add_point, ["TensorBoard validation epoch_loss"]),
        (add_line, ["steps of timing.jsonl"]),
        (change_metrics, ["metrics.jsonl differs"]),
        (change_counters, ["counters"]),
    ],
)
def test_what_differs_is_named(runs, change, expected):
    whole, other = runs
    assert list_differences(whole, other) == []
    change(other)
    assert list_differences(whole, other) == expected


def test_points_are_spread_over_time_and_sources():
    drawn = points.draw_points(50, 0, SOURCES)
    assert drawn == points.draw_points(50, 0, SOURCES)
    assert drawn != points.draw_points(50, 1, SOURCES)
    counts = {source: 0 for source in SOURCES}
    for point in drawn:
        counts[point.source] += 1
    assert min(counts.values()) >= 3
    in_tenths = np.bincount([int(10 * point.moment) for point in drawn])
    assert len(in_tenths) == 10 and min(in_tenths) >= 1
    assert sum(point.signal == signal.SIGTERM for point in drawn) == 10


@pytest.mark.parametrize(
    ("number", "code", "files", "is_right"),
    [
        (signal.SIGKILL, -9, ["experiment.json"], True),
        (signal.SIGTERM, EXIT_INTERRUPTED, ["experiment.json"], True),
        (signal.SIGTERM, -15, [], True),  # TensorFlow was being imported
        (signal.SIGTERM, -15, ["experiment.json", "finished.json"], True),
        (signal.SIGTERM, -15, ["experiment.json"], False),
        (signal.SIGTERM, 0, ["experiment.json"], False),
    ],
)
def test_a_run_under_way_ends_with_its_code(tmp_path, number, code, files, is_right):
    for name in files:
        (tmp_path / name).write_text("{}")
    point = points.Point(0, "csv", 0.5, number)
    assert (points.check_exit(point, code, tmp_path) == []) == is_right


@pytest.mark.parametrize(
    ("count", "seed", "sources"),
    [
        (2, 0, "csv"),
        pytest.param(5, 5, "csv,mixture", marks=pytest.mark.slow),
    ],
)
def test_killed_runs_end_as_the_others(run_command, count, seed, sources):
    options = (f"--points={count}", f"--seed={seed}", f"--sources={sources}")
    result = run_command("-m", "benchmarks.kill", *options)
    assert f"| all | {count} | | {count} of {count} |" in result.stdout
    assert result.stdout.count("gone on from start") < count
