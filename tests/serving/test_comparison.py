"""Another format held against the run."""

import numpy as np
import pytest

from tf_multimodal.data import spec
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.run_reader import load_run_source, read_run
from tf_multimodal.serving.comparison import compare_format, compare_probabilities

EXPECTED = np.array([[0.7, 0.3], [0.4, 0.6], [0.45, 0.55]], np.float32)


def test_figures_of_two_answers():
    received = np.array([[0.6, 0.4], [0.4, 0.6], [0.55, 0.45]], np.float32)
    compared = compare_probabilities(EXPECTED, received, np.array([0, 0, 1]))
    assert compared.rows == 3
    assert compared.max_difference == pytest.approx(0.1)
    assert compared.label_agreement == pytest.approx(2 / 3)
    assert compared.accuracy_model == pytest.approx(2 / 3)
    assert compared.accuracy_format == pytest.approx(1 / 3)
    assert "1.0e-01" in compared.describe()
    assert "labels agree        66.7%" in compared.describe()
    assert "accuracy            33.3%; of the run 66.7%" in compared.describe()


def test_label_sets_agree_where_all_classes_do():
    received = np.array([[0.6, 0.4], [0.5, 0.6], [0.45, 0.1]], np.float32)
    truth = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    compared = compare_probabilities(EXPECTED, received, truth)
    assert compared.label_agreement == pytest.approx(1 / 3)
    assert compared.accuracy_model == pytest.approx(2 / 3)
    assert compared.accuracy_format == pytest.approx(2 / 3)


def test_rows_without_a_label_do_not_count_as_wrong():
    compared = compare_probabilities(EXPECTED, EXPECTED, np.array([0, -1, 1]))
    assert compared.accuracy_model == 1.0
    compared = compare_probabilities(EXPECTED, EXPECTED, np.array([-1, -1, -1]))
    assert compared.accuracy_model is None
    assert "accuracy" not in compared.describe()


def test_every_row_is_compared_once_on_the_same_tensors(predictor, small_run):
    source = load_run_source(read_run(small_run))
    indices = source.get_indices("test")
    seen = []

    def run(x):
        seen.append(x)
        logits = predictor.model(x, training=False).numpy()
        probabilities = compute_probabilities(logits)
        probabilities[0] += 0.25  # no more a distribution, as a check
        return probabilities

    compared = compare_format(predictor, source, indices, run)
    assert compared.rows == len(indices) == 7
    assert [len(x[spec.HAS_TEXT]) for x in seen] == [7]  # padding is left out
    assert all(isinstance(value, np.ndarray) for value in seen[0].values())
    assert compared.max_difference == pytest.approx(0.25, abs=1e-5)
    assert compared.label_agreement == 1.0
    predictions = predictor.predict_source(source, indices)
    right = predictions.labels == source.labels[indices]
    assert compared.accuracy_model == pytest.approx(right.mean())


def test_no_rows_is_an_error(predictor, small_run):
    source = load_run_source(read_run(small_run))
    with pytest.raises(ValueError, match="no rows of pairs.csv"):
        compare_format(predictor, source, np.array([], np.int64), lambda x: x)
