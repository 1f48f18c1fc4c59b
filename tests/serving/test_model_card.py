"""The model card: its facts, where they come from, and how they read."""

import hashlib
import json
import shutil

import pytest

from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.model_card import (
    INTENDED_USE,
    read_model_card,
    write_model_card,
)

RESULT = {
    "accuracy": 0.75,
    "top3_accuracy": 0.875,
    "loss": 0.5,
    "examples": 7,
    "accuracy_interval": [0.5, 0.9],
    "image_only": {"accuracy": 0.25, "loss": 2.0, "examples": 7},
    "per_class": [
        {"class": "bird", "precision": 0.1, "recall": 0.2, "f1": 0.3, "support": 2},
        {"class": "c|at", "precision": 1.0, "recall": 0.5, "f1": 0.7, "support": 5},
    ],
}


@pytest.fixture
def write(servable, run_copy, predictor, tmp_path):
    """Writes the card of a copy of the run that a test may change first."""

    def write(**options):
        folder = shutil.copytree(servable / "1", tmp_path / "model")
        run = Predictor(predictor.model, predictor.classes, predictor.config, run_copy)
        options = {"precision": "float32", **options}
        card = write_model_card(folder, run, **options)
        assert card == read_model_card(folder)
        text = (folder / "assets.extra/model_card.md").read_text(encoding="utf-8")
        return card, text

    return write


def test_facts_of_the_run_and_the_model(write, run_copy, predictor):
    card, text = write(precision="bfloat16", intended_use="sorting | photos")
    assert card["format"] == 1
    assert card["name"] == "run"
    assert card["classes"] == list(predictor.classes)
    assert card["modalities"] == "image_text"
    assert (card["image_size_px"], card["max_tokens"]) == (16, 8)
    assert card["max_image_px"] == 50_000_000
    assert card["precision"] == "bfloat16"
    assert card["parameters"] == predictor.model.count_params()
    assert card["allowed_batch_sizes"] == [1, 2, 4, 8, 16, 32]
    splits = (run_copy / "splits.csv").read_bytes()
    assert card["data"] == {
        "name": "pairs.csv",
        "fingerprint": hashlib.sha256(splits).hexdigest(),
        "rows": {"train": 3, "validation": 1, "test": 7},
    }
    assert card["weights"]["text"] == {"start": "random", "licence": None}
    assert card["versions"]["export"]["tensorflow"].startswith("2.")
    assert card["training"]["epochs"] == 2  # that were run, by metrics.jsonl
    assert card["intended_use"] == "sorting | photos"
    assert "sorting \\| photos" in text and card["data"]["fingerprint"] in text


def test_signatures_are_those_of_the_model(write):
    card, text = write()
    serving = card["signatures"]["serving_default"]
    assert serving["inputs"]["image_bytes"] == {"dtype": "string", "shape": [None]}
    assert serving["outputs"]["probabilities"] == {
        "dtype": "float32",
        "shape": [None, 3],
    }
    assert "image_bytes string \\[b\\], text string \\[b\\]" in text


def test_without_an_evaluation_the_best_validation_line_counts(write):
    card, text = write()
    assert card["metrics"] == {
        "split": "validation",
        "source": "metrics.jsonl, step 4",
        "examples": 1,
        "values": {"accuracy": 0.4, "macro_f1": 0.3, "loss": 1.0},
        "temperature": 1.0,
    }
    assert "1 examples of the validation split (`metrics.jsonl, step 4`" in text
    assert "versions, training: not recorded" in text
    assert card["intended_use"] == INTENDED_USE and INTENDED_USE in text


