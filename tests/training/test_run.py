"""A run from config to preset: its files, going on, and ending with an error."""

import dataclasses
import json
import types

import keras
import numpy as np
import pytest

from tf_multimodal.data import pipeline
from tf_multimodal.data.run_format import RUN_FORMAT, RunFormatError
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.training import run
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interval import Interval
from tf_multimodal.training.plan import make_plan
from tf_multimodal.training.rollback import NonFiniteLoss
from tf_multimodal.training.run_directory import RunDirectory, RunDirectoryError
from tf_multimodal.training.state.snapshot import StateVariables
from tf_multimodal.training.state.store import StateStore
from tf_multimodal.training.steps import Steps


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_of_a_finished_run(trained, tiny_source):
    folder, output = trained
    lines = read_lines(folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == [6, 12, 18]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert {"accuracy", "val_accuracy", "val_macro_f1", "val_loss"} <= set(lines[0])
    rates = [line["learning_rate"] for line in lines]
    assert 2e-3 > rates[0] > rates[1] > rates[2] == pytest.approx(0)
    timing = read_lines(folder / "timing.jsonl")
    assert all(line["pairs_per_second"] > 0 for line in timing)
    assert (folder / "labels.txt").read_text().split() == list(tiny_source.classes)
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["format"] == RUN_FORMAT
    assert versions["keras"] == keras.__version__
    assert versions["data_fingerprint"] == tiny_source.compute_fingerprint()
    assert list((folder / "tensorboard").rglob("events*"))
    assert sorted(path.name for path in folder.glob("state/step_*")) == [
        "step_0000000012",
        "step_0000000018",
    ]
    for said in ("Precision:", "XLA: off", "per-replica batch 64", "image_encoder/.*"):
        assert said in output


def test_best_predicts_as_it_was_validated(trained, tiny_source):
    folder, _ = trained
    best = json.loads((folder / "finished.json").read_text())
    predictor = Predictor.from_run(folder)
    indices = tiny_source.get_indices("validation")
    found = predictor.predict_source(tiny_source, indices)
    accuracy = (found.labels == tiny_source.labels[indices]).mean()
    # Validated in the training's precision, loaded in float32.
    assert accuracy == pytest.approx(best["best_value"], abs=0.05)
    assert accuracy > 1 / 6


def test_a_finished_run_is_left_alone(trained, tiny_config, capsys):
    folder, _ = trained
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    run.run(tiny_config, folder)
    assert "finished; nothing was changed" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_another_config_is_refused(trained, tiny_config):
    folder, _ = trained
    other = tiny_config.copy_and_resolve_references()
    other.train.learning_rate = 0.5
    with pytest.raises(RunDirectoryError, match="learning_rate: 0.002 -> 0.5"):
        run.run(other, folder)


def begin(folder, config, stored):
    """A directory in which a run with a stored config has a state."""
    directory = RunDirectory(folder)
    directory.claim(config)
    (directory.state / "step_0000000001").mkdir(parents=True)
    directory.config.write_text(json.dumps(stored))
    return directory


def test_a_run_from_before_a_key_existed_goes_on(tmp_path, tiny_config):
    stored = json.loads(tiny_config.to_json_best_effort())
    del stored["data"]["max_image_px"]
    directory = begin(tmp_path, tiny_config, stored)
    directory.claim(tiny_config)
    assert json.loads(directory.config.read_text()) == stored
    other = tiny_config.copy_and_resolve_references()
    other.data.max_image_px = 1000
    with pytest.raises(RunDirectoryError) as error:
        directory.claim(other)
    lines = str(error.value).splitlines()
    assert lines[1:-1] == ["  data.max_image_px: 50000000 -> 1000"]


@pytest.mark.parametrize("damage", [{"colour": "red"}, {"train": 3}])
def test_a_stored_config_that_cannot_be_read_is_named(tmp_path, tiny_config, damage):
    stored = json.loads(tiny_config.to_json_best_effort()) | damage
    directory = begin(tmp_path, tiny_config, stored)
    with pytest.raises(RunDirectoryError, match=r"experiment\.json cannot be read"):
        directory.claim(tiny_config)


def test_a_foreign_directory_is_refused(tmp_path, tiny_config):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="not empty and holds no run"):
        run.run(tiny_config, tmp_path)


