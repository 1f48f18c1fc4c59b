"""Compares trained runs on the rows that all of them have in the same split.

    python -m tf_multimodal.evaluation.compare RUN RUN … [--split=test]

Prints and writes `comparison.md` and `comparison.json`: the metrics of each run with
their intervals, and for every two runs the paired differences and tests. The first run
is the one that the others are held against. TensorFlow is imported by the functions, so
that `--help` answers at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from tf_multimodal.data import spec

if TYPE_CHECKING:
    from tf_multimodal.data.source import Source
    from tf_multimodal.inference.run_reader import RunFiles

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_enum("split", "test", spec.SPLITS, "Rows to compare on.")
    flags.DEFINE_string(
        "output", None, "Folder to write to; else evaluation/ of the first run."
    )
    flags.DEFINE_integer("batch_size", 64, "Rows of a batch.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    run_dirs = argv[1:]
    if len(run_dirs) < 2:
        raise app.UsageError("Give the directories of at least two runs.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.evaluation import comparison_markdown

    try:
        result = compare_runs(run_dirs, FLAGS.split, FLAGS.batch_size)
        folder = Path(FLAGS.output or Path(run_dirs[0]) / "evaluation")
        path = write_comparison(result, folder)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("\n" + comparison_markdown.make_tables(result))
    print(f"\nComparison: {path}")
    return 0


def compare_runs(
    run_dirs: Sequence[str | Path],
    split: str = "test",
    batch_size: int = 64,
    source: "Source | None" = None,
) -> dict[str, Any]:
    """Returns how runs compare, each as `predict` answers: calibrated if it is.

    Args:
        run_dirs: directories of at least two training runs.
        split: `train`, `validation` or `test`, as every run's splits.csv has it.
        batch_size: rows of a batch.
        source: the rows, where they were given to the runs from Python.

    Returns:
        What `comparison.compare_models` returns, with of each model also `run`,
        `modalities`, `temperature`, `split_rows` and, by reason, `left_out`, the rows
        of its split that are not compared; `split`, `rows`, `groups`, `weighted`,
        `classes`, `multi_label`.

    Raises:
        RunError: a directory is not a run with a model, or its data are not those
            that it was trained on.
        ValueError: fewer than two runs, one twice, other classes, or no common rows.
    """
    from tf_multimodal.evaluation import comparison, evaluate
    from tf_multimodal.evaluation.common_rows import find_common_rows
    from tf_multimodal.inference.predictor import Predictor
    from tf_multimodal.inference.run_reader import load_run_source, read_run

    runs = [read_run(run_dir) for run_dir in run_dirs]
    names = _name_runs(runs)
    _check_classes(names, runs)
    sources = [load_run_source(run, source) for run in runs]
    _check_kinds(names, sources)
    indices, left_out = find_common_rows(names, sources, split)
    first, rows = sources[0], indices[0]
    evaluate.check_rows(first, rows, split)
    probabilities, facts = {}, []
    for k, name in enumerate(names):
        predictor = Predictor.from_run(runs[k].run_dir)
        predictions = predictor.predict_source(
            sources[k], indices[k], batch_size=batch_size
        )
        probabilities[name] = predictions.probabilities
        facts.append(
            {
                "run": str(runs[k].run_dir),
                "modalities": predictor.preprocessor.modalities,
                "temperature": predictor.temperature,
                "split_rows": len(sources[k].get_indices(split)),
                "left_out": left_out[k],
            }
        )
    groups, weights = first.groups[rows], first.weights[rows]
    found = comparison.compare_models(
        first.get_truth(rows), probabilities, groups, weights
    )
    models = [m | f for m, f in zip(found["models"], facts, strict=True)]
    return {
        "models": models,
        "pairs": found["pairs"],
        "split": split,
        "rows": len(rows),
        "groups": len(set(groups.tolist())),
        "weighted": bool((weights != weights[0]).any()),
        "classes": list(runs[0].classes),
        "multi_label": first.label_sets is not None,
    }


def write_comparison(result: dict[str, Any], folder: Path) -> Path:
    """Writes `comparison.md` and `comparison.json`; returns the former's path."""
    from tf_multimodal.data import atomic_file
    from tf_multimodal.evaluation import comparison_markdown

    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    atomic_file.write_text(folder / "comparison.json", text)
    path = folder / "comparison.md"
    atomic_file.write_text(path, comparison_markdown.make_report(result))
    return path


def _name_runs(runs: Sequence["RunFiles"]) -> list[str]:
    """Returns the runs' names: their folders', or whole paths where two are alike."""
    if len(runs) < 2:
        raise ValueError(f"Expected at least two runs. Received: {len(runs)}")
    paths = [run.run_dir.resolve() for run in runs]
    twice = sorted({str(path) for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(f"The same run is given twice: {', '.join(twice)}.")
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _check_classes(names: Sequence[str], runs: Sequence["RunFiles"]) -> None:
    classes = runs[0].classes
    for name, run in zip(names, runs, strict=True):
        if run.classes != classes:
            differing = sorted(set(classes) ^ set(run.classes))
            raise ValueError(
                f"The classes of {name} are not those of {names[0]}: "
                + (
                    f"only one of them has {', '.join(differing)}."
                    if differing
                    else "their order differs."
                )
                + " Runs are compared on the same classes: see labels.txt of both."
            )


def _check_kinds(names: Sequence[str], sources: Sequence["Source"]) -> None:
    kinds = [source.label_sets is not None for source in sources]
    if len(set(kinds)) > 1:
        one, several = names[kinds.index(False)], names[kinds.index(True)]
        raise ValueError(
            f"A row of {several} may have several labels, one of {one} has one: "
            "they answer different questions and cannot be compared."
        )


if __name__ == "__main__":
    define_flags()
    app.run(main)
