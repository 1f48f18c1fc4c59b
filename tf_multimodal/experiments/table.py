"""The table of an ablation: accuracies with their spread, gains with intervals."""

import importlib.metadata
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.evaluation import metrics
from tf_multimodal.evaluation.bootstrap import bootstrap_difference, bootstrap_mean
from tf_multimodal.experiments.cross_validation import FoldPredictions
from tf_multimodal.experiments.variants import Variant
from tf_multimodal.training.plan import make_plan

PACKAGES = ("tensorflow", "keras", "keras-hub")
Folds = dict[str, list[FoldPredictions]]


def write_table(
    folds: Folds,
    variants: Sequence[Variant],
    gains: Sequence[tuple[str, str]],
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
) -> str:
    """Writes `table.json` and `table.md`; returns the latter's text.

    Args:
        folds: out-of-fold predictions of every variant, fold by fold.
        variants: rows of the table.
        gains: pairs (of, over) of variant names.
        config: what all variants share.
        workdir: folder of the two files.
    """
    result = make_result(folds, variants, gains)
    result["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES}
    result["seed"] = config.seed
    result["mask_label_words"] = config.data.mask_label_words
    num_train_rows = round(result["examples"] * (1 - 1 / result["folds"]))
    result["train"] = {
        "epochs": _count_epochs(config.train, num_train_rows),
        "batch_size": config.train.batch_size,
        "learning_rate": config.train.learning_rate,
    }
    workdir = pathlib.Path(workdir)
    write_text(workdir / "table.json", json.dumps(result, indent=2) + "\n")
    text = make_markdown(result)
    write_text(workdir / "table.md", text)
    return text


def make_result(
    folds: Folds, variants: Sequence[Variant], gains: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Returns the table as plain values; accuracies and gains in points.

    `gain_over_image` and `gain_over_text` are the first of `gains` over the variant
    of that name; intervals are 95 %, paired, drawn by group.
    """
    joined = {name: _join(parts) for name, parts in folds.items()}
    groups = joined[variants[0].name].groups
    correct = {
        name: found.probabilities.argmax(1) == found.labels
        for name, found in joined.items()
    }
    rows = []
    for variant in variants:
        found = joined[variant.name]
        _, low, high = bootstrap_mean(correct[variant.name], groups)
        values = metrics.compute_metrics(found.labels, found.probabilities)
        by_fold = [_compute_accuracy(part) for part in folds[variant.name]]
        rows.append(
            {
                "name": variant.name,
                "description": variant.description,
                "accuracy": 100 * values["accuracy"],
                "low": low,
                "high": high,
                "fold_mean": float(np.mean(by_fold)),
                "fold_std": float(np.std(by_fold, ddof=1)),
                "top3_accuracy": 100 * values["top3_accuracy"],
                "macro_f1": 100 * values["macro_f1"],
                "cpu_seconds": sum(part.seconds for part in folds[variant.name]),
            }
        )
    differences = []
    for of, over in gains:
        points, low, high = bootstrap_difference(correct[of], correct[over], groups)
        differences.append(
            {"of": of, "over": over, "points": points, "low": low, "high": high}
        )
    result: dict[str, Any] = {
        "examples": len(groups),
        "groups": len(np.unique(groups)),
        "folds": len(folds[variants[0].name]),
        "variants": rows,
        "gains": differences,
    }
    for over in ("image", "text"):
        headline = next(gain for gain in differences if gain["over"] == over)
        result[f"gain_over_{over}"] = headline
    return result


def make_markdown(result: dict[str, Any]) -> str:
    """Returns the table of `make_result` as Markdown."""
    train = result["train"]
    masked = (
        ", the classes' own words masked in the text"
        if result["mask_label_words"]
        else ""
    )
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    lines = [
        f"{result['examples']} pairs in {result['groups']} groups, "
        f"{result['folds']}-fold cross-validation, {train['epochs']} epochs of "
        f"batches of {train['batch_size']}, seed {result['seed']}{masked}. {versions}.",
        "",
        "| model | accuracy (95 %) | spread over folds | macro F1 | top-3 | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["variants"]:
        lines.append(
            f"| {row['description']} | {row['accuracy']:.1f} ({row['low']:.1f} to "
            f"{row['high']:.1f}) | {row['fold_std']:.1f} | {row['macro_f1']:.1f} | "
            f"{row['top3_accuracy']:.1f} | {row['cpu_seconds']:.0f} |"
        )
    names = {row["name"]: row["description"] for row in result["variants"]}
    lines += ["", "| gain of | over | points (95 %, paired) |", "|---|---|---|"]
    for gain in result["gains"]:
        lines.append(
            f"| {names[gain['of']]} | {names[gain['over']]} | {gain['points']:+.1f} "
            f"({gain['low']:+.1f} to {gain['high']:+.1f}) |"
        )
    return "\n".join(lines) + "\n"


def _count_epochs(config: ml_collections.ConfigDict, num_rows: int) -> int:
    """Returns the passes over a fold's rows; config.epochs may leave them open."""
    one_pass = math.ceil(num_rows / config.batch_size)
    return round(make_plan(config, num_rows).total / one_pass)


def _compute_accuracy(part: FoldPredictions) -> float:
    return 100 * float((part.probabilities.argmax(1) == part.labels).mean())


def _join(parts: list[FoldPredictions]) -> FoldPredictions:
    return FoldPredictions(
        ids=np.concatenate([part.ids for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        seconds=sum(part.seconds for part in parts),
    )