def test_changed_data_are_refused(trained, tiny_source):
    folder, _ = trained
    texts = tiny_source.texts[:]
    texts[5] = "something else"
    changed = dataclasses.replace(tiny_source, texts=texts, fingerprint="")
    with pytest.raises(ValueError, match="have changed"):
        RunDirectory(folder).write_description(changed)


def test_a_run_of_a_newer_version_is_not_gone_on_with(tiny_source, tmp_path):
    directory = RunDirectory(tmp_path)
    directory.versions.write_text(json.dumps({"format": RUN_FORMAT + 1}))
    with pytest.raises(RunFormatError, match="update the project"):
        directory.write_description(tiny_source)


def test_a_run_goes_on_from_its_state(
    trained, tiny_config, tiny_source, tmp_path, monkeypatch, capsys
):
    """Interrupted after two of three intervals, it ends as the whole run did."""
    whole, _ = trained
    on_epoch_end = Interval.on_epoch_end

    def interrupt(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Interval, "on_epoch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.run(tiny_config, tmp_path / "run", tiny_source)
    monkeypatch.setattr(Interval, "on_epoch_end", on_epoch_end)
    # A line that a later, lost state had written.
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"step": 18, "loss": 99.0}\n')
    run.run(tiny_config, tmp_path / "run", tiny_source)
    assert "Going on from the state of step 12" in capsys.readouterr().out
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [6, 12, 18]
    for line, expected in zip(lines, read_lines(whole / "metrics.jsonl"), strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=0.02)


def test_a_state_of_another_model_is_refused(trained, tiny_config, tmp_path):
    folder, _ = trained
    snapshot, _ = StateStore(
        folder / "state", RunDirectory(folder).read_run_id()
    ).read_newest()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.backbone = types.SimpleNamespace(image_branch=None, text_branch=None)
    variables = StateVariables(model, [], Devices())
    with pytest.raises(ValueError, match="state is of another model"):
        variables.restore(snapshot)


def diverge(config):
    """A config whose loss is not finite after its first steps."""
    config = config.copy_and_resolve_references()
    config.train.learning_rate = 1e38
    config.train.warmup_fraction = 0.0
    config.dtype_policy = "float32"
    return config


def test_a_loss_that_is_never_finite_ends_the_run(
    tiny_config, tiny_source, tmp_path, capsys
):
    config = diverge(tiny_config)
    config.train.max_rollbacks = 2
    with pytest.raises(NonFiniteLoss, match="gone back 2 times already") as error:
        run.run(config, tmp_path / "run", tiny_source)
    assert "config.train.max_rollbacks" in str(error.value)
    lines = read_lines(tmp_path / "run" / "rollbacks.jsonl")
    assert [line["state_step"] for line in lines] == [0, 0]
    skipped = [batch for line in lines for batch in line["skipped"]]
    assert len(skipped) == len(set(skipped)) == 4
    assert "Back to the state of step 0" in capsys.readouterr().out


