"""Compares what a SavedModel answered with what the run itself says."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tf_multimodal.serving.latency import Latency
from tf_multimodal.serving.pairs import Pair
from tf_multimodal.serving.signatures import FEATURES, SERVING_DEFAULT

SAVED_MODEL_CLI = "saved_model_cli"  # the second way of asking serving_default
TOLERANCE = 1e-5  # on a probability in float32
# Two ways of loading, with batches of other sizes: they round differently.
LOADER_TOLERANCE = {"float32": TOLERANCE, "bfloat16": 2e-2}
MIN_AGREEMENT = 0.99  # of labels in bfloat16, over real rows

Answers = Mapping[str, np.ndarray]  # SIGNATURE/OUTPUT -> [rows, ...]


class VerificationError(RuntimeError):
    """A SavedModel does not load, or does not answer as the run does."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a signature should answer: probabilities [n, c] and n statuses."""

    probabilities: np.ndarray
    status: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was compared, and how close it was.

    Attributes:
        rows: rows compared, made up ones included.
        real_rows: rows that came from the data set.
        max_difference: largest difference of a probability, over all signatures.
        labels_agree: rows whose first label is the run's.
        label_agreement: share of the real rows whose first label is the run's.
        statuses_agree: rows whose status is the run's.
        precision: the SavedModel's, `float32` or `bfloat16`.
        latency_ms: part -> batch size -> `p50` and `p95`.
    """

    rows: int
    real_rows: int
    max_difference: float
    labels_agree: int
    label_agreement: float
    statuses_agree: int
    precision: str = "float32"
    latency_ms: Latency = dataclasses.field(default_factory=dict)


def compare_answers(
    rows: Sequence[Pair],
    real_rows: int,
    answers: Answers,
    expected: Mapping[str, Expected],
    classes: Sequence[str],
    precision: str = "float32",
) -> Verification:
    """Compares answers with expected ones, signature by signature, row by row.

    Args:
        rows: what was asked; names rows in messages.
        real_rows: so many rows, the first ones, are from the data set.
        answers: the SavedModel's.
        expected: the run's, by signature.
        classes: names in the order of the columns.
        precision: the SavedModel's.

    Raises:
        VerificationError: names the signature and the first row that differs.
    """
    differences = [
        _compare_signature(name, rows, answers, values, classes, precision)
        for name, values in expected.items()
    ]
    _check_features(rows, answers, expected[SERVING_DEFAULT].status)
    _check_cli(rows, answers, precision)
    default = expected[SERVING_DEFAULT]
    best = np.array(classes)[default.probabilities.argmax(axis=1)]
    agree = answers[f"{SERVING_DEFAULT}/labels"][:, 0] == best
    agreement = float(agree[:real_rows].mean())
    if precision != "float32" and not agreement >= MIN_AGREEMENT:
        raise VerificationError(
            f"In {precision} the exported model agrees with predict on "
            f"{agreement:.1%} of {real_rows} labels; at least {MIN_AGREEMENT:.0%} is "
            "required. Export it in float32."
        )
    return Verification(
        rows=len(rows),
        real_rows=real_rows,
        max_difference=max(differences),
        labels_agree=int(agree.sum()),
        label_agreement=agreement,
        statuses_agree=len(rows),  # one that differs has raised
        precision=precision,
    )


def _compare_signature(
    name: str,
    rows: Sequence[Pair],
    answers: Answers,
    expected: Expected,
    classes: Sequence[str],
    precision: str,
) -> float:
    """Checks what a signature answered; returns the largest difference."""
    labels, scores, received, status = (
        _get_output(answers, name, key, len(rows))
        for key in ("labels", "scores", "probabilities", "status")
    )
    if received.shape != expected.probabilities.shape:
        raise VerificationError(
            f"The signature {name} returns probabilities of shape {received.shape}; "
            f"expected {expected.probabilities.shape}."
        )
    differences = np.abs(received - expected.probabilities).max(axis=1)
    bound = TOLERANCE if precision == "float32" else 1.0  # no bound
    for number, row in enumerate(rows):
        where = f"The signature {name} at {row.name}"
        difference = differences[number]
        if not difference <= bound:  # also when it is not a number
            raise VerificationError(
                f"{where} differs from predict by {difference:.2g} in a probability; "
                f"at most {bound:.0e} is allowed."
            )
        if status[number] != expected.status[number]:
            raise VerificationError(
                f"{where} has the status {status[number]}; predict says "
                f"{expected.status[number]}."
            )
        _check_labels(where, labels[number], scores[number], received[number], classes)
    return float(differences.max())


def _check_labels(
    where: str,
    labels: np.ndarray,
    scores: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Checks a row's labels and scores against its own probabilities."""
    by_name = dict(zip(classes, probabilities.tolist(), strict=True))
    best = sorted(by_name.values(), reverse=True)[: len(labels)]
    # By probability and not by name: two classes may be equally likely.
    chosen = [by_name.get(label) for label in labels.tolist()]
    repeated = len(set(labels.tolist())) < len(labels)
    if scores.tolist() != best or chosen != best or repeated:
        raise VerificationError(
            f"{where} has the labels {labels.tolist()} with scores {scores.tolist()}; "
            f"expected the classes with the probabilities {best}, the most likely "
            "first."
        )


def _check_features(
    rows: Sequence[Pair], answers: Answers, status: Sequence[str]
) -> None:
    """Checks that there are finite embeddings, with the statuses of serving_default."""
    received = _get_output(answers, FEATURES, "status", len(rows))
    embeddings = [
        values for key, values in answers.items() if key.endswith("_embedding")
    ]
    for number, row in enumerate(rows):
        finite = all(np.isfinite(values[number]).all() for values in embeddings)
        if received[number] != status[number] or not finite:
            raise VerificationError(
                f"The signature {FEATURES} at {row.name} has the status "
                f"{received[number]} and {'' if finite else 'not '}finite values; "
                f"expected {status[number]} and finite values."
            )


def _check_cli(rows: Sequence[Pair], answers: Answers, precision: str) -> None:
    """Checks that saved_model_cli's numbers are those of the session loader."""
    chosen = answers[f"{SAVED_MODEL_CLI}/rows"]
    for key in ("probabilities", "scores"):
        received = _get_output(answers, SAVED_MODEL_CLI, key, len(chosen))
        expected = answers[f"{SERVING_DEFAULT}/{key}"][chosen]
        bound = LOADER_TOLERANCE[precision]
        if not np.allclose(received, expected, rtol=0, atol=bound):
            names = ", ".join(rows[number].name for number in chosen)
            raise VerificationError(
                f"saved_model_cli and the session loader get different {key} from "
                f"{SERVING_DEFAULT}; the rows are {names}."
            )


def _get_output(answers: Answers, name: str, key: str, rows: int) -> np.ndarray:
    values = answers.get(f"{name}/{key}")
    if values is None:
        raise VerificationError(
            f"The exported model has no output {key} of a signature {name}. It was "
            "exported by another version of the project: export it again."
        )
    if len(values) != rows:
        raise VerificationError(
            f"The signature {name} answered {len(values)} of {rows} rows."
        )
    return values
