"""A whole evaluation of a run whose rows may have several labels, or none."""

import json

import numpy as np
import pytest

from tf_multimodal.evaluation import evaluate, label_set_metrics
from tf_multimodal.evaluation.validation import Validation
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run


@pytest.fixture(scope="module")
def evaluated(multi_label_run):
    result = evaluate.evaluate_run(multi_label_run, "test", batch_size=4)
    text = (multi_label_run / "evaluation/test_predictions.jsonl").read_text("utf-8")
    return result, [json.loads(line) for line in text.splitlines()]


def test_figures_agree_with_the_predictions(evaluated):
    result, rows = evaluated
    classes = result["classes"]
    assert result["multi_label"] and result["confusion"] is None
    assert rows[1]["label"] == ["cat", "signs_and_symbols"] and rows[3]["label"] == []
    truth = np.array([[name in row["label"] for name in classes] for row in rows])
    scores = [row["probabilities"] for row in rows if row["probabilities"]]
    assert len(scores) == 6  # a6 has neither image nor text
    assert any(abs(sum(row.values()) - 1) > 0.01 for row in scores)
    for row in rows:
        if row["prediction"] is not None:
            chosen = {k for k, p in row["probabilities"].items() if p >= 0.5}
            assert set(row["prediction"]) == chosen
    usable = np.array([row["probabilities"] is not None for row in rows])
    predicted = np.array([list(row.values()) for row in scores])
    right = label_set_metrics.find_correct(truth[usable], predicted).sum()
    assert round(7 * result["accuracy"]) - right in (0, 1)
    assert [row["support"] for row in result["per_class"]] == [2, 3, 2]
    for part in (result, result["image_only"], result["text_only"]):
        for key in ("accuracy", "micro_f1", "macro_f1", "mean_average_precision"):
            assert 0 <= part[key] <= 1
    losses = {part["loss"] for part in (result["image_only"], result["text_only"])}
    assert len(losses | {result["loss"]}) == 3


def test_files(evaluated, multi_label_run):
    folder = multi_label_run / "evaluation"
    assert json.loads((folder / "test.json").read_text("utf-8")) == evaluated[0]
    names = {path.name for path in folder.iterdir()}
    assert "examples.png" in names and "confusion.png" not in names
    report = (folder / "report.md").read_text("utf-8")
    assert "mAP %" in report and "Confusion" not in report


def test_validation_agrees(evaluated, multi_label_run):
    predictor = Predictor.from_run(multi_label_run)
    source = load_run_source(read_run(multi_label_run))
    index = source.get_indices("test")
    preprocessor, predictor.model.preprocessor = predictor.preprocessor, None
    values = Validation(predictor.model, preprocessor, source, index, 4)
    for name, value in values.compute_metrics().items():
        assert value == pytest.approx(evaluated[0][name], abs=1e-5), name
