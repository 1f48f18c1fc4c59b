"""A whole evaluation of a small run, and its refusals."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.evaluation import evaluate, plots
from tf_multimodal.inference import prediction_file
from tf_multimodal.inference.calibration_file import (
    Calibration,
    hash_weights,
    write_calibration,
)
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run


@pytest.fixture(scope="module")
def evaluated(small_run, tmp_path_factory):
    """The run's directory after an evaluation, and the result."""
    run_dir = shutil.copytree(small_run, tmp_path_factory.mktemp("evaluated") / "run")
    return run_dir, evaluate.evaluate_run(run_dir, "test", batch_size=4)


def _read_rows(run_dir, split="test"):
    text = (run_dir / "evaluation" / f"{split}_predictions.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_json_holds_the_result(evaluated):
    run_dir, result = evaluated
    stored = json.loads((run_dir / "evaluation" / "test.json").read_text("utf-8"))
    assert stored == result
    assert result["examples"] == 7 and result["split"] == "test"
    for part in (result, result["image_only"], result["text_only"]):
        for key in ("accuracy", "top3_accuracy", "macro_f1", "ece"):
            assert 0 <= part[key] <= 1
        assert part["top3_accuracy"] == 1 and part["examples"] == 7
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert result["classes"] == ["bird", "cat", "signs_and_symbols"]
    assert result["statuses"] == {
        "ok": 5,
        "missing_input": 0,
        "unreadable_image": 1,
        "undecodable_image": 1,
        "image_too_large": 0,
        "undecodable_text": 0,
    }
    assert set(result["versions"]) == {"tensorflow", "keras", "keras-hub"}
    assert result["seed"] == 0 and result["weighted"] is False


def test_figures_are_of_calibrated_probabilities(evaluated, run_copy):
    _, plain = evaluated
    digest = hash_weights(run_copy / "best")
    write_calibration(run_copy, Calibration(5.0, "validation", 1, digest, *[0.5] * 4))
    result = evaluate.evaluate_run(run_copy, "test", batch_size=4)
    assert (plain["temperature"], result["temperature"]) == (1.0, 5.0)
    for part in ("image_only", "text_only"):
        assert result[part]["loss"] != pytest.approx(plain[part]["loss"], abs=0.01)
    assert result["loss"] != pytest.approx(plain["loss"], abs=0.01)
    for key in ("accuracy", "top3_accuracy", "macro_f1", "confusion"):
        assert result[key] == plain[key]
    most = max(row["probability"] for row in _read_rows(run_copy) if row["prediction"])
    assert 1 / 3 < most < 0.8
    report = (run_copy / "evaluation/report.md").read_text("utf-8")
    assert "the logits are divided by 5.000" in report


def test_figures_agree_with_the_predictions(evaluated):
    run_dir, result = evaluated
    rows = _read_rows(run_dir)
    assert [row["id"] for row in rows] == ["a1", "a2", "a3", "a4", "a5", "a6", "a7"]
    assert [row["label"] for row in rows[:4]] == [
        "bird",
        "cat",
        "cat",
        "signs_and_symbols",
    ]
    assert rows[2]["status"] == "undecodable_image" and rows[2]["prediction"]
    confusion = np.array(result["confusion"])
    assert confusion.sum() == 7
    assert result["accuracy"] == pytest.approx(np.trace(confusion) / 7)
    usable = [row for row in rows if row["prediction"]]
    assert len(usable) == 6  # a6 has neither image nor text
    for row in usable:
        i, j = map(result["classes"].index, (row["label"], row["prediction"]))
        confusion[i, j] -= 1
    assert confusion.sum() == 1 and confusion.min() == 0
    assert [row["support"] for row in result["per_class"]] == [2, 3, 2]
    assert result["per_class"][2]["class"] == "signs_and_symbols"


def test_masked_modalities_give_other_figures(evaluated):
    _, result = evaluated
    losses = {result[key]["loss"] for key in ("image_only", "text_only")}
    assert len(losses | {result["loss"]}) == 3


def test_report_and_pictures(evaluated):
    run_dir, _ = evaluated
    folder = run_dir / "evaluation"
    report = (folder / "report.md").read_text("utf-8")
    for name in ("curves.png", "confusion.png", "examples.png"):
        assert f"]({name})" in report
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert "| image and text |" in report and "text masked" in report
    assert "1 unreadable_image, 1 undecodable_image" in report
    assert "| signs_and_symbols |" in report
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "test.json",
        "test_predictions.jsonl",
        "report.md",
        "curves.png",
        "confusion.png",
        "examples.png",
    }


