"""Starts processes that train together on this machine."""

import functools
import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 240  # at most, for a process to end


def start_process(arguments, cluster=(), index=0, **options):
    """Starts Python, as worker `index` of the cluster if there is one."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    environment.pop("TF_CONFIG", None)
    if cluster:
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": list(cluster)}, "task": task}
        environment["TF_CONFIG"] = json.dumps(config)
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def start_workers(arguments, count=2, **options):
    """Starts `count` workers with the same command."""
    cluster = find_addresses(count)
    return [start_process(arguments, cluster, i, **options) for i in range(count)]


def wait_for(processes):
    """Returns (exit code, output, errors) of each; none outlives this call."""
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *o) for p, o in zip(processes, outputs, strict=True)]


def find_addresses(count):
    """Returns addresses of free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@functools.cache
def train_replicas(distribution, batch_size, left_out=""):
    """Returns what each process of `replicas_process.py` has printed."""
    script = pathlib.Path(__file__).with_name("replicas_process.py")
    arguments = [script, distribution, batch_size, left_out]
    if distribution == "multiworker":
        processes = start_workers(arguments)
    else:
        processes = [start_process(arguments)]
    ends = wait_for(processes)
    assert all(code == 0 for code, *_ in ends), ends
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ends]
