"""Metrics of predictions for rows of a source, of one label a row or of several."""

from typing import Any

import numpy as np

from tf_multimodal.data.source import Source
from tf_multimodal.evaluation import label_set_metrics, metrics
from tf_multimodal.inference.predictions import Predictions


def compute_metrics(source: Source, predictions: Predictions) -> dict[str, Any]:
    """Returns the headline metrics of predictions, weighted by the rows' weights.

    Args:
        source: the rows, with labels.
        predictions: of some of them.

    Returns:
        What the `compute_metrics` of `metrics` or, of label sets, of
        `label_set_metrics` returns.

    Raises:
        ValueError: see there.
    """
    module = metrics if source.label_sets is None else label_set_metrics
    truth = source.get_truth(predictions.index)
    weights = source.weights[predictions.index]
    return module.compute_metrics(truth, predictions.probabilities, weights)


def compute_per_class(source: Source, predictions: Predictions) -> list[dict[str, Any]]:
    """Returns the figures of every class; counts, whatever the rows' weights."""
    module: Any = metrics if source.label_sets is None else label_set_metrics
    truth = source.get_truth(predictions.index)
    return module.compute_per_class(truth, predictions.probabilities)


def find_correct(source: Source, predictions: Predictions) -> np.ndarray:
    """Returns, bool [n], which rows are right; of label sets, in every class."""
    truth = source.get_truth(predictions.index)
    if source.label_sets is None:
        return predictions.labels == truth
    return label_set_metrics.find_correct(truth, predictions.probabilities)


def compute_confusion(
    source: Source, predictions: Predictions
) -> list[list[int]] | None:
    """Returns counts, [label][prediction]; None of label sets, which have no pairs."""
    if source.label_sets is not None:
        return None
    truth = source.get_truth(predictions.index)
    return metrics.compute_confusion(truth, predictions.probabilities).tolist()
