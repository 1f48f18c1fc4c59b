"""The check of a SavedModel in a process of its own, its record and its command."""

import json
import shutil

import pytest

from tf_multimodal.serving import verification
from tf_multimodal.serving.latency import describe_latency
from tf_multimodal.serving.pairs import Pair
from tf_multimodal.serving.verification import (
    Verification,
    VerificationError,
    describe_verification,
    read_precision,
    verify_saved_model,
    write_record,
)

LATENCY = {
    part: {size: {"p50": 1.25, "p95": 20.5} for size in ("1", "8", "32")}
    for part in ("whole", "text", "model")
}
FOUND = Verification(
    rows=12,
    real_rows=6,
    max_difference=2.5e-7,
    labels_agree=12,
    label_agreement=1.0,
    statuses_agree=12,
    latency_ms=LATENCY,
)


@pytest.fixture
def model_copy(servable, tmp_path):
    """A copy of the exported small run that a test may change."""
    return shutil.copytree(servable / "1", tmp_path / "model")


def test_record_holds_what_was_compared(tmp_path):
    write_record(tmp_path, "test", FOUND)
    record = json.loads((tmp_path / "assets.extra/verify.json").read_text())
    assert record["rows"] == 12 and record["real_rows"] == 6
    assert record["max_difference"] == 2.5e-7 and record["tolerance"] == 1e-5
    assert record["label_agreement"] == 1.0 and record["split"] == "test"
    assert record["precision"] == "float32" and record["latency_ms"] == LATENCY
    assert record["checked_with"] == ["session_loader", "saved_model_cli"]
    assert set(record["versions"]) == set(verification.RECORD_PACKAGES)


def test_description_says_what_was_compared():
    text = describe_verification("validation", FOUND)
    assert "12: 6 pairs of the validation split, 6 made up" in text
    assert "2.5e-07 of a probability; 1e-05 is allowed" in text
    assert "12 of 12, 100.0% of the real rows" in text
    assert "whole" in text


def test_latency_is_a_table_of_the_parts_there_are():
    lines = describe_latency(LATENCY).splitlines()
    assert lines[1].split() == ["batch", "1", "batch", "8", "batch", "32"]
    assert [line.split()[0] for line in lines[2:]] == ["whole", "text", "model"]
    assert lines[2].split()[1:4] == ["1.25", "/", "20.50"]


def test_precision_is_read_from_the_models_own_files(tmp_path):
    extra = tmp_path / "assets.extra"
    extra.mkdir()
    assert read_precision(tmp_path) == "float32"
    (extra / "verify.json").write_text('{"precision": "bfloat16"}')
    assert read_precision(tmp_path) == "bfloat16"
    (extra / "model_card.json").write_text('{"precision": "float32"}')
    assert read_precision(tmp_path) == "float32"


@pytest.mark.slow
def test_command_verifies_and_records(small_run, servable, run_command, tmp_path):
    model_dir = shutil.copytree(servable, tmp_path / "export")
    arguments = ("-m", "export.verify", f"--model={model_dir}", f"--run={small_run}")
    done = run_command(*arguments)
    assert "labels agree        15 of 15" in done.stdout
    record = json.loads((model_dir / "1/assets.extra/verify.json").read_text())
    assert record["real_rows"] == 6 and record["rows"] == 15
    assert record["max_difference"] <= record["tolerance"]
    assert record["statuses_agree"] == 15
    assert list(record["latency_ms"]) == ["whole", "decode", "text", "model"]
    for cells in record["latency_ms"].values():
        assert list(cells) == ["1", "8", "32"]
        assert all(0 < cell["p50"] <= cell["p95"] for cell in cells.values())
    for line in record["latency_ms"]:
        assert f"\n  {line}" in done.stdout


@pytest.mark.slow
def test_command_ends_with_a_line_where_there_is_no_model(run_command, tmp_path):
    arguments = ("-m", "export.verify", f"--model={tmp_path}", "--run=nowhere")
    done = run_command(*arguments, expect=1)
    assert "no SavedModel" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_other_weights_are_noticed(predictor, model_copy):
    pairs = [Pair(b"", "two cats", "a"), Pair(b"", "a sign", "b")]
    weights = predictor.model.get_weights()
    try:
        predictor.model.set_weights([weight * 0.9 for weight in weights])
        with pytest.raises(VerificationError, match="differs from predict"):
            verify_saved_model(model_copy, predictor, pairs)
    finally:
        predictor.model.set_weights(weights)


@pytest.mark.slow
def test_a_model_of_images_has_the_parts_that_it_has(image_run, tmp_path):
    from tf_multimodal.inference.predictor import Predictor
    from tf_multimodal.serving.saved_model import write_saved_model

    image_predictor = Predictor.from_run(image_run)
    write_saved_model(image_predictor, tmp_path / "model")
    image = (image_run.parent / "0.png").read_bytes()
    pairs = [Pair(image, "a bird", "a")]
    found = verify_saved_model(tmp_path / "model", image_predictor, pairs)
    assert found.label_agreement == 1.0
    assert list(found.latency_ms) == ["whole", "decode", "model"]


@pytest.mark.slow
def test_a_model_that_does_not_load_is_named(predictor, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(VerificationError, match="does not load") as error:
        verify_saved_model(tmp_path / "model", predictor, [])
    assert "SavedModel" in str(error.value)
