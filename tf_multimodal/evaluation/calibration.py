"""Temperature scaling: probabilities that are right as often as they say.

One number divides all logits. It is fitted on the validation split and changes no
decision (Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599,
section 4.2).
"""

import math
import sys
from typing import Any

import numpy as np
from scipy import optimize, special

from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.source import Source
from tf_multimodal.evaluation import label_set_metrics, metrics
from tf_multimodal.evaluation.report.collect import Collected
from tf_multimodal.inference import calibration_file
from tf_multimodal.inference.calibration_file import Calibration
from tf_multimodal.inference.predictions import compute_probabilities, predict_logits
from tf_multimodal.inference.predictor import Predictor

SPLIT = "validation"
BOUNDS = (0.05, 20.0)
_TOLERANCE = 1e-6  # of the temperature's logarithm


def fit_temperature(
    logits: np.ndarray, truth: np.ndarray, weights: np.ndarray, multi_label: bool
) -> float:
    """Returns the temperature that gives the rows the smallest cross-entropy.

    The loss is convex in 1 / T, so that there is one smallest within `BOUNDS`. Where
    every row is right it has none: the surer, the better. Such rows do not say how sure
    the model may be, and the answer is 1, to change nothing.

    Args:
        logits: float [n, c], n at least 1.
        truth: int [n]; multi-label [n, c] of 0 and 1.
        weights: float [n], at least 0, not all 0.
        multi_label: whether each logit has a sigmoid of its own; else the softmax.
    """
    logits, truth = np.asarray(logits, np.float64), np.asarray(truth)
    signs = np.where(truth, -1.0, 1.0) if multi_label else None
    if signs is None:
        is_right = logits.argmax(axis=1) == truth
    else:
        is_right = (signs * logits <= 0).all(axis=1)
    if is_right[np.asarray(weights) > 0].all():
        return 1.0

    def compute_loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        if signs is not None:
            losses = np.logaddexp(0, signs * scaled).mean(axis=1)
        else:
            right = scaled[np.arange(len(truth)), truth]
            losses = special.logsumexp(scaled, axis=1) - right
        return float(np.average(losses, weights=weights))

    found = optimize.minimize_scalar(
        compute_loss,
        bounds=tuple(map(math.log, BOUNDS)),
        method="bounded",
        options={"xatol": _TOLERANCE},
    )
    return math.exp(found.x)


def calibrate_run(
    predictor: Predictor, source: Source, batch_size: int = 64
) -> Calibration | None:
    """Fits a run's temperature, writes its `calibration.json` and says so.

    Args:
        predictor: of the run; its `temperature` becomes the fitted one.
        source: the run's rows, in its splits.
        batch_size: rows of a batch.

    Returns:
        What was fitted; None where no validation row has a label and a weight, and
        then nothing is written. A file that cannot be written is said on stderr.
    """
    indices = source.get_indices(SPLIT)
    is_labelled = source.labels[indices] >= 0
    if source.label_sets is not None:
        is_labelled[:] = True
    indices = indices[is_labelled & (source.weights[indices] > 0)]
    if not len(indices):
        print(
            f"The probabilities are not calibrated: the {SPLIT} split of {source.name} "
            "has no row with a label and a weight to fit a temperature on."
        )
        return None
    # Before the work: if training writes other weights meanwhile, the file is stale.
    weights_sha256 = calibration_file.hash_weights(predictor.run_dir / "best")
    logits = _predict_logits(predictor, source, indices, batch_size)
    truth, weights = source.get_truth(indices), source.weights[indices]
    multi_label = source.label_sets is not None
    temperature = fit_temperature(logits, truth, weights, multi_label)
    activation = predictor.model.activation
    before, after = (
        measure(compute_probabilities(logits, activation, t), truth, weights)
        for t in (1.0, temperature)
    )
    calibration = Calibration(
        temperature=temperature,
        split=SPLIT,
        rows=len(indices),
        weights_sha256=weights_sha256,
        ece_before=before["ece"],
        ece_after=after["ece"],
        loss_before=before["loss"],
        loss_after=after["loss"],
    )
    predictor.temperature = temperature
    print(
        f"Temperature {temperature:.3f}, fitted on {len(indices)} {SPLIT} rows: "
        f"calibration error {before['ece']:.1%} before, {after['ece']:.1%} after."
    )
    try:
        path = calibration_file.write_calibration(predictor.run_dir, calibration)
        print(f"Wrote {path}.")
    except OSError as error:
        print(
            f"Warning: {predictor.run_dir / calibration_file.FILE} cannot be written: "
            f"{error}. The temperature is used here alone; predict and export go on "
            "without it.",
            file=sys.stderr,
        )
    return calibration


