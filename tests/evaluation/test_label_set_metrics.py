"""Metrics of label sets against values worked out by hand."""

import numpy as np
import pytest

from tf_multimodal.evaluation import label_set_metrics

# Class 3 occurs nowhere.
TRUTH = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]])
PROBABILITIES = np.array(
    [
        [0.9, 0.5, 0.1, 0.0],  # both right: 0.5 counts as predicted
        [0.6, 0.7, 0.2, 0.1],  # one too many
        [0.1, 0.2, 0.4, 0.3],  # rightly none
        [0.3, 0.1, 0.8, 0.2],  # one is missed
    ]
)


def test_headline_metrics():
    result = label_set_metrics.compute_metrics(TRUTH, PROBABILITIES)
    assert result["accuracy"] == 0.5
    # Hits 1, 2, 1; labels 2, 2, 1; predictions 2, 2, 1.
    assert result["micro_f1"] == pytest.approx(2 * 4 / 10)
    assert result["macro_f1"] == pytest.approx((0.5 + 1 + 1) / 3)
    # Class 0 ranks 0.9 (yes), 0.6 (no), 0.3 (yes): (1 + 2/3) / 2.
    assert result["mean_average_precision"] == pytest.approx((5 / 6 + 1 + 1) / 3)
    right = np.where(TRUTH == 1, PROBABILITIES, 1 - PROBABILITIES)
    assert result["loss"] == pytest.approx(-np.log(right).mean())
    assert result["examples"] == 4
    assert list(label_set_metrics.find_correct(TRUTH, PROBABILITIES)) == [
        True,
        False,
        True,
        False,
    ]


def test_weights_count_like_repeated_rows():
    weights = np.array([5.0, 1.0, 0.0, 3.0])
    rows = np.repeat(np.arange(4), weights.astype(int))
    weighted = label_set_metrics.compute_metrics(TRUTH, PROBABILITIES, weights)
    repeated = label_set_metrics.compute_metrics(TRUTH[rows], PROBABILITIES[rows])
    plain = label_set_metrics.compute_metrics(TRUTH, PROBABILITIES)
    for key in weighted.keys() - {"examples"}:
        assert weighted[key] == pytest.approx(repeated[key]), key
        assert weighted[key] != pytest.approx(plain[key]), key


def test_per_class():
    rows = label_set_metrics.compute_per_class(TRUTH, PROBABILITIES)
    assert rows[0] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "average_precision": pytest.approx(5 / 6),
        "support": 2,
    }
    assert [row["support"] for row in rows] == [2, 2, 1, 0]
    assert rows[3]["f1"] == 0 and rows[3]["average_precision"] is None


@pytest.mark.parametrize("classes", [1, 3])
def test_nothing_to_find(classes):
    truth, probabilities = np.zeros((2, classes)), np.full((2, classes), 0.25)
    result = label_set_metrics.compute_metrics(truth, probabilities)
    assert result["accuracy"] == 1
    assert result["loss"] == pytest.approx(-np.log(0.75))
    for key in ("micro_f1", "macro_f1", "mean_average_precision"):
        assert result[key] == 0


def test_a_single_class():
    result = label_set_metrics.compute_metrics([[1], [0], [1]], [[0.9], [0.8], [0.7]])
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["macro_f1"] == result["micro_f1"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("truth", "probabilities", "weights", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), None, "at least one row"),
        ([[1, 0]], [[0.5]], None, "Received shapes"),
        ([1, 0], [0.5, 0.5], None, "Received shapes"),
        ([[2, 0]], [[0.5, 0.5]], None, "labels of 0 and 1"),
        ([[1, 0]], [[np.nan, 0.5]], None, "probabilities of 0 to 1"),
        ([[1, 0]], [[1.5, 0.5]], None, "probabilities of 0 to 1"),
        ([[1, 0]], [[0.5, 0.5]], [-1], "at least 0"),
        ([[1, 0]], [[0.5, 0.5]], [1, 1], "Expected 1 weights"),
        ([[1, 0]], [[0.5, 0.5]], [0], "not all 0"),
    ],
)
def test_refusals(truth, probabilities, weights, message):
    with pytest.raises(ValueError, match=message):
        label_set_metrics.compute_metrics(truth, probabilities, weights)
