"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from tf_multimodal.evaluation import metrics

LABELS = np.array([0, 1, 2, 0])
PROBABILITIES = np.array(  # predictions 0, 2, 2, 1
    [
        [0.6, 0.1, 0.1, 0.1, 0.1],
        [0.05, 0.1, 0.5, 0.2, 0.15],
        [0.0, 0.0, 1.0, 0.0, 0.0],
        [0.15, 0.4, 0.2, 0.2, 0.05],
    ]
)


def test_headline_metrics():
    result = metrics.compute_metrics(LABELS, PROBABILITIES)
    assert result["accuracy"] == 0.5
    # Row 2's label is fourth; row 4's is fourth too.
    assert result["top3_accuracy"] == 0.5
    # Of classes 0, 1, 2: F1 2/3, 0, 2/3; classes 3 and 4 occur nowhere.
    assert result["macro_f1"] == pytest.approx(4 / 9)
    expected_loss = -np.log([0.6, 0.1, 1.0, 0.15]).mean()
    assert result["loss"] == pytest.approx(expected_loss)
    assert result["examples"] == 4
    assert set(result) == {
        "accuracy",
        "top3_accuracy",
        "macro_f1",
        "ece",
        "loss",
        "examples",
    }


def test_top3_finds_the_third_class():
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1]] * 4)
    result = metrics.compute_metrics(np.array([0, 1, 2, 3]), probabilities)
    assert result["top3_accuracy"] == 0.75


def test_top3_of_two_classes_is_always_right():
    result = metrics.compute_metrics(np.array([0, 1]), np.array([[0.9, 0.1]] * 2))
    assert result["top3_accuracy"] == 1.0
    assert result["accuracy"] == 0.5


def test_calibration_error_by_hand():
    # Confidences 0.62 and 0.65 share the bin (9/15, 10/15], 0.9 is alone.
    confidences = np.array([0.62, 0.65, 0.9])
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    labels = np.array([0, 1, 0])
    expected = 2 / 3 * abs(0.5 - 0.635) + 1 / 3 * abs(1 - 0.9)
    error = metrics.compute_calibration_error(labels, probabilities)
    assert error == pytest.approx(expected)


def test_calibration_error_of_certain_rows():
    probabilities = np.eye(3)
    assert metrics.compute_calibration_error(np.arange(3), probabilities) == 0
    wrong = metrics.compute_calibration_error(np.array([1, 2, 0]), probabilities)
    assert wrong == 1


def test_weights_count_like_repeated_rows():
    weights = np.array([2.0, 1.0, 0.0, 3.0])
    rows = np.repeat(np.arange(4), weights.astype(int))
    weighted = metrics.compute_metrics(LABELS, PROBABILITIES, weights)
    repeated = metrics.compute_metrics(LABELS[rows], PROBABILITIES[rows])
    for key in ("accuracy", "top3_accuracy", "ece", "loss"):
        assert weighted[key] == pytest.approx(repeated[key]), key
    assert weighted["accuracy"] != 0.5


def test_confusion_has_labels_as_rows():
    confusion = metrics.compute_confusion(LABELS, PROBABILITIES)
    expected = np.zeros((5, 5), int)
    expected[0, 0] = expected[0, 1] = expected[1, 2] = expected[2, 2] = 1
    np.testing.assert_array_equal(confusion, expected)


def test_per_class_with_absent_classes():
    rows = metrics.compute_per_class(LABELS, PROBABILITIES)
    assert rows[0] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    assert rows[1] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert rows[2]["precision"] == 0.5 and rows[2]["recall"] == 1.0
    assert rows[4] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


@pytest.mark.parametrize(
    ("labels", "probabilities", "weights", "message"),
    [
        ([], np.zeros((0, 3)), None, "at least one row"),
        ([0, -1], np.eye(2), None, "position 1: -1"),
        ([0, 2], np.eye(2), None, "not in 0 to 1"),
        ([0], np.eye(2), None, "Received shapes"),
        ([0, 1], np.full((2, 2), np.nan), None, "not finite"),
        ([0, 1], np.eye(2), [0, 0], "not all 0"),
        ([0, 1], np.eye(2), [1, -1], "at least 0"),
    ],
)
def test_bad_input_is_named(labels, probabilities, weights, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute_metrics(np.array(labels, int), probabilities, weights)


def test_a_row_of_weight_0_brings_no_class_along():
    weights = np.array([1, 0, 1, 1])
    weighted = metrics.compute_metrics(LABELS, PROBABILITIES, weights)
    kept = metrics.compute_metrics(LABELS[weights > 0], PROBABILITIES[weights > 0])
    assert weighted["macro_f1"] == pytest.approx(kept["macro_f1"])
    # Class 1 is still predicted for row 3; without that it occurs nowhere.
    weights[3] = 0
    alone = metrics.compute_metrics(LABELS, PROBABILITIES, weights)
    assert alone["macro_f1"] == 1.0
