"""Whole runs by train.py on two processes: equal to one, killed, and gone on with."""

import json
import signal
import time

import numpy as np
import pytest
from worker_processes import SECONDS, start_process, start_workers, wait_for

from tf_multimodal.training.interruption import EXIT_INTERRUPTED

pytestmark = pytest.mark.slow
SETTINGS = (
    "--config=configs/tiny.py",
    "--config.dtype_policy=float32",
    "--config.model.text.encoder=lstm",
    "--config.model.text.token_dropout=0",
    "--config.train.batch_size=31",
    "--config.train.epochs=3",
    "--config.train.eval_intervals=1",
    "--config.train.state_steps=4",
)
WORKERS = "--config.distribution=multiworker"
# Sums of several workers have another order than one's. Where that order changes in
# the middle of a run, a unit may be on or off for another image.
TOLERANCE, CHANGED_TOLERANCE = 1e-5, 1e-3
MIRRORED = """
import sys, tensorflow as tf
cpus = [tf.config.LogicalDeviceConfiguration()] * 2
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, cpus)
import train
train.run_command(train.main)
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return [*SETTINGS, f"--config.cache_dir={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture(scope="module")
def one(settings, tmp_path_factory):
    """The folder of a run on one device that nothing disturbed."""
    folder = tmp_path_factory.mktemp("one")
    [(code, output, errors)] = wait_for([_start(settings, folder)])
    assert code == 0, output + errors
    return folder


def test_mirrored_equals_one_device(settings, one, tmp_path):
    arguments = ["-c", MIRRORED, *settings, "--config.distribution=mirrored"]
    process = start_process([*arguments, f"--workdir={tmp_path}"])
    [(code, output, errors)] = wait_for([process])
    assert code == 0, output + errors
    assert "2 replicas (MirroredStrategy), global batch 31, per-replica" in output
    _assert_equal(one, tmp_path)


@pytest.mark.parametrize("victim", [0, 1])
def test_lost_worker(settings, one, tmp_path, victim):
    workers = _start_workers(settings, tmp_path)
    _wait_for_state(tmp_path, 8, workers)
    workers[victim].kill()
    ends = wait_for(workers)
    code, _, errors = ends[1 - victim]
    assert code == EXIT_INTERRUPTED, errors
    assert "Another worker is gone" in errors and "same command" in errors

    ends = wait_for(_start_workers(settings, tmp_path))
    assert [code for code, *_ in ends] == [0, 0], ends
    assert "Going on from the state of step " in ends[0][1]
    assert not ends[1][1].startswith("Config")  # the chief alone speaks
    _assert_equal(one, tmp_path)


def test_one_device_goes_on_with_two_and_back(settings, one, tmp_path):
    process = _start(settings, tmp_path)
    _wait_for_state(tmp_path, 4, [process])
    process.kill()
    wait_for([process])

    workers = _start_workers(settings, tmp_path)
    _wait_for_state(tmp_path, _find_step(tmp_path) + 8, workers)
    workers[1].send_signal(signal.SIGTERM)
    (chief, said, errors), (other, _, reason) = wait_for(workers)
    assert chief == other == EXIT_INTERRUPTED, errors + reason
    assert "Interrupted by another worker" in errors and "SIGTERM" in reason
    assert "Going on from the state of step " in said

    [(code, output, errors)] = wait_for([_start(settings, tmp_path)])
    assert code == 0, output + errors
    assert "Going on from the state of step " in output
    _assert_equal(one, tmp_path, CHANGED_TOLERANCE)


def _start(settings, folder):
    return start_process(["train.py", *settings, f"--workdir={folder}"])


def _start_workers(settings, folder):
    return start_workers(["train.py", *settings, WORKERS, f"--workdir={folder}"])


def _wait_for_state(folder, step, processes):
    """Waits until a state of that step or a later one is written."""
    end = time.monotonic() + SECONDS
    while _find_step(folder) < step:
        ended = [process.poll() for process in processes]
        if ended != [None] * len(processes) or time.monotonic() > end:
            pytest.fail(f"No state of step {step}: {wait_for(processes)}")
        time.sleep(0.02)


def _find_step(folder):
    states = sorted((folder / "state").glob("step_*"))
    return int(states[-1].name.removeprefix("step_")) if states else -1


def _read_lines(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def _assert_equal(one, other, tolerance=TOLERANCE):
    """Compares metrics and weights; the optimizer is compared on a small model.

    The best preset must not tell how the run was spread.
    """
    for path in sorted((one / "best").glob("*.json")):
        if path.name != "metadata.json":  # it has the date
            assert path.read_text() == (other / "best" / path.name).read_text()
    lines = [_read_lines(folder) for folder in (one, other)]
    assert [set(line) for line in lines[0]] == [set(line) for line in lines[1]]
    for name in lines[0][0]:
        expected, found = ([line[name] for line in each] for each in lines)
        _assert_close(found, expected, tolerance, name)
    expected, found = (_read_variables(folder) for folder in (one, other))
    assert expected.keys() == found.keys()
    for name in expected:
        if name.startswith("model/"):
            _assert_close(found[name], expected[name], tolerance, name)


def _assert_close(found, expected, tolerance, name):
    np.testing.assert_allclose(found, expected, tolerance, tolerance, err_msg=name)


def _read_variables(folder):
    newest = max((folder / "state").glob("step_*"))
    with np.load(newest / "variables.npz") as file:
        return {name: file[name] for name in file}
