"""Prediction rows of one label and of several, as JSONL and CSV."""

import csv
import dataclasses
import json

import numpy as np

from tf_multimodal.data.source import LabelSets
from tf_multimodal.inference import prediction_file
from tf_multimodal.inference.predictions import Predictions, compute_probabilities
from tf_multimodal.inference.predictor import make_source

CLASSES = ("bird", "cat", "साइन")
PROBABILITIES = np.array(
    [[0.5, 0.25, 0.75], [0.25, 0.125, 0.0], [0.9, 0.9, 0.9]], np.float32
)


def _make_predictions(multi_label, count=3):
    rows = np.arange(count)
    return Predictions(
        rows,
        PROBABILITIES[rows % 3],
        ["ok"] * count,
        [""] * count,
        rows != 2,
        multi_label,
    )


def _make_source(count=3):
    source = make_source([None] * count, [f"text {i}" for i in range(count)], CLASSES)
    sets = LabelSets(np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32), 3)
    return dataclasses.replace(source, label_sets=sets if count == 3 else None)


def test_lists_of_classes_from_the_threshold_on():
    source, predictions = _make_source(), _make_predictions(True)
    rows = list(
        prediction_file.make_rows(source, predictions, CLASSES, with_labels=True)
    )
    assert rows[0]["prediction"] == ["साइन", "bird"]
    assert rows[0]["probability"] == [0.75, 0.5]
    assert rows[0]["probabilities"] == {"bird": 0.5, "cat": 0.25, "साइन": 0.75}
    assert rows[1]["prediction"] == [] and rows[1]["probability"] == []
    assert rows[2]["prediction"] is None and rows[2]["probability"] is None
    assert [row["label"] for row in rows] == [["bird", "साइन"], [], ["cat"]]


def test_one_label_has_the_best_class():
    source = dataclasses.replace(_make_source(), label_sets=None)
    source.labels[:] = [1, 0, 2]
    rows = list(
        prediction_file.make_rows(
            source, _make_predictions(False), CLASSES, with_labels=True
        )
    )
    assert (rows[0]["prediction"], rows[0]["probability"]) == ("साइन", 0.75)
    assert rows[1]["prediction"] == "bird" and rows[2]["prediction"] is None
    assert [row["label"] for row in rows] == ["cat", "bird", "साइन"]


def test_files(tmp_path):
    rows = list(
        prediction_file.make_rows(_make_source(), _make_predictions(True), CLASSES)
    )
    for name in ("rows.csv", "rows.jsonl"):
        with prediction_file.write_rows(tmp_path / name, CLASSES) as writer:
            for row in rows:
                writer.write(row)
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [row["prediction"] for row in cells] == ["साइन|bird", "", ""]
    assert [row["probability"] for row in cells] == ["0.75|0.5", "", ""]
    assert cells[0]["p_साइन"] == "0.75" and cells[2]["p_bird"] == ""
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_many_rows_are_read_in_blocks(monkeypatch):
    monkeypatch.setattr(prediction_file, "_ROWS_AT_ONCE", 2)
    source, predictions = _make_source(7), _make_predictions(False, 7)
    predictions = dataclasses.replace(predictions, index=np.arange(7)[::-1])
    rows = list(prediction_file.make_rows(source, predictions, CLASSES))
    assert [row["id"] for row in rows] == list("6543210")
    assert [row["text"] for row in rows] == [f"text {i}" for i in range(7)][::-1]
    assert [row["prediction"] for row in rows[3:5]] == ["साइन", "bird"]


def test_sigmoid_of_large_logits_without_a_warning():
    found = compute_probabilities(np.array([[-1e4, 0, 1e4]], np.float32), "sigmoid")
    assert found.tolist() == [[0, 0.5, 1]] and found.dtype == np.float32
