"""The check of a SavedModel in a process of its own, its record and its command."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

from tf_multimodal.serving import fresh_process, verification
from tf_multimodal.serving.extra_files import check_extra_files, read_precision
from tf_multimodal.serving.latency import describe_latency
from tf_multimodal.serving.model_card import write_model_card
from tf_multimodal.serving.pairs import Pair
from tf_multimodal.serving.saved_model import write_saved_model
from tf_multimodal.serving.verification import (
    Verification,
    VerificationError,
    describe_verification,
    verify_saved_model,
    write_record,
)
from tf_multimodal.serving.warmup import read_warmup

LATENCY = {
    part: {size: {"p50": 1.25, "p95": 20.5} for size in ("1", "8", "32")}
    for part in ("whole", "text", "model")
}
FOUND = Verification(
    rows=12,
    real_rows=6,
    rows_by_split={"test": 5, "train": 1},
    max_difference=2.5e-7,
    labels_agree=12,
    label_agreement=1.0,
    statuses_agree=12,
    latency_ms=LATENCY,
)


PAIRS = [Pair(b"", "two cats", "a"), Pair(b"", "a sign", "b")]


@pytest.fixture
def model_copy(servable, predictor, tmp_path):
    """A copy of the exported small run, with its card, that a test may change."""
    folder = shutil.copytree(servable / "1", tmp_path / "export/1")
    write_model_card(folder, predictor, precision="float32")
    return folder


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def test_record_holds_what_was_compared(tmp_path):
    write_record(tmp_path, FOUND)
    record = json.loads((tmp_path / "assets.extra/verify.json").read_text())
    assert record["rows"] == 12 and record["real_rows"] == 6
    assert record["max_difference"] == 2.5e-7 and record["tolerance"] == 1e-5
    assert record["label_agreement"] == 1.0
    assert record["rows_by_split"] == {"test": 5, "train": 1}
    assert record["precision"] == "float32" and record["latency_ms"] == LATENCY
    assert record["checked_with"] == ["session_loader", "saved_model_cli"]
    assert set(record["versions"]) == set(verification.RECORD_PACKAGES)


def test_description_says_what_was_compared():
    text = describe_verification(FOUND)
    assert "12: 6 pairs of the data set (5 test, 1 train), 6 made up" in text
    assert "fewer than 200 pairs: the data set has no more" in text
    assert "2.5e-07 of a probability; 1e-05 is allowed" in text
    assert "12 of 12; in each signature on at least 100.0% of the real rows\n" in text
    assert "whole" in text
    enough = dataclasses.replace(FOUND, real_rows=200, precision="bfloat16")
    text = describe_verification(enough)
    assert "fewer" not in text and "3e-01 is allowed" in text and "; 99% must" in text


def test_latency_is_a_table_of_the_parts_there_are():
    lines = describe_latency(LATENCY).splitlines()
    assert lines[1].split() == ["batch", "1", "batch", "8", "batch", "32"]
    assert [line.split()[0] for line in lines[2:]] == ["whole", "text", "model"]
    assert lines[2].split()[1:4] == ["1.25", "/", "20.50"]


def test_precision_is_that_of_the_stored_weights(model_copy, predictor, tmp_path):
    assert read_precision(model_copy) == "float32"
    write_saved_model(predictor, tmp_path / "half", "bfloat16")
    assert read_precision(tmp_path / "half") == "bfloat16"
    empty(model_copy / "variables/variables.index")
    with pytest.raises(ValueError, match="variables.index cannot be read"):
        read_precision(model_copy)


def test_files_beside_a_model_are_held_against_it(model_copy, predictor):
    check_extra_files(model_copy, predictor.classes, "float32")
    with pytest.raises(VerificationError, match="precision float32; .* have bfloat16"):
        check_extra_files(model_copy, predictor.classes, "bfloat16")
    with pytest.raises(VerificationError, match="model_card.json has the classes"):
        check_extra_files(model_copy, predictor.classes[::-1], "float32")
    path = model_copy / "assets.extra/labels.txt"
    path.write_text("cat\nbird\nsigns_and_symbols\n")
    with pytest.raises(VerificationError, match="labels.txt has the classes"):
        check_extra_files(model_copy, predictor.classes, "float32")


@pytest.mark.parametrize("damage", [cut, empty, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["model_card.json", "labels.txt", "server_ops.json"])
def test_a_damaged_file_beside_a_model_is_named(model_copy, predictor, name, damage):
    damage(model_copy / "assets.extra" / name)
    with pytest.raises((ValueError, VerificationError), match=name):
        check_extra_files(model_copy, predictor.classes, "float32")


def test_the_operations_are_checked_again(model_copy, predictor):
    path = model_copy / "saved_model.pb"
    # A name of the same length, so that the file stays one.
    path.write_bytes(
        path.read_bytes().replace(b"FastBertNormalize", b"FastBertNormalxyz")
    )
    with pytest.raises(ValueError, match="FastBertNormalxyz"):
        check_extra_files(model_copy, predictor.classes, "float32")


def test_a_pair_is_demanded(predictor, model_copy):
    with pytest.raises(ValueError, match="no pair"):
        verify_saved_model(model_copy, predictor, [])


def test_messages_of_an_unknown_failure_are_shown(
    predictor, model_copy, tmp_path, monkeypatch
):
    program = tmp_path / "program.py"
    program.write_text("raise LookupError('out of the blue')")
    monkeypatch.setattr(fresh_process, "__file__", str(program))
    with pytest.raises(VerificationError, match="exit code 1(.|\n)*out of the blue"):
        verify_saved_model(model_copy, predictor, PAIRS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("variables/variables.data-00000-of-00001", cut),
        ("variables/variables.data-00000-of-00001", flip_bit),
        ("saved_model.pb", cut),
        ("saved_model.pb", empty),
        ("assets.extra/tf_serving_warmup_requests", cut),
        ("assets.extra/tf_serving_warmup_requests", empty),
    ],
)
def test_damage_is_told_in_a_line(predictor, model_copy, name, damage):
    damage(model_copy / name)
    with pytest.raises(VerificationError, match="does not load or run") as error:
        verify_saved_model(model_copy, predictor, PAIRS)
    text = str(error.value)
    assert "Traceback" not in text and len(text.splitlines()) == 1
    if "warmup" in name:
        assert "tf_serving_warmup_requests" in text


@pytest.mark.slow
def test_a_warm_up_request_without_an_answer_is_named(predictor, model_copy):
    path = model_copy / "assets.extra/tf_serving_warmup_requests"
    requests = read_warmup(model_copy)
    del requests[1].inputs["image_bytes"]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString())
    with pytest.raises(VerificationError, match="warmup_requests, request 2: "):
        verify_saved_model(model_copy, predictor, PAIRS)


@pytest.mark.slow
def test_the_fresh_process_has_no_keras(model_copy, tmp_path):
    (tmp_path / "requests.jsonl").write_text(
        '{"image_bytes": {"b64": ""}, "text": {"b64": "YQ=="}, "real": true}\n' * 4
    )
    program = f"""