def make_calibration(
    collected: Collected, fitted: Calibration | None
) -> dict[str, Any]:
    """Returns the report's section `calibration`.

    Args:
        collected: the split.
        fitted: what `calibrate_run` found; None: nothing to fit on.

    Returns:
        `temperature`; `fitted`, split, rows and figures of the fit, or None; `before`
        and `after`, what `measure` returns of the report's rows without and with the
        temperature; `rows`, their number; `multi_label`.
    """
    logits, activation = collected.logits["both"], collected.predictor.model.activation
    plain = compute_probabilities(logits, activation)
    return {
        "temperature": collected.temperature,
        "fitted": None if fitted is None else _describe(fitted),
        "before": measure(plain, collected.truth, collected.weights),
        "after": measure(collected.probabilities(), collected.truth, collected.weights),
        "rows": len(collected),
        "multi_label": collected.multi_label,
    }


def measure(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> dict[str, Any]:
    """Returns what probabilities are worth, and the bins of a reliability diagram.

    A row is a point: its highest probability, and whether that class is right.
    Multi-label, each class of a row is one: its probability, and whether the row has
    it. A row of weight 0 is as if it were not there.

    Args:
        probabilities: float [n, c].
        truth: int [n]; multi-label [n, c] of 0 and 1.
        weights: float [n], at least 0, not all 0.

    Returns:
        `ece`, `loss`, and `bins`, 15 of equal width: `low`, `high`, `rows` (points,
        whatever their weight), `share` of the weight, and the weighted means
        `confidence` and `accuracy`, None in an empty bin.
    """
    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth)
    weights = np.asarray(weights, np.float64)
    if truth.ndim == 2:
        module: Any = label_set_metrics
        confidence, correct = probabilities.ravel(), truth.ravel().astype(np.float64)
        points = np.repeat(weights, truth.shape[1])
    else:
        module = metrics
        confidence, points = probabilities.max(axis=1), weights
        correct = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    loss = module.compute_metrics(truth, probabilities, weights)["loss"]
    bins = _make_bins(confidence, correct, points)
    gaps = [
        b["share"] * abs(b["confidence"] - b["accuracy"]) for b in bins if b["share"]
    ]
    return {"ece": float(sum(gaps)), "loss": loss, "bins": bins}


def _make_bins(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> list[dict[str, Any]]:
    count = metrics.ECE_BINS
    counted = weights > 0
    confidence, correct, weights = (
        values[counted] for values in (confidence, correct, weights)
    )
    # Bin m holds (m / 15, (m + 1) / 15]; the first one 0, too.
    number = (np.ceil(confidence * count).astype(np.int64) - 1).clip(0, count - 1)
    rows = np.bincount(number, minlength=count)
    sums = np.bincount(number, weights, minlength=count)
    safe = np.where(rows, sums, 1.0)
    means = [
        np.bincount(number, weights * values, minlength=count) / safe
        for values in (confidence, correct)
    ]
    return [
        {
            "low": i / count,
            "high": (i + 1) / count,
            "rows": int(rows[i]),
            "share": float(sums[i] / weights.sum()),
            "confidence": float(means[0][i]) if rows[i] else None,
            "accuracy": float(means[1][i]) if rows[i] else None,
        }
        for i in range(count)
    ]


def _predict_logits(
    predictor: Predictor, source: Source, indices: np.ndarray, batch_size: int
) -> np.ndarray:
    """Returns the logits of rows of a source, float32 [n, c]."""
    dataset = pipeline.make_eval_dataset(
        source, indices, predictor.preprocessor, batch_size=batch_size
    )
    logits = []
    for batch in dataset:
        kept = batch[spec.INDEX].numpy() >= 0
        logits.append(predict_logits(predictor.model, batch[spec.INPUTS])[kept])
    return np.concatenate(logits)


def _describe(fitted: Calibration) -> dict[str, Any]:
    keys = ("split", "rows", "ece_before", "ece_after", "loss_before", "loss_after")
    return {key: getattr(fitted, key) for key in keys}
