"""The report's first table: image, text and both, with intervals and paired tests."""

from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation import bootstrap, label_set_metrics, metrics, paired
from tf_multimodal.evaluation.report.collect import BOTH, IMAGE, TEXT, Collected

_KEYS = ("accuracy", "macro_f1", "top3_accuracy", "ece", "loss")
_INPUTS = {"image": "image", "text": "text", "image_text": "image and text"}
_VARIANTS = {IMAGE: "image (text masked)", TEXT: "text (image masked)"}
_MASKED = (
    "A masked input is replaced by the embedding that the model learned for it: what "
    "one model does without an input, not what a model trained without it would do. "
    "Give --image_run and --text_run for those."
)
_WEIGHTED = "Rows count by their weights; McNemar's test counts rows."


def make_headline(collected: Collected, alone: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the section `headline`.

    Args:
        collected: the split.
        alone: float32 [n, c], probabilities by modality, `image` or `text`, of other
            runs that were trained on it alone, for the same rows.

    Returns:
        `rows`: name, metrics and 95 % intervals of each input. `gains`: of both over
        the image and over the better single input, with the paired interval, by group,
        McNemar's test and, by group, the sign test. Shares, not percentages.
    """
    table = {_INPUTS[collected.modalities]: collected.probabilities()}
    singles: dict[str, np.ndarray] = {}
    if collected.modalities == "image_text":
        masked = {_VARIANTS[v]: collected.probabilities(v) for v in (IMAGE, TEXT)}
        trained = {f"{name} (a run of its own)": p for name, p in alone.items()}
        table |= masked | trained
        # The fair rival of an input is the model that was trained on it alone.
        singles = {v: collected.probabilities(v) for v in (IMAGE, TEXT)} | alone
    gains = []
    if singles:
        correct = {name: _find_correct(collected, p) for name, p in singles.items()}
        better = max(
            correct,
            key=lambda name: np.average(correct[name], weights=_weigh(collected)),
        )
        gains = [
            _make_gain(collected, _name(name, alone), correct[name])
            for name in dict.fromkeys((IMAGE, better))
        ]
    return {
        "rows": [_make_row(collected, name, p) for name, p in table.items()],
        "gains": gains,
        "notes": [
            *([_MASKED] if singles and len(alone) < 2 else []),
            *([_WEIGHTED] if len(set(collected.weights.tolist())) > 1 else []),
        ],
        "examples": len(collected),
        "split": collected.split,
        "source": collected.source.name,
        "multi_label": collected.multi_label,
        "modalities": collected.modalities,
        "statuses": {s: int((collected.status == s).sum()) for s in spec.STATUSES},
    }


def _name(modality: str, alone: dict[str, np.ndarray]) -> str:
    return (
        f"{modality} (a run of its own)" if modality in alone else _VARIANTS[modality]
    )


def _weigh(collected: Collected) -> np.ndarray:
    return collected.weights.astype(np.float64)


def _find_correct(collected: Collected, probabilities: np.ndarray) -> np.ndarray:
    if collected.multi_label:
        return label_set_metrics.find_correct(collected.truth, probabilities)
    return probabilities.argmax(axis=1) == collected.truth


def _make_gain(collected: Collected, name: str, correct: np.ndarray) -> dict[str, Any]:
    ours = collected.correct(BOTH)
    difference, low, high = bootstrap.bootstrap_mean(
        ours.astype(np.float64) - correct,
        collected.groups,
        weights=_weigh(collected),
    )
    return {
        "of": _INPUTS["image_text"],
        "over": name,
        "difference": difference / 100,
        "interval": [low / 100, high / 100],
        "mcnemar": paired.mcnemar(ours, correct),
        "sign_test": paired.sign_test(ours, correct, collected.groups),
    }


def _make_row(
    collected: Collected, name: str, probabilities: np.ndarray
) -> dict[str, Any]:
    module: Any = label_set_metrics if collected.multi_label else metrics
    weights = _weigh(collected)
    values = module.compute_metrics(collected.truth, probabilities, weights)
    correct = _find_correct(collected, probabilities)
    intervals = {
        "accuracy": _bootstrap_accuracy(collected, correct),
        "macro_f1": _bootstrap_macro_f1(collected, probabilities),
    }
    if "top3_accuracy" in values:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
        among = (best == collected.truth[:, None]).any(axis=1)
        intervals["top3_accuracy"] = _bootstrap_accuracy(collected, among)
    return {
        "name": name,
        "metrics": {key: values[key] for key in _KEYS if key in values},
        "intervals": intervals,
    }


def _bootstrap_accuracy(collected: Collected, correct: np.ndarray) -> list[float]:
    _, low, high = bootstrap.bootstrap_mean(
        correct, collected.groups, weights=_weigh(collected)
    )
    return [low / 100, high / 100]


def _bootstrap_macro_f1(collected: Collected, probabilities: np.ndarray) -> list[float]:
    if collected.multi_label:
        truth = np.asarray(collected.truth, np.float64)
        predicted = (probabilities >= spec.THRESHOLD).astype(np.float64)
    else:
        every = np.eye(probabilities.shape[1])
        truth = every[collected.truth]
        predicted = every[probabilities.argmax(axis=1)]
    classes, weights = truth.shape[1], _weigh(collected)[:, None]
    sums = np.concatenate([truth * predicted, truth + predicted], axis=1) * weights

    def compute(drawn: np.ndarray) -> np.ndarray:
        hits, both = drawn[:, :classes], drawn[:, classes:]
        occurs = both > 0
        f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=occurs)
        return f1.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)

    return list(bootstrap.bootstrap_statistic(sums, collected.groups, compute))
