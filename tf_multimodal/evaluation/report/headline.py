"""The report's first table: image, text and both, with intervals and paired tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation.comparison import compare_models
from tf_multimodal.evaluation.report.collect import IMAGE, TEXT, Collected

_KEYS = ("accuracy", "macro_f1", "top3_accuracy", "ece", "loss")
_INPUTS = {"image": "image", "text": "text", "image_text": "image and text"}
_VARIANTS = {IMAGE: "image (text masked)", TEXT: "text (image masked)"}
_MASKED = (
    "A masked input is replaced by the embedding that the model learned for it: what "
    "one model does without an input, not what a model trained without it would do. "
    "Give --image_run and --text_run for those."
)
_WEIGHTED = "Rows count by their weights; McNemar's test counts rows."


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
        McNemar's test and, by group, the sign test. Shares, not percentages.
    """
    both = _INPUTS[collected.modalities]
    table: dict[str, np.ndarray] = {}
    rivals: list[str] = []
    if collected.modalities == "image_text":
        table = {_VARIANTS[v]: collected.probabilities(v) for v in (IMAGE, TEXT)}
        table |= {_name(modality, alone): p for modality, p in alone.items()}
        # The fair rival of both is the model that was trained on one input alone.
        rivals = [_name(modality, alone) for modality in (IMAGE, TEXT)]
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
        "notes": [
            *([_MASKED] if rivals and len(alone) < 2 else []),
            *([_WEIGHTED] if len(set(collected.weights.tolist())) > 1 else []),
        ],
        "examples": len(collected),
        "split": collected.split,
        "source": collected.source.name,
        "multi_label": collected.multi_label,
        "modalities": collected.modalities,
        "statuses": {s: int((collected.status == s).sum()) for s in spec.STATUSES},
    }


def _name(modality: str, alone: Mapping[str, np.ndarray]) -> str:
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
