"""Makes the report: one pass over the split, then section by section."""

import importlib.metadata
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_multimodal.data.source import Source
from tf_multimodal.data.splits_file import pin_splits
from tf_multimodal.evaluation import calibration
from tf_multimodal.evaluation.evaluate import check_rows
from tf_multimodal.evaluation.report import (
    curves,
    explanations,
    gallery,
    headline,
    page,
    per_class,
    robustness,
    slices,
    suspects,
    text_worth,
    thresholds,
)
from tf_multimodal.evaluation.report.collect import Collected, collect
from tf_multimodal.inference.calibration_file import read_calibration
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import (
    RunError,
    RunFiles,
    load_run_source,
    read_run,
)

_PACKAGES = ("tensorflow", "keras", "keras-hub", "cleanlab")


class Report(NamedTuple):
    """What was written: the page, its sections, and what it says of the text."""

    path: Path
    sections: dict[str, Any]
    sentence: str


def report_run(
    run_dir: str | Path,
    split: str = "test",
    *,
    output: Path | None = None,
    alone: Mapping[str, str | Path] | None = None,
    explained: int = 12,
    batch_size: int = 64,
    source: Source | None = None,
) -> Report:
    """Writes the report of a run and, beside its model, `calibration.json`.

    Args:
        run_dir: the training run's directory.
        split: `train`, `validation` or `test`, as the run's splits.csv has it.
        output: folder to write to; None: `evaluation/report` of the run.
        alone: other runs on the same data and split by the one modality that they
            read, `image` or `text`; else the run's own model with the other masked.
        explained: number of predictions to explain.
        batch_size: rows of a batch.
        source: the rows, where they were given to the run from Python.

    Raises:
        RunError: a directory is not a run with a model, or another run does not fit.
        ValueError: the split is empty, or a row of it has no label.
    """
    run = read_run(run_dir)
    source = load_run_source(run, source)
    check_rows(source, source.get_indices(split), split)
    predictor = Predictor.from_run(run_dir, calibrate=False)
    if alone and predictor.preprocessor.modalities != "image_text":
        raise ValueError(
            f"{run_dir} reads {predictor.preprocessor.modalities} alone. --image_run "
            "and --text_run are the rivals of a run that reads both: leave them out."
        )
    folder = output or run.evaluation_dir / "report"
    folder.mkdir(parents=True, exist_ok=True)  # an error now, not after the work
    fitted = calibration.calibrate_run(predictor, source, batch_size=batch_size)
    if fitted is None and (fitted := read_calibration(run_dir)):
        predictor.temperature = fitted.temperature
    collected = collect(predictor, source, split, batch_size)
    others = {
        modality: _predict_alone(Path(path), modality, collected, batch_size)
        for modality, path in (alone or {}).items()
    }
    sections = _make_sections(run, collected, others, fitted, explained)
    sections["how"] = _describe(collected, alone or {}, explained)
    path = page.write_report(sections, folder, split)
    return Report(path, sections, sections["text_worth"].get("sentence", ""))


def _make_sections(
    run: RunFiles,
    collected: Collected,
    alone: dict[str, np.ndarray],
    fitted: Any,
    explained: int,
) -> dict[str, Any]:
    """Returns every section of the report by name."""
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "text_worth": lambda: text_worth.make_text_worth(collected, alone),
        "headline": lambda: headline.make_headline(collected, alone),
        "curves": lambda: curves.make_curves(run.read_history()),
        "confusion": lambda: gallery.make_confusion(collected),
        "classes": lambda: per_class.make_classes(collected, alone),
        "thresholds": lambda: thresholds.make_thresholds(collected),
        "calibration": lambda: calibration.make_calibration(collected, fitted),
        "gallery": lambda: gallery.make_gallery(collected),
        "suspects": lambda: suspects.make_suspects(collected),
        "explanations": lambda: explanations.make_explanations(collected, explained),
        "slices": lambda: slices.make_slices(collected),
        "robustness": lambda: robustness.make_robustness(collected),
    }
    sections = {}
    for name, make in makers.items():
        print(f"Report: {name.replace('_', ' ')}", flush=True)
        sections[name] = make()
    positions = sorted(set(_find_positions(sections)))
    return {
        **sections,
        "examples": gallery.make_examples(collected, positions),
    }


def _find_positions(value: Any) -> Iterator[int]:
    """Yields every row that a section shows."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "position":
                yield item
            elif key == "positions":
                yield from item
            else:
                yield from _find_positions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_positions(item)


def _describe(
    collected: Collected, alone: Mapping[str, str | Path], explained: int
) -> dict[str, Any]:
    return {
        "run": str(collected.run_dir),
        "command": shlex.join(
            [
                *("python", "-m", "tf_multimodal.evaluation.report"),
                f"--run={collected.run_dir}",
                f"--split={collected.split}",
                f"--explain={explained}",
                *(f"--{name}_run={path}" for name, path in alone.items()),
            ]
        ),
        "seed": collected.predictor.config.seed,
        "temperature": collected.temperature,
        "left_out": len(collected.source.left_out),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _predict_alone(
    run_dir: Path, modality: str, collected: Collected, batch_size: int
) -> np.ndarray:
    """Returns a one-modality run's probabilities for the collected rows."""
    run = read_run(run_dir)
    predictor = Predictor.from_run(run_dir)
    if predictor.preprocessor.modalities != modality:
        raise RunError(
            f"--{modality}_run={run_dir} reads {predictor.preprocessor.modalities}. "
            f"Expected a run with config.model.modalities={modality}."
        )
    if predictor.classes != collected.classes:
        raise RunError(f"The classes of {run_dir} are not those of the run reported.")
    splits = pin_splits(collected.source, run.classes, run.splits_path).splits
    others = np.flatnonzero(splits[collected.index] != collected.split)
    if len(others):
        raise RunError(
            f"{len(others)} rows of the split {collected.split} are in another split "
            f"of {run_dir}, which may have trained on them, the first: "
            f"{collected.source.describe_row(int(collected.index[others[0]]))}. Train "
            "both runs with the same data, seed and config.data.split_fractions."
        )
    predictions = predictor.predict_source(
        collected.source, collected.index, batch_size=batch_size
    )
    return predictions.probabilities
