"""The classes one by one, and what the text brings to each."""

from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation import bootstrap, label_set_metrics, metrics
from tf_multimodal.evaluation.report.collect import BOTH, IMAGE, Collected

MAX_CLASSES = 1_000  # rows of the table
_SAMPLES = 2_000  # of the bootstrap: there is one for each class


def make_classes(collected: Collected) -> dict[str, Any]:
    """Returns the section `classes`.

    Args:
        collected: the split.

    Returns:
        `rows`: of each class `class`, `support` (rows with the label), `precision`,
        `recall`, `f1`, with label sets `average_precision`; `accuracy`: by variant,
        the weighted share of the label's rows in which the class is predicted, None
        without such rows; `gain`: of both over the image alone, `difference` and
        `interval` (95 %, paired, drawn by group), or None. `names`: of all classes;
        beyond 1,000 the rows are those of the most frequent labels.
    """
    rules = label_set_metrics if collected.multi_label else metrics
    figures = rules.compute_per_class(collected.truth, collected.probabilities())
    hits = {variant: _find_hits(collected, variant) for variant in collected.logits}
    support = np.array([row["support"] for row in figures])
    shown = np.sort(np.argsort(-support, kind="stable")[:MAX_CLASSES])
    rows = []
    for i in shown.tolist():
        members = np.flatnonzero(_has_label(collected, i) & (collected.weights > 0))
        accuracy = {
            variant: _average(found[members] == i, collected.weights[members])
            if found.ndim == 1
            else _average(found[members, i], collected.weights[members])
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
    return {"rows": rows, "names": list(collected.classes)}


def _find_hits(collected: Collected, variant: str) -> np.ndarray:
    """Returns predicted classes int [n], or, of label sets, bool [n, c]."""
    if collected.multi_label:
        return collected.probabilities(variant) >= spec.THRESHOLD
    return collected.logits[variant].argmax(axis=1)


def _has_label(collected: Collected, label: int) -> np.ndarray:
    """Returns bool [n]."""
    if collected.multi_label:
        return collected.truth[:, label] > 0
    return collected.truth == label


def _average(values: np.ndarray, weights: np.ndarray) -> float | None:
    return float(np.average(values, weights=weights)) if len(values) else None


def _measure_gain(
    collected: Collected, hits: dict[str, np.ndarray], members: np.ndarray, label: int
) -> dict[str, Any] | None:
    """Returns what the text brings to the rows of a label."""
    if IMAGE not in hits or not len(members):
        return None
    both, image = (
        found[members] == label if found.ndim == 1 else found[members, label]
        for found in (hits[BOTH], hits[IMAGE])
    )
    mean, low, high = bootstrap.bootstrap_mean(
        both.astype(float) - image.astype(float),
        collected.groups[members],
        samples=_SAMPLES,
        weights=collected.weights[members],
    )
    return {"difference": mean / 100, "interval": [low / 100, high / 100]}
