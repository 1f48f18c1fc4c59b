"""The state of a run: all that it takes to go on as if nothing had happened."""

import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

import keras
import numpy as np

KEPT = 2  # states; a state appears in one step, so the newest is complete


@dataclasses.dataclass
class Progress:
    """Counters of a run beside its variables.

    Attributes:
        step: batches read so far; the next one is batch `step`.
        best_step: step of the best evaluation, -1 before the first.
        best_value: its value of the monitored metric; higher is better.
        evaluations_without_progress: since the best one.
        stopped: whether early stopping has ended the run.
    """

    step: int = 0
    best_step: int = -1
    best_value: float | None = None
    evaluations_without_progress: int = 0
    stopped: bool = False


def list_state_variables(model: keras.Model) -> list[Any]:
    """Returns the variables of a model and its optimizer that training changes.

    Frozen weights are left out: they are written once, by `save_frozen`.
    """
    frozen = {id(v) for v in _list_frozen(model)}
    own = [v for v in model.variables if id(v) not in frozen]
    return own + list(model.optimizer.variables)


def save_state(folder: pathlib.Path, model: keras.Model, progress: Progress) -> None:
    """Writes a state beside the others and moves it into place in one step."""
    name = f"step_{progress.step:010d}"
    staging = folder / f".{name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    _write_arrays(staging / "variables.npz", list_state_variables(model))
    text = json.dumps(dataclasses.asdict(progress), indent=2)
    (staging / "progress.json").write_text(text, encoding="utf-8")
    if (folder / name).exists():
        shutil.rmtree(folder / name)
    os.replace(staging, folder / name)
    for old in list_states(folder)[:-KEPT]:
        shutil.rmtree(old)


def save_frozen(folder: pathlib.Path, model: keras.Model) -> None:
    """Writes the frozen weights, which no step changes, once."""
    path = folder / "frozen.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        staging = folder / ".frozen.npz"
        _write_arrays(staging, _list_frozen(model))
        os.replace(staging, path)


def restore_state(folder: pathlib.Path, model: keras.Model) -> Progress | None:
    """Puts the newest state into a model; returns its progress, None if none.

    Raises:
        ValueError: the state is of another model.
    """
    states = list_states(folder)
    if not states:
        return None
    _read_arrays(folder / "frozen.npz", _list_frozen(model))
    _read_arrays(states[-1] / "variables.npz", list_state_variables(model))
    text = (states[-1] / "progress.json").read_text(encoding="utf-8")
    return Progress(**json.loads(text))


def list_states(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of complete states, oldest first."""
    return sorted(folder.glob("step_*"))


def _list_frozen(model: keras.Model) -> list[Any]:
    """Returns the weights of encoders that are frozen as a whole."""
    branches = (model.backbone.image_branch, model.backbone.text_branch)
    return [v for b in branches if b is not None and not b.trainable for v in b.weights]


def _write_arrays(path: pathlib.Path, variables: list[Any]) -> None:
    values = {f"{i:05d}": np.asarray(v) for i, v in enumerate(variables)}
    with open(path, "wb") as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def _read_arrays(path: pathlib.Path, variables: list[Any]) -> None:
    with np.load(path, allow_pickle=False) as stored:
        if len(stored.files) != len(variables):
            raise ValueError(
                f"{path} holds {len(stored.files)} variables, the model has "
                f"{len(variables)}: the state is of another model. Choose another "
                "--workdir."
            )
        for variable, name in zip(variables, stored.files, strict=True):
            variable.assign(stored[name])
