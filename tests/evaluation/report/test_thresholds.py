"""Curves over thresholds hold against scikit-learn, and against counting by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk_metrics

from tf_multimodal.evaluation.report.thresholds import make_thresholds


@pytest.fixture
def random_rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    probabilities = rng.dirichlet(np.ones(4), 500)
    probabilities[np.arange(500), labels] += 0.5
    weights = rng.choice([0.0, 1.0, 2.0], 500).astype(np.float32)
    return labels, probabilities / 1.5, weights


def test_average_precision_is_that_of_scikit_learn(random_rows, make_collected):
    labels, probabilities, weights = random_rows
    collected = make_collected(labels, probabilities, weights=weights, temperature=2.0)
    section = make_thresholds(collected)
    expected = [
        sk_metrics.average_precision_score(
            labels == k, probabilities[:, k], sample_weight=weights
        )
        for k in range(3)
    ]
    found = [row["average_precision"] for row in section["classes"]]
    assert found[:3] == pytest.approx(expected, abs=1e-5)
    assert found[3] is None and section["classes"][3]["recall"] == []
    assert section["classes"][3]["best"] is None
    assert section["mean_average_precision"] == pytest.approx(np.mean(expected), 1e-4)


def test_every_point_is_what_counting_gives(random_rows, make_collected):
    labels, probabilities, _ = random_rows
    row = make_thresholds(make_collected(labels, probabilities))["classes"][1]
    assert 50 < len(row["recall"]) <= 100
    assert row["recall"][0] == 1 and np.all(np.diff(row["recall"]) <= 0)
    assert np.all(np.diff(row["threshold"]) >= 0)
    for place in (0, 30, len(row["recall"]) - 1):
        chosen = probabilities[:, 1] >= row["threshold"][place] - 6e-5
        hits = (chosen & (labels == 1)).sum()
        assert row["recall"][place] == pytest.approx(
            hits / (labels == 1).sum(), abs=0.01
        )
        assert row["precision"][place] == pytest.approx(hits / chosen.sum(), abs=0.03)


def test_the_best_threshold_has_the_best_f1(make_collected):
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    truth = np.array([0, 1, 0, 1, 1, 1])
    collected = make_collected(truth, np.stack([1 - scores, scores], axis=1))
    best = make_thresholds(collected)["classes"][1]["best"]
    assert best["threshold"] == pytest.approx(0.2)
    assert (best["precision"], best["recall"]) == (0.8, 1.0)
    assert best["f1"] == pytest.approx(8 / 9)


def test_coverage_falls_and_accuracy_is_of_the_answers_left(make_collected):
    confidence = np.array([0.6, 0.9, 0.7, 0.7, 0.8])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    weights = np.array([1, 1, 1, 1, 4], np.float32)
    collected = make_collected([1, 0, 1, 0, 0], probabilities, weights=weights)
    coverage = make_thresholds(collected)["coverage"]
    assert coverage["confidence"] == [0.6, 0.7, 0.8, 0.9]
    assert coverage["coverage"] == pytest.approx([1, 7 / 8, 5 / 8, 1 / 8], abs=1e-4)
    assert coverage["accuracy"] == pytest.approx([6 / 8, 6 / 7, 1, 1], abs=1e-4)
    assert coverage["rows"] == [5, 4, 2, 1]


def test_of_label_sets_the_whole_answer_counts(make_collected):
    truth = [[1, 0], [1, 1], [0, 0]]
    probabilities = [[0.9, 0.2], [0.6, 0.3], [0.4, 0.1]]
    section = make_thresholds(make_collected(truth, np.array(probabilities)))
    assert section["coverage"]["confidence"] == [0.42, 0.54, 0.72]
    assert section["coverage"]["accuracy"] == pytest.approx([2 / 3, 1, 1], abs=1e-4)
    assert [row["support"] for row in section["classes"]] == [2, 1]
    assert section["classes"][0]["average_precision"] == 1


def test_many_classes_have_no_more_than_a_hundred_curves(make_collected):
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(120), np.arange(20, 120)])
    section = make_thresholds(make_collected(labels, rng.dirichlet(np.ones(120), 220)))
    has_curve = [bool(row["recall"]) for row in section["classes"]]
    assert has_curve == [False] * 20 + [True] * 100
    assert section["curves_left_out"] == 20
    assert all(row["average_precision"] is not None for row in section["classes"])


def test_of_equal_recalls_the_highest_precision_is_shown(make_collected):
    truth = np.repeat([0, 1], 200)
    scores = np.linspace(0.01, 0.99, 400)
    collected = make_collected(truth, np.stack([1 - scores, scores], axis=1))
    row = make_thresholds(collected)["classes"][1]
    complete = [
        p for p, r in zip(row["precision"], row["recall"], strict=True) if r == 1
    ]
    assert complete == [0.5, 1.0]  # all rows, and all of the class alone
