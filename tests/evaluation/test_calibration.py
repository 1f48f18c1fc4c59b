"""Temperature scaling: the fit, the bins, and what a run's figures become."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tf_multimodal.evaluation import calibration, label_set_metrics, metrics
from tf_multimodal.evaluation.report.collect import collect
from tf_multimodal.inference.calibration_file import read_calibration
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run

ROWS = 20_000


def draw(multi_label=False, rows=ROWS):
    """Returns logits and labels drawn from the very probabilities of the logits."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (rows, 5))
    if multi_label:
        probabilities = compute_probabilities(logits, "sigmoid")
        truth = generator.random(logits.shape) < probabilities
        return logits, truth.astype(np.float32)
    return logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_finds_the_temperature_that_made_the_logits_too_sure(multi_label, temperature):
    logits, truth = draw(multi_label)
    found = calibration.fit_temperature(
        logits * temperature, truth, np.ones(ROWS), multi_label
    )
    assert found == pytest.approx(temperature, rel=0.04)


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_temperature_has_a_smaller_loss(multi_label):
    logits, truth = draw(multi_label, rows=300)
    logits *= 2
    weights = np.random.default_rng(1).random(300)
    found = calibration.fit_temperature(logits, truth, weights, multi_label)
    module = label_set_metrics if multi_label else metrics
    activation = "sigmoid" if multi_label else "softmax"

    def compute_loss(temperature):
        probabilities = compute_probabilities(logits, activation, temperature)
        return module.compute_metrics(truth, probabilities, weights)["loss"]

    others = [compute_loss(found * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2)]
    assert compute_loss(found) < min(others)


def test_weights_count():
    logits, truth = draw()
    too_sure = np.where(np.arange(ROWS)[:, None] % 2, 3 * logits, logits)
    weights = np.arange(ROWS) % 2.0
    assert calibration.fit_temperature(
        too_sure, truth, weights, False
    ) == pytest.approx(3, rel=0.05)
    assert calibration.fit_temperature(
        too_sure, truth, 1 - weights, False
    ) == pytest.approx(1, rel=0.05)


def test_rows_that_are_all_right_leave_the_temperature_at_one():
    logits, labels, ones = 0.2 * np.eye(3), np.arange(3), np.ones(3)
    assert calibration.fit_temperature(logits, labels, ones, False) == 1
    sets = np.eye(3, dtype=np.float32)
    assert calibration.fit_temperature(8 * sets - 4, sets, ones, True) == 1
    # A wrong row of weight 0 is not there.
    labels = np.array([0, 1, 0])
    weights = np.array([1, 1, 0])
    assert calibration.fit_temperature(logits, labels, weights, False) == 1
    assert calibration.fit_temperature(logits, labels, ones, False) != 1


def test_a_model_that_is_always_wrong_is_made_unsure():
    found = calibration.fit_temperature(
        4 * np.eye(3), np.array([1, 2, 0]), np.ones(3), False
    )
    assert found == pytest.approx(calibration.BOUNDS[1], rel=1e-4)


def test_large_logits_do_not_overflow():
    logits, truth = draw(rows=1000)
    found = calibration.fit_temperature(1e4 * logits, truth, np.ones(1000), False)
    assert found == pytest.approx(calibration.BOUNDS[1], rel=1e-4)
    found = calibration.fit_temperature(18 * logits, truth, np.ones(1000), False)
    assert found == pytest.approx(18, rel=0.1)


def test_bins_add_up_to_the_calibration_error():
    logits, truth = draw(rows=500)
    weights = np.random.default_rng(2).random(500)
    weights[::7] = 0
    probabilities = compute_probabilities(3 * logits)
    found = calibration.measure(probabilities, truth, weights)
    expected = metrics.compute_calibration_error(truth, probabilities, weights)
    assert found["ece"] == pytest.approx(expected, abs=1e-9) and expected > 0.05
    assert len(found["bins"]) == 15
    assert sum(b["rows"] for b in found["bins"]) == np.count_nonzero(weights)
    assert sum(b["share"] for b in found["bins"]) == pytest.approx(1)
    assert found["bins"][0] == {
        "low": 0.0,
        "high": 1 / 15,
        "rows": 0,
        "share": 0.0,
        "confidence": None,
        "accuracy": None,
    }
    for b in found["bins"]:
        assert b["confidence"] is None or b["low"] <= b["confidence"] <= b["high"]
    json.dumps(found, allow_nan=False)


def test_bins_of_label_sets_hold_every_class_of_a_row():
    truth = np.array([[1, 0], [1, 1], [0, 0]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.0]])
    found = calibration.measure(probabilities, truth, np.array([1.0, 1.0, 2.0]))
    full = {i: b for i, b in enumerate(found["bins"]) if b["rows"]}
    assert {i: b["rows"] for i, b in full.items()} == {0: 1, 1: 2, 13: 3}
    assert full[13]["confidence"] == pytest.approx(0.9)
    assert full[13]["accuracy"] == pytest.approx(0.5)  # the third row weighs 2
    assert full[1]["accuracy"] == pytest.approx(0.5)
    assert found["ece"] == pytest.approx((4 * 0.4 + 2 * 0.4) / 8)


