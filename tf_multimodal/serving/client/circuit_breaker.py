"""Stops asking a server that is gone.

M. Nygard (2007), "Release It!", Pragmatic Bookshelf: the pattern Circuit Breaker;
this one never closes again.
"""

import threading
from collections.abc import Sequence

from tf_multimodal.serving.client.predict_client import (
    SERVING_DEFAULT,
    Pair,
    PredictClient,
    Prediction,
    RequestError,
)

MOST_FAILURES = 2  # requests after one another, each with all its retries
OF_A_SERVER_GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


class NotAsked(RequestError):
    """The server left requests before this one unanswered; it was not asked again."""


class CircuitBreaker:
    """A `PredictClient` that asks through another one while the server answers."""

    def __init__(self, client: PredictClient) -> None:
        """Wraps a client; whoever made that closes it."""
        self._client = client
        self._lock = threading.Lock()
        self._failures = 0
        self._last: RequestError | None = None

    def predict(
        self, pairs: Sequence[Pair], signature: str = SERVING_DEFAULT
    ) -> list[Prediction]:
        """Returns the predictions of one request; see `PredictClient`.

        Raises:
            NotAsked: too many requests after one another were not answered.
            RequestError: as for `PredictClient`.
        """
        before, last = self._failures, self._last
        if last is not None and before >= MOST_FAILURES:
            raise NotAsked(
                last.code,
                f"{last.reason} It was not asked about the rows that remained.",
            )
        try:
            predictions = self._client.predict(pairs, signature)
        except RequestError as error:
            self._count(before, error)
            raise
        self._count(before)
        return predictions

    def read_signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the inputs of each signature."""
        return self._client.read_signatures()

    def close(self) -> None:
        """Closes the client."""
        self._client.close()

    def _count(self, before: int, error: RequestError | None = None) -> None:
        """Counts failures after one another; `before`: as the request began."""
        with self._lock:
            if self._failures >= MOST_FAILURES:
                return
            if error is None or error.code not in OF_A_SERVER_GONE:
                self._failures = 0
            elif self._failures == before:
                # Requests that were on their way together count once: they fail
                # together when a server restarts.
                self._failures, self._last = before + 1, error
