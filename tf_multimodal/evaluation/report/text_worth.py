"""What the text brings, and how much of it the classes' own words account for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_multimodal.data import labels as labels_lib
from tf_multimodal.evaluation import bootstrap, label_set_metrics, paired
from tf_multimodal.evaluation.report import presence
from tf_multimodal.evaluation.report.collect import (
    BOTH,
    IMAGE,
    TEXT,
    WORDS_MASKED,
    Collected,
)

_LEVEL = 0.05
_OTHER = {IMAGE: TEXT, TEXT: IMAGE}
_NEEDS_BOTH = (
    "What the text brings can be told of a model that reads image and text. This one "
    "reads the {} alone."
)
_MASKED = (
    "One input alone is the model with the other one masked. A model that is trained "
    "on one input alone may do better, and the gain over it be smaller."
)
_OWN_WORDS = (
    "The classes' own words are those of the class names, in singular and plural; all "
    "of them are blanked in every text. Texts in other languages name a class in words "
    "that this does not find. The model was trained with them in, so that a model "
    "trained without them may do better than this one does."
)


def make_text_worth(
    collected: Collected, alone: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Returns the section `text_worth`: the gain of both inputs over one.

    Intervals are 95 % bootstrap intervals by group, paired: each draw has all variants
    of the same rows. The share of the gain that the classes' own words account for is
    the accuracy that is lost where they are blanked, over the gain; both are of the
    same draw (the ratio's percentile interval), and it is not told where the gain is
    not, as the ratio then has no bound (Fieller 1954).

    A gain, or a loss, is told where its interval does not hold 0 and the sign test by
    group, to the same side, has p < 0.05: few rows that differ, all to one side, give
    an interval without 0, as hardly a draw has none of them.

    Args:
        collected: the split.
        alone: float32 [n, c], probabilities by modality, `image` or `text`, of runs
            that were trained on it alone, for the same rows; they take the place of
            the model with the other input masked.
    """
    if collected.modalities != "image_text":
        return {"not_available": _NEEDS_BOTH.format(collected.modalities)}
    alone = alone or {}
    singles = {v: _find_correct(collected, v, alone) for v in (IMAGE, TEXT)}
    better = max(singles, key=lambda name: _average(collected, singles[name]))
    over_image = _compare(collected, IMAGE, singles[IMAGE], alone)
    over_better = _compare(collected, better, singles[better], alone)
    words = _compare_masked(collected, singles[IMAGE])
    own_words = _measure_own_words(collected, singles[IMAGE], over_image)
    accuracy = _average(collected, collected.correct(BOTH))
    return {
        "sentence": _make_sentence(accuracy, over_image, over_better, own_words),
        "both": accuracy,
        "over_image": over_image,
        "over_better": over_better,
        "words_masked": words,
        "own_words": own_words,
        "notes": [*([_MASKED] if len(alone) < len(singles) else []), _OWN_WORDS],
    }


def _find_correct(
    collected: Collected, modality: str, alone: Mapping[str, np.ndarray]
) -> np.ndarray:
    if modality not in alone:
        return collected.correct(modality)
    if collected.multi_label:
        return label_set_metrics.find_correct(collected.truth, alone[modality])
    return alone[modality].argmax(axis=1) == collected.truth


def _average(collected: Collected, correct: np.ndarray) -> float:
    return float(np.average(correct, weights=collected.weights.astype(np.float64)))


def _difference(
    collected: Collected, correct: np.ndarray, other: np.ndarray
) -> tuple[float, list[float]]:
    """Returns how much more often the first is right, and the paired interval."""
    difference, low, high = bootstrap.bootstrap_mean(
        correct.astype(np.float64) - other,
        collected.groups,
        weights=collected.weights.astype(np.float64),
    )
    return difference / 100, [low / 100, high / 100]


