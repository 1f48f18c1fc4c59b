"""The scripts of docs/scaling, run with stand-ins for python and the cluster."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from tf_multimodal.training.interruption import EXIT_INTERRUPTED

pytestmark = pytest.mark.slow  # each test starts processes
RECIPES = pathlib.Path(__file__).parents[1] / "docs" / "scaling"
# A stand-in writes what it was started with: one JSON line for each start.
PYTHON = """#!/usr/bin/env bash
{real} - "$@" <<'END' >> "$STARTED"
import json, os, sys
names = ("TF_CONFIG", "KERAS_DISTRIBUTION_JOB_ADDRESSES",
         "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID")
found = {{name: os.environ[name] for name in names if name in os.environ}}
print(json.dumps({{"arguments": sys.argv[1:], "pid": os.getppid(), **found}}))
END
exit "$EXIT_CODE"
"""
SCONTROL = """#!/usr/bin/env bash
case $1 in
  show) printf 'node1\\nnode2\\n' ;;
  requeue) echo "requeue $2" >> "$STARTED.requeued" ;;
esac
"""
SRUN = """#!/usr/bin/env bash
code=0
while [[ $1 == --* ]]; do shift; done
for rank in 0 1; do SLURM_PROCID=$rank "$@" || code=$?; done
exit $code
"""


@pytest.fixture
def run_script(tmp_path):
    """Returns a function that runs a recipe with stand-ins for the cluster."""
    folder = tmp_path / "bin"
    folder.mkdir()
    real = json.dumps(os.path.realpath(sys.executable))
    programs = {"python": PYTHON.format(real=real), "scontrol": SCONTROL, "srun": SRUN}
    for name, text in programs.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    log = tmp_path / "started"

    def run(name, arguments=(), code=0, **variables):
        log.write_text("")
        process = subprocess.Popen(
            ["bash", str(RECIPES / name), *arguments],
            cwd=RECIPES.parents[1],
            env={
                "PATH": f"{folder}:{os.environ['PATH']}",
                "STARTED": str(log),
                "EXIT_CODE": str(code),
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, errors = process.communicate(timeout=60)
        started = [json.loads(line) for line in log.read_text().splitlines()]
        return process, started, errors

    run.requeued = tmp_path / "started.requeued"
    return run


@pytest.mark.parametrize(
    "rank_variable", ["RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX"]
)
def test_launch_makes_tf_config(run_script, rank_variable):
    arguments = ["--config=a b.py", "--workdir=/shared/run"]
    variables = {"HOSTS": "one two  three", "PORT": "1234", rank_variable: "2"}
    process, (started,), _ = run_script("launch.sh", arguments, **variables)
    assert process.returncode == 0
    assert json.loads(started["TF_CONFIG"]) == {
        "cluster": {"worker": ["one:1234", "two:1234", "three:1234"]},
        "task": {"type": "worker", "index": 2},
    }
    assert started["arguments"] == [
        "train.py",
        *arguments,
        "--config.distribution=multiworker",
    ]
    assert started["pid"] == process.pid, "a signal would not reach train.py"
    assert "KERAS_DISTRIBUTION_PROCESS_ID" not in started


def test_launch_makes_the_variables_of_keras_on_jax(run_script):
    _, (started,), _ = run_script("launch.sh", BACKEND="jax", HOSTS="one two", RANK="1")
    assert started["KERAS_DISTRIBUTION_JOB_ADDRESSES"] == "one:2222,two:2222"
    assert started["KERAS_DISTRIBUTION_NUM_PROCESSES"] == "2"
    assert started["KERAS_DISTRIBUTION_PROCESS_ID"] == "1"
    assert started["arguments"] == ["train.py", "--config.distribution=jax"]
    assert "TF_CONFIG" not in started


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "HOSTS"),
        ({"HOSTS": "one"}, "RANK"),
        ({"HOSTS": "one", "RANK": "0", "BACKEND": "torch"}, "tensorflow or jax"),
    ],
)
def test_launch_says_what_is_missing(run_script, variables, message):
    process, started, errors = run_script("launch.sh", **variables)
    assert process.returncode not in (0, EXIT_INTERRUPTED)
    assert message in errors
    assert not started


def run_slurm(run_script, code, **variables):
    return run_script(
        "slurm.sh",
        ["--config=configs/coyo.py"],
        code,
        SLURM_JOB_ID="41234",
        SLURM_JOB_NODELIST="node[1-2]",
        **variables,
    )


def test_slurm_starts_a_worker_on_each_machine(run_script):
    process, started, _ = run_slurm(run_script, 0)
    assert process.returncode == 0
    configs = [json.loads(worker["TF_CONFIG"]) for worker in started]
    assert [config["task"]["index"] for config in configs] == [0, 1]
    for config, worker in zip(configs, started, strict=True):
        assert config["cluster"] == {"worker": ["node1:21234", "node2:21234"]}
        assert worker["arguments"][1] == "--config=configs/coyo.py"
    assert not run_script.requeued.exists()


@pytest.mark.parametrize(
    ("code", "variables", "is_requeued"),
    [
        (EXIT_INTERRUPTED, {}, True),
        (137, {"SLURM_RESTART_COUNT": "99"}, True),
        (EXIT_INTERRUPTED, {"SLURM_RESTART_COUNT": "100"}, False),
        (EXIT_INTERRUPTED, {"SLURM_RESTART_COUNT": "2", "MAX_RESTARTS": "2"}, False),
        (1, {}, False),
    ],
)
def test_slurm_requeues_what_a_restart_mends(run_script, code, variables, is_requeued):
    process, _, _ = run_slurm(run_script, code, **variables)
    assert process.returncode == code
    assert run_script.requeued.exists() == is_requeued
    if is_requeued:
        assert run_script.requeued.read_text() == "requeue 41234\n"


def test_slurm_asks_for_what_a_run_needs():
    text = (RECIPES / "slurm.sh").read_text(encoding="utf-8")
    lines = text.splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert all(line.startswith("#") for line in lines[:last]), "sbatch reads no further"
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert len(options) == text.count("\n#SBATCH")
    assert options["ntasks-per-node"] == "1"
    assert re.fullmatch(r"TERM@\d+", options["signal"]), "the shell alone would get it"
    assert "requeue" in options


def test_jobset_starts_workers_that_find_each_other(run_script):
    recipe = yaml.safe_load((RECIPES / "jobset.yaml").read_text(encoding="utf-8"))
    name, spec = recipe["metadata"]["name"], recipe["spec"]
    (replicated,) = spec["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    assert spec["network"]["enableDNSHostnames"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "docs/scaling/launch.sh"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    _, (started,), _ = run_script(
        "launch.sh", container["args"], **variables, JOB_COMPLETION_INDEX="3"
    )
    config = json.loads(started["TF_CONFIG"])
    port = container["ports"][0]["containerPort"]
    assert config["cluster"]["worker"] == [
        f"{name}-{replicated['name']}-0-{i}.{name}:{port}"
        for i in range(job["completions"])
    ]
    assert config["task"]["index"] == 3
