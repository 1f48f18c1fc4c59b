"""A run directory has one process at a time."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tf_multimodal.training.run_lock import HOLDER, RunLock, RunLockError

HOLD = (
    "import pathlib, sys\n"
    "from tf_multimodal.training.run_lock import RunLock\n"
    "with RunLock(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_process_is_refused_and_told_who_holds_it(holder, tmp_path):
    with pytest.raises(RunLockError) as error:
        RunLock(tmp_path).__enter__()
    assert f"process {holder.pid} on {socket.gethostname()}" in str(error.value)
    assert "another --workdir" in str(error.value)
    (tmp_path / HOLDER).write_text("{")
    with pytest.raises(RunLockError, match="has not said which"):
        RunLock(tmp_path).__enter__()


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()


def test_the_lock_is_free_after_the_block(tmp_path):
    folder = tmp_path / "new"
    for _ in range(2):
        with RunLock(folder):
            with pytest.raises(RunLockError, match=f"process {os.getpid()}"):
                RunLock(folder).__enter__()
