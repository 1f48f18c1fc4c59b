"""Metrics of rows that may have several labels, or none.

The keys are those of `metrics.compute_metrics` where the meaning is the same. A row of
weight 0 is as if it were not there.
"""

from typing import Any

import numpy as np
from sklearn import metrics as sk_metrics

from tf_multimodal.data import spec

_SMALLEST_PROBABILITY = 1e-12  # keeps the loss finite where a model is sure


def compute_metrics(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns the headline metrics; a class is predicted from `spec.THRESHOLD` on.

    Args:
        truth: [n, c]; 1 where a row has the label, else 0.
        probabilities: float [n, c], each on its own from 0 to 1.
        weights: float [n], at least 0, not all 0; None: every row weighs 1.

    Returns:
        `accuracy` (rows whose labels are all right and no others), `micro_f1`,
        `macro_f1` (over classes that occur among labels or predictions),
        `mean_average_precision` (over classes that occur among the labels), all 0 to
        1, and 0 where no class occurs; `loss` (binary cross-entropy, mean over the
        classes, nats); `examples` (n, whatever their weight).

    Raises:
        ValueError: there are no rows, the shapes do not fit together, or a value is
            outside its range.
    """
    truth, probabilities, weights = _check(truth, probabilities, weights)
    right = np.where(truth, probabilities, 1 - probabilities)
    losses = -np.log(np.maximum(right, _SMALLEST_PROBABILITY)).mean(axis=1)
    correct = find_correct(truth, probabilities)
    hits, labels, predicted = _count(truth, probabilities, weights)
    occurs = labels + predicted > 0
    f1_scores = _divide(2 * hits, labels + predicted)[occurs]
    averages = _compute_average_precisions(truth, probabilities, weights)
    found = [average for average in averages if average is not None]
    return {
        "accuracy": float(np.average(correct, weights=weights)),
        "micro_f1": float(_divide(2 * hits.sum(), labels.sum() + predicted.sum())),
        "macro_f1": float(f1_scores.mean()) if len(f1_scores) else 0.0,
        "mean_average_precision": float(np.mean(found)) if found else 0.0,
        "loss": float(np.average(losses, weights=weights)),
        "examples": len(truth),
    }


def compute_per_class(
    truth: np.ndarray, probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Returns the figures of every class, whatever the rows' weights.

    Args:
        truth: [n, c]; 1 where a row has the label, else 0.
        probabilities: float [n, c], each on its own from 0 to 1.

    Returns:
        For each class `precision`, `recall`, `f1` (0 where there is no row to count),
        `average_precision` (None where no row has the label) and `support`.
    """
    truth, probabilities, weights = _check(truth, probabilities, None)
    hits, labels, predicted = _count(truth, probabilities, weights)
    averages = _compute_average_precisions(truth, probabilities, weights)
    return [
        {
            "precision": float(_divide(hits[i], predicted[i])),
            "recall": float(_divide(hits[i], labels[i])),
            "f1": float(_divide(2 * hits[i], labels[i] + predicted[i])),
            "average_precision": average,
            "support": int(labels[i]),
        }
        for i, average in enumerate(averages)
    ]


def find_correct(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns, bool [n], the rows whose labels are all predicted, and no others."""
    return (np.asarray(truth, bool) == (probabilities >= spec.THRESHOLD)).all(axis=1)


def _count(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, by class, the weights of true positives, labels and predictions."""
    predicted = probabilities >= spec.THRESHOLD
    return weights @ (truth & predicted), weights @ truth, weights @ predicted


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the ratio; 0 of nothing."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1e-12), 0.0)


def _compute_average_precisions(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> list[float | None]:
    """Returns the area under each class's steps of precision over recall.

    None for a class whose label no row has.
    """
    return [
        float(
            sk_metrics.average_precision_score(
                truth[:, i], probabilities[:, i], sample_weight=weights
            )
        )
        if weights @ truth[:, i] > 0
        else None
        for i in range(truth.shape[1])
    ]


def _check(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three as bool, float64 and float64, or raises ValueError."""
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, np.float64)
    if not len(truth):
        raise ValueError("Metrics need at least one row. Received none.")
    if truth.ndim != 2 or truth.shape != probabilities.shape:
        raise ValueError(
            "Expected labels and probabilities [n, classes]. Received shapes "
            f"{truth.shape} and {probabilities.shape}."
        )
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("Expected labels of 0 and 1. Received other values.")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Expected probabilities of 0 to 1. Received other values.")
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    if weights.shape != truth.shape[:1] or not (weights >= 0).all():
        raise ValueError(
            f"Expected {len(truth)} weights, at least 0. Received shape "
            f"{weights.shape}."
        )
    if not weights.any():
        raise ValueError("Expected weights that are not all 0.")
    return truth.astype(bool), probabilities, weights