def test_a_blow_up_is_left_out_and_the_run_goes_on(
    tiny_config, tiny_source, tmp_path, monkeypatch, capsys
):
    """The weights are spoilt by batch 8; it and the one before are not seen again."""
    config = tiny_config.copy_and_resolve_references()
    config.train.epochs = 2
    count, spoilt, seen = Steps.on_train_batch_end, [], []

    def spoil(self, batch, logs=None):
        before = self._progress.batch
        seen.append(before)
        if before == 8:
            spoilt.append(before)
            logs = {**logs, "loss": float("nan")}
        count(self, batch, logs)

    monkeypatch.setattr(Steps, "on_train_batch_end", spoil)
    run.run(config, tmp_path / "run", tiny_source)
    assert "Back to the state of step 6; the batches 7, 8" in capsys.readouterr().out
    assert seen == [*range(9), 6, *range(9, 14)] and spoilt == [8]
    (line,) = read_lines(tmp_path / "run" / "rollbacks.jsonl")
    assert line["skipped"] == [7, 8] and line["state_step"] == 6
    assert [x["step"] for x in read_lines(tmp_path / "run" / "metrics.jsonl")] == [
        6,
        12,
    ]
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["step"] == 12 and finished["batch"] == 14


def test_the_batches_left_out_are_not_trained_on(
    tiny_config, tiny_source, tmp_path, monkeypatch
):
    """What `skipped` leaves out of the data is what the steps count."""
    (tmp_path / "run").mkdir()
    made = pipeline.make_train_dataset
    numbers = []

    def remember(*args, **kwargs):
        numbers.append((kwargs["start_step"], set(kwargs["skipped"])))
        return made(*args, **kwargs)

    monkeypatch.setattr(pipeline, "make_train_dataset", remember)
    config = diverge(tiny_config)
    config.train.max_rollbacks = 1
    with pytest.raises(NonFiniteLoss):
        run.run(config, tmp_path / "again", tiny_source)
    (line,) = read_lines(tmp_path / "again" / "rollbacks.jsonl")
    assert numbers == [(0, set()), (0, set(line["skipped"]))]


def test_weights_that_are_not_finite_are_no_state(
    tiny_config, tiny_source, tmp_path, monkeypatch
):
    """The loss of a step is from before its update: the last one's is not seen."""
    config = tiny_config.copy_and_resolve_references()
    config.train.max_rollbacks = 0
    check = Steps._check_weights

    def spoil(self):
        if self._progress.step == 12:
            weight = self.model.trainable_weights[0]
            weight.assign(np.full(weight.shape, np.nan))
        check(self)

    monkeypatch.setattr(Steps, "_check_weights", spoil)
    with pytest.raises(NonFiniteLoss, match="weights after step 12: not finite"):
        run.run(config, tmp_path / "run", tiny_source)
    states = sorted(path.name for path in (tmp_path / "run").glob("state/step_*"))
    assert states == ["step_0000000000", "step_0000000006"]


def test_a_wrong_setting_does_not_burn_the_directory(
    tiny_config, tiny_source, tmp_path
):
    wrong = tiny_config.copy_and_resolve_references()
    wrong.train.groups.head.pattern = "heads/.*"
    with pytest.raises(ValueError, match="In no group"):
        run.run(wrong, tmp_path / "run", tiny_source)
    right = tiny_config.copy_and_resolve_references()
    right.train.epochs = 1
    run.run(right, tmp_path / "run", tiny_source)
    assert (tmp_path / "run" / "finished.json").exists()


def test_frozen_random_weights_are_refused(tiny_config, tiny_source, tmp_path):
    config = tiny_config.copy_and_resolve_references()
    config.train.groups.text_encoder.frozen = True
    with pytest.raises(ValueError, match="text_encoder starts from random weights"):
        run.run(config, tmp_path / "run", tiny_source)


def test_a_vocabulary_beside_a_preset_is_refused(tiny_config, tiny_source, tmp_path):
    config = tiny_config.copy_and_resolve_references()
    config.model.text.preset = "bert_base_en_uncased"
    with pytest.raises(ValueError, match="comes with its vocabulary"):
        run.run(config, tmp_path / "run", tiny_source)


