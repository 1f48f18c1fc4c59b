"""The files of a run: settings, versions, class names and splits."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
import shutil

import ml_collections

from tf_multimodal import config as config_lib
from tf_multimodal.data import labels as labels_lib
from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.data.run_format import RUN_FORMAT, check_run_format
from tf_multimodal.data.source import Source
from tf_multimodal.data.splits_file import pin_splits, write_splits
from tf_multimodal.training.run_lock import HOLDER, LOCK

PACKAGES = ("tf_multimodal", "tensorflow", "tensorflow-text", "keras", "keras-hub")

FIRST_STATE = "step_0000000000"  # of a run that has not done a step


class RunDirectoryError(ValueError):
    """The working directory belongs to another run; the message says how."""


class RunDirectory:
    """Names of a run's files, and the rule that a directory holds one run.

    Args:
        path: the run's directory; made by `claim`.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        self.config = self.path / "experiment.json"
        self.versions = self.path / "versions.json"
        self.labels = self.path / "labels.txt"
        self.splits = self.path / "splits.csv"
        self.best = self.path / "best"
        self.state = self.path / "state"
        self.metrics = self.path / "metrics.jsonl"
        self.timing = self.path / "timing.jsonl"
        self.dropped = self.path / "dropped.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.rollbacks = self.path / "rollbacks.jsonl"
        self.trackers = self.path / "trackers.json"
        self.finished = self.path / "finished.json"

    def check(self, config: ml_collections.ConfigDict) -> None:
        """Checks that the directory is free, or holds the run of this config.

        Raises:
            RunDirectoryError: another config was begun here or one that cannot be
                read, or the directory holds files that are not a run's.
        """
        if self.config.exists():
            conflict = self._find_conflict(config)
            if conflict and self._is_begun():
                raise RunDirectoryError(conflict)
        elif self.path.exists() and any(
            path.name not in (LOCK, HOLDER) for path in self.path.iterdir()
        ):
            raise RunDirectoryError(
                f"{self.path} is not empty and holds no run (no experiment.json). "
                "Choose another --workdir."
            )

    def claim(self, config: ml_collections.ConfigDict) -> None:
        """Writes the config, or checks that the run there has the same one.

        A run that ended before its first steps, over a wrong setting as a rule, has
        nothing to lose: it is begun anew with the config as it is now. A key that
        the stored config lacks, being older, has its default; `CHANGEABLE_KEYS` may
        differ.

        Raises:
            RunDirectoryError: as `check`.
        """
        self.check(config)
        if self.config.exists():
            if not self._find_conflict(config):
                return
            described = (self.versions, self.labels, self.splits)
            for path in (*described, self.dropped, self.trackers):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.state, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config, config_lib.to_json(config))

    def write_description(self, source: Source) -> Source:
        """Writes versions, class names and splits; on resuming, checks them.

        Returns:
            The source, in the splits that the run began with.

        Raises:
            RunDirectoryError: the data are not those that the run began with.
            RunFormatError: a newer version of the project began the run.
            SplitsError: the data are not those that the run began with.
        """
        if self.versions.exists():
            check_run_format(self.versions)
            stored = json.loads(self.versions.read_text(encoding="utf-8"))
            classes = labels_lib.read_labels(self.labels)
            source = pin_splits(source, classes, self.splits)
            if stored["data_fingerprint"] != source.compute_fingerprint():
                raise RunDirectoryError(
                    f"The data of {source.name} have changed since the run in "
                    f"{self.path} began (ids, texts, labels, splits or images). "
                    "Restore them, or choose another --workdir."
                )
            return source
        labels_lib.write_labels(self.labels, source.classes)
        write_splits(self.splits, source)
        versions: dict[str, int | str] = {"format": RUN_FORMAT}
        versions |= {name: _read_version(name) for name in PACKAGES}
        versions["python"] = platform.python_version()
        versions["data"] = source.name
        versions["data_fingerprint"] = source.compute_fingerprint()
        write_text(self.versions, json.dumps(versions, indent=2) + "\n")
        return source

    def _find_conflict(self, config: ml_collections.ConfigDict) -> str:
        """Returns how the stored config differs; empty where it does not."""
        try:
            stored = config_lib.from_json(self.config.read_text(encoding="utf-8"))
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            return (
                f"{self.config} cannot be read: {error}. It was damaged, or written "
                "by another version of the project: go on with that version, or "
                "choose another --workdir."
            )
        lines = [
            line
            for line in config_lib.list_differences(stored, config)
            if line.partition(":")[0] not in config_lib.CHANGEABLE_KEYS
        ]
        if not lines:
            return ""
        return (
            f"{self.path} holds a run with another config (there -> now):\n  "
            + "\n  ".join(lines)
            + "\nGo on with the same config, or choose another --workdir."
        )

    def _is_begun(self) -> bool:
        """Whether there is a state, or a part of an ablation, to go on from."""
        kept = ("state/step_*", "predictions_*/*.npz", "runs/*/state/step_*")
        found = (path for pattern in kept for path in self.path.glob(pattern))
        return any(path.name != FIRST_STATE for path in found)

    def read_run_id(self) -> str:
        """Returns what tells the states of this run from those of others."""
        config = json.loads(self.config.read_text(encoding="utf-8"))
        for key in config_lib.CHANGEABLE_KEYS:
            *folders, name = key.split(".")
            found = config
            for folder in folders:
                found = found[folder]
            found.pop(name, None)
        versions = json.loads(self.versions.read_text(encoding="utf-8"))
        text = json.dumps([config, versions["data_fingerprint"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def read_logs(self) -> dict[str, bytes]:
        """Returns the content of the logs that a state keeps, by name."""
        logs = (path for path in (self.metrics, self.timing) if path.exists())
        return {path.name: path.read_bytes() for path in logs}

    def restore_logs(self, logs: dict[str, bytes]) -> None:
        """Puts the logs back to what they were at a state.

        Args:
            logs: as `read_logs` returned them.
        """
        for path in (self.metrics, self.timing):
            if path.name in logs:
                write_text(path, logs[path.name].decode())
            else:
                path.unlink(missing_ok=True)


def _read_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
