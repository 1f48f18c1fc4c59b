"""calibration.json: what it changes, and when it is not used."""

import json
import shutil

import numpy as np
import pytest

from tf_multimodal.inference import calibration_file, predict
from tf_multimodal.inference.calibration_file import (
    Calibration,
    hash_weights,
    read_calibration,
    write_calibration,
)
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import RunError, load_run_source, read_run


def make_calibration(run_dir, temperature=2.5):
    return Calibration(
        temperature=temperature,
        split="validation",
        rows=1,
        weights_sha256=hash_weights(run_dir / "best"),
        ece_before=0.2,
        ece_after=0.1,
        loss_before=1.5,
        loss_after=1.25,
    )


def test_is_read_as_it_was_written(run_copy):
    assert read_calibration(run_copy) is None
    calibration = make_calibration(run_copy)
    assert write_calibration(run_copy, calibration) == run_copy / "calibration.json"
    assert read_calibration(str(run_copy)) == calibration
    stored = json.loads((run_copy / "calibration.json").read_text())
    assert stored["temperature"] == 2.5 and stored["loss_after"] == 1.25


def test_probabilities_are_of_the_divided_logits(run_copy):
    plain = Predictor.from_run(run_copy)
    assert plain.temperature == 1.0
    write_calibration(run_copy, make_calibration(run_copy))
    calibrated = Predictor.from_run(run_copy)
    assert calibrated.temperature == 2.5
    source = load_run_source(read_run(run_copy))
    before, after = plain.predict_source(source), calibrated.predict_source(source)
    logits = np.log(before.probabilities.astype(np.float64))  # up to a constant a row
    expected = compute_probabilities(logits / 2.5)
    np.testing.assert_allclose(after.probabilities, expected, atol=1e-6)
    assert np.abs(after.probabilities - before.probabilities).max() > 0.05
    np.testing.assert_array_equal(after.labels, before.labels)
    batches = list(calibrated.predict_batches(source, batch_size=4))
    np.testing.assert_allclose(
        np.concatenate([batch.probabilities for batch in batches]), expected, atol=1e-6
    )
    ignored = Predictor.from_run(run_copy, calibrate=False)
    assert ignored.temperature == 1.0


def test_label_sets_stay_the_same(multi_label_run, tmp_path):
    run_dir = shutil.copytree(multi_label_run, tmp_path / "run")
    plain = Predictor.from_run(run_dir)
    write_calibration(run_dir, make_calibration(run_dir, 4.0))
    source = load_run_source(read_run(run_dir))
    before = plain.predict_source(source)
    after = Predictor.from_run(run_dir).predict_source(source)
    np.testing.assert_array_equal(after.label_sets, before.label_sets)
    assert before.label_sets.any() and not before.label_sets.all()
    p = before.probabilities.astype(np.float64)
    expected = 1 / (1 + ((1 - p) / p) ** 0.25)
    np.testing.assert_allclose(after.probabilities, expected, atol=1e-5)


def test_predict_writes_calibrated_probabilities(run_copy):
    before = predict.predict_pair(str(run_copy), None, "a red bird")
    write_calibration(run_copy, make_calibration(run_copy, 10.0))
    after = predict.predict_pair(str(run_copy), None, "a red bird")
    assert after["prediction"] == before["prediction"]
    assert 1 / 3 < after["probability"] < before["probability"] - 0.01


def test_other_weights_are_not_calibrated_and_that_is_said_once(run_copy, capsys):
    write_calibration(run_copy, make_calibration(run_copy))
    weights = run_copy / "best" / "task.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert read_calibration(run_copy) is None
    assert read_calibration(run_copy) is None
    error = capsys.readouterr().err
    assert error.count("calibration.json is not used") == 1
    assert f"{calibration_file.COMMAND} --run={run_copy}" in error


@pytest.mark.parametrize("name", ["model.weights.h5", "task.weights.h5"])
def test_hash_is_of_every_file_of_weights(run_copy, name):
    before = hash_weights(run_copy / "best")
    (run_copy / "best" / "config.json").write_text("{}")
    assert hash_weights(run_copy / "best") == before
    with open(run_copy / "best" / name, "ab") as file:
        file.write(b"\0")
    assert hash_weights(run_copy / "best") != before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"temperature": 2.0}', "\xff", "null"]
)
def test_a_damaged_file_is_an_error(run_copy, text):
    path = run_copy / "calibration.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"calibration.json cannot be read: .*remove it"):
        Predictor.from_run(run_copy)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_above_zero(run_copy, value):
    write_calibration(run_copy, make_calibration(run_copy, value))
    with pytest.raises(RunError, match="expected a temperature above 0"):
        read_calibration(run_copy)


@pytest.mark.parametrize("value", ["2.0", "hot", None, True])
def test_a_temperature_is_a_number(run_copy, value):
    write_calibration(run_copy, make_calibration(run_copy, value))
    with pytest.raises(RunError, match="calibration.json cannot be read"):
        read_calibration(run_copy)
