"""Holds a SavedModel, loaded in a fresh process, against `Predictor.predict`."""

import base64
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from tf_multimodal.data.source import Source
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving import fresh_process

TOLERANCE = 1e-5  # on a probability
MAX_ROWS = 256


class VerificationError(RuntimeError):
    """A SavedModel does not load, or does not answer as the run does."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """One row of a request; an empty field is a missing modality."""

    image_bytes: bytes
    text: str
    name: str  # for messages


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the signature returned for one row."""

    labels: list[str]
    scores: list[float]
    probabilities: list[float]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was compared, and how close it was.

    Attributes:
        rows: rows compared, made up ones included.
        real_rows: rows that came from the data set.
        max_difference: largest difference of a probability.
        labels_agree: rows whose first label is the run's.
    """

    rows: int
    real_rows: int
    max_difference: float
    labels_agree: int


def choose_pairs(source: Source, split: str, max_rows: int = MAX_ROWS) -> list[Pair]:
    """Returns pairs spread evenly over a split, bytes as they are stored.

    Raises:
        ValueError: the split has no readable pair.
    """
    indices = source.get_indices(split)
    if len(indices) > max_rows:
        indices = indices[np.linspace(0, len(indices) - 1, max_rows).astype(int)]
    pairs = []
    for index in indices:
        image = source.images[index]
        if source.images_are_paths and image:
            path = pathlib.Path(image)
            image = path.read_bytes() if path.is_file() else b""
        pair = Pair(image or b"", source.texts[index], source.describe_row(index))
        if pair.image_bytes or pair.text:
            pairs.append(pair)
    if not pairs:
        raise ValueError(
            f"{source.name} has no readable pair in its {split} split to verify "
            "the exported model with: expected at least one image or text."
        )
    return pairs


def make_edge_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Returns rows with an input missing or broken, made from real ones."""
    image = next((p.image_bytes for p in pairs if p.image_bytes), b"")
    text = next((p.text for p in pairs if p.text), "")
    return [
        Pair(image, "", "made up: no text"),
        Pair(b"", text, "made up: no image"),
        Pair(b"", "", "made up: no image and no text"),
        Pair(b"not an image", text, "made up: undecodable image"),
        Pair(image[: min(20, len(image) // 2)], text, "made up: cut off image"),
        Pair(image, "Zwölf Äpfel, 서울의 crème brûlée", "made up: other scripts"),
    ]


def verify_saved_model(
    folder: pathlib.Path, predictor: Predictor, pairs: Sequence[Pair]
) -> Verification:
    """Compares a SavedModel's answers with the predictor's.

    Args:
        folder: the SavedModel.
        predictor: the run, in float32.
        pairs: real rows; rows with an input missing or broken are added.

    Raises:
        VerificationError: the model does not load in a process without the
            project, a probability differs by more than 1e-5, or a label differs.
    """
    rows = [*pairs, *make_edge_pairs(pairs)]
    answers = ask_fresh_process(folder, rows)
    expected = predictor.predict(
        [row.image_bytes for row in rows], [row.text for row in rows]
    ).probabilities
    compared = compare_answers(rows, answers, expected, predictor.classes)
    return dataclasses.replace(compared, real_rows=len(pairs))


def ask_fresh_process(folder: pathlib.Path, rows: Sequence[Pair]) -> list[Answer]:
    """Returns the answers of a SavedModel in a process without the project.

    Raises:
        VerificationError: that process failed; holds the end of its messages.
    """
    with tempfile.TemporaryDirectory() as work:
        requests = pathlib.Path(work, "requests.jsonl")
        answers = pathlib.Path(work, "answers.jsonl")
        with requests.open("w", encoding="utf-8") as file:
            for row in rows:
                image = base64.b64encode(row.image_bytes).decode()
                line = {"image_bytes": {"b64": image}, "text": row.text}
                file.write(json.dumps(line) + "\n")
        # -I: neither the working directory nor PYTHON* variables are looked at.
        program = [sys.executable, "-I", str(fresh_process.__file__)]
        paths = [str(folder.resolve()), str(requests), str(answers)]
        done = subprocess.run(
            program + paths, cwd=work, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise VerificationError(
                f"The exported model in {folder} does not load or run in a fresh "
                f"process (exit code {done.returncode}). Its last messages:\n"
                + done.stderr[-3000:]
            )
        lines = answers.read_text(encoding="utf-8").splitlines()
        return [Answer(**json.loads(line)) for line in lines]


def compare_answers(
    rows: Sequence[Pair],
    answers: Sequence[Answer],
    expected: np.ndarray,
    classes: Sequence[str],
) -> Verification:
    """Compares answers with expected probabilities, row by row.

    Args:
        rows: what was asked; names rows in messages.
        answers: the SavedModel's.
        expected: float [n, classes].
        classes: names in the order of the columns.

    Raises:
        VerificationError: names the first row that differs.
    """
    if not len(answers) == len(rows) == len(expected):
        raise VerificationError(
            f"The exported model answered {len(answers)} of {len(rows)} rows."
        )
    received = np.array([answer.probabilities for answer in answers])
    if received.shape != expected.shape:
        raise VerificationError(
            f"The exported model's probabilities have shape {received.shape}; "
            f"expected {expected.shape}."
        )
    differences = np.abs(received - expected).max(axis=1)
    for row, answer, values, difference in zip(
        rows, answers, expected, differences, strict=True
    ):
        if not difference <= TOLERANCE:  # also when it is not a number
            raise VerificationError(
                f"The exported model differs from predict by {difference:.2g} in a "
                f"probability, at {row.name}; at most {TOLERANCE:.0e} is allowed."
            )
        _check_labels(row, answer, values, classes)
    agree = [
        answer.labels[0] == classes[best]
        for answer, best in zip(answers, expected.argmax(axis=1), strict=True)
    ]
    return Verification(
        rows=len(rows),
        real_rows=len(rows),
        max_difference=float(differences.max()),
        labels_agree=sum(agree),
    )


def _check_labels(
    row: Pair, answer: Answer, expected: np.ndarray, classes: Sequence[str]
) -> None:
    probabilities = dict(zip(classes, expected.tolist(), strict=True))
    best = sorted(probabilities.values(), reverse=True)[: len(answer.labels)]
    # By probability and not by name: two classes may be equally likely.
    chosen = [probabilities.get(label, np.nan) for label in answer.labels]
    close = np.allclose([chosen, answer.scores], [best, best], rtol=0, atol=TOLERANCE)
    if not close or answer.scores != sorted(answer.scores, reverse=True):
        raise VerificationError(
            f"The exported model's labels at {row.name} are {answer.labels} with "
            f"scores {answer.scores}; expected the classes with the probabilities "
            f"{best}, the most likely first."
        )
