"""Compares the files of two finished runs bit by bit."""

import json
import pathlib
from typing import Any

import numpy as np

# Times are in neither. versions.json names versions and the data's fingerprint.
SAME_FILES = (
    "metrics.jsonl",
    "finished.json",
    "labels.txt",
    "splits.csv",
    "versions.json",
    "best/config.json",
)


def list_differences(whole: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Compares weights, optimizer, counters, logs, `best/` and TensorBoard's points.

    Args:
        whole: directory of the run that was left alone.
        other: directory of the run that was killed and gone on with.

    Returns:
        What differs, a line for each; empty where nothing does.
    """
    lines = []
    for name in SAME_FILES:
        if (whole / name).read_bytes() != (other / name).read_bytes():
            lines.append(f"{name} differs")
    for read in (_read_state, _read_best, _read_steps_of_timing, _read_events):
        expected, found = read(whole), read(other)
        names = sorted(expected.keys() | found.keys())
        lines += [n for n in names if expected.get(n) != found.get(n)]
    return lines


def _read_state(run: pathlib.Path) -> dict[str, Any]:
    """Returns the variables and counters of the last state, by name."""
    state = max(run.glob("state/step_*"))
    values: dict[str, Any] = {"step of the last state": state.name}
    values["counters"] = json.loads((state / "progress.json").read_text())
    with np.load(state / "variables.npz") as arrays:
        for name, array in arrays.items():
            values[f"state {name}"] = (array.dtype, array.shape, array.tobytes())
    return values


def _read_best(run: pathlib.Path) -> dict[str, Any]:
    """Returns the weights in `best/`, by their path in the file."""
    import h5py

    values: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            array = np.asarray(item)
            values[f"best {name}"] = (array.dtype, array.shape, array.tobytes())

    for path in sorted((run / "best").glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(add)
    return values


def _read_steps_of_timing(run: pathlib.Path) -> dict[str, Any]:
    lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
    return {"steps of timing.jsonl": [json.loads(line)["step"] for line in lines]}


def _read_events(run: pathlib.Path) -> dict[str, Any]:
    """Returns step and value of TensorBoard's points, by part and tag."""
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    values: dict[str, Any] = {}
    for path in sorted(run.glob("tensorboard/*/events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                name = f"TensorBoard {path.parent.name} {value.tag}"
                point = (event.step, value.SerializeToString())
                values.setdefault(name, []).append(point)
    return values
