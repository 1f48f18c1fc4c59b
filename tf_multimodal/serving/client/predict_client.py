"""What the gRPC and the REST client have in common."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

SERVING_DEFAULT = "serving_default"
# Inputs of the signatures that a client can ask with images and texts.
INPUTS = {
    SERVING_DEFAULT: ("image_bytes", "text"),
    "image_only": ("image_bytes",),
    "text_only": ("text",),
}
OUTPUTS = ("labels", "scores", "probabilities", "status")
# gRPC's status codes after which the same request may succeed.
RETRYABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0

T = TypeVar("T")


class RequestError(RuntimeError):
    """A request that was not answered with predictions.

    Attributes:
        code: name of gRPC's status code; a REST status is translated.
        reason: the server's words, or what happened to the connection.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Pair(NamedTuple):
    """An image and the text beside it; an empty one is missing."""

    image_bytes: bytes  # an encoded image
    text: str | bytes  # bytes: UTF-8


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says about one pair.

    Attributes:
        labels: names of the most likely classes, the best first.
        scores: their probabilities.
        probabilities: of every class, in the order of the model's labels.txt.
        status: `ok`, or what could not be used.
    """

    labels: list[str]
    scores: list[float]
    probabilities: list[float]
    status: str


@dataclasses.dataclass(frozen=True)
class ClientOptions:
    """How a client asks.

    Attributes:
        version: of the model; None: the server's choice, the newest.
        version_label: in place of `version`, a label of the server's configuration.
        deadline_s: seconds that one attempt may take.
        retries: attempts after the first.
        headers: sent with every request (gRPC: metadata), e.g. `authorization`.
        ca_file: PEM file of the authorities to trust; None: the usual ones.
        connections: requests that may be on their way at once.
    """

    version: int | None = None
    version_label: str | None = None
    deadline_s: float = 30.0
    retries: int = 5
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    ca_file: str | None = None
    connections: int = 16


class PredictClient(Protocol):
    """Asks one model of one server; several threads may use one client."""

    def predict(
        self, pairs: Sequence[Pair], signature: str = SERVING_DEFAULT
    ) -> list[Prediction]:
        """Returns the predictions of one request, in the order of its rows.

        Args:
            pairs: at least one, and no more than the server's largest batch.
            signature: a key of `INPUTS`; the other input is not sent.

        Raises:
            RequestError: no answer after all attempts, or none that another
                attempt could change.
        """

    def read_signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the inputs of each signature, from the metadata.

        Raises:
            RequestError: as for `predict`.
        """

    def close(self) -> None:
        """Closes the connections."""


def call_with_retries(
    call: Callable[[], T], retries: int, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Returns what `call` returns, and tries again after an error that may pass.

    Waits between attempts grow exponentially with "full jitter": M. Brooker (2015),
    "Exponential Backoff And Jitter", AWS Architecture Blog.

    Args:
        call: raises RequestError.
        retries: attempts after the first.
        sleep: waits for a number of seconds.
    """
    attempt = 0
    while True:
        try:
            return call()
        except RequestError as error:
            if error.code not in RETRYABLE or attempt >= retries:
                raise
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)
        sleep(random.uniform(0, longest))
        attempt += 1


def make_predictions(outputs: Mapping[str, Any], rows: int) -> list[Prediction]:
    """Returns the predictions that an answer holds.

    Args:
        outputs: lists of `rows` entries by name of the output.
        rows: of the request.

    Raises:
        RequestError: the answer is not one of a model of this project.
    """
    missing = [name for name in OUTPUTS if name not in outputs]
    if missing:
        raise RequestError(
            "UNIMPLEMENTED",
            f"The model has no output {missing[0]!r}; its outputs: "
            f"{', '.join(sorted(outputs))}. Expected a model that this project "
            "exported.",
        )
    columns = [outputs[name] for name in OUTPUTS]
    if any(len(column) != rows for column in columns):
        raise RequestError(
            "INTERNAL",
            f"The answer has {[len(column) for column in columns]} entries for "
            f"{rows} rows.",
        )
    return [Prediction(*values) for values in zip(*columns, strict=True)]


def encode_text(text: str | bytes) -> bytes:
    """Returns a text as it is sent; bytes that a shell could not decode come back."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
