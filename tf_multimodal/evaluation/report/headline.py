"""The report's first table: image, text and both, with intervals and paired tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation import bootstrap
from tf_multimodal.evaluation.comparison import compare_models
from tf_multimodal.evaluation.report.collect import (
    BOTH,
    IMAGE,
    TEXT,
    TEXT_WORDS_MASKED,
    WORDS_MASKED,
    Collected,
)

_KEYS = (
    *("accuracy", "macro_f1", "top3_accuracy", "ece", "loss"),
    *("micro_f1", "mean_average_precision"),  # of label sets
)
_INPUTS = {"image": "image", "text": "text", "image_text": "image and text"}
_VARIANTS = {IMAGE: "image (text masked)", TEXT: "text (image masked)"}
_TAKEN_AWAY = {  # from the model's own inputs, in the order of the table
    BOTH: "image and text",
    IMAGE: "text masked",
    TEXT: "image masked",
    WORDS_MASKED: "the classes' own words blanked",
    TEXT_WORDS_MASKED: "the classes' own words blanked, image masked",
}
_MASKED = (
    "A masked input is replaced by the embedding that the model learned for it: what "
    "one model does without an input, not what a model trained without it would do. "
    "Give --image_run and --text_run for those."
)
_WEIGHTED = (
    "Rows count by their weights; McNemar's test and the sign test do without them."
)


def make_headline(
    collected: Collected, alone: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the section `headline`.

    Args:
        collected: the split.
        alone: float32 [n, c], probabilities by modality, `image` or `text`, of other
            runs that were trained on it alone, for the same rows.

    Returns:
        `rows`: name, metrics and 95 % intervals of each input. `gains`: of both over
        the image and over the better single input, with the paired interval, by group,
        McNemar's test and, by group, the sign test. `masked`: of a model of two
        modalities, the same model with something taken away: `name`, `accuracy`,
        `interval`, `loss_of_accuracy` and `loss_interval` (paired; None of the first,
        from which nothing is taken). `counted` and `groups`: rows of a weight above 0,
        and their groups. Shares, not percentages.
    """
    both = _INPUTS[collected.modalities]
    table: dict[str, np.ndarray] = {}
    rivals: list[str] = []
    if collected.modalities == "image_text":
        table = {_VARIANTS[v]: collected.probabilities(v) for v in (IMAGE, TEXT)}
        table |= {name_input(modality, alone): p for modality, p in alone.items()}
        # The fair rival of both is the model that was trained on one input alone.
        rivals = [name_input(modality, alone) for modality in (IMAGE, TEXT)]
    table[both] = collected.probabilities()  # last: pairs are of a later one
    compared = compare_models(
        collected.truth, table, collected.groups, collected.weights
    )
    rows = compared["models"][-1:] + compared["models"][:-1]
    accuracies = {row["name"]: row["metrics"]["accuracy"] for row in rows}
    better = sorted(rivals, key=lambda name: -accuracies[name])[:1]
    over = dict.fromkeys(rivals[:1] + better)
    gains = {pair["over"]: pair for pair in compared["pairs"] if pair["of"] == both}
    return {
        "rows": [
            {
                **row,
                "metrics": {k: row["metrics"][k] for k in _KEYS if k in row["metrics"]},
            }
            for row in rows
        ],
        "gains": [_make_gain(gains[name]) for name in over],
        "masked": _measure_masked(collected),
        "notes": [
            *([_MASKED] if rivals and len(alone) < 2 else []),
            *([_WEIGHTED] if len(set(collected.weights.tolist())) > 1 else []),
        ],
        "examples": len(collected),
        "counted": int((collected.weights > 0).sum()),
        "groups": len(set(collected.groups[collected.weights > 0].tolist())),
        "split": collected.split,
        "source": collected.source.name,
        "multi_label": collected.multi_label,
        "modalities": collected.modalities,
        "statuses": {s: int((collected.status == s).sum()) for s in spec.STATUSES},
    }


def name_input(modality: str, alone: Mapping[str, np.ndarray]) -> str:
    """Returns what stands for a modality alone: another run, or a masked input."""
    own_run = f"{modality} (a run of its own)"
    return own_run if modality in alone else _VARIANTS[modality]


def _make_gain(pair: dict[str, Any]) -> dict[str, Any]:
    return {
        "of": pair["of"],
        "over": pair["over"],
        **pair["accuracy"],
        "mcnemar": pair["mcnemar"],
        "sign_test": pair["sign_test"],
    }


def _measure_masked(collected: Collected) -> list[dict[str, Any]]:
    """Returns what the model itself loses with each thing that is taken away."""
    if collected.modalities != "image_text":
        return []

    def average(values: np.ndarray) -> tuple[float, list[float]]:
        mean, low, high = bootstrap.bootstrap_mean(
            values, collected.groups, weights=collected.weights.astype(np.float64)
        )
        return mean / 100, [low / 100, high / 100]

    whole = collected.correct(BOTH).astype(np.float64)
    rows = []
    for variant, name in _TAKEN_AWAY.items():
        if variant not in collected.logits:
            continue
        correct = collected.correct(variant)
        accuracy, interval = average(correct)
        loss, loss_interval = average(whole - correct)
        is_whole = variant == BOTH
        rows.append(
            {
                "name": name,
                "accuracy": accuracy,
                "interval": interval,
                "loss_of_accuracy": None if is_whole else loss,
                "loss_interval": None if is_whole else loss_interval,
            }
        )
    return rows
