"""Weights & Biases and MLflow beside a run, each through its own Keras callback.

They show what `metrics.jsonl` holds. A tracker that fails says so, and the run goes on
without it. Where they send things, and as whom, their own environment variables say.
"""

import abc
import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import ml_collections

from tf_multimodal.data.atomic_file import write_text

PROJECT = "tf_multimodal"  # W&B's project, MLflow's experiment, where none is named
FINISH_SECONDS = 60.0  # that the end of a run waits for W&B to send the rest


class Tracker(abc.ABC):
    """A run as a tracker sees it.

    Attributes:
        run_id: the tracker's own, by which a run goes on there.
        callback: the tracker's for Keras, which logs an interval.
    """

    run_id: str
    callback: keras.callbacks.Callback

    @abc.abstractmethod
    def begin(
        self,
        run_id: str | None,
        folder: pathlib.Path,
        config: ml_collections.ConfigDict,
        model: keras.Model,
    ) -> None:
        """Begins the run there, or goes on with it.

        Args:
            run_id: of the run to go on with; None: a new one.
            folder: of our run, which gives it its name.
            config: the whole configuration.
            model: what is trained.
        """

    @abc.abstractmethod
    def end(self, error: BaseException | None) -> None:
        """Sends the rest and ends the run there.

        Args:
            error: what ended the training early; None: it is done.
        """


class WeightsAndBiases(Tracker):
    """https://docs.wandb.ai: `WANDB_API_KEY`, `WANDB_PROJECT`, `WANDB_MODE=offline`."""

    def begin(
        self,
        run_id: str | None,
        folder: pathlib.Path,
        config: ml_collections.ConfigDict,
        model: keras.Model,
    ) -> None:
        import wandb
        from wandb.integration.keras import WandbMetricsLogger

        class Logger(WandbMetricsLogger):
            """Does not read the learning rate: it is among the values.

            Nor does it know how to where Keras runs on JAX.
            """

            def _get_lr(self) -> None:
                return None

        settings = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "name": folder.name,
            "id": run_id,
            "resume": "allow" if run_id else None,
            "dir": str(folder),
            "config": config.to_dict(),
            # The run's own output stays where it is.
            "settings": wandb.Settings(console="off", finish_timeout=FINISH_SECONDS),
        }
        try:
            self._run = wandb.init(**settings)
        except wandb.Error as error:
            self._run = wandb.init(mode="offline", **settings)
            _warn(
                f"wandb cannot be reached: {error}. The run is kept offline; send it "
                f"later: wandb sync --id {self._run.id} {folder}/wandb/offline-run-*"
            )
        self.run_id = self._run.id
        self.callback = Logger()

    def end(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if error is None else 1)


class MLflow(Tracker):
    """https://mlflow.org: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`."""

    def begin(
        self,
        run_id: str | None,
        folder: pathlib.Path,
        config: ml_collections.ConfigDict,
        model: keras.Model,
    ) -> None:
        import mlflow
        from mlflow.keras import MlflowCallback

        self.callback = MlflowCallback()
        self.callback.set_model(model)
        if run_id:
            mlflow.start_run(run_id=run_id)
        else:
            mlflow.start_run(run_name=folder.name, experiment_id=_find_experiment())
            params = iter(_flatten(config.to_dict()))
            while part := dict(itertools.islice(params, 100)):  # as many as it takes
                mlflow.log_params(part)
            self.callback.on_train_begin()  # logs the optimizer and the layers
        self.run_id = mlflow.active_run().info.run_id

    def end(self, error: BaseException | None) -> None:
        import mlflow

        mlflow.flush_async_logging()
        is_stopped = isinstance(error, KeyboardInterrupt)
        mlflow.end_run("KILLED" if is_stopped else "FAILED" if error else "FINISHED")


TRACKERS: dict[str, type[Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}


class Trackers:
    """A run's trackers, while it is entered.

    An interval that is done again after a kill is logged again, under the same number:
    what a tracker has been sent cannot be cut.

    Args:
        names: among `TRACKERS`.
        path: JSON file of the trackers' ids for the run, in the run's directory.
        config: the whole configuration.
        model: what is trained.
    """

    def __init__(
        self,
        names: Sequence[str],
        path: pathlib.Path,
        config: ml_collections.ConfigDict,
        model: keras.Model,
    ) -> None:
        self._names, self._path = names, path
        self._config, self._model = config, model
        self._open: dict[str, Tracker] = {}

    def __enter__(self) -> "Trackers":
        ids = self._read_ids()
        for name in self._names:
            tracker = TRACKERS[name]()
            self._open[name] = tracker
            with self._going_on_without(name):
                folder = self._path.parent.resolve()
                tracker.begin(ids.get(name), folder, self._config, self._model)
                ids[name] = tracker.run_id
        if self._open:
            write_text(self._path, json.dumps(ids, indent=2) + "\n")
        return self

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Logs the values of an interval.

        Args:
            epoch: number of the interval, from 0.
            values: by name, as in `metrics.jsonl`.
        """
        for name, tracker in list(self._open.items()):
            with self._going_on_without(name):
                tracker.callback.on_epoch_end(epoch, dict(values))

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        for name, tracker in list(self._open.items()):
            with self._going_on_without(name):
                tracker.end(error)

    @contextlib.contextmanager
    def _going_on_without(self, name: str) -> Iterator[None]:
        """Says what went wrong with a tracker, and drops it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (MLflow raises this very class)
            del self._open[name]
            _warn(
                f"{name} failed: {type(error).__name__}: {error}. The run goes on "
                f"without it; {self._path.parent / 'metrics.jsonl'} has all values."
            )

    def _read_ids(self) -> dict[str, str]:
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            _warn(f"{self._path} cannot be read: {error}. The trackers begin anew.")
            return {}


def check_installed(names: Sequence[str]) -> None:
    """Checks that the trackers' packages are there.

    Args:
        names: among `TRACKERS`.

    Raises:
        ValueError: one of them is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"config.train.trackers names {name}, which is not installed. Install "
                f"it: pip install 'tf_multimodal[{name}]', or leave it out."
            )


def _find_experiment() -> str | None:
    """Returns the id of MLflow's experiment `PROJECT`; None: the environment's."""
    import mlflow

    if os.environ.keys() & {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"}:
        return None
    found = mlflow.get_experiment_by_name(PROJECT)
    return found.experiment_id if found else mlflow.create_experiment(PROJECT)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _warn(message: str) -> None:
    print(f"Warning: {message}", file=sys.stderr)
