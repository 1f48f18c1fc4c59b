"""Several models on the same rows: metrics with intervals, and paired tests."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from tf_multimodal.data import spec
from tf_multimodal.evaluation import bootstrap, label_set_metrics, metrics, paired

_SMALLEST_PROBABILITY = 1e-12  # keeps the loss finite where a model is sure


def compare_models(
    truth: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    groups: np.ndarray,
    weights: np.ndarray,
) -> dict[str, Any]:
    """Returns what each model is worth, and how each pair differs.

    Intervals are of 95 %, drawn by group (see `bootstrap`). The calibration error has
    none: it is a sum of distances, which drawing with replacement makes larger.

    Args:
        truth: int [n]; multi-label [n, c] of 0 and 1.
        probabilities: float [n, c] by model; at least two.
        groups: [n], names or numbers; rows of a group are near-duplicates.
        weights: float [n], at least 0, not all 0. A row of weight 0 is as if it were
            not there.

    Returns:
        `models`: of each `name`, `metrics` and `intervals`. `pairs`, of every two, the
        later one over the earlier: `of`, `over`; `accuracy`, `macro_f1` and `loss`,
        each `difference` and `interval`, paired; `mcnemar` and `sign_test` (see
        `paired`; a is `of`); and `p_holm`, McNemar's p-value times what Holm's
        step-down method (1979, Scandinavian Journal of Statistics 6, 65-70) asks for
        with so many pairs.
    """
    counted = np.asarray(weights) > 0
    truth, groups = np.asarray(truth)[counted], np.asarray(groups)[counted]
    weights = np.asarray(weights, np.float64)[counted]
    models = {
        name: _Model(truth, np.asarray(values, np.float64)[counted], weights)
        for name, values in probabilities.items()
    }
    pairs = [
        _compare(models, of, over, groups, weights)
        for over, of in itertools.combinations(models, 2)
    ]
    adjusted = adjust_holm([pair["mcnemar"]["p_value"] for pair in pairs])
    return {
        "models": [
            {
                "name": name,
                "metrics": model.metrics,
                "intervals": model.compute_intervals(groups, weights),
            }
            for name, model in models.items()
        ],
        "pairs": [
            {**pair, "p_holm": p} for pair, p in zip(pairs, adjusted, strict=True)
        ],
    }


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number, by Holm's step-down method."""
    order = np.argsort(p_values, kind="stable")
    factors = len(order) - np.arange(len(order))
    stepped = np.maximum.accumulate(np.asarray(p_values, float)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


class _Model:
    """What a model's answers to each row add up to."""

    def __init__(
        self, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
    ) -> None:
        module: Any = label_set_metrics if truth.ndim == 2 else metrics
        self.metrics = module.compute_metrics(truth, probabilities, weights)
        self.means: dict[str, np.ndarray] = {}  # a value a row, whose mean is a metric
        if truth.ndim == 2:
            labels, predicted = truth > 0, probabilities >= spec.THRESHOLD
            right = np.where(labels, probabilities, 1 - probabilities)
            self.correct = label_set_metrics.find_correct(truth, probabilities)
        else:
            every = np.eye(probabilities.shape[1], dtype=bool)
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
            labels, predicted = every[truth], every[probabilities.argmax(axis=1)]
            right = probabilities[np.arange(len(truth)), truth][:, None]
            self.correct = probabilities.argmax(axis=1) == truth
            self.means["top3_accuracy"] = (best == truth[:, None]).any(axis=1)
        losses = -np.log(np.maximum(right, _SMALLEST_PROBABILITY)).mean(axis=1)
        self.means |= {"accuracy": self.correct, "loss": losses}
        # Of a set of rows the F1 scores are ratios of sums of these.
        hits, both = sparse.csr_array(labels & predicted), sparse.csr_array(labels)
        both = both.astype(np.float64) + sparse.csr_array(predicted)
        self.counts = sparse.diags_array(weights) @ sparse.hstack([hits, both])

    def compute_intervals(
        self, groups: np.ndarray, weights: np.ndarray
    ) -> dict[str, list[float]]:
        """Returns the 95 % interval of each metric that has one."""
        intervals = {}
        for name, values in self.means.items():
            _, low, high = bootstrap.bootstrap_mean(values, groups, weights=weights)
            intervals[name] = [low / 100, high / 100]
        ratios: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "macro_f1": _compute_macro_f1,
            "micro_f1": _compute_micro_f1,
        }
        for name in ratios.keys() & self.metrics.keys():
            interval = bootstrap.bootstrap_statistic(self.counts, groups, ratios[name])
            intervals[name] = list(interval)
        return intervals


def _compare(
    models: Mapping[str, _Model],
    of: str,
    over: str,
    groups: np.ndarray,
    weights: np.ndarray,
) -> dict[str, Any]:
    a, b = models[of], models[over]
    pair: dict[str, Any] = {"of": of, "over": over}
    for name in ("accuracy", "loss"):
        difference = a.means[name].astype(np.float64) - b.means[name]
        mean, low, high = bootstrap.bootstrap_mean(difference, groups, weights=weights)
        pair[name] = {"difference": mean / 100, "interval": [low / 100, high / 100]}
    split = a.counts.shape[1]

    def compute_difference(sums: np.ndarray) -> np.ndarray:
        return _compute_macro_f1(sums[:, :split]) - _compute_macro_f1(sums[:, split:])

    counts = sparse.hstack([a.counts, b.counts])
    interval = bootstrap.bootstrap_statistic(counts, groups, compute_difference)
    pair["macro_f1"] = {
        "difference": a.metrics["macro_f1"] - b.metrics["macro_f1"],
        "interval": list(interval),
    }
    pair["mcnemar"] = paired.mcnemar(a.correct, b.correct)
    pair["sign_test"] = paired.sign_test(a.correct, b.correct, groups)
    return pair


def _compute_macro_f1(sums: np.ndarray) -> np.ndarray:
    """Returns the mean F1 score of the classes that occur, [s] of [s, 2 classes]."""
    hits, occurring = np.split(sums, 2, axis=1)
    occurs = occurring > 0
    f1_scores = np.divide(2 * hits, occurring, out=np.zeros_like(hits), where=occurs)
    return f1_scores.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def _compute_micro_f1(sums: np.ndarray) -> np.ndarray:
    hits, occurring = (part.sum(axis=1) for part in np.split(sums, 2, axis=1))
    return np.divide(2 * hits, occurring, out=np.zeros_like(hits), where=occurring > 0)
