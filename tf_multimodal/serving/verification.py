"""Holds a SavedModel, loaded in a fresh process, against `Predictor.predict`."""

import base64
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.inference.predictions import Predictions
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run
from tf_multimodal.serving import fresh_process
from tf_multimodal.serving.agreement import (
    MIN_AGREEMENT,
    SAVED_MODEL_CLI,
    TOLERANCES,
    Answers,
    Expected,
    Verification,
    VerificationError,
    compare_answers,
)
from tf_multimodal.serving.extra_files import check_extra_files, read_precision
from tf_multimodal.serving.latency import Latency, describe_latency
from tf_multimodal.serving.pairs import MIN_ROWS, Pair, choose_pairs, make_edge_pairs
from tf_multimodal.serving.signatures import (
    IMAGE_ONLY,
    SERVING_DEFAULT,
    TENSORS,
    TEXT_ONLY,
)
from tf_multimodal.serving.versions import EXTRA_DIR, find_version

RECORD_FILE = "verify.json"
RECORD_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-hub")


def verify_export(
    model_dir: str | pathlib.Path, run_dir: str | pathlib.Path
) -> tuple[pathlib.Path, str]:
    """Verifies an exported model with its run's data and writes the record.

    Args:
        model_dir: the SavedModel, or the folder with its versions: then the newest.
        run_dir: the run that it was exported from.

    Returns:
        The SavedModel's folder, and what was found, for a person.

    Raises:
        ValueError: there is no model, no run, or no row to compare; or a file beside
            the model is missing or cannot be read.
        VerificationError: see `check_extra_files` and `verify_saved_model`. No
            record is written.
    """
    folder = find_version(model_dir)
    precision = read_precision(folder)
    predictor = Predictor.from_run(run_dir, dtype="float32")
    check_extra_files(folder, predictor.classes, precision)
    pairs = choose_pairs(load_run_source(read_run(run_dir)))
    found = verify_saved_model(folder, predictor, pairs, precision)
    write_record(folder, found)
    return folder, describe_verification(found)


def verify_saved_model(
    folder: pathlib.Path,
    predictor: Predictor,
    pairs: Sequence[Pair],
    precision: str = "float32",
) -> Verification:
    """Compares a SavedModel's answers with the predictor's, and times it.

    Every signature that answers with classes is compared: in float32 each
    probability within 1e-5, in bfloat16 within 0.3 and the first label on 99 % of
    the real rows; in both each status. The warm-up requests must be answered.

    Args:
        folder: the SavedModel.
        predictor: the run, in float32.
        pairs: real rows, at least one; rows with an input missing or broken are
            added.
        precision: the SavedModel's, `float32` or `bfloat16`.

    Raises:
        ValueError: there are no pairs.
        VerificationError: the model does not load in a process without the
            project, or does not answer as the run does.
    """
    if not pairs:
        raise ValueError(f"There is no pair to verify {folder} with: expected one.")
    rows = [*pairs, *make_edge_pairs(pairs)]
    answers, latency = ask_fresh_process(folder, rows, len(pairs))
    expected = make_expected(predictor, rows)
    verification = compare_answers(
        rows, len(pairs), answers, expected, predictor.classes, precision
    )
    return dataclasses.replace(verification, latency_ms=latency)


