"""Reads what a finished training run has left in its directory."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import ml_collections

from tf_multimodal import config as config_lib
from tf_multimodal.data import labels as labels_lib
from tf_multimodal.data.run_format import check_run_format
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import load_source
from tf_multimodal.data.splits_file import pin_splits


class RunError(ValueError):
    """A directory is not a run that can be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The settings and names of one run.

    Attributes:
        run_dir: the directory.
        config: the run's full config.
        classes: names of the classes; label `i` is `classes[i]`.
    """

    run_dir: Path
    config: ml_collections.ConfigDict
    classes: tuple[str, ...]

    @property
    def preset_dir(self) -> Path:
        """The folder of the model's preset."""
        return self.run_dir / "best"

    @property
    def evaluation_dir(self) -> Path:
        """The folder that evaluations write to."""
        return self.run_dir / "evaluation"

    @property
    def splits_path(self) -> Path:
        """The file that says which row is in which split."""
        return self.run_dir / "splits.csv"

    def read_history(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl in order; none without the file."""
        path = self.run_dir / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def read_run(run_dir: str | Path) -> RunFiles:
    """Reads config and class names of a run that has a model.

    Raises:
        RunError: not a directory, not a run, or no evaluated model yet.
        RunFormatError: a newer version of the project wrote the run.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(
            f"There is no run directory {run_dir}. Expected the --workdir of a "
            "training run."
        )
    config_path = run_dir / "experiment.json"
    if not config_path.is_file():
        raise RunError(
            f"{run_dir} is not a run directory: it has no experiment.json. Expected "
            "the --workdir of a training run."
        )
    check_run_format(run_dir / "versions.json")
    if not (run_dir / "best" / "config.json").is_file():
        raise RunError(
            f"The run {run_dir} has no model yet: there is no best/config.json. It "
            "is written by the first evaluation; start the training command again, "
            "it goes on where it stopped."
        )
    try:
        config = config_lib.from_json(config_path.read_text(encoding="utf-8"))
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"{config_path} cannot be read: {error}. It was damaged, or written by "
            "another version of the project."
        ) from error
    labels_path = run_dir / "labels.txt"
    if not labels_path.is_file():
        raise RunError(f"The run {run_dir} is damaged: it has no labels.txt.")
    return RunFiles(run_dir, config, labels_lib.read_labels(labels_path))


def load_run_source(run: RunFiles, source: Source | None = None) -> Source:
    """Returns the data of a run, in the splits that it was trained with.

    Args:
        run: the run.
        source: its rows, where they were given from Python; None: as its config says.

    Raises:
        RunError: the config names no rows, and none are given.
        ValueError: the data cannot be read, or are not those of the run.
    """
    if source is None:
        if not config_lib.names_source(run.config.data):
            raise RunError(
                f"The run {run.run_dir} was trained on rows that were given from "
                "Python. Give them again: source=…, as to training.run.run."
            )
        source = load_source(run.config)
    return pin_splits(source, run.classes, run.splits_path)
