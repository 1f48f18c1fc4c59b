"""From a run directory to a checked version, by function and by command."""

import json
import pathlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.inference.calibration_file import (
    Calibration,
    hash_weights,
    write_calibration,
)
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.serving import release as release_lib
from tf_multimodal.serving.agreement import Verification
from tf_multimodal.serving.pairs import Pair
from tf_multimodal.serving.verification import VerificationError, make_expected
from tf_multimodal.serving.versions import EXTRA_DIR

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "export"]


def run_export(*arguments: str, program=COMMAND) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def verified(monkeypatch):
    """Stands in for the fresh process; holds what it was asked."""
    asked = []

    def verify(folder, predictor, pairs, precision):
        asked.append((folder, pairs, precision))
        return Verification(
            rows=12,
            real_rows=len(pairs),
            rows_by_split=dict(Counter(pair.split for pair in pairs)),
            max_difference=2.5e-7,
            labels_agree=12,
            label_agreement=1.0,
            statuses_agree=12,
            precision=precision,
        )

    monkeypatch.setattr(release_lib, "verify_saved_model", verify)
    return asked


def test_release_asks_about_the_runs_own_test_split(run_copy, tmp_path, verified):
    # The run was trained on a row that the manifest of today has in its test split.
    splits = run_copy / "splits.csv"
    splits.write_text(splits.read_text().replace("a1,test", "a1,train"))
    release = release_lib.release_run(
        run_copy, tmp_path / "out", precision="bfloat16", intended_use="Sorting birds."
    )
    assert release.folder == tmp_path / "out/1"
    ((folder, pairs, precision),) = verified
    assert precision == "bfloat16"
    ids = [pair.name.split("id ")[1].split(",")[0] for pair in pairs]
    # a6 has neither image nor text.
    assert ids == ["a2", "a3", "a4", "a5", "a7", "c1", "a1", "b1", "b2", "b3"]
    assert [p.split for p in pairs] == ["test"] * 5 + ["validation"] + ["train"] * 4
    extra = release.folder / EXTRA_DIR
    record = json.loads((extra / "verify.json").read_text())
    assert record["rows"] == 12 and record["max_difference"] == 2.5e-7
    card = json.loads((extra / "model_card.json").read_text())
    assert card["intended_use"] == "Sorting birds." and card["precision"] == "bfloat16"
    assert (extra / "tf_serving_warmup_requests").stat().st_size
    assert json.loads((extra / "server_ops.json").read_text())["ops"]


def test_summary_says_what_was_compared_and_what_to_type(
    run_copy, tmp_path, verified, monkeypatch
):
    folder = tmp_path / "runs/my shop/export"
    text = release_lib.release_run(run_copy, folder).summary
    assert f"Exported {folder / '1'}\n" in text
    assert "10 pairs of the data set (6 test, 1 validation, 3 train)" in text
    assert "2.5e-07" in text
    assert f"-v '{folder}:/models/my_shop:ro'" in text
    assert "http://localhost:8501/v1/models/my_shop:predict" in text
    assert "TensorFlow Serving, 2.20.0 or newer" in text
    assert "folded into convolutions: 3\n" in text


def test_a_model_that_differs_is_not_released(small_run, tmp_path, monkeypatch):
    def verify(folder, predictor, pairs, precision):
        raise VerificationError("differs")

    monkeypatch.setattr(release_lib, "verify_saved_model", verify)
    with pytest.raises(VerificationError, match="differs"):
        release_lib.release_run(small_run, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def calibrated_run(run_copy):
    """A run whose logits are divided by 3."""
    digest = hash_weights(run_copy / "best")
    calibration = Calibration(3.0, "validation", 1, digest, *[0.5] * 4)
    write_calibration(run_copy, calibration)
    return run_copy


@pytest.mark.parametrize("model_format", ["keras_preset", "onnx", "tflite"])
def test_other_formats_carry_the_temperature(calibrated_run, model_format):
    release = release_lib.release_run(calibrated_run, model_format=model_format)
    record = json.loads((release.folder / "comparison.json").read_text())
    assert record["max_difference"] <= 1e-5 and record["label_agreement"] == 1
    assert Predictor.from_run(calibrated_run).temperature == 3.0


def test_every_signature_carries_the_temperature(calibrated_run, verified, tmp_path):
    folder = release_lib.release_run(calibrated_run, tmp_path).folder
    predictor = Predictor.from_run(calibrated_run)
    plain = Predictor.from_run(calibrated_run, calibrate=False)
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 3), np.uint8)
    image = tf.io.encode_png(pixels).numpy()
    pairs = [Pair(image, "a red bird", "a")]
    expected, before = (make_expected(p, pairs) for p in (predictor, plain))
    signatures = tf.saved_model.load(str(folder)).signatures
    raw = {"image_bytes": tf.constant([image]), "text": tf.constant(["a red bird"])}
    prepared = signatures["preprocess"](**raw)
    del prepared["status"]
    asked = {
        "serving_default": raw,
        "tensors": prepared,
        "text_only": {"text": raw["text"]},
        "image_only": {"image_bytes": raw["image_bytes"]},
    }
    assert set(asked) == set(expected)
    for name, inputs in asked.items():
        received = signatures[name](**inputs)["probabilities"].numpy()
        np.testing.assert_allclose(received, expected[name].probabilities, atol=1e-5)
        assert np.abs(received - before[name].probabilities).max() > 0.01
    card = json.loads((folder / EXTRA_DIR / "model_card.json").read_text())
    assert card["temperature"] == 3.0