def ask_fresh_process(
    folder: pathlib.Path, rows: Sequence[Pair], real_rows: int
) -> tuple[Answers, Latency]:
    """Returns the answers and the latency of a SavedModel without the project.

    Args:
        folder: the SavedModel.
        rows: what to ask.
        real_rows: so many rows, the first ones, are timed.

    Raises:
        VerificationError: that process failed; holds the line that says why, or
            the end of its messages where there is none.
    """
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        with (work / "requests.jsonl").open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows):
                line = {
                    "image_bytes": _encode(row.image_bytes),
                    "text": _encode(row.text),
                    "real": number < real_rows,
                }
                file.write(json.dumps(line) + "\n")
        # -I: neither the working directory nor PYTHON* variables are looked at.
        program = [sys.executable, "-I", str(fresh_process.__file__)]
        done = subprocess.run(
            [*program, str(folder.resolve()), str(work)],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = f"exit code {done.returncode}. Its last messages:\n"
            reason += done.stderr[-3000:]
            if (work / "error.txt").is_file():
                reason = (work / "error.txt").read_text(encoding="utf-8")
            raise VerificationError(
                f"The exported model in {folder} does not load or run in a fresh "
                f"process: {reason}"
            )
        with np.load(work / "answers.npz", allow_pickle=False) as file:
            answers = dict(file)
        latency = json.loads((work / "latency.json").read_text(encoding="utf-8"))
    return answers, latency


def make_expected(predictor: Predictor, rows: Sequence[Pair]) -> dict[str, Expected]:
    """Returns what the run itself says, by signature."""
    images = [row.image_bytes for row in rows]
    texts = [row.text for row in rows]
    nothing = [None] * len(rows)
    whole = predictor.predict(images, texts)
    # Who sends tensors has decoded already: only an empty row is told apart.
    usable = [spec.OK if usable else spec.MISSING_INPUT for usable in whole.usable]
    expected = {
        SERVING_DEFAULT: _expect(whole),
        TENSORS: Expected(whole.probabilities, usable),
    }
    if predictor.preprocessor.image_converter is not None:
        expected[IMAGE_ONLY] = _expect(predictor.predict(images, nothing))
    if predictor.preprocessor.tokenizer is not None:
        expected[TEXT_ONLY] = _expect(predictor.predict(nothing, texts))
    return expected


def write_record(folder: pathlib.Path, verification: Verification) -> None:
    """Writes what was compared, and the packages' versions, beside a SavedModel.

    Args:
        folder: the SavedModel.
        verification: what was found.
    """
    record = {
        **dataclasses.asdict(verification),
        "tolerance": TOLERANCES[verification.precision],
        "checked_with": ["session_loader", SAVED_MODEL_CLI],
        "cpus": os.cpu_count(),
        "versions": {name: metadata.version(name) for name in RECORD_PACKAGES},
    }
    path = folder / EXTRA_DIR / RECORD_FILE
    write_text(path, json.dumps(record, indent=2) + "\n")


def describe_verification(verification: Verification) -> str:
    """Returns what was compared and measured, for a person, without a newline."""
    found = verification
    splits = ", ".join(f"{count} {name}" for name, count in found.rows_by_split.items())
    required = "" if found.precision == "float32" else f"; {MIN_AGREEMENT:.0%} must"
    lines = [
        "Verified in a fresh process without Keras and the project, by the session "
        f"loader and {SAVED_MODEL_CLI}, against predict in float32:",
        f"  precision           {found.precision}",
        f"  rows                {found.rows}: {found.real_rows} pairs of the data set "
        f"({splits}), {found.rows - found.real_rows} made up (input missing or broken)",
        f"  largest difference  {found.max_difference:.1e} of a probability; "
        f"{TOLERANCES[found.precision]:.0e} is allowed",
        f"  labels agree        {found.labels_agree} of {found.rows}; in each "
        f"signature on at least {found.label_agreement:.1%} of the real rows{required}",
        f"  statuses agree      {found.statuses_agree} of {found.rows}",
    ]
    if found.real_rows < MIN_ROWS:
        lines.insert(3, f"  fewer than {MIN_ROWS} pairs: the data set has no more")
    if found.latency_ms:
        lines.append(describe_latency(found.latency_ms))
    return "\n".join(lines)


def _encode(value: str | bytes) -> dict[str, str]:
    data = value.encode() if isinstance(value, str) else value
    return {"b64": base64.b64encode(data).decode()}


def _expect(predictions: Predictions) -> Expected:
    return Expected(predictions.probabilities, predictions.status)
