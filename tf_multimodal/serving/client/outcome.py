"""What becomes of a row that is sent to a server, by the rules of predict."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from tf_multimodal.data import spec
from tf_multimodal.data.columns import UnreadableImage
from tf_multimodal.data.labels import read_labels
from tf_multimodal.serving.client.batches import predict_batch
from tf_multimodal.serving.client.predict_client import (
    INPUTS,
    SERVING_DEFAULT,
    Pair,
    PredictClient,
    Prediction,
    RequestError,
    encode_text,
)

REQUEST_FAILED = "request_failed"  # the one status that predict does not have
IMAGE_TROUBLES = (
    spec.UNREADABLE_IMAGE,
    spec.UNDECODABLE_IMAGE,
    spec.IMAGE_TOO_LARGE,
)
REASONS = {
    spec.OK: "",
    spec.MISSING_INPUT: "There is no input that the model reads.",
    spec.UNDECODABLE_IMAGE: "The server cannot decode the image.",
    spec.IMAGE_TOO_LARGE: "The image has more pixels than the model allows.",
    spec.UNDECODABLE_TEXT: "The text is not UTF-8.",
}
DIGITS = 8  # after the decimal point, as predict writes them


class Outcome(NamedTuple):
    """What became of one row.

    Attributes:
        result: the prediction, or why there is none.
        status: one of spec.STATUSES, or `request_failed`.
        reason: a sentence; empty where the status is `ok`.
        usable: whether the model had an image or a text to go by.
    """

    result: Prediction | RequestError
    status: str
    reason: str
    usable: bool


class _Input(NamedTuple):
    pair: Pair
    status: str  # of reading the image here: ok, or its trouble
    reason: str


@dataclasses.dataclass(frozen=True)
class Model:
    """What is asked, and how.

    Attributes:
        client: asks the server.
        signature: a key of `predict_client.INPUTS`.
        reads: `image` and/or `text`, what the signature of this model looks at.
        classes: names in the order of `probabilities`; None: not known.
        multi_label: whether a row may have several labels, or none.
    """

    client: PredictClient
    signature: str
    reads: frozenset[str]
    classes: tuple[str, ...] | None
    multi_label: bool = False


def find_model(
    client: PredictClient,
    signature: str = SERVING_DEFAULT,
    labels: str | pathlib.Path | None = None,
    multi_label: bool = False,
) -> Model:
    """Asks the server what the model reads; finds out early that it is not there.

    Args:
        client: asks the server.
        signature: a key of `predict_client.INPUTS`.
        labels: the model's labels.txt; None: only the classes that the server names
            with a row get a probability.
        multi_label: whether a row may have several labels, or none; the server does
            not say, the model card does.

    Raises:
        RequestError: the server does not answer, or has no such model.
        ValueError: the model has no such signature, or `labels` cannot be read.
    """
    if labels is not None and not pathlib.Path(labels).is_file():
        raise ValueError(
            f"There is no file {labels}, which --labels names. Expected the labels.txt "
            "in the assets.extra/ of the model that is served."
        )
    classes = None if labels is None else read_labels(labels)
    signatures = client.read_signatures()
    if signatures.get(signature) != tuple(sorted(INPUTS[signature])):
        found = ", ".join(f"{k}({', '.join(v)})" for k, v in signatures.items())
        raise ValueError(
            f"The server's model has no signature {signature!r} with the inputs "
            f"{', '.join(INPUTS[signature])}. It has: {found}"
        )
    reads = {name.removesuffix("_bytes") for name in INPUTS[signature]}
    if signature == SERVING_DEFAULT:
        # A model of one modality takes both inputs and looks at one.
        only = {name for name in reads if f"{name}_only" in signatures}
        reads = only or reads
    return Model(client, signature, frozenset(reads), classes, multi_label)


def ask_rows(
    model: Model, images: Iterable[bytes | str], texts: Iterable[str]
) -> list[Outcome]:
    """Reads images, sends them with their texts and judges what came back.

    Args:
        model: what is asked.
        images: paths of files, or their bytes; empty: no image. One that cannot be
            read is left out, and its text is sent.
        texts: empty: no text.
    """
    sent = [_read_input(model, *row) for row in zip(images, texts, strict=True)]
    pairs = [item.pair for item in sent]
    results = predict_batch(model.client, pairs, model.signature)
    return [_judge(model, *both) for both in zip(sent, results, strict=True)]


def _read_input(model: Model, image: bytes | str, text: str) -> _Input:
    if not image or "image" not in model.reads:
        return _Input(Pair(b"", text), spec.OK, "")
    if isinstance(image, bytes):
        return _Input(Pair(image, text), spec.OK, "")
    if isinstance(image, UnreadableImage):
        return _Input(Pair(b"", text), spec.UNREADABLE_IMAGE, image.reason)
    status, reason = spec.OK, ""
    image_bytes = b""
    try:
        image_bytes = pathlib.Path(image).read_bytes()
        if not image_bytes:  # to the server, empty means missing
            status, reason = spec.UNDECODABLE_IMAGE, "The image is empty (0 bytes)."
    except FileNotFoundError:
        status, reason = spec.UNREADABLE_IMAGE, "The file does not exist."
    except OSError as error:
        status = spec.UNREADABLE_IMAGE
        reason = f"The file cannot be read: {error.strerror}."
    return _Input(Pair(image_bytes, text), status, reason)


def _judge(model: Model, sent: _Input, result: Prediction | RequestError) -> Outcome:
    if isinstance(result, RequestError):
        return Outcome(result, REQUEST_FAILED, str(result), False)
    _check_classes(model.classes, result)
    status, reason = sent.status, sent.reason
    if status == spec.OK:
        status = result.status
        reason = REASONS.get(status, f"The server says {status}.")
    return Outcome(result, status, reason, _find_usable(model, sent.pair, result))


def _find_usable(model: Model, pair: Pair, result: Prediction) -> bool:
    """Returns whether the server had an image or a text to go by."""
    if result.status in IMAGE_TROUBLES:  # what it says of the image hides the text
        return "text" in model.reads and _is_text(pair.text)
    if result.status == spec.UNDECODABLE_TEXT:
        return bool(pair.image_bytes)
    return result.status != spec.MISSING_INPUT


def _is_text(text: str | bytes) -> bool:
    try:
        return bool(encode_text(text).decode("utf-8").strip())
    except UnicodeDecodeError:
        return False


def _check_classes(classes: tuple[str, ...] | None, prediction: Prediction) -> None:
    if classes is None:
        return
    scores = prediction.probabilities
    if len(classes) == len(scores):
        best = classes[scores.index(max(scores))]
        if best == prediction.labels[0]:
            return
        received = f"{best!r} where the server answers {prediction.labels[0]!r}"
    else:
        received = f"{len(classes)} names for {len(scores)} classes"
    raise ValueError(
        f"--labels is not the labels.txt of the server's model: it gives {received}. "
        "Take the one in the assets.extra/ of the version that is served."
    )


def describe_outcome(model: Model, outcome: Outcome) -> dict[str, Any]:
    """Returns the columns that predict writes about a prediction.

    Args:
        model: what was asked. Without its classes only those that the server named,
            the most likely ones, get a probability.
        outcome: of one row.
    """
    prediction = outcome.result
    if isinstance(prediction, RequestError) or not outcome.usable:
        empty = dict.fromkeys(("prediction", "probability", "probabilities"))
        return {**empty, "status": outcome.status}
    names, scores = prediction.labels, prediction.scores
    if model.classes is not None:
        names, scores = list(model.classes), prediction.probabilities
    probabilities = {
        name: round(score, DIGITS) for name, score in zip(names, scores, strict=True)
    }
    best: Any = prediction.labels[0]
    score: Any = round(prediction.scores[0], DIGITS)
    if model.multi_label:
        best = [name for name in names if probabilities[name] >= spec.THRESHOLD]
        best.sort(key=lambda name: -probabilities[name])
        score = [probabilities[name] for name in best]
    return {
        "prediction": best,
        "probability": score,
        "probabilities": probabilities,
        "status": outcome.status,
    }