import runpy, sys
run = runpy.run_path({fresh_process.__file__!r})
run["main"]({str(model_copy)!r}, {str(tmp_path)!r})
names = ("keras", "tf_keras", "keras_hub", "tensorflow_text", "tf_multimodal")
print([n for n, m in sys.modules.items() if m and n.split(".")[0] in names])
for name in ("keras", "keras_hub", "tf_multimodal"):
    try:
        __import__(name)
    except ImportError:
        print("no", name)
import tensorflow as tf
try:
    tf.keras.models.load_model
except ImportError:
    print("no tf.keras")
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = ["[]", "no keras", "no keras_hub", "no tf_multimodal", "no tf.keras"]
    assert done.stdout.splitlines() == expected
    assert (tmp_path / "answers.npz").is_file()


@pytest.mark.slow
def test_command_verifies_and_records(small_run, model_copy, run_command):
    model_dir = model_copy.parent
    arguments = ("-m", "export.verify", f"--model={model_dir}", f"--run={small_run}")
    done = run_command(*arguments)
    assert "labels agree        19 of 19" in done.stdout
    record = json.loads((model_dir / "1/assets.extra/verify.json").read_text())
    assert record["real_rows"] == 10 and record["rows"] == 19
    assert record["rows_by_split"] == {"test": 6, "validation": 1, "train": 3}
    assert record["max_difference"] <= record["tolerance"]
    assert record["statuses_agree"] == 19
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
    weights = predictor.model.get_weights()
    try:
        predictor.model.set_weights([weight * 0.9 for weight in weights])
        with pytest.raises(VerificationError, match="differs from predict"):
            verify_saved_model(model_copy, predictor, PAIRS)
    finally:
        predictor.model.set_weights(weights)


@pytest.mark.slow
def test_a_model_of_images_has_the_parts_that_it_has(image_run, tmp_path):
    from tf_multimodal.inference.predictor import Predictor

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
        verify_saved_model(tmp_path / "model", predictor, PAIRS)
    assert "SavedModel" in str(error.value) and "Traceback" not in str(error.value)


@pytest.mark.slow
def test_command_names_a_broken_card(small_run, model_copy, run_command):
    cut(model_copy / "assets.extra/model_card.json")
    arguments = ("-m", "export.verify", f"--model={model_copy}", f"--run={small_run}")
    done = run_command(*arguments, expect=1)
    assert "model_card.json cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