@pytest.mark.parametrize("branch", ["image", "text"])
def test_a_preset_that_cannot_be_had_names_its_key(
    tiny_config, tiny_source, tmp_path, branch
):
    config = tiny_config.copy_and_resolve_references()
    config.model[branch].preset = str(tmp_path)  # an empty folder
    config.model.text.vocabulary = "" if branch == "text" else "learn"
    with pytest.raises(ValueError, match=f"{branch}.preset=.*cannot be loaded"):
        run.run(config, tmp_path / "run", tiny_source)


def test_mixed_float16_scales_the_loss_and_goes_on(
    tiny_config, tiny_source, tmp_path, capsys
):
    config = tiny_config.copy_and_resolve_references()
    config.dtype_policy = "mixed_float16"
    config.model.modalities = "text"
    config.train.epochs = 1
    run.run(config, tmp_path / "run", tiny_source)
    (line,) = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert np.isfinite(line["loss"]) and line["learning_rate"] == pytest.approx(0)
    (tmp_path / "run" / "finished.json").unlink()
    run.run(config, tmp_path / "run", tiny_source)
    assert "Going on from the state of step 6" in capsys.readouterr().out


def test_last_weights_are_kept_when_it_stops_early(tiny_config, tiny_source, tmp_path):
    config = tiny_config.copy_and_resolve_references()
    config.train.learning_rate = 0.0
    config.train.ema = 0.0
    config.train.patience = 1
    config.train.keep = "last"
    run.run(config, tmp_path / "run", tiny_source)
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["stopped"]
    assert (tmp_path / "run" / "best" / "config.json").exists()


def test_class_weights_reach_the_loss(tiny_config, tiny_source, tmp_path):
    """Of a class that is rare, each row counts for more."""
    labels = tiny_source.labels.copy()
    train = tiny_source.get_indices("train")
    labels[train[: len(train) // 2]] = 0
    source = dataclasses.replace(tiny_source, labels=labels)
    losses = {}
    for setting in ("none", "balanced"):
        config = tiny_config.copy_and_resolve_references()
        config.train.class_weights = setting
        config.train.epochs = 1
        config.model.modalities = "text"
        run.run(config, tmp_path / setting, source)
        losses[setting] = read_lines(tmp_path / setting / "metrics.jsonl")[0]["loss"]
    assert losses["balanced"] != pytest.approx(losses["none"], rel=1e-3)


def test_early_stopping(tiny_config, tiny_source, tmp_path, capsys):
    config = tiny_config.copy_and_resolve_references()
    config.train.learning_rate = 0.0
    config.train.ema = 0.0
    config.train.patience = 1
    run.run(config, tmp_path / "run", tiny_source)
    assert "Stopped at step 12: no progress" in capsys.readouterr().out
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["stopped"] and finished["best_step"] == 6


def test_no_validation_rows(tiny_config, tiny_source, tmp_path):
    splits = np.where(tiny_source.splits == "validation", "test", tiny_source.splits)
    source = dataclasses.replace(tiny_source, splits=splits)
    with pytest.raises(ValueError, match="no validation rows"):
        run.run(tiny_config, tmp_path / "run", source)


@pytest.mark.parametrize(
    ("num_rows", "changes", "expected"),
    [
        (320, {"epochs": 10}, (10, 100)),
        (330, {"epochs": 10}, (11, 110)),  # 11 batches hold a pass
        (320, {"epochs": 10, "state_steps": 30}, (30, 90)),
        (320, {"epochs": 2, "state_steps": 1000}, (20, 20)),  # not a longer run
        (350, {"epochs": 0}, (11, 330)),  # few rows: 30 passes
        (20_000, {"epochs": 0}, (625, 1875)),  # 60,000 pairs in all
        (1_000_000, {"epochs": 0}, (31_250, 93_750)),  # many rows: 3 passes
    ],
)
def test_plan(tiny_config, num_rows, changes, expected):
    config = tiny_config.copy_and_resolve_references().train
    config.batch_size = 32
    config.update(changes)
    plan = make_plan(config, num_rows)
    assert (plan.interval, plan.total) == expected