def _compare(
    collected: Collected,
    modality: str,
    correct: np.ndarray,
    alone: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    both, counted = collected.correct(BOTH), collected.weights > 0
    difference, interval = _difference(collected, both, correct)
    how = "a run of its own" if modality in alone else f"{_OTHER[modality]} masked"
    return {
        "name": f"the {modality} alone ({how})",
        "modality": modality,
        "accuracy": _average(collected, correct),
        "difference": difference,
        "interval": interval,
        "sign_test": paired.sign_test(
            both[counted], correct[counted], collected.groups[counted]
        ),
    }


def _judge(gain: Mapping[str, Any]) -> int:
    """Returns 1 for a gain, -1 for a loss, 0 where it cannot be told."""
    (low, high), test = gain["interval"], gain["sign_test"]
    if test["p_value"] >= _LEVEL:
        return 0
    if low > 0 and test["only_a"] > test["only_b"]:
        return 1
    return -1 if high < 0 and test["only_a"] < test["only_b"] else 0


def _compare_masked(collected: Collected, image: np.ndarray) -> dict[str, Any]:
    """Returns the gain over the image that is left without the classes' words."""
    correct = collected.correct(WORDS_MASKED)
    difference, interval = _difference(collected, correct, image)
    mask = labels_lib.make_label_masker(collected.classes)
    texts = presence.get_texts(collected)
    changed = np.array([mask(text) != " ".join(text.split()) for text in texts], bool)
    return {
        "accuracy": _average(collected, correct),
        "difference": difference,
        "interval": interval,
        "rows_with_own_words": _average(collected, changed),
    }


def _measure_own_words(
    collected: Collected, image: np.ndarray, gain: Mapping[str, Any]
) -> dict[str, Any]:
    both, masked = collected.correct(BOTH), collected.correct(WORDS_MASKED)
    loss, loss_interval = _difference(collected, both, masked)
    result = {
        "share": None,
        "interval": None,
        "loss": loss,
        "loss_interval": loss_interval,
        "told": False,
        "why": "",
    }
    verdict = _judge(gain)
    if verdict > 0:
        counted = collected.weights > 0  # others are not there: no draw is to have them
        lost = both.astype(np.float64) - masked
        gained = both.astype(np.float64) - image
        sums = np.stack([lost, gained], axis=1) * collected.weights[:, None]
        interval = bootstrap.bootstrap_statistic(
            sums[counted], collected.groups[counted], _divide
        )
        share = loss / gain["difference"]
        return {**result, "share": share, "interval": list(interval), "told": True}
    low, high = gain["interval"]
    why = "There is no gain over the image"
    if low <= 0 <= high:
        why = "The gain over the image may be 0 (its interval holds it)"
    elif not verdict:
        test = f"sign test by group: p = {gain['sign_test']['p_value']:.3f}"
        why = f"The gain over the image may be 0 ({test})"
    return {
        **result,
        "why": f"{why}, so that it cannot be told what share of it is due to the "
        "classes' own words.",
    }


def _divide(drawn: np.ndarray) -> np.ndarray:
    lost, gained = drawn.T
    return np.divide(lost, gained, out=np.full_like(lost, np.nan), where=gained > 0)


def _make_sentence(
    accuracy: float,
    over_image: Mapping[str, Any],
    over_better: Mapping[str, Any],
    own_words: Mapping[str, Any],
) -> str:
    """Returns the answer to "should I pay for text?"."""
    verdict = _judge(over_image)
    rates = (
        f"the model is right in {_percent(accuracy)} of the rows with image and text, "
        f"in {_percent(over_image['accuracy'])} with {over_image['name']}, "
        f"{_points(over_image)}"
    )
    if not verdict:
        return f"It cannot be told whether the text pays: {rates}."
    if verdict < 0:
        return f"No, the text harms: {rates}."
    share = "; what the classes' own words account for cannot be told"
    if own_words["told"]:
        ends = " to ".join(_percent(end) for end in own_words["interval"])
        share = (
            f"; the classes' own words account for {_percent(own_words['share'])} of "
            f"that gain (95 % interval {ends})"
        )
    rival = ""
    if over_better["modality"] == TEXT:
        rival = (
            f"; {over_better['name']} is right in {_percent(over_better['accuracy'])}, "
            f"so that {_judge_image(over_better)}"
        )
    return f"Yes, the text pays: {rates}{share}{rival}."


def _judge_image(over_text: Mapping[str, Any]) -> str:
    verdict = _judge(over_text)
    if verdict > 0:
        return f"the image adds to it, {_points(over_text)}"
    if verdict < 0:
        return f"the image harms it, {_points(over_text)}"
    return f"it cannot be told whether the image adds to it, {_points(over_text)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(gain: Mapping[str, Any]) -> str:
    low, high = gain["interval"]
    return (
        f"{100 * gain['difference']:+.1f} points (95 % interval {100 * low:+.1f} to "
        f"{100 * high:+.1f})"
    )
