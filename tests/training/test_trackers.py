"""Trackers see what the run logs, go on with it, and never end it."""

import json
import os
import signal
import struct
import types

import pytest

from benchmarks.killed_runs.comparison import list_differences
from benchmarks.killed_runs.config import get_config
from benchmarks.killed_runs.data import write_files
from tf_multimodal.training import run, trackers
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interrupted, Interruption
from tf_multimodal.training.steps import Steps
from tf_multimodal.training.trackers import Trackers, check_installed
from tf_multimodal.training.trainer import Trainer

NAMES = ("wandb", "mlflow")
BLOCK = 32_768  # of W&B's files, which are logs as LevelDB writes them
# A run of one interval, with a service that cannot be reached.
BEGIN = """
import pathlib, sys
from tf_multimodal.config import get_default_config
from tf_multimodal.training.trackers import Trackers
path = pathlib.Path(sys.argv[1], "trackers.json")
with Trackers([sys.argv[2]], path, get_default_config(), None) as found:
    found.log(0, {"loss": 1.0})
print(sorted(found._open))
"""

DIE = """
import os, pathlib, signal, subprocess, sys, time
from tf_multimodal.config import get_default_config
from tf_multimodal.training.trackers import Trackers
path = pathlib.Path(sys.argv[1], "trackers.json")
with Trackers(["wandb"], path, get_default_config(), None) as found:
    search = ["pgrep", "-P", str(os.getpid()), "wandb-core"]
    (process,) = subprocess.check_output(search, text=True).split()
    os.kill(int(process), signal.SIGKILL)
    while found._open:
        found.log(0, {"loss": 1.0})
        time.sleep(0.2)
print("goes on without")
"""


