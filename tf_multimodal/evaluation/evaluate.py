"""Evaluates a trained run on one of its splits, with and without each modality.

    python -m tf_multimodal.evaluation.evaluate --run=DIR --split=test

Writes to DIR/evaluation: `test.json` (metrics), `test_predictions.jsonl`,
`report.md` and its pictures. Metrics are weighted by the rows' weights, as in
validation; the figures by class and the confusion are counts. A row with a bad image
counts with the prediction from its text alone. Where rows have several captions, the
text is the first that is not empty; `by_caption` has the figures of each.
TensorFlow is imported by the functions, so that `--help` answers at once.
"""

import collections
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from tf_multimodal.data import spec

if TYPE_CHECKING:
    import numpy as np

    from tf_multimodal.data.source import Source
    from tf_multimodal.inference.predictions import Predictions
    from tf_multimodal.inference.predictor import Predictor
    from tf_multimodal.inference.run_reader import RunFiles

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Directory of a training run.", required=True)
    flags.DEFINE_enum("split", "test", spec.SPLITS, "Rows to evaluate.")
    flags.DEFINE_integer("batch_size", 64, "Rows of a batch.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        result = evaluate_run(FLAGS.run, FLAGS.split, FLAGS.batch_size)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    from tf_multimodal.evaluation import markdown

    print("\n" + markdown.make_headline_table(result))
    print(
        f"\nReport: {Path(FLAGS.run) / 'evaluation' / _name_file(result, 'report.md')}"
    )
    return 0


def evaluate_run(
    run_dir: str | Path,
    split: str = "test",
    batch_size: int = 64,
    source: "Source | None" = None,
) -> dict[str, Any]:
    """Evaluates a run and writes metrics, predictions, report and pictures.

    Args:
        run_dir: the training run's directory.
        split: `train`, `validation` or `test`, as the run's splits.csv has it.
        batch_size: rows of a batch.
        source: the rows, where they were given to the run from Python.

    Returns:
        What `DIR/evaluation/<split>.json` holds.

    Raises:
        RunError: the directory is not a run with a model, or the data are not
            those that it was trained on.
        ValueError: the split is empty, a row of it has no label, or all its rows
            have weight 0.
    """
    from tf_multimodal.inference.predictor import Predictor
    from tf_multimodal.inference.run_reader import load_run_source, read_run

    if split not in spec.SPLITS:
        raise ValueError(
            f"The split must be one of {', '.join(spec.SPLITS)}. Received: {split!r}"
        )
    run = read_run(run_dir)
    source = load_run_source(run, source)
    indices = source.get_indices(split)
    check_rows(source, indices, split)
    predictor = Predictor.from_run(run_dir)
    predictions = predictor.predict_source(source, indices, batch_size=batch_size)
    result = make_result(predictor, source, predictions, split, batch_size)
    _write_files(run, source, predictions, result)
    return result


def make_result(
    predictor: "Predictor",
    source: "Source",
    predictions: "Predictions",
    split: str,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Returns the metrics of predictions, and those with either modality masked.

    Args:
        predictor: the model; predicts again with text, then image masked.
        source: the rows, with labels.
        predictions: of the split's rows.
        split: its name.
        batch_size: rows of a batch.
    """
    from tf_multimodal.evaluation import bootstrap, captions, scores

    index, weights = predictions.index, source.weights[predictions.index]
    correct = scores.find_correct(source, predictions)
    _, low, high = bootstrap.bootstrap_mean(
        correct, source.groups[index], weights=weights
    )
    plain = scores.compute_metrics(source, predictions)
    per_class = scores.compute_per_class(source, predictions)
    statuses = collections.Counter(predictions.status)

    def measure_alone(modality: str) -> dict[str, Any] | None:
        modalities = predictor.preprocessor.modalities
        if modalities != "image_text":
            return plain if modalities == modality else None
        return _mask_other(predictor, source, index, modality, batch_size)

    return {
        **plain,
        "weighted": bool((weights != weights[0]).any()),
        "accuracy_interval": [low / 100, high / 100],
        "image_only": measure_alone("image"),
        "text_only": measure_alone("text"),
        "by_caption": captions.compute_by_caption(predictor, source, index, batch_size),
        "split": split,
        "source": source.name,
        "modalities": predictor.preprocessor.modalities,
        "multi_label": predictions.multi_label,
        "temperature": predictor.temperature,
        "classes": list(predictor.classes),
        "per_class": [
            {"class": name, **row}
            for name, row in zip(predictor.classes, per_class, strict=True)
        ],
        "confusion": scores.compute_confusion(source, predictions),
        "statuses": {status: statuses[status] for status in spec.STATUSES},
        "left_out": len(source.left_out),
        "seed": predictor.config.seed,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tensorflow", "keras", "keras-hub")
        },
    }


def _mask_other(
    predictor: "Predictor",
    source: "Source",
    index: "np.ndarray",
    modality: str,
    batch_size: int,
) -> dict[str, Any]:
    """Returns the metrics of one modality alone, the other one masked."""
    from tf_multimodal.evaluation import scores

    masked = predictor.predict_source(
        source,
        index,
        batch_size=batch_size,
        mask_images=modality == "text",
        mask_texts=modality == "image",
    )
    return scores.compute_metrics(source, masked)


def check_rows(source: "Source", indices: "np.ndarray", split: str) -> None:
    """Raises ValueError unless there are rows, labelled, not all of weight 0.

    Args:
        source: the rows.
        indices: int64 [n], those of the split.
        split: its name, for the message.
    """
    from tf_multimodal.evaluation import metrics

    if not len(indices):
        counts = {name: len(source.get_indices(name)) for name in spec.SPLITS}
        raise ValueError(
            f"The split {split} of {source.name} is empty: the run was trained without "
            f"such rows. Rows: {counts}. Choose another --split."
        )
    metrics.check_weights(
        source.weights[indices], f"the split {split} of {source.name}"
    )
    unlabelled = indices[source.labels[indices] < 0]
    if len(unlabelled) and source.label_sets is None:
        raise ValueError(
            f"{len(unlabelled)} rows of the split {split} have no label and cannot be "
            f"evaluated, the first: {source.describe_row(int(unlabelled[0]))}. Use "
            "tf_multimodal.inference.predict for rows without labels."
        )


def _write_files(
    run: "RunFiles",
    source: "Source",
    predictions: "Predictions",
    result: dict[str, Any],
) -> None:
    """Writes predictions, pictures, report and, last, the metrics."""
    from tf_multimodal.data import atomic_file
    from tf_multimodal.evaluation import markdown, plots
    from tf_multimodal.inference import prediction_file

    folder, split = run.evaluation_dir, result["split"]
    rows = prediction_file.make_rows(source, predictions, run.classes, with_labels=True)
    with prediction_file.write_rows(
        folder / f"{split}_predictions.jsonl", run.classes
    ) as writer:
        for row in rows:
            writer.write(row)

    names = {"examples": _name_file(result, "examples.png")}
    history = run.read_history()
    if history:
        names["curves"] = "curves.png"
        plots.plot_curves(history, folder / names["curves"])
    if result["confusion"] is not None:
        names["confusion"] = _name_file(result, "confusion.png")
        path = folder / names["confusion"]
        plots.plot_confusion(result["confusion"], run.classes, path)
    plots.plot_examples(source, predictions, folder / names["examples"])
    report = markdown.make_report(result, run.run_dir, names)
    atomic_file.write_text(folder / _name_file(result, "report.md"), report)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    atomic_file.write_text(folder / f"{split}.json", text)


def _name_file(result: dict[str, Any], name: str) -> str:
    """Returns the file name of a split; those of the test split are bare."""
    return name if result["split"] == "test" else f"{result['split']}_{name}"


if __name__ == "__main__":
    define_flags()
    app.run(main)
