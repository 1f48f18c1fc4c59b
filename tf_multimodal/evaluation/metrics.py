"""What a classifier's probabilities are worth, as plain numbers.

Numpy and scikit-learn; nothing of ours, so that any part may use it. A row of weight
0 is as if it were not there.
"""

from typing import Any

import numpy as np
from sklearn import metrics as sk_metrics

ECE_BINS = 15
_SMALLEST_PROBABILITY = 1e-12  # keeps the loss finite where a model is sure


def compute_metrics(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns the headline metrics of a set of predictions.

    `macro_f1` is the mean over the classes that occur among the labels or the
    predictions; a class that occurs in neither says nothing about the model.

    Args:
        labels: int [n], each in 0 to c - 1.
        probabilities: float [n, c], rows that sum to 1.
        weights: float [n], at least 0, not all 0; None: every row weighs 1.

    Returns:
        `accuracy`, `top3_accuracy` (of c classes if c < 3), `macro_f1`, `ece`
        (all 0 to 1), `loss` (cross-entropy, nats) and `examples` (n, whatever
        their weight).

    Raises:
        ValueError: there are no rows, the shapes do not fit together, or a label
            or a weight is outside its range.
    """
    labels, probabilities, weights = _check(labels, probabilities, weights)
    predictions = probabilities.argmax(axis=1)
    best_three = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    in_best_three = (best_three == labels[:, None]).any(axis=1)
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.maximum(label_probabilities, _SMALLEST_PROBABILITY))
    counted = weights > 0
    macro_f1 = sk_metrics.f1_score(
        labels[counted],
        predictions[counted],
        average="macro",
        sample_weight=weights[counted],
        zero_division=0,
    )
    return {
        "accuracy": float(np.average(predictions == labels, weights=weights)),
        "top3_accuracy": float(np.average(in_best_three, weights=weights)),
        "macro_f1": float(macro_f1),
        "ece": compute_calibration_error(labels, probabilities, weights),
        "loss": float(np.average(losses, weights=weights)),
        "examples": len(labels),
    }


def compute_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Returns the expected calibration error over 15 bins of equal width.

    The mean distance between confidence and accuracy of a bin, weighted by the
    bin's share of the rows (Guo et al. 2017, On Calibration of Modern Neural
    Networks, arXiv:1706.04599, equation 3).

    Args:
        labels: int [n], each in 0 to c - 1.
        probabilities: float [n, c], rows that sum to 1.
        weights: float [n], at least 0, not all 0; None: every row weighs 1.
    """
    labels, probabilities, weights = _check(labels, probabilities, weights)
    confidences = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # Bin m holds (m / 15, (m + 1) / 15], as in the paper.
    bins = np.ceil(confidences * ECE_BINS).astype(np.int64) - 1
    gaps = weights * (correct - confidences)
    gap_sums = np.bincount(bins.clip(0, ECE_BINS - 1), gaps, minlength=ECE_BINS)
    return float(np.abs(gap_sums).sum() / weights.sum())


def check_weights(weights: np.ndarray, name: str) -> None:
    """Raises ValueError if the weights of all rows are 0.

    Args:
        weights: float [n].
        name: of the rows, for the message.
    """
    if len(weights) and not np.any(weights):
        raise ValueError(
            f"All {len(weights)} rows of {name} have weight 0, and metrics are "
            "weighted: at least one must weigh more. See config.data.columns.weight."
        )


def compute_confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns counts, int64 [c, c]; row: the label, column: the prediction.

    Args:
        labels: int [n], each in 0 to c - 1.
        probabilities: float [n, c].
    """
    labels, probabilities, _ = _check(labels, probabilities, None)
    return sk_metrics.confusion_matrix(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
    ).astype(np.int64)


def compute_per_class(
    labels: np.ndarray, probabilities: np.ndarray
) -> list[dict[str, float]]:
    """Returns `precision`, `recall`, `f1` and `support` of every class.

    A ratio without any row to count is 0: the precision of a class that is never
    predicted, the recall of one without labels.

    Args:
        labels: int [n], each in 0 to c - 1.
        probabilities: float [n, c].
    """
    labels, probabilities, _ = _check(labels, probabilities, None)
    columns = sk_metrics.precision_recall_fscore_support(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(probabilities.shape[1]),
        zero_division=0,
    )
    return [
        {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for precision, recall, f1, support in zip(*columns, strict=True)
    ]


def _check(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the three as int64, float64 and float64, or raises ValueError."""
    labels = np.asarray(labels).astype(np.int64)
    probabilities = np.asarray(probabilities, np.float64)
    rows = len(labels)
    if not rows:
        raise ValueError("Metrics need at least one row. Received none.")
    if labels.ndim != 1 or probabilities.ndim != 2 or len(probabilities) != rows:
        raise ValueError(
            "Expected labels [n] and probabilities [n, classes]. Received shapes "
            f"{labels.shape} and {probabilities.shape}."
        )
    classes = probabilities.shape[1]
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        raise ValueError(
            f"{len(outside)} labels are not in 0 to {classes - 1}, the first at "
            f"position {outside[0]}: {labels[outside[0]]}. A row without a label "
            "cannot be evaluated."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("Some probabilities are not finite.")
    if weights is None:
        return labels, probabilities, np.ones(rows)
    weights = np.asarray(weights, np.float64)
    if weights.shape != labels.shape or not (weights >= 0).all() or not weights.any():
        raise ValueError(
            f"Expected {rows} weights, at least 0 and not all 0. Received shape "
            f"{weights.shape}, sum {weights.sum()}."
        )
    return labels, probabilities, weights
