"""The report's explanations: what a few predictions rest on, side by side."""

import base64
import hashlib
from typing import Any

import numpy as np

from tf_multimodal.evaluation.report.collect import Collected, make_jpeg
from tf_multimodal.inference.attributions.explanation import Explanation, explain_rows
from tf_multimodal.inference.attributions.picture import make_overlay

_PICTURE_PX = 160


def make_explanations(collected: Collected, count: int = 12) -> dict[str, Any]:
    """Returns the section `explanations`: right and wrong predictions in equal parts.

    Args:
        collected: the split.
        count: number of rows, fewer where there are fewer. The wrong ones are the most
            confident; chance, by a hash of the ids, chooses the right ones.

    Returns:
        `rows`: position, target (the predicted class), probability, the picture and
        its heat map as JPEGs in base64, `words` with scores, shares of the modalities
        and the relative gap of the attributions' sum.
    """
    positions = choose_positions(collected, count)
    try:
        explained = explain_rows(
            collected.predictor, collected.source, collected.index[positions]
        )
    except ValueError as error:  # the rest of the report needs none
        return {"not_available": str(error)}
    rows = [
        _make_row(int(position), explanation)
        for position, explanation in zip(positions, explained, strict=True)
    ]
    return {"rows": rows}


def choose_positions(collected: Collected, count: int) -> np.ndarray:
    """Returns positions of rows to explain, right ones first, int64."""
    correct = collected.correct()
    wrong, right = np.flatnonzero(~correct), np.flatnonzero(correct)
    confidence = collected.probabilities().max(axis=1)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    ids = collected.source.ids[collected.index]
    right = np.array(sorted(right.tolist(), key=lambda i: _digest(ids[i])), np.int64)
    num_wrong = min(len(wrong), max(count // 2, count - len(right)))
    return np.concatenate([right[: count - num_wrong], wrong[:num_wrong]])


def _digest(name: str) -> str:
    return hashlib.sha256(f"explanations {name}".encode()).hexdigest()


def _make_row(position: int, explanation: Explanation) -> dict[str, Any]:
    picture, heat_map = explanation.picture, explanation.heat_map
    overlay = None
    if picture is not None and heat_map is not None:
        overlay = make_overlay(picture, heat_map)
    return {
        "position": position,
        "target": int(explanation.target),
        "probability": float(explanation.probabilities[explanation.target]),
        "picture_jpeg": _encode(picture),
        "heat_map_jpeg": _encode(overlay),
        "words": [[word.text, float(word.score)] for word in explanation.words],
        "image_share": _to_float(explanation.image_share),
        "text_share": _to_float(explanation.text_share),
        "completeness_gap": _to_float(explanation.completeness_gap),
    }


def _to_float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _encode(pixels: np.ndarray | None) -> str | None:
    if pixels is None:
        return None
    return base64.b64encode(make_jpeg(pixels, _PICTURE_PX)).decode("ascii")
