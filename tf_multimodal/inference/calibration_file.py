"""The temperature of a run's probabilities, in its `calibration.json`.

It belongs to the weights that it was fitted for. Where they have changed since, it is
not used.
"""

import dataclasses
import functools
import hashlib
import json
import math
import sys
from pathlib import Path

from tf_multimodal.data import atomic_file
from tf_multimodal.inference.run_reader import RunError

FILE = "calibration.json"
COMMAND = "python -m tf_multimodal.evaluation.report"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and what it changes on the rows that it was fitted on.

    Attributes:
        temperature: divides the logits before they become probabilities; above 0.
        split: name of the rows' split.
        rows: number of rows.
        weights_sha256: of the weights in `best/`; see `hash_weights`.
        ece_before, ece_after: expected calibration error, 0 to 1.
        loss_before, loss_after: cross-entropy, nats.
    """

    temperature: float
    split: str
    rows: int
    weights_sha256: str
    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float


def write_calibration(run_dir: str | Path, calibration: Calibration) -> Path:
    """Writes a run's `calibration.json`; returns its path."""
    path = Path(run_dir) / FILE
    text = json.dumps(dataclasses.asdict(calibration), indent=2) + "\n"
    atomic_file.write_text(path, text)
    return path


def read_calibration(run_dir: str | Path) -> Calibration | None:
    """Returns a run's calibration; None without one for the weights in `best/`.

    Of a file that is for other weights, standard error says so, once a process.

    Raises:
        RunError: the file is damaged.
    """
    path = Path(run_dir) / FILE
    if not path.is_file():
        return None
    calibration = _read(path)
    if calibration.weights_sha256 != hash_weights(Path(run_dir) / "best"):
        _say_once(
            f"{path} is not used: it was fitted for other weights than those in best/ "
            "(training went on?). The probabilities are not calibrated. Fit it again: "
            f"{COMMAND} --run={run_dir}"
        )
        return None
    return calibration


def hash_weights(preset_dir: str | Path) -> str:
    """Returns the SHA-256 of a preset's weights, names and contents of the files."""
    digest = hashlib.sha256()
    for path in sorted(Path(preset_dir).glob("*.weights.h5")):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def _read(path: Path) -> Calibration:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        fields = dataclasses.fields(Calibration)
        calibration = Calibration(
            **{field.name: record[field.name] for field in fields}
        )
        temperature = calibration.temperature
        if isinstance(temperature, bool) or not isinstance(temperature, int | float):
            raise TypeError(f"temperature is {temperature!r}, not a number")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read: {type(error).__name__} {error}. It was damaged, "
            f"or written by another version of the project. Fit it again: {COMMAND} "
            f"--run={path.parent}; or remove it, and the probabilities are as trained."
        ) from error
    if not (math.isfinite(temperature) and temperature > 0):
        raise RunError(
            f"{path} is damaged: expected a temperature above 0. Received: "
            f"{temperature}. Fit it again: {COMMAND} --run={path.parent}"
        )
    return calibration


@functools.cache
def _say_once(message: str) -> None:
    print(message, file=sys.stderr)
