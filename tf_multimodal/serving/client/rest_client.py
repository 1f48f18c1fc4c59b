"""A client over TensorFlow Serving's REST interface.

https://www.tensorflow.org/tfx/serving/api_rest, in its column format.
"""

import base64
import http.client
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import requests

from tf_multimodal.serving.client.predict_client import (
    INPUTS,
    SERVING_DEFAULT,
    ClientOptions,
    Pair,
    Prediction,
    RequestError,
    call_with_retries,
    encode_text,
    make_predictions,
)

# The other way round than ToHTTPStatusCode in TensorFlow Serving's
# model_servers/http_server.cc, and what proxies in front of it answer.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SHOWN = 300  # characters of an answer that is not an error body


class RestClient:
    """A `PredictClient` over REST."""

    def __init__(
        self, url: str, name: str, options: ClientOptions | None = None
    ) -> None:
        """Prepares a session; it connects with the first request.

        Args:
            url: `http://host:port` or `https://host`, and a path if a proxy has one.
            name: of the model.
            options: how to ask. The deadline holds for connecting and for each wait
                for the server, not for the transfer.
        """
        self._options = options or ClientOptions()
        self._url = f"{url.rstrip('/')}/v1/models/{quote(name, safe='')}"
        if self._options.version is not None:
            self._url += f"/versions/{self._options.version}"
        elif self._options.version_label is not None:
            self._url += f"/labels/{quote(self._options.version_label, safe='')}"
        self._session = requests.Session()
        self._session.headers.update(self._options.headers)
        adapter = requests.adapters.HTTPAdapter(
            pool_maxsize=self._options.connections, pool_block=True
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def predict(
        self, pairs: Sequence[Pair], signature: str = SERVING_DEFAULT
    ) -> list[Prediction]:
        """Returns the predictions of one request; see `PredictClient`."""
        encoders = {"image_bytes": _encode_bytes, "text": _encode_text}
        inputs = {
            name: [encoders[name](getattr(pair, name)) for pair in pairs]
            for name in INPUTS[signature]
        }
        body = {"signature_name": signature, "inputs": inputs}
        outputs = self._call("POST", f"{self._url}:predict", body).get("outputs")
        return make_predictions(
            outputs if isinstance(outputs, dict) else {}, len(pairs)
        )

    def read_signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the names of the inputs of each signature."""
        answer = self._call("GET", f"{self._url}/metadata")
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: tuple(sorted(definition["inputs"]))
                for name, definition in signatures.items()
            }
        except (KeyError, TypeError) as error:
            raise RequestError("INTERNAL", f"The metadata lack {error}.") from error

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def __enter__(self) -> "RestClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        return call_with_retries(
            lambda: self._send(method, url, body), self._options.retries
        )

    def _send(self, method: str, url: str, body: Any) -> dict[str, Any]:
        try:
            response = self._session.request(
                method,
                url,
                json=body,
                timeout=self._options.deadline_s,
                # Not the session's: REQUESTS_CA_BUNDLE would come before that.
                verify=self._options.ca_file,
            )
        except requests.RequestException as error:
            raise _translate(error, url, self._options.deadline_s) from error
        return _read_body(response)


def _translate(
    error: requests.RequestException, url: str, deadline_s: float
) -> RequestError:
    cause = _find_cause(error)
    # A timeout while the body is sent is a ConnectionError.
    if isinstance(error, requests.Timeout) or isinstance(cause, TimeoutError):
        waited = f"no answer within {deadline_s:g} s"
        return RequestError("DEADLINE_EXCEEDED", f"{url}: {waited}")
    if isinstance(error, requests.exceptions.SSLError):
        return RequestError("UNAUTHENTICATED", f"TLS: {error}")
    if type(cause) is http.client.BadStatusLine:  # its heirs are something else
        hint = "Is this the gRPC port? TensorFlow Serving's for REST is 8501."
        return RequestError("UNAVAILABLE", f"{url}: the answer is not HTTP. {hint}")
    if isinstance(
        error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    ):
        return RequestError("UNAVAILABLE", str(error))
    return RequestError("INVALID_ARGUMENT", str(error))


def _find_cause(error: BaseException) -> BaseException:
    """Returns the error that the others were raised for."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _read_body(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:  # not JSON
        body = None
    if response.ok and isinstance(body, dict):
        return body
    # TensorFlow Serving's own errors have a body {"error": "..."}.
    reason = body.get("error") if isinstance(body, dict) else None
    if reason is None:
        reason = f"{response.reason}: {response.text[:_SHOWN]}"
    code = "INTERNAL" if response.ok else CODES.get(response.status_code, "UNKNOWN")
    raise RequestError(code, f"HTTP {response.status_code}: {reason}")


def _encode_bytes(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode("ascii")}


def _encode_text(text: str | bytes) -> str | dict[str, str]:
    """Returns JSON's string, or base64 for what is not UTF-8."""
    data = encode_text(text)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _encode_bytes(data)
