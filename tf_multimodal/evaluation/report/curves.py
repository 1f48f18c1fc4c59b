"""How the run learned: its history, thinned to what a picture can show."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_POINTS = 400
KEYS = (  # of a line of metrics.jsonl
    "step",
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "val_top3_accuracy",
    "learning_rate",
)


def make_curves(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the section `curves`.

    Args:
        history: lines of the run's metrics.jsonl, in order.

    Returns:
        `points`: at most 400 dicts of those of `KEYS` that a line has, evenly spaced
        and the last one always among them; `recorded`: how many lines there were;
        `best`: the point with the lowest validation loss, or None.
        `not_available` instead where there is no history.
    """
    lines = [_keep_numbers(line) for line in history]
    if not lines:
        return {"not_available": "The run has no metrics.jsonl."}
    step = math.ceil(len(lines) / MAX_POINTS)
    measured = [line for line in lines if "val_loss" in line]
    return {
        # Counted from the end, so that the last line stays.
        "points": lines[::-1][::step][::-1],
        "recorded": len(lines),
        "best": min(measured, key=lambda line: line["val_loss"], default=None),
    }


def _keep_numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns the known keys of a line that hold a finite number."""
    return {
        key: line[key]
        for key in KEYS
        if isinstance(line.get(key), int | float) and math.isfinite(line[key])
    }