@pytest.mark.parametrize("model_format", ["keras_preset", "onnx", "tflite"])
def test_other_formats_are_compared_with_the_run(run_copy, model_format):
    release = release_lib.release_run(run_copy, model_format=model_format)
    assert release.folder == run_copy / f"export_{model_format}" / "1"
    record = json.loads((release.folder / "comparison.json").read_text())
    assert record["rows"] == 7 and record["split"] == "test"
    assert record["max_difference"] <= 1e-5 and record["label_agreement"] == 1
    assert f"accuracy            {record['accuracy_format']:.1%}" in release.summary
    labels = (release.folder / "labels.txt").read_text().splitlines()
    assert labels == ["bird", "cat", "signs_and_symbols"]
    pieces = (release.folder / "vocabulary.txt").read_text().splitlines()
    assert pieces[:2] == ["[PAD]", "[UNK]"]


def test_an_exported_preset_loads_and_predicts(run_copy, predictor):
    folder = release_lib.release_run(run_copy, model_format="keras_preset").folder
    model = ImageTextClassifier.from_preset(str(folder))
    images = np.zeros((1, 16, 16, 3), np.uint8)
    batch = {"images": images, "text": ["a red bird"]}
    expected = predictor.model.predict(batch)
    np.testing.assert_allclose(model.predict(batch), expected, rtol=0, atol=1e-6)


def test_a_format_that_does_not_answer_as_the_run_is_refused(run_copy, monkeypatch):
    load_rightly = release_lib.onnx_model.load_onnx

    def load(path):
        run = load_rightly(path)
        return lambda x: run(x) * 0.999  # the same labels

    monkeypatch.setattr(release_lib.onnx_model, "load_onnx", load)
    with pytest.raises(VerificationError, match="a probability differs by"):
        release_lib.release_run(run_copy, model_format="onnx")
    assert list((run_copy / "export_onnx").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_format": "pickle"}, "--format must be one of saved_model"),
        ({"precision": "int4"}, "--precision must be one of float32, bfloat16"),
        ({"model_format": "onnx", "precision": "bfloat16"}, "in float32 only"),
    ],
)
def test_wrong_choices_are_named(small_run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        release_lib.release_run(small_run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_output_is_named(small_run, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="out is a file"):
        release_lib.release_run(small_run, tmp_path / "out")


@pytest.mark.slow
def test_command_exports_and_checks(small_run, tmp_path):
    done = run_export(f"--run={small_run}", f"--output={tmp_path / 'model'}")
    assert done.returncode == 0, done.stderr
    assert "docker run" in done.stdout and "session loader" in done.stdout
    extra = tmp_path / "model/1" / EXTRA_DIR
    record = json.loads((extra / "verify.json").read_text())
    assert record["real_rows"] == 10 and record["max_difference"] <= 1e-5
    assert record["labels_agree"] == record["rows"] == record["statuses_agree"]


@pytest.mark.slow
def test_command_exports_other_precisions_and_formats(small_run, tmp_path):
    output = f"--output={tmp_path}"
    done = run_export(f"--run={small_run}", output, "--precision=bfloat16")
    assert done.returncode == 0, done.stderr
    assert "precision           bfloat16" in done.stdout
    done = run_export(f"--run={small_run}", output, "--format=onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "2/model.onnx").is_file()


@pytest.mark.slow
def test_command_fails_without_a_run(tmp_path):
    done = run_export(f"--run={tmp_path}", f"--output={tmp_path / 'model'}")
    assert done.returncode == 1
    assert "experiment.json" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()
