"""Whole runs on the JAX backend: several devices and processes, and lost ones."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from worker_processes import ROOT, find_addresses, wait_for

pytestmark = pytest.mark.slow
SCRIPT = pathlib.Path(__file__).with_name("jax_process.py")
STEPS = 12  # of a run, in intervals of four
FLAGS = (
    "--config=configs/tiny.py",
    "--config.dtype_policy=float32",
    "--config.model.text.token_dropout=0.0",
    "--config.train.epochs=1",
    "--config.train.state_steps=4",
    "--config.train.eval_intervals=1",
)
LSTM = ("--config.model.text.encoder=lstm",)
# The keys' biases have no gradient but rounding errors, and Adam's first steps go by
# the sign: at a larger rate they differ, which changes nothing else.
BERT = ("--config.model.text.bert.dropout=0.0", "--config.train.learning_rate=1e-5")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Runs all processes of a run; process i is killed after step `die[i]`."""
    cache = tmp_path_factory.mktemp("cache")

    def start_run(
        folder, *flags, processes=1, devices=1, die=(0, 0), distribution="jax"
    ):
        [address] = find_addresses(1)
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "jax" if distribution == "jax" else "tensorflow",
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        given = [*FLAGS, f"--config.cache_dir={cache}", f"--workdir={folder}", *flags]
        given.append(f"--config.distribution={distribution}")
        started = []
        for process in range(processes):
            if processes > 1:
                environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = address
                environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
                environment["KERAS_DISTRIBUTION_PROCESS_ID"] = str(process)
            started.append(
                subprocess.Popen(
                    [sys.executable, SCRIPT, str(die[process]), *given],
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return wait_for(started)

    return start_run


@pytest.fixture(scope="module")
def run_one(start, tmp_path_factory):
    """Returns the folder of a run on one device, made once."""

    @functools.cache
    def run_one(text):
        folder = tmp_path_factory.mktemp("one") / "run"
        [(code, output, errors)] = start(folder, *text)
        assert code == 0, errors
        assert "1 replica (JAX, 1 device), global batch 32" in output
        return folder

    return run_one


def read_state(folder, step=STEPS):
    with np.load(folder / "state" / f"step_{step:010d}" / "variables.npz") as file:
        return dict(file)


def assert_logs_equal(folder, other, tolerance=1e-5):
    lines, others = (
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (folder, other)
    )
    assert [line["step"] for line in lines] == [4, 8, STEPS]
    for line, expected in zip(lines, others, strict=True):
        assert line == pytest.approx(expected, rel=tolerance, abs=tolerance)


def assert_equal(folder, other):
    assert_logs_equal(folder, other)
    arrays, others = read_state(folder), read_state(other)
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, others[name], 1e-5, 1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("processes", "devices", "shards", "text", "said"),
    [
        (2, 1, 1, LSTM, "2 replicas (JAX, 2 devices in 2 processes)"),
        (1, 4, 2, BERT, "2 replicas (JAX, 4 devices, 2 to a model)"),
    ],
)
def test_several_devices_equal_one(
    start, run_one, tmp_path, processes, devices, shards, text, said
):
    folder, flag = tmp_path / "run", f"--config.model_shards={shards}"
    ends = start(folder, *text, flag, processes=processes, devices=devices)
    assert all(code == 0 for code, *_ in ends), ends
    assert f"{said}, global batch 32, per-replica batch 16" in ends[0][1]
    assert_equal(folder, run_one(text))


@pytest.mark.parametrize("lost", [0, 1])
def test_lost_process_ends_the_other(start, run_one, tmp_path, lost):
    """A restart goes on from the last state, on TensorFlow too."""
    folder, die = tmp_path / "run", [0, 0]
    die[lost] = 7
    ends = start(folder, *LSTM, processes=2, die=die)
    assert [code for code, *_ in ends] == ([-9, 75] if lost == 0 else [75, -9]), ends
    assert "Another process of the run is gone" in ends[1 - lost][2]
    assert "Traceback" not in ends[1 - lost][2]
    if lost == 0:
        ends = start(folder, *LSTM, distribution="none")
    else:
        ends = start(folder, *LSTM, processes=2)
    assert all(code == 0 for code, *_ in ends), ends
    assert "Going on from the state of step 4" in ends[0][1]
    if lost == 0:
        assert_logs_equal(folder, run_one(LSTM), 1e-4)
    else:
        assert_equal(folder, run_one(LSTM))
