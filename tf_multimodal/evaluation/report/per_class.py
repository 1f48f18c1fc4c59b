"""The classes one by one, and what the text brings to each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics as sk_metrics

from tf_multimodal.data import spec
from tf_multimodal.evaluation import bootstrap
from tf_multimodal.evaluation.report.collect import BOTH, IMAGE, TEXT, Collected
from tf_multimodal.evaluation.report.headline import name_input

MAX_CLASSES = 1_000  # rows of the table
_SAMPLES = 2_000  # of the bootstrap: there is one for each class
_WEIGHTED = (
    "All figures are weighted by the rows' weights; instead of the number of a class's "
    "rows there is the sum of their weights."
)


def make_classes(
    collected: Collected, alone: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Returns the section `classes`; its figures are weighted by the rows' weights.

    Args:
        collected: the split.
        alone: float32 [n, c], probabilities by modality, `image` or `text`, of other
            runs that were trained on it alone, for the same rows; they take the place
            of the model with the other input masked.

    Returns:
        `rows`: of each class `class`, `support` (the sum of the weights of the rows
        with the label), `precision`, `recall`, `f1` (0 where there is nothing to
        count), with label sets `average_precision` (None without such rows);
        `accuracy`: by variant, the share of the label's rows in which the class is
        predicted, None without such rows; `gain`: of both over the image, `difference`
        and `interval` (95 %, paired, drawn by group), or None. `inputs`: what `image`
        and `text` are in `accuracy`. `names`: of all classes; beyond 1,000 the rows
        are those of the most frequent labels. `weighted`: whether weights differ.
    """
    hits = {
        variant: _find_hits(collected, collected.probabilities(variant))
        for variant in collected.logits
    }
    alone = alone or {}
    hits |= {modality: _find_hits(collected, p) for modality, p in alone.items()}
    figures = _compute_figures(collected, hits[BOTH])
    support = np.array([row["support"] for row in figures])
    shown = np.sort(np.argsort(-support, kind="stable")[:MAX_CLASSES])
    rows = []
    for i in shown.tolist():
        members = np.flatnonzero(_has_label(collected, i) & (collected.weights > 0))
        accuracy = {
            variant: _average(_select(found, members, i), collected.weights[members])
            for variant, found in hits.items()
        }
        rows.append(
            {
                "class": collected.classes[i],
                **figures[i],
                "accuracy": accuracy,
                "gain": _measure_gain(collected, hits, members, i),
            }
        )
    weighted = bool((collected.weights != 1).any())
    return {
        "rows": rows,
        "names": list(collected.classes),
        "inputs": {m: name_input(m, alone) for m in (IMAGE, TEXT) if m in hits},
        "weighted": weighted,
        "notes": [_WEIGHTED] if weighted else [],
    }


def _find_hits(collected: Collected, probabilities: np.ndarray) -> np.ndarray:
    """Returns predicted classes int [n], or, of label sets, bool [n, c]."""
    if collected.multi_label:
        return probabilities >= spec.THRESHOLD
    return probabilities.argmax(axis=1)


def _select(found: np.ndarray, members: np.ndarray, label: int) -> np.ndarray:
    """Returns, bool [m], in which of the rows the label is predicted."""
    return found[members] == label if found.ndim == 1 else found[members, label]


def _has_label(collected: Collected, label: int) -> np.ndarray:
    """Returns bool [n]."""
    if collected.multi_label:
        return collected.truth[:, label] > 0
    return collected.truth == label


def _compute_figures(collected: Collected, found: np.ndarray) -> list[dict[str, Any]]:
    """Returns support, precision, recall and F1 of each class, weighted."""
    weights = collected.weights.astype(np.float64)
    truth, classes = collected.truth, len(collected.classes)
    if collected.multi_label:
        sums = [weights @ part for part in (truth * found, truth, found)]
    else:
        sums = [
            np.bincount(labels, weights * counted, minlength=classes)
            for labels, counted in ((truth, truth == found), (truth, 1), (found, 1))
        ]
    hits, labels, predicted = sums
    figures: list[dict[str, Any]] = [
        {
            "support": float(labels[i]),
            "precision": _divide(hits[i], predicted[i]),
            "recall": _divide(hits[i], labels[i]),
            "f1": _divide(2 * hits[i], labels[i] + predicted[i]),
        }
        for i in range(classes)
    ]
    if collected.multi_label:
        probabilities = collected.probabilities()
        for i, row in enumerate(figures):
            average = None
            if row["support"] > 0:
                average = sk_metrics.average_precision_score(
                    truth[:, i] > 0, probabilities[:, i], sample_weight=weights
                )
            row["average_precision"] = None if average is None else float(average)
    return figures


def _divide(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else 0.0


def _average(values: np.ndarray, weights: np.ndarray) -> float | None:
    return float(np.average(values, weights=weights)) if len(values) else None


def _measure_gain(
    collected: Collected, hits: dict[str, np.ndarray], members: np.ndarray, label: int
) -> dict[str, Any] | None:
    """Returns what the text brings to the rows of a label."""
    if IMAGE not in hits or not len(members):
        return None
    both, image = (_select(hits[v], members, label) for v in (BOTH, IMAGE))
    mean, low, high = bootstrap.bootstrap_mean(
        both.astype(float) - image.astype(float),
        collected.groups[members],
        samples=_SAMPLES,
        weights=collected.weights[members],
    )
    return {"difference": mean / 100, "interval": [low / 100, high / 100]}
