"""What a threshold buys: precision for recall, and accuracy for answers withheld."""

from typing import Any

import numpy as np
from sklearn import metrics as sk_metrics

from tf_multimodal.evaluation.report.collect import Collected

_POINTS = 100  # of a curve
_CURVES = 100  # classes with a curve; the average precision is there of all
_DIGITS = 4
_CHOSEN_HERE = (
    "The threshold with the best F1 is chosen on the rows that it is measured on, so "
    "that its F1 is higher than it would be on new ones."
)
_ONE_AGAINST_ALL = (
    "Precision and recall are of one class against all others: a row counts as the "
    "class where the class's probability reaches the threshold."
)
_CONFIDENCE = "The confidence is the probability of the answer."
_SET_CONFIDENCE = (
    "The confidence is the probability of the whole answer, the product over the "
    "classes; an answer is right where it names every label and no other."
)


def make_thresholds(collected: Collected) -> dict[str, Any]:
    """Returns the section `thresholds`, weighted by the rows' weights.

    Average precision is the area under the steps of precision over recall, as
    scikit-learn has it. Coverage and accuracy where answers below a confidence are
    withheld: El-Yaniv and Wiener 2010, On the Foundations of Noise-free Selective
    Classification, JMLR 11.
    """
    kept = collected.weights > 0
    probabilities = collected.probabilities()[kept].astype(np.float64)
    weights = collected.weights[kept].astype(np.float64)
    truth = collected.truth[kept]
    if not collected.multi_label:
        truth = truth[:, None] == np.arange(len(collected.classes))
    truth = truth > 0
    support = truth.sum(axis=0)
    drawn = set(np.argsort(-support, kind="stable")[:_CURVES].tolist())
    rows = [
        _make_class(name, truth[:, i], probabilities[:, i], weights, i in drawn)
        for i, name in enumerate(collected.classes)
    ]
    averages = [r["average_precision"] for r in rows if r["support"]]
    return {
        "classes": rows,
        "mean_average_precision": float(np.mean(averages)) if averages else None,
        "curves_left_out": int((support > 0).sum())
        - sum(bool(row["recall"]) for row in rows),
        "coverage": _make_coverage(collected, kept, weights),
        "notes": [
            *([] if collected.multi_label else [_ONE_AGAINST_ALL]),
            _CHOSEN_HERE,
            _SET_CONFIDENCE if collected.multi_label else _CONFIDENCE,
        ],
    }


def _make_class(
    name: str,
    truth: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    has_curve: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": name,
        "support": int(truth.sum()),
        "average_precision": None,
        "precision": [],
        "recall": [],
        "threshold": [],
        "best": None,
    }
    if not truth.any():
        return row
    precision, recall, threshold = sk_metrics.precision_recall_curve(
        truth, probabilities, sample_weight=weights
    )
    # The steps of the curve; its last point, without a threshold, adds no area.
    row["average_precision"] = float(-np.sum(np.diff(recall) * precision[:-1]))
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    row["best"] = {
        "threshold": float(threshold[best]),
        "f1": float(f1[best]),
        "precision": float(precision[best]),
        "recall": float(recall[best]),
    }
    if has_curve:
        places = _choose_points(recall)
        row["precision"] = _round(precision[places])
        row["recall"] = _round(recall[places])
        row["threshold"] = _round(threshold[places])
    return row


def _choose_points(values: np.ndarray) -> np.ndarray:
    """Returns places of points at equal distances along a falling curve's values."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    wanted = np.linspace(values[0], values[-1], _POINTS - 1)
    # The last of equal ones: of a recall that is the point of the highest precision.
    places = np.searchsorted(-values, -wanted, side="right") - 1
    return np.unique(np.append(places.clip(0), 0))


def _make_coverage(
    collected: Collected, kept: np.ndarray, weights: np.ndarray
) -> dict[str, list[float]]:
    probabilities = collected.probabilities()[kept].astype(np.float64)
    if collected.multi_label:
        confidence = np.maximum(probabilities, 1 - probabilities).prod(axis=1)
    else:
        confidence = probabilities.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    confidence, weights = confidence[order], weights[order]
    right = weights * collected.correct()[kept][order]
    # Sums over the rows from each place on: those at least as confident.
    answered = np.cumsum(weights[::-1])[::-1]
    accuracy = np.cumsum(right[::-1])[::-1] / answered
    coverage = answered / answered[0]
    first = np.append(True, np.diff(confidence) > 0)  # equal ones stand or fall as one
    places = np.flatnonzero(first)
    places = places[_choose_points(coverage[places])]
    return {
        "confidence": _round(confidence[places]),
        "coverage": _round(coverage[places]),
        "accuracy": _round(accuracy[places]),
        "rows": (len(order) - places).tolist(),
    }


def _round(values: np.ndarray) -> list[float]:
    return np.round(values, _DIGITS).tolist()