def test_other_split_of_a_single_modality(image_run):
    result = evaluate.evaluate_run(image_run, "validation")
    assert result["examples"] == 1 and result["text_only"] is None
    assert result["image_only"]["accuracy"] == result["accuracy"]
    folder = image_run / "evaluation"
    assert (folder / "validation_report.md").exists()
    assert not (folder / "report.md").exists()
    assert _read_rows(image_run, "validation")[0]["id"] == "c1"


@pytest.fixture
def pinned(run_copy):
    """A run whose files a test may change, and its rows."""
    run = read_run(run_copy)
    return run, read_manifest(run.config.data.manifest, run.config.data.columns)


def test_metrics_are_weighted(small_run):
    """Weights repeat rows; counts stay counts."""
    predictor = Predictor.from_run(small_run)
    source = load_run_source(read_run(small_run))
    repeats = np.array([3, 1, 0, 2, 1, 1, 5, 0, 0, 0, 0])
    source = dataclasses.replace(source, weights=repeats.astype(np.float32))
    index = source.get_indices("test")
    weighted = evaluate.make_result(
        predictor, source, predictor.predict_source(source, index), "test"
    )
    source = dataclasses.replace(source, weights=np.ones(11, np.float32))
    index = index.repeat(repeats[:7])
    repeated = evaluate.make_result(
        predictor, source, predictor.predict_source(source, index), "test"
    )
    assert weighted["weighted"] and not repeated["weighted"]
    for key in ("accuracy", "loss", "macro_f1", "ece", "accuracy_interval"):
        assert weighted[key] == pytest.approx(repeated[key], abs=1e-6)
    for part in ("image_only", "text_only"):
        loss = repeated[part]["loss"]
        assert weighted[part]["loss"] == pytest.approx(loss, abs=1e-6)
    assert weighted["examples"] == 7 and np.sum(weighted["confusion"]) == 7


class LazyColumn:
    """No more than `data.source.Column` promises."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, index):
        if not isinstance(index, int):
            assert isinstance(index, np.ndarray) and index.dtype.kind == "i"
        return self.values[index]


def test_columns_may_be_lazy(small_run, tmp_path):
    predictor = Predictor.from_run(small_run)
    source = load_run_source(read_run(small_run))
    names = ("images", "texts", "ids", "groups", "files")
    columns = {
        name: LazyColumn(np.array(list(getattr(source, name)), object))
        for name in names
    }
    results = []
    for rows in (source, dataclasses.replace(source, **columns)):
        found = predictor.predict_source(rows, rows.get_indices("test"), batch_size=4)
        table = prediction_file.make_rows(rows, found, predictor.classes)
        plots.plot_examples(rows, found, tmp_path / "examples.png")
        picture = (tmp_path / "examples.png").read_bytes()
        result = evaluate.make_result(predictor, rows, found, "test")
        results.append((result, list(table), picture))
    assert results[0] == results[1]


def test_unlabelled_and_empty_splits_are_refused(pinned):
    _, source = pinned
    with pytest.raises(ValueError, match="split test of pairs.csv is empty"):
        evaluate.check_rows(source, np.zeros(0, np.int64), "test")
    weightless = dataclasses.replace(source, weights=np.zeros(11, np.float32))
    with pytest.raises(ValueError, match="5 rows of the split test .* weight 0"):
        evaluate.check_rows(weightless, np.arange(5), "test")
    labels = source.labels.copy()
    labels[2] = -1
    source = dataclasses.replace(source, labels=labels)
    with pytest.raises(ValueError, match="1 rows .*id a3"):
        evaluate.check_rows(source, np.arange(5), "test")


def test_unknown_split(small_run):
    with pytest.raises(ValueError, match="'dev'"):
        evaluate.evaluate_run(small_run, "dev")


def _run(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_command(run_copy):
    module = "tf_multimodal.evaluation.evaluate"
    result = _run("-m", module, f"--run={run_copy}", "--split=validation")
    assert result.returncode == 0, result.stderr
    assert "| image and text |" in result.stdout
    assert "validation_report.md" in result.stdout
    assert (run_copy / "evaluation" / "validation.json").exists()
    refused = _run("-m", module, f"--run={run_copy.parent}")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "no experiment.json" in refused.stderr


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    module = "tf_multimodal.evaluation.evaluate"
    result = _run("-X", "importtime", "-m", module, "--help")
    assert "--split" in result.stdout
    for name in ("tensorflow", "sklearn", "matplotlib"):
        assert name not in result.stderr