class Service:
    """Stands for a tracker's service: notes what happens, and fails where told to."""

    def __init__(self, monkeypatch, name="mlflow"):
        self.calls, self.failing, service = [], "", self

        class Fake(trackers.TRACKERS[name]):
            def begin(self, run_id, folder, config, model):
                service.do("begin", run_id, folder.name)
                self.run_id, self.callback = run_id or "new", self

            def on_epoch_end(self, epoch, logs):
                service.do("log", epoch, logs)

            def end(self, error):
                service.do("end", type(error))

        monkeypatch.setitem(trackers.TRACKERS, name, Fake)

    def do(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name == self.failing:
            raise ConnectionError("the service is gone")


@pytest.fixture
def service(monkeypatch):
    return Service(monkeypatch)


def track(folder, names=("mlflow",), error=None):
    with Trackers(names, folder / "trackers.json", None, None) as found:
        found.log(0, {"loss": 2.0})
        if error is not None:
            raise error


def test_a_run_goes_on_with_its_own(service, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(Interrupted):
        track(tmp_path / "run", error=Interrupted(signal.SIGTERM, 4))
    track(tmp_path / "run")
    logged = ("log", 0, {"loss": 2.0})
    assert service.calls == [
        *[("begin", None, "run"), logged, ("end", Interrupted)],
        *[("begin", "new", "run"), logged, ("end", type(None))],
    ]


@pytest.mark.parametrize("failing", ["begin", "log", "end"])
def test_one_that_fails_is_left_behind(service, tmp_path, monkeypatch, capsys, failing):
    """It is said what happened; the other one goes on."""
    other = Service(monkeypatch, "wandb")
    service.failing = failing
    track(tmp_path, ("mlflow", "wandb"))
    names = ["begin", "log", "end"]
    assert [call[0] for call in other.calls] == names
    assert [call[0] for call in service.calls] == names[: names.index(failing) + 1]
    message = capsys.readouterr().err
    assert "mlflow failed: ConnectionError: the service is gone" in message
    assert "metrics.jsonl has all values" in message and message.count("\n") == 1
    stored = json.loads((tmp_path / "trackers.json").read_text())
    assert ("mlflow" in stored) == (failing != "begin") and "wandb" in stored


def test_damaged_ids_begin_anew(service, tmp_path, capsys):
    (tmp_path / "trackers.json").write_text('{"mlfl')
    track(tmp_path)
    assert service.calls[0][:2] == ("begin", None)
    assert "trackers.json cannot be read" in capsys.readouterr().err


def test_without_trackers_nothing_is_written(tmp_path):
    track(tmp_path, ())
    assert not list(tmp_path.iterdir())


def test_only_the_chief_has_them():
    class Worker(Devices):
        worker = 1

    def list_names(devices):
        config = get_config("csv")
        config.train.trackers = NAMES
        directory = types.SimpleNamespace(trackers=None)
        parts = {"_config": config, "_directory": directory, "_model": None}
        trainer = types.SimpleNamespace(_devices=devices, **parts)
        return Trainer._make_trackers(trainer)._names

    assert list_names(Devices()) == NAMES and list_names(Worker()) == ()


def test_a_missing_package_is_said_before_anything_is_written(tmp_path, monkeypatch):
    check_installed(NAMES)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    config = get_config("csv")
    config.train.trackers = ("mlflow",)
    with pytest.raises(ValueError, match=r"mlflow, which .* 'tf_multimodal\[mlflow\]'"):
        run.run(config, tmp_path / "run")
    assert not (tmp_path / "run/experiment.json").exists()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Runs over texts: undisturbed without trackers, stopped and gone on with them."""
    from tensorflow.python.framework import config as tensorflow_config

    folder = tmp_path_factory.mktemp("trackers")
    write_files(folder / "data")
    config = get_config("csv")
    config.model.modalities = "text"
    config.train.state_minutes, config.train.state_steps = 0.0, 4
    config.train.epochs = 1  # 12 steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{folder}/mlflow")
        for name, names in (("whole", ()), ("tracked", NAMES)):
            (folder / name / "any").mkdir(parents=True)
            patch.chdir(folder / name / "any")
            config.train.trackers = names
            with pytest.MonkeyPatch.context() as inner:
                if names:
                    stop_after(inner, 8)
                    with pytest.raises(Interrupted):
                        start(config)
            start(config)
    tensorflow_config.disable_op_determinism()
    return folder


def start(config):
    import keras

    keras.utils.clear_session()  # the names of layers count from there
    run.run(config, "run")


def stop_after(patch, step):
    method, calls = Steps.on_train_batch_end, []

    def count(*arguments, **keywords):
        calls.append(1)
        if len(calls) == step:
            patch.setattr(Interruption, "signal", signal.SIGTERM)
        return method(*arguments, **keywords)

    patch.setattr(Steps, "on_train_batch_end", count)


@pytest.mark.slow
def test_the_run_is_the_same_with_them(tracked):
    folders = (tracked / name / "any/run" for name in ("whole", "tracked"))
    assert list_differences(*folders) == []


def read_run(tracked):
    """The ids of the trackers' runs, and the lines of metrics.jsonl."""
    folder = tracked / "tracked/any/run"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return json.loads((folder / "trackers.json").read_text()), [
        json.loads(line) for line in lines
    ]


@pytest.mark.slow
def test_mlflow_has_the_metrics_and_the_config(tracked, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    ids, lines = read_run(tracked)
    client = MlflowClient(f"file:{tracked}/mlflow")
    experiment = client.get_experiment_by_name(trackers.PROJECT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == ids["mlflow"] and found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert found.data.params["model.text.max_tokens"] == "8"
    assert found.data.params["optimizer_clipnorm"] == "None"
    names = lines[0].keys() - {"step", "epoch"}
    assert found.data.metrics.keys() == names and "val_ece" in names
    for name in names:
        points = client.get_metric_history(ids["mlflow"], name)
        assert [(p.step, p.value) for p in sorted(points, key=lambda p: p.step)] == [
            (line["epoch"] - 1, line[name]) for line in lines
        ]


def read_records(path):
    """The records of a `.wandb` file."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = path.read_bytes(), 7, b""
    while place < len(data):
        if (left := BLOCK - place % BLOCK) < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


@pytest.mark.slow
def test_wandb_has_the_metrics_and_the_config(tracked):
    ids, lines = read_run(tracked)
    pieces = sorted(tracked.glob("tracked/any/run/wandb/offline-run-*/*.wandb"))
    assert len(pieces) == 2  # the stop lies between them
    points, config = [], {}
    for path in pieces:
        for record in read_records(path):
            if record.HasField("run"):
                assert record.run.run_id == ids["wandb"]
                assert record.run.display_name == "run"
                update = record.run.config.update
                config |= {u.key: json.loads(u.value_json) for u in update}
            if record.HasField("history"):
                items = record.history.item
                values = {"/".join(i.nested_key): i.value_json for i in items}
                points.append({k: json.loads(v) for k, v in values.items()})
    assert config["model"]["text"]["max_tokens"] == 8
    expected = [
        {f"epoch/{k}": v for k, v in line.items() if k not in ("step", "epoch")}
        | {"epoch/epoch": line["epoch"] - 1}
        for line in lines
    ]
    found = [{k: p[k] for k in p if k.startswith("epoch/")} for p in points]
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_cannot_be_reached(run_command, tmp_path, name):
    nowhere = "http://127.0.0.1:9"
    settings = {
        "WANDB_BASE_URL": nowhere,
        "WANDB_API_KEY": "a" * 40,
        "WANDB_INIT_TIMEOUT": "2",
        "MLFLOW_TRACKING_URI": nowhere,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(key, value)
        patch.delenv("WANDB_MODE", raising=False)
        result = run_command("-c", BEGIN, tmp_path, name)
    if name == "wandb":
        assert "Warning: wandb cannot be reached" in result.stderr
        assert "kept offline" in result.stderr and "['wandb']" in result.stdout
        (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
        assert os.path.getsize(path) > 7
    else:
        assert "Warning: mlflow failed: MlflowException" in result.stderr
        assert "[]" in result.stdout


@pytest.mark.slow
def test_a_process_of_wandb_that_dies(run_command, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of a test before
    result = run_command("-c", DIE, tmp_path)
    assert "Warning: wandb failed: ConnectionResetError" in result.stderr
    assert "goes on without" in result.stdout


@pytest.mark.slow
def test_a_store_that_is_lost_on_the_way(tmp_path, monkeypatch, capfd):
    """What MLflow's callback keeps to itself MLflow says; the run still ends well."""
    import shutil

    import keras
    import mlflow

    from tf_multimodal.config import get_default_config

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file:{tmp_path}/store")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    arguments = (tmp_path / "trackers.json", get_default_config(), model)
    try:
        with Trackers(("mlflow",), *arguments) as found:
            assert list(found._open) == ["mlflow"]
            shutil.rmtree(tmp_path / "store")
            (tmp_path / "store").write_text("not a folder")
            found.log(0, {"loss": 1.0})
    finally:
        mlflow.set_tracking_uri(None)
    assert "mlflow failed" in capfd.readouterr().err