@pytest.mark.parametrize(
    "monitor, keep, step",
    [("accuracy", "best", 2), ("loss", "best", 3), ("accuracy", "last", 4)],
)
def test_the_validation_line_is_of_the_weights_that_were_kept(
    run_copy, servable, predictor, tmp_path, monitor, keep, step
):
    history = ((1, 0.3, 1.0), (2, 0.6, 0.9), (3, 0.6, 0.7), (4, 0.5, 0.8))
    lines = [
        {"step": n, "epoch": n, "val_accuracy": a, "val_loss": b} for n, a, b in history
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_copy / "metrics.jsonl").write_text(text)
    config = predictor.config.copy_and_resolve_references()
    config.train.monitor, config.train.keep = monitor, keep
    run = Predictor(predictor.model, predictor.classes, config, run_copy)
    folder = shutil.copytree(servable / "1", tmp_path / "model")
    card = write_model_card(folder, run, precision="float32")
    assert card["metrics"]["source"] == f"metrics.jsonl, step {step}"


def test_states_that_a_run_is_not_calibrated(write):
    card, text = write()
    assert card["temperature"] == 1.0 and "logits are divided" not in text


def test_states_the_temperature_of_a_calibrated_run(
    servable, run_copy, predictor, tmp_path
):
    run = Predictor(predictor.model, predictor.classes, predictor.config, run_copy, 2.5)
    (run_copy / "evaluation").mkdir(exist_ok=True)
    for measured, is_said in ((2.5, False), (1.0, True)):
        result = json.dumps(RESULT | {"temperature": measured})
        (run_copy / "evaluation/test.json").write_text(result)
        folder = shutil.copytree(servable / "1", tmp_path / f"model_{measured}")
        card = write_model_card(folder, run, precision="float32")
        text = (folder / "assets.extra/model_card.md").read_text(encoding="utf-8")
        assert card["temperature"] == 2.5
        assert card["metrics"]["temperature"] == measured
        assert "the logits are divided by 2.500, fitted on the validation split" in text
        assert (
            "divided by 1.000, not 2.500: evaluate the run again" in text
        ) == is_said


def test_metrics_of_a_test_evaluation(write, run_copy):
    (run_copy / "evaluation").mkdir(exist_ok=True)
    (run_copy / "evaluation/test.json").write_text(json.dumps(RESULT))
    card, text = write()
    assert card["metrics"]["split"] == "test"
    assert card["metrics"]["source"] == "evaluation/test.json"
    assert card["metrics"]["examples"] == 7
    assert card["metrics"]["values"]["accuracy"] == 0.75
    assert card["metrics"]["image_only"] == {"accuracy": 0.25, "loss": 2.0}
    assert "| all inputs | 75.0 | 87.5 | 0.500 |" in text
    assert "| image alone | 25.0 |  | 2.000 |" in text
    assert "50.0 to 90.0 %" in text
    assert "| c\\|at | 50.0 | 5 |" in text


def test_a_run_that_was_never_evaluated_says_so(write, run_copy):
    (run_copy / "metrics.jsonl").unlink()
    card, text = write()
    assert card["metrics"] is None
    assert "was not evaluated" in text


def test_versions_of_training_are_the_runs(write, run_copy):
    versions = {"tensorflow": "2.0.1", "data": "clips/3.0.0"}
    (run_copy / "versions.json").write_text(json.dumps(versions))
    card, text = write()
    assert card["versions"]["training"] == versions
    assert card["data"]["name"] == "clips/3.0.0"
    assert "tensorflow 2.0.1" in text


def test_a_model_of_images_says_nothing_of_texts(image_run, servable, tmp_path):
    folder = shutil.copytree(servable / "1", tmp_path / "model")
    card = write_model_card(folder, Predictor.from_run(image_run), precision="float32")
    assert card["max_tokens"] is None
    assert list(card["weights"]) == ["image"]
    assert not any("text" in limit.split() for limit in card["limits"])


@pytest.mark.parametrize("content, message", [("{}", "read"), ('{"format": 2}', "2")])
def test_a_card_of_another_format_is_refused(tmp_path, content, message):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra/model_card.json").write_text(content)
    with pytest.raises(ValueError, match=f"model_card.json .*{message}"):
        read_model_card(tmp_path)
