"""Compares what a SavedModel answered with what the run itself says."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.serving.latency import Latency
from tf_multimodal.serving.pairs import Pair
from tf_multimodal.serving.signatures import FEATURES, SERVING_DEFAULT

SAVED_MODEL_CLI = "saved_model_cli"  # the second way of asking serving_default
# On a probability. In bfloat16 it is loose, for rounding alone moves a row that is
# hard to tell; it finds columns in a wrong order.
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.3}
# Two ways of loading, with batches of other sizes: they round differently.
LOADER_TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}
MIN_AGREEMENT = 0.99  # of a signature's labels in bfloat16, over real rows

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
        rows_by_split: their number by the split that they are from.
        max_difference: largest difference of a probability, over all signatures.
        labels_agree: rows whose first label in serving_default is the run's.
        label_agreement: share of the real rows whose first label is the run's, of the
            signature in which it is lowest. A row without input is not counted.
        statuses_agree: rows whose status is the run's.
        precision: the SavedModel's, `float32` or `bfloat16`.
        latency_ms: part -> batch size -> `p50` and `p95`.
    """

    rows: int
    real_rows: int
    rows_by_split: dict[str, int]
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
        real_rows: so many rows, the first ones, are from the data set; at least one.
        answers: the SavedModel's.
        expected: the run's, by signature.
        classes: names in the order of the columns.
        precision: the SavedModel's.

    Raises:
        ValueError: no row is from the data set.
        VerificationError: names the signature and the first row that differs, or on
            how many labels it agrees.
    """
    if real_rows < 1:
        raise ValueError("There is no row of the data set to compare: expected one.")
    differences = [
        _compare_signature(name, rows, answers, values, classes, precision)
        for name, values in expected.items()
    ]
    _check_features(rows, answers, expected[SERVING_DEFAULT].status)
    _check_cli(rows, answers, precision)
    agree = {
        name: _compare_labels(name, answers, values, classes)
        for name, values in expected.items()
    }
    shares = []
    for name, values in expected.items():
        counted = np.array(values.status[:real_rows]) != spec.MISSING_INPUT
        shares.append(_check_share(name, agree[name][:real_rows][counted], precision))
    return Verification(
        rows=len(rows),
        real_rows=real_rows,
        rows_by_split=dict(Counter(row.split for row in rows[:real_rows])),
        max_difference=max(differences),
        labels_agree=int(agree[SERVING_DEFAULT].sum()),
        label_agreement=min(shares),
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
    bound = TOLERANCES[precision]
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


def _compare_labels(
    name: str, answers: Answers, expected: Expected, classes: Sequence[str]
) -> np.ndarray:
    """Returns, bool [rows], whether the first label is the run's."""
    best = np.array(classes)[expected.probabilities.argmax(axis=1)]
    return answers[f"{name}/labels"][:, 0] == best


def _check_share(name: str, agree: np.ndarray, precision: str) -> float:
    """Checks on how many real rows the labels agree; returns their share."""
    share = float(agree.mean()) if agree.size else 1.0
    # In float32 the bound on the difference says more: equally likely classes may
    # swap, and no others.
    if precision != "float32" and share < MIN_AGREEMENT:
        raise VerificationError(
            f"In {precision} the signature {name} of the exported model agrees with "
            f"predict on {share:.1%} of {agree.size} labels; at least "
            f"{MIN_AGREEMENT:.0%} is required. Export it in float32."
        )
    return share


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
        bound = LOADER_TOLERANCES[precision]
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
