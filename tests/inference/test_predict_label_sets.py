"""The predictor of a run whose rows may have several labels, or none."""

import csv

import keras
import numpy as np

from tf_multimodal.inference.predict import predict_manifest, predict_pair
from tf_multimodal.inference.predictor import Predictor

TEXTS = ["a red bird", "two cats", "5 x"]


def test_probabilities_are_the_sigmoid_of_the_model(multi_label_run):
    predictor = Predictor.from_run(multi_label_run)
    found = predictor.predict([None] * 3, TEXTS)
    x = {"images": np.zeros((3, 8, 8, 3)), "has_image": np.zeros(3, bool)}
    logits = predictor.model(predictor.preprocessor({**x, "text": TEXTS}))
    expected = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(found.label_sets, expected >= 0.5)
    assert found.multi_label


def test_one_pair(multi_label_run):
    row = predict_pair(str(multi_label_run), None, "a red bird")
    chosen = [k for k, p in row["probabilities"].items() if p >= 0.5]
    assert set(row["prediction"]) == set(chosen)
    assert row["probability"] == [row["probabilities"][k] for k in row["prediction"]]


def test_manifest_to_csv(multi_label_run, tmp_path):
    manifest = multi_label_run.parent / "pairs.csv"
    output = tmp_path / "rows.csv"
    counts = predict_manifest(str(multi_label_run), str(manifest), str(output))
    with open(output, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(counts.values()) == 11
    sets = {row["prediction"] for row in rows if row["probability"]}
    assert any("|" in cell for cell in sets)
    for row in rows:
        if row["prediction"]:
            names = row["prediction"].split("|")
            scores = [row[f"p_{name}"] for name in names]
            assert row["probability"].split("|") == scores
            assert min(map(float, scores)) >= 0.5