def test_a_run_is_calibrated_on_its_validation_split(run_copy, capsys):
    # Of four rows the model gets three right, and is too sure of the fourth.
    splits = run_copy / "splits.csv"
    splits.write_text(splits.read_text().replace(",train,", ",validation,"))
    source = load_run_source(read_run(run_copy))
    predictor = Predictor.from_run(run_copy)
    index = source.get_indices("validation")
    found = predictor.predict_source(source, index)
    before, labels = found.probabilities, source.labels.copy()
    labels[index[:3]] = found.labels[:3]
    labels[index[3]] = before[3].argmin()
    source = dataclasses.replace(source, labels=labels)
    fitted = calibration.calibrate_run(predictor, source)
    assert fitted.split == "validation" and fitted.rows == 4 == len(index)
    assert fitted.temperature > 1.5 and predictor.temperature == fitted.temperature
    assert read_calibration(run_copy) == fitted
    assert Predictor.from_run(run_copy).temperature == fitted.temperature
    assert fitted.loss_after < fitted.loss_before
    truth = source.get_truth(index)
    assert fitted.ece_before == pytest.approx(
        metrics.compute_calibration_error(truth, before), abs=1e-6
    )
    after = predictor.predict_source(source, index).probabilities
    found = metrics.compute_metrics(truth, after)
    assert fitted.ece_after == pytest.approx(found["ece"], abs=1e-6)
    assert fitted.loss_after == pytest.approx(found["loss"], abs=1e-6)
    said = capsys.readouterr().out
    assert f"Temperature {fitted.temperature:.3f}, fitted on 4 validation rows" in said
    # A calibrated predictor is fitted from its own logits again.
    assert calibration.calibrate_run(predictor, source) == fitted


@pytest.mark.parametrize("what", ["no rows", "no weights", "no labels"])
def test_without_validation_rows_there_is_no_temperature(run_copy, capsys, what):
    source = load_run_source(read_run(run_copy))
    index = source.get_indices("validation")
    if what == "no rows":
        splits = np.where(source.splits == "validation", "train", source.splits)
        source = dataclasses.replace(source, splits=splits)
    elif what == "no weights":
        weights = source.weights.copy()
        weights[index] = 0
        source = dataclasses.replace(source, weights=weights)
    else:
        labels = source.labels.copy()
        labels[index] = -1
        source = dataclasses.replace(source, labels=labels)
    predictor = Predictor.from_run(run_copy)
    assert calibration.calibrate_run(predictor, source) is None
    assert not (run_copy / "calibration.json").exists()
    assert predictor.temperature == 1
    assert "The probabilities are not calibrated: the validation" in (
        capsys.readouterr().out
    )


def test_section_of_the_report(run_copy):
    source = load_run_source(read_run(run_copy))
    predictor = Predictor.from_run(run_copy)
    predictor.temperature = 2.0
    collected = collect(predictor, source, "test")
    fitted = SimpleNamespace(
        split="validation",
        rows=9,
        ece_before=0.3,
        ece_after=0.2,
        loss_before=2.0,
        loss_after=1.0,
    )
    section = calibration.make_calibration(collected, fitted)
    assert section["temperature"] == 2.0 and section["rows"] == 7
    assert section["fitted"]["rows"] == 9 and section["multi_label"] is False
    plain = Predictor.from_run(run_copy).predict_source(source, collected.index)
    for key, probabilities in (
        ("before", plain.probabilities),
        ("after", collected.probabilities()),
    ):
        found = metrics.compute_metrics(collected.truth, probabilities)
        assert section[key]["ece"] == pytest.approx(found["ece"], abs=1e-6)
        assert section[key]["loss"] == pytest.approx(found["loss"], abs=1e-5)
    assert section["before"]["loss"] != pytest.approx(section["after"]["loss"])
    json.dumps(section, allow_nan=False)
    assert calibration.make_calibration(collected, None)["fitted"] is None


def test_label_sets_are_calibrated_too(multi_label_run, tmp_path):
    run_dir = shutil.copytree(multi_label_run, tmp_path / "run")
    splits = run_dir / "splits.csv"
    splits.write_text(splits.read_text().replace(",train,", ",validation,"))
    source = load_run_source(read_run(run_dir))
    predictor = Predictor.from_run(run_dir)
    fitted = calibration.calibrate_run(predictor, source)
    assert fitted.rows == 4 and fitted.loss_after <= fitted.loss_before
    section = calibration.make_calibration(collect(predictor, source, "test"), fitted)
    assert section["multi_label"] is True
    assert sum(b["rows"] for b in section["after"]["bins"]) == 7 * 3
