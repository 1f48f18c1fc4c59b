"""Asks a served model for damaged rows among good ones, and checks its answers."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.serving.fuzz_cases import Case, make_cases

# What the other signatures take; of their answers only the values are checked.
OTHERS = {
    "features": ("image_bytes", "text"),
    "preprocess": ("image_bytes", "text"),
    "image_only": ("image_bytes",),
    "text_only": ("text",),
}
TOLERANCE = 1e-6  # of a probability, between a row in a batch and the row alone
MAX_BATCH = 16


@dataclasses.dataclass
class Report:
    """What became of the rows.

    Attributes:
        counts: rows by kind of damage and status.
        largest_difference: between a row's probabilities in a batch and alone.
        failures: sentences; empty when the model passed.
    """

    counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    largest_difference: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)


def fuzz(signatures: Mapping[str, Any], requests: int, seed: int = 0) -> Report:
    """Asks a model in batches of mixed rows, and again row by row.

    Args:
        signatures: of a loaded SavedModel that reads both image and text and gives
            a row one label; `serving_default`, and those of `OTHERS` that are there.
        requests: number of rows, a third of them good.
        seed: of the damage and of the batches.
    """
    draw = np.random.default_rng(seed)
    cases, report = make_cases(draw), Report()
    while requests > 0:
        size = min(requests, int(draw.integers(1, MAX_BATCH + 1)))
        batch = list(itertools.islice(cases, size))
        _check_batch(signatures["serving_default"], batch, report)
        _check_others(signatures, batch, report)
        requests -= size
    return report


def describe(report: Report) -> str:
    """Returns the table of damages and statuses, without a newline at its end."""
    found = {status for counts in report.counts.values() for status in counts}
    statuses = [status for status in spec.STATUSES if status in found]
    lines = [" ".join([f"{'damage':24}", *(f"{name:>18}" for name in statuses)])]
    for kind, counts in sorted(report.counts.items()):
        cells = (f"{counts.get(name, 0):>18}" for name in statuses)
        lines.append(" ".join([f"{kind:24}", *cells]))
    rows = sum(sum(counts.values()) for counts in report.counts.values())
    lines.append(f"{rows} rows answered, {len(report.failures)} failures.")
    lines.append(
        "Largest difference between a row in a batch and alone: "
        f"{report.largest_difference:.1e} of a probability; {TOLERANCE:.0e} is allowed."
    )
    return "\n".join(lines)


def _check_batch(predict: Any, batch: list[Case], report: Report) -> None:
    answers = _ask(predict, batch, report)
    if answers is None:
        return
    for case, status, row in zip(batch, *answers, strict=True):
        counts = report.counts.setdefault(case.kind, {})
        counts[status] = counts.get(status, 0) + 1
        problem = _find_problem(case, status, row)
        alone = _ask(predict, [case], report)
        if alone is not None:
            (status_alone,), (row_alone,) = alone
            difference = float(np.max(np.abs(row - row_alone)))
            report.largest_difference = max(report.largest_difference, difference)
            if status_alone != status or not difference <= TOLERANCE:
                problem += (
                    f" Alone its status is {status_alone} and its probabilities "
                    f"differ by {difference:.1e}."
                )
        if problem:
            report.failures.append(f"{_name(case)}:{problem}")


def _check_others(
    signatures: Mapping[str, Any], batch: list[Case], report: Report
) -> None:
    for name, keys in OTHERS.items():
        if name not in signatures:
            continue
        inputs = {
            key: _make_tensor([getattr(case, key) for case in batch]) for key in keys
        }
        try:
            answer = signatures[name](**inputs)
        except tf.errors.OpError as error:
            names = "; ".join(map(_name, batch))
            report.failures.append(f"{name} failed on {names}: {error.message}")
            continue
        for key, value in answer.items():
            rows = value.numpy()
            is_float = rows.dtype.kind == "f"
            if len(rows) != len(batch) or (is_float and not np.isfinite(rows).all()):
                report.failures.append(f"{name} gives a wrong {key}: {rows}")


def _ask(
    predict: Any, batch: list[Case], report: Report
) -> tuple[list[str], np.ndarray] | None:
    """Returns statuses and probabilities; None where the whole request failed."""
    try:
        answer: Mapping[str, Any] = predict(
            image_bytes=_make_tensor([case.image_bytes for case in batch]),
            text=_make_tensor([case.text for case in batch]),
        )
    except tf.errors.OpError as error:
        names = "; ".join(map(_name, batch))
        report.failures.append(f"The request of {names} failed: {error.message}")
        return None
    status = [name.decode() for name in answer["status"].numpy()]
    return status, answer["probabilities"].numpy()


def _make_tensor(values: list[bytes]) -> tf.Tensor:
    # As objects: NumPy's own strings lose a NUL at their end.
    return tf.constant(np.array(values, dtype=object), tf.string)


def _find_problem(case: Case, status: str, row: np.ndarray) -> str:
    problem = ""
    if status not in case.statuses:
        problem += f" The status is {status}, not {' or '.join(case.statuses)}."
    if not (np.isfinite(row).all() and abs(row.sum() - 1) <= 1e-5):
        problem += f" Its probabilities are not finite or do not sum to 1: {row}."
    return problem


def _name(case: Case) -> str:
    return f"{case.kind} (image {case.image_bytes[:24]!r}, text {case.text[:24]!r})"
